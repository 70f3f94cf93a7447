-- acting: clients whose requests do as a spec says, in a pool of a simulation.
--
--   acting.with({ acting.client("a", { "fine", err }) }, fn)   -- fn(pool)
--   acting.failure("rate_limit", { retry_after = 5 })   -- an error to act
--   acting.run(3, fn)                -- what three tasks at once make of fn(i)
--   acting.stats(pool, "a")          -- the statistics of that client

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"

local acting = {}

--- A client's fields. Its requests do what `acts` says, one after the other: a
-- function is called, a table raised, anything else returned.
-- @param acts list; always: what the requests do after those
function acting.client(id, acts, fields)
  local t = fields or {}
  local i = 0
  t.id = id
  function t.generate()
    i = i + 1
    local act = acts[i] or acts.always
    if type(act) == "function" then return act() end
    if type(act) == "table" then error(act, 0) end
    return act or "fine", { usage = { total_tokens = 10 } }
  end
  return t
end

function acting.failure(kind, fields)
  local err = llmpool.error(kind, "it said no")
  for name, value in pairs(fields or {}) do err[name] = value end
  return err
end

function acting.simulate(fn) return llmpool.simulate({ seed = 1 }, fn) end

--- Calls fn(pool) inside a simulation, with a model "m" of these clients.
function acting.with(clients, fn, options)
  acting.simulate(function()
    local pool = llmpool.new()
    pool:register_model("m", clients, options)
    fn(pool)
    ledger.settled(pool)
  end)
end

function acting.stats(pool, id)
  for _, client in ipairs(pool:stats("m").clients) do
    if client.id == id then return client end
  end
end

--- What n tasks at once make of fn(i), each under pcall.
function acting.run(n, fn)
  local tasks = {}
  for i = 1, n do tasks[i] = llmpool.spawn(pcall, fn, i) end
  local results = {}
  for i = 1, n do results[i] = table.pack(tasks[i]:join()) end
  return results
end

return acting
