-- Three clients and ten callers: who runs and who waits?
--
-- Three run at once; seven stand in one line and are served in the order in
-- which they came. A client that comes back is handed to the head of the line:
-- nobody who comes later can take it in between. All of it is read from the
-- pool's events; the day runs in virtual time and so always prints the same.
local llmpool = require "llmpool"

llmpool.simulate({ seed = 1 }, function()
  local pool = llmpool.new()
  pool:register_model("gpt-4", {
    llmpool.simulated { id = "key-1", latency = 1.0 },
    llmpool.simulated { id = "key-2", latency = 1.2 },
    llmpool.simulated { id = "key-3", latency = 1.5 },
  })
  local events <close> = pool:events()
  local callers = {}
  for i = 1, 10 do
    callers[i] = function() pool:generate("gpt-4", "Question " .. i) end
  end
  llmpool.gather(table.unpack(callers))

  local say = {
    queued = function(e) return ("caller %2d waits in line"):format(e.ask) end,
    lent = function(e)
      return ("caller %2d gets %s%s"):format(e.ask, e.client,
        e.waited > 0 and (" after %.1f s"):format(e.waited) or " at once")
    end,
    returned = function(e)
      return ("caller %2d returns %s"):format(e.ask, e.client)
    end,
  }
  for _, e in ipairs(events:read()) do
    print(("%4.1f s  %s"):format(e.time, say[e.kind](e)))
  end
  local stats = pool:stats "gpt-4"
  print(("longest line: %d; longest wait: %.1f s; all back: %s"):format(
    stats.max_waiting_seen, stats.wait.max, stats.acquired == stats.returned))
end)
