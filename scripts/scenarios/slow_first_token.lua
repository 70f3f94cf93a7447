-- slow_first_token: one answer in twenty keeps its caller waiting for its first
-- token. Who has none after four seconds is asked for again elsewhere, at once;
-- what has begun is never begun anew.
local scenario = require "llmpool.scenario"

return scenario {
  name = "slow first token",
  duration = 900,
  models = {
    m = { clients = scenario.clients(40, {
      first_token = { "lognormal", median = 0.5, sigma = 0.4 },
      per_token = { "uniform", min = 0.01, max = 0.03 },
      tokens = { "lognormal", median = 60, sigma = 0.5 },
      failures = { slow_first = { rate = 0.05, delay = {
        "uniform", min = 15, max = 45 } } },
    }) },
  },
  policy = { { model = "m", first = 4, retries = 2 } },
  traffic = { "poisson", rate = 4, stream = true },
  expect = {
    "served_rate > 99.9 %",
    "first.p50 < 1",
    "first.p99 < 10",      -- without the bound it would be 40
    "attempts < 1.08",     -- each slow one asked for again, hardly any other
    "attempts > 1.03",
    "failed.truncated == 0",
  },
}
