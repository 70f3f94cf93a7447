---@meta llmpool.policy.retry
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `retry` takes.
---@class llmpool.policy.retry.options
---@field [1] llmpool.policy|llmpool.planned
---@field retries? integer of one attempt; default 2
---@field backoff? number seconds: the first pause is at most that
---@field max_backoff? number seconds: no pause is longer
---@field on? string|string[] kinds of failure; default: all that make sense
---@field budget? llmpool.budget default: the router's

--- Tries an attempt again, after a pause with full jitter, before it goes on
--- with the next.
---@param t llmpool.policy.retry.options
---@return llmpool.policy
local function retry(t) end

return retry
