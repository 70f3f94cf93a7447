-- outage: the first provider is down for two minutes, and later comes and goes
-- for two more. A breaker keeps requests away from it, and finds out when it is
-- back; the second model answers meanwhile.
local scenario = require "llmpool.scenario"

return scenario {
  name = "outage",
  duration = 1200,
  models = {
    primary = { clients = scenario.clients(6, {
      id = "key-", latency = { "lognormal", median = 0.8, sigma = 0.5 },
      failures = {
        outages = {
          { from = 300, to = 420, kinds = { overloaded = 3, server = 1 } },
          { from = 700, to = 820, every = 20, down = 10, kind = "server" },
        },
      },
    }) },
    backup = { clients = scenario.clients(6, {
      id = "backup-", latency = { "lognormal", median = 1.2, sigma = 0.5 },
    }) },
  },
  make_policy = function()
    local breaker = require "llmpool.policy.breaker"
    local fallback = require "llmpool.policy.fallback"
    return breaker { fallback { "primary", "backup" }, failures = 5,
                     open = 15 }
  end,
  traffic = { "poisson", rate = 3 },
  expect = {
    "served_rate == 100 %",
    "latency.p99 < 6",
    "attempts < 1.1",                -- hardly anybody met the outage
    "models.backup.lends > 350",     -- two minutes' worth
    "models.backup.lends < 1200",    -- and it came back to the first
  },
}
