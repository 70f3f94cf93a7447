-- sim.lua - what a simulated request costs: two models, a fallback policy, the
-- real pool and the real router; and how long a day of traffic takes.
--
--   llmpool sim.lua [REQUESTS [ROUND [DAY]]]
--
-- DAY: requests of a day at ten a second, 0 to leave it out. simpy_fallback.py
-- runs the same scenario in SimPy. The figures are CPU time.

local scenario = require "llmpool.scenario"

local requests = math.tointeger(tonumber(arg[1])) or 200000
local round = math.tointeger(tonumber(arg[2])) or 0
local day = math.tointeger(tonumber(arg[3])) or 0

local function fallback(rate, count)
  local latency = { "exponential", mean = 0.2 }
  return scenario {
    name = "fallback",
    models = {
      primary = { clients = scenario.clients(4, { latency = latency,
        failures = { rate = 0.05, kind = "server" } }) },
      backup = { clients = scenario.clients(4, { latency = latency }) },
    },
    policy = { { model = "primary" }, { model = "backup" } },
    traffic = { "poisson", rate = rate, count = count },
    expect = { "served_rate == 100 %" },
  }
end

local function sample(what, value)
  print(("sample\t%s\tllmpool\t%d\t%.9g"):format(what, round, value))
end

local report = fallback(15, requests):verify { seed = round + 1 }
assert(report.requests == requests)
sample("sim request", report.wall / requests * 1e9)
if day > 0 then
  report = fallback(10, day):verify { seed = round + 1 }
  sample("sim day", report.wall * 1e9)
end
