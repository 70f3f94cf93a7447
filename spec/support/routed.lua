-- routed: a pool of scripted clients with a router over it, in virtual time,
-- and what the specs of policies ask of it.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local scripted = require "spec.support.scripted"
local surface = require "spec.support.surface"

local routed = {}

function routed.policy(name) return require("llmpool.policy." .. name) end

routed.message = surface.message

-- What fn(router, pool) returns; the ledger is closed then.
local function run(pool, options, fn)
  options.pool = pool
  local results = table.pack(fn(llmpool.router(options), pool))
  ledger.settled(pool)
  return table.unpack(results, 1, results.n)
end

-- models: {{ "name", client, ... }, ...}
function routed.simulate(models, made, fn, options)
  return llmpool.simulate({ seed = 7 }, function()
    local pool = llmpool.new()
    for _, entry in ipairs(models) do
      pool:register_model(entry[1], table.move(entry, 2, #entry, 1, {}),
        { order = "fifo" })
    end
    options = options or {}
    options.policy = made
    return run(pool, options, fn)
  end)
end

-- A model for each client, of its name.
function routed.each(clients, options, fn)
  return llmpool.simulate({ seed = 1 }, function()
    local pool = llmpool.new()
    for _, client in ipairs(clients) do
      pool:register_model(client.id, { client })
    end
    return run(pool, options, fn)
  end)
end

-- Who answers n requests, one after the other: "a b a".
function routed.order(router, n, options)
  local list = {}
  for i = 1, n do
    local _, response = router:generate("q" .. i, options)
    list[i] = response.client
  end
  return table.concat(list, " ")
end

function routed.count(text)
  local counts = {}
  for word in text:gmatch "%S+" do counts[word] = (counts[word] or 0) + 1 end
  return counts
end

function routed.near(expected, value, part)
  assert(math.abs(value - expected) <= expected * (part or 0.05),
    ("%s is not within 5 %% of %s"):format(value, expected))
end

function routed.one_each(fields)
  local a, b = scripted("a", fields or {}), scripted("b", fields or {})
  return { { "m", a }, { "n", b } }, a, b
end

return routed
