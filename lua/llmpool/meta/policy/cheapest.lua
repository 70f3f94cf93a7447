---@meta llmpool.policy.cheapest
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `cheapest` takes.
---@class llmpool.policy.cheapest.options
---@field [integer] string models; none: all of the pool
---@field within? number seconds: in time is a client whose p95 is not more
---@field answer_tokens? number of a request that does not say; default 500

--- The least expensive client that answers in time; of those, one that is free.
---@param t llmpool.policy.cheapest.options
---@return llmpool.policy
local function cheapest(t) end

return cheapest
