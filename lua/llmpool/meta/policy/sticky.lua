---@meta llmpool.policy.sticky
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `sticky` takes.
---@class llmpool.policy.sticky.options
---@field [integer] string models; none: all of the pool
---@field key? fun(request: any, options?: llmpool.request_options): any what
--- belongs together; default: the call's key, else the request's user

--- Requests with the same key go to the same client; what has to go elsewhere
--- because that one is busy does not move it.
---@param t llmpool.policy.sticky.options
---@return llmpool.policy
local function sticky(t) end

return sticky
