-- rate_limit_wall: more requests than the provider allows a minute, by its own
-- accounting. The pool knows the same limits and holds requests back; what the
-- provider still refuses rests until it says, and nobody hammers it.
local scenario = require "llmpool.scenario"
local set = scenario.settings { rpm = 120, knows = true }

return scenario {
  name = "rate limit wall",
  duration = 600,
  models = {
    m = {
      clients = scenario.clients(3, {
        slots = 4, latency = { "lognormal", median = 0.6, sigma = 0.3 },
        rpm = set.knows and set.rpm or nil,
        failures = { limit = { rpm = set.rpm } },
      }),
    },
  },
  policy = { { model = "m", retries = 10 } },
  traffic = { "steps", steps = {
    { from = 0, rate = 4 }, { from = 60, rate = 10 }, { from = 180, rate = 4 },
  } },
  expect = set.knows and {
    "served_rate > 99.5 %",
    "attempts < 1.01",        -- hardly a 429
    "queue.max > 50",         -- the wall
    "wait.max < 60",          -- and its end
  } or {
    "served_rate > 90 %", "attempts > 1.03", "attempts < 1.5",
  },
}
