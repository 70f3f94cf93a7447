-- What would it cost to hold the collection's lock for the whole lease?
--
-- All concurrency. Two kinds of protection are kept apart: admission (who may
-- hold a client; held for the whole lease) and the collection's lock (held for
-- the few instructions that take a client out or put it back). Below is a pool
-- that holds its lock all the way, beside the real one, in the same run: the
-- same clients, callers and requests, in real time.
local llmpool = require "llmpool"

local CLIENTS, CALLERS, LATENCY = 4, 20, 0.02

local function clients()
  local list = {}
  for i = 1, CLIENTS do
    list[i] = llmpool.simulated { id = "key-" .. i, latency = LATENCY }
  end
  return list
end

-- The lock: a model with one client, which is the right to touch the list.
local locks = llmpool.new()
locks:register_model("lock", { { id = "lock", generate = function() end } })

local function pool_under_one_lock()
  local pool = llmpool.new()
  pool:register_model("gpt-4", clients())
  return function(prompt)
    return locks:get_client("lock", function() -- held for the whole lease
      return pool:generate("gpt-4", prompt)
    end)
  end
end

local function real_pool()
  local pool = llmpool.new()
  pool:register_model("gpt-4", clients())
  return function(prompt) return pool:generate("gpt-4", prompt) end
end

local function measure(generate)
  local calls, started = {}, llmpool.now()
  for i = 1, CALLERS do calls[i] = function() generate("Question " .. i) end end
  llmpool.gather(table.unpack(calls))
  return llmpool.now() - started
end

local locked, free = measure(pool_under_one_lock()), measure(real_pool())
print(("%d callers, %d clients, %.0f ms a request"):format(CALLERS, CLIENTS,
  LATENCY * 1000))
print(("lock held for the whole lease: %.2f s (%.1f clients busy)"):format(
  locked, CALLERS * LATENCY / locked))
print(("lock held for take and return: %.2f s (%.1f clients busy)"):format(
  free, CALLERS * LATENCY / free))
print(("the lock costs %.1f times the time: as many as there are clients")
  :format(locked / free))
