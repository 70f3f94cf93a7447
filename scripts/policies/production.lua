-- production.lua: what a service in front of users starts with. Everybody gets
-- a fair share; a model that is down is left out; a slow answer is asked for a
-- second time, within a budget; when all else fails the small model answers.
--
--   llmpool scripts/policies/try.lua scripts/policies/production.lua

local breaker = require "llmpool.policy.breaker"
local fallback = require "llmpool.policy.fallback"
local hedge = require "llmpool.policy.hedge"
local retry = require "llmpool.policy.retry"
local tenant_shares = require "llmpool.policy.tenant_shares"

local chain = fallback {
  { model = "large", timeout = 20, first = 5 },
  { model = "small", timeout = 10 },
}

return tenant_shares {
  breaker {
    hedge {
      retry { chain, retries = 1, backoff = 0.5,
              on = { "server", "reset", "overloaded" },
              budget = { ratio = 0.1, burst = 10 } },
      after = "p95", budget = { ratio = 0.05, burst = 5 },
    },
    failures = 5, open = 30,
  },
  shares = { gold = 4, silver = 2 }, default = 1,
}
