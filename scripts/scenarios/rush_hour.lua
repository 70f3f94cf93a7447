-- rush_hour: twenty minutes of five times the traffic. Whoever would wait for
-- the first model for more than two seconds takes the second; when the rush is
-- over nobody is left in line.
local scenario = require "llmpool.scenario"
local set = scenario.settings { calm = 4, rush = 16 }

return scenario {
  name = "rush hour",
  duration = 3600,
  models = {
    primary = { clients = scenario.clients(8, {
      id = "key-", latency = { "lognormal", median = 0.9, sigma = 0.5 },
      tokens = { "lognormal", median = 200, sigma = 0.6 },
      price = { input = 5, output = 15 },
    }) },
    spare = { clients = scenario.clients(24, {
      id = "spare-", latency = { "lognormal", median = 1.6, sigma = 0.4 },
      tokens = { "lognormal", median = 200, sigma = 0.6 },
      price = { input = 1, output = 3 },
    }) },
  },
  policy = { { model = "primary", wait = 2 }, { model = "spare" } },
  traffic = {
    "steps", prompt_tokens = { "lognormal", median = 400, sigma = 0.8 },
    steps = {
      { from = 0, rate = set.calm }, { from = 1200, rate = set.rush },
      { from = 2400, rate = set.calm },
    },
  },
  expect = {
    "served_rate == 100 %",
    "latency.p95 < 8",
    "wait.p99 < 4",
    "attempts < 1.01",              -- a wait that ends is no lease
    "models.spare.lends > 5000",    -- the rush went there
    "models.primary.lends > models.spare.lends",
    "cost > 0",
  },
}
