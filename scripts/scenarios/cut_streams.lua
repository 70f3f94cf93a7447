-- cut_streams: one stream in twenty breaks off in the middle. What the caller
-- has seen cannot be taken back: it is an honest error, never a clean end. A
-- policy that keeps the answer back until it is whole (--set commit=end) asks
-- again elsewhere instead, and pays with the time to the first token.
local scenario = require "llmpool.scenario"
local set = scenario.settings { commit = "first" }
local whole = set.commit == "end"

return scenario {
  name = "cut streams",
  duration = 900,
  models = { m = { clients = scenario.clients(12, {
    first_token = { "lognormal", median = 0.4, sigma = 0.3 },
    per_token = 0.02, tokens = { "lognormal", median = 80, sigma = 0.5 },
    failures = { cut = { rate = 0.05 } },
  }) } },
  policy = { { model = "m", commit = set.commit, retries = 3 } },
  traffic = { "poisson", rate = 2, stream = true },
  expect = whole and {
    "served_rate > 99.8 %", "attempts > 1.03", "first.p50 > 1",
  } or {
    "failed.truncated > 60", "failed.truncated < 120",
    "failed == failed.truncated",
    "first.p95 < 2", "attempts < 1.01",
  },
}
