-- noisy_tenant: one of four tenants sends bursts of two hundred requests. With
-- shares the others hardly notice; first come, first served they would wait
-- behind every burst (try --policy m).
local scenario = require "llmpool.scenario"

return scenario {
  name = "noisy tenant",
  duration = 1800,
  models = { m = { clients = scenario.clients(8, {
    latency = { "lognormal", median = 0.8, sigma = 0.4 } }) } },
  make_policy = function()
    local tenant_shares = require "llmpool.policy.tenant_shares"
    return tenant_shares { "m" }
  end,
  traffic = {
    { "bursts", every = 60, size = 200, tenant = "noisy" },
    { "poisson", rate = 1, tenant = "a" },
    { "poisson", rate = 1, tenant = "b" },
    { "poisson", rate = 1, tenant = "c" },
  },
  expect = {
    "served_rate == 100 %",
    "tenants.a.latency.p95 < 4",
    "tenants.b.latency.p95 < 4",
    "tenants.c.latency.p95 < 4",
    "tenants.noisy.latency.p95 > 10", -- who brings the queue stands in it
    "tenants.noisy.latency.p95 < 60",
  },
}
