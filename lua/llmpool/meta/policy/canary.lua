---@meta llmpool.policy.canary
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `canary` takes.
---@class llmpool.policy.canary.options
---@field [1] llmpool.policy|llmpool.planned the old one
---@field [2] llmpool.policy|llmpool.planned the new one
---@field share? number of the requests, or of the keys, for the new one; 0.05
---@field key? fun(request: any, options?: llmpool.request_options): any who
--- stays on one side; default: the call's key, else the request's user

--- A share of the requests takes the new policy, the rest the old one.
---@param t llmpool.policy.canary.options
---@return llmpool.policy
local function canary(t) end

return canary
