-- A pool under random use (spec/support/chaos.lua): nothing is lent twice, the
-- books add up, nobody waits while a client is free, and all of it ends.

local llmpool = require "llmpool"
local chaos = require "spec.support.chaos"
local ledger = require "spec.support.ledger"
local warned = require "spec.support.warned"

-- Leases are forgotten on purpose.
local function run(from, to, steps)
  for seed = from, to do chaos.run(seed, steps) end
  warned.take()
end

describe("a pool under random use", function()
  it("holds", function() run(1, 6, 100) end)

  it("holds for long #slow", function() run(1001, 1200, 300) end)

  it("does the same for the same seed", function()
    assert.equal(chaos.run(7, 50), chaos.run(7, 50))
    warned.take()
  end)
end)

-- Chaos found this one: seed 281.
describe("who waits to create a client", function()
  local function client(spec)
    return { id = spec.id, generate = function() llmpool.sleep(0.1) end }
  end

  it("takes one that is back before it", function()
    local served = llmpool.simulate({}, function()
      local pool, list, calls, times = llmpool.new(), {}, {}, {}
      for i = 1, 10 do list[i] = client { id = "c" .. i } end
      pool:register_model("m", list, { create = function(spec)
        llmpool.sleep(1)
        return client(spec)
      end })
      pool:renew "m"
      for i = 1, 10 do
        calls[i] = function()
          pool:generate("m", "q")
          times[#times + 1] = ("%g"):format(llmpool.now())
        end
      end
      llmpool.gather(table.unpack(calls))
      ledger.settled(pool)
      return table.concat(times, " ")
    end)
    -- two create, two have begun to create when those are done
    assert.equal("1.1 1.1 1.2 1.2 1.3 1.3 1.4 1.4 2.1 2.1", served)
  end)
end)
