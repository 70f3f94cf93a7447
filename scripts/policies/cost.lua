-- cost.lua: a night's batch for a fixed sum. Long prompts and tools go to the
-- large model while there is money; everything else to whoever is cheapest and
-- still answers in ten seconds.
--
--   llmpool scripts/policies/try.lua scripts/policies/cost.lua

local by_request = require "llmpool.policy.by_request"
local cheapest = require "llmpool.policy.cheapest"
local spend_budget = require "llmpool.policy.spend_budget"

local thrifty = cheapest { "small", "large", within = 10 }
local generous = spend_budget {
  "large", limit = 5, per = 3600, otherwise = thrifty,
}

return by_request {
  { tokens_over = 4000, use = generous },
  { tools = true, use = generous },
  { tag = "batch", use = thrifty },
  otherwise = thrifty,
}
