---@meta llmpool.policy.hedge
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `hedge` takes.
---@class llmpool.policy.hedge.options
---@field [1] llmpool.policy|llmpool.planned
---@field after? number|"p95" seconds; default "p95", what 19 of 20 calls took
---@field budget? llmpool.budget default: the router's

--- Asks a second time if the first answer does not come soon; who commits first
--- wins.
---@param t llmpool.policy.hedge.options
---@return llmpool.policy
local function hedge(t) end

return hedge
