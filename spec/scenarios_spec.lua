-- The scenarios that are shipped: each holds what it expects, on its own seed
-- and on others.

local scenario = require "llmpool.scenario"

local function load_one(name, settings)
  return scenario.load("scripts/scenarios/" .. name .. ".lua", settings)
end

local names = { "outage", "key_revoked", "rate_limit_wall", "noisy_tenant",
                "thundering_retry", "rush_hour", "slow_first_token",
                "cut_streams" }
local long = { rush_hour = true, slow_first_token = true, cut_streams = true }

describe("the scenario #once", function()
  for _, name in ipairs(names) do
    it(name .. " holds what it expects #slow", function()
      load_one(name):verify()
    end)

    if long[name] then
      it(name .. " serves what comes in its first minute", function()
        local s = load_one(name)
        s.duration = 60
        local report = s:run()
        assert.is_true(report.served_rate > 0.95, report.served_rate)
        assert.is_true(report.requests > 60, report.requests)
      end)
    end

    it(name .. " holds on other seeds #slow", function()
      local s = load_one(name)
      for seed = 2, 6 do s:verify { seed = seed } end
    end)
  end

  it("outage repeats, with a policy that remembers", function()
    local s = load_one "outage"
    assert.equal(s:run().hash, s:run().hash)
  end)

  it("million_callers holds for ten thousand", function()
    load_one("million_callers", { callers = 10000 }):verify()
  end)

  it("million_callers holds for a million #slow", function()
    load_one("million_callers"):verify()
  end)

  it("cut_streams is answered whole if it is kept back #slow", function()
    load_one("cut_streams", { commit = "end" }):verify()
  end)

  it("rate_limit_wall is hit by a pool that does not know of it", function()
    load_one("rate_limit_wall", { knows = false }):verify()
  end)

  it("noisy_tenant is unfair first come, first served", function()
    local report = load_one("noisy_tenant"):run { policy = "m" }
    assert.is_false(report.ok)
    assert.is_true(report.tenants.a.latency.p95 > 10)
  end)
end)
