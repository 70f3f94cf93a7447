---@meta llmpool.policy.by_request
-- A policy of the library, for editors, help and the reference. Never executed.

--- A rule of `by_request`; of several conditions all must hold.
---@class llmpool.policy.by_request.rule
---@field use llmpool.policy|llmpool.planned who decides then
---@field tokens_over? integer the prompt has more tokens
---@field tokens_under? integer the prompt has fewer tokens
---@field tools? boolean whether the request brings tools
---@field language? string of the prompt: "en", "de", ...
---@field tag? string one of the call's tags
---@field when? fun(request: any, options?: llmpool.request_options): any

--- What `by_request` takes.
---@class llmpool.policy.by_request.options
---@field [integer] llmpool.policy.by_request.rule
---@field otherwise? llmpool.policy|llmpool.planned when no rule fits; default:
--- any model

--- The first rule that fits the request says which policy decides.
---@param t llmpool.policy.by_request.options
---@return llmpool.policy
local function by_request(t) end

return by_request
