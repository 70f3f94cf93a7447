---@meta llmpool.policy.spend_budget
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `spend_budget` takes.
---@class llmpool.policy.spend_budget.options
---@field [1] llmpool.policy|llmpool.planned
---@field limit number in the currency of the clients' prices
---@field per? number seconds of a window; default: for ever
---@field otherwise? llmpool.policy|llmpool.planned who decides beyond it;
--- default: the request is refused
---@field answer_tokens? number of a request that does not say; default 500

--- So much money in so much time, and no more.
---@param t llmpool.policy.spend_budget.options
---@return llmpool.policy
local function spend_budget(t) end

return spend_budget
