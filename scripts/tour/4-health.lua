-- What if a client fails its health check?
--
-- It is destroyed and created anew in its place, under the same permit: the
-- caller at hand waits for the new one, nobody else notices, and the model has
-- as many clients as before. The check runs only where a client has been idle
-- for `check_after` seconds, and never while anybody holds it.
local llmpool = require "llmpool"

llmpool.simulate({ seed = 1 }, function()
  local revoked = {} -- keys that the provider does not know any more
  local function client(id, key)
    return { id = id, key = key, generate = function(_, prompt)
      return ("[%s] %s"):format(key, prompt)
    end }
  end

  local pool = llmpool.new()
  pool:register_model("gpt-4", { client("one", "key-1") }, {
    check_after = 30,
    check = function(lent)
      if revoked[lent.key] then
        error("401: " .. lent.key .. " is revoked", 0)
      end
    end,
    create = function(spec, reason)
      print(("%4.0f s  %s is created anew: %s"):format(llmpool.now(), spec.id,
        reason))
      llmpool.sleep(2) -- a new connection takes its time
      return client(spec.id, spec.key .. "b")
    end,
  })

  local function ask(prompt)
    local text = pool:generate("gpt-4", prompt)
    print(("%4.0f s  %s"):format(llmpool.now(), text))
  end

  ask "first"
  revoked["key-1"] = true
  llmpool.sleep(10)
  ask "not idle for long enough: the client is not checked"
  llmpool.sleep(60)
  ask "idle for a minute: checked, found sick, replaced, then served"
  llmpool.sleep(60)
  ask "checked again, and well"

  local stats = pool:stats "gpt-4"
  print(("checks %d, failed %d, replaced %d, clients %d, all back: %s"):format(
    stats.checked, stats.check_failed, stats.replaced, stats.size,
    stats.acquired == stats.returned))
  print("what was wrong with it: " .. stats.clients[1].last_error)
end)
