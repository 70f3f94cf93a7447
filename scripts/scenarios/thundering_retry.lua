-- thundering_retry: the provider is gone for ten seconds while five hundred
-- callers want an answer. They try again with full jitter and within a budget,
-- so that it is not their retries that keep it down.
local scenario = require "llmpool.scenario"

return scenario {
  name = "thundering retry",
  duration = 120,
  models = { m = { clients = scenario.clients(50, {
    latency = { "lognormal", median = 0.5, sigma = 0.3 }, breaker = false,
    failures = { outages = { { from = 30, to = 40, kind = "server" } } },
  }) } },
  make_policy = function()
    local retry = require "llmpool.policy.retry"
    return retry { "m", retries = 6, backoff = 0.5, max_backoff = 8,
                   budget = { ratio = 0.2, burst = 100 } }
  end,
  traffic = { "closed", callers = 500, think = { "exponential", mean = 8 } },
  expect = {
    "attempts < 1.25",           -- the budget
    "served_rate > 85 %",
    "failed == failed.server",
    "latency.p99 < 20",
  },
}
