---@meta llmpool.policy.tenant_shares
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `tenant_shares` takes.
---@class llmpool.policy.tenant_shares.options
---@field [1] llmpool.policy|llmpool.planned
---@field shares? table<string, number> tenant -> share
---@field default? number of who has none of his own; 1
---@field slots? integer how many may be on their way at once; default: what
--- the plan's models can lend
---@field tenant? fun(request: any, options?: llmpool.request_options): any
--- whose request it is; default: the call's tenant, else the request's user
---@field by_tokens? boolean a request counts by its tokens, not as one

--- Weighted fair queueing: when there is more to do than clients, callers are
--- served in proportion to their shares.
---@param t llmpool.policy.tenant_shares.options
---@return llmpool.policy
local function tenant_shares(t) end

return tenant_shares
