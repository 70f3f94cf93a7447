-- The scenarios that are shipped: each holds what it expects, on its own seed
-- and on others.

local scenario = require "llmpool.scenario"

local function load_one(name, settings)
  return scenario.load("scripts/scenarios/" .. name .. ".lua", settings)
end

local names = { "rush_hour", "outage", "slow_first_token", "key_revoked",
                "rate_limit_wall", "noisy_tenant", "cut_streams",
                "thundering_retry" }

describe("the scenario #once", function()
  for _, name in ipairs(names) do
    it(name .. " holds what it expects", function()
      load_one(name):verify()
    end)

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

  it("cut_streams is answered whole if it is kept back", function()
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
