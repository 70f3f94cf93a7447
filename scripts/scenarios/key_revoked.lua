-- key_revoked: after five minutes one of three keys is no longer valid; after
-- ten the operator puts a new one in its place. Nobody notices but the first
-- who met it, and he is answered by another key.
local scenario = require "llmpool.scenario"

local function key(id, revoked)
  return {
    id = id, latency = { "lognormal", median = 0.7, sigma = 0.4 },
    failures = revoked and { outages = { { from = 300, kind = "auth" } } },
  }
end

return scenario {
  name = "key revoked",
  duration = 900,
  models = { m = { clients = { key "a", key("b", true), key "c" } } },
  policy = { { model = "m", retries = 2 } },
  traffic = { "poisson", rate = 2 },
  actions = {
    { at = 600, function(run)
      run.pool:replace_client("m", require "llmpool".simulated(key "b"))
    end },
  },
  expect = {
    "served_rate == 100 %",
    "failed.auth == 0",
    "attempts < 1.01",           -- the key is out of service at once
    "clients.b.lends > 300",     -- before, and again after
    "clients.b.lends < 500",
    "latency.p95 < 5",
  },
}
