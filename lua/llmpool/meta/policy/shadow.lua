---@meta llmpool.policy.shadow
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `shadow` takes.
---@class llmpool.policy.shadow.options
---@field [1] llmpool.policy|llmpool.planned
---@field [2] llmpool.policy|llmpool.planned
---@field on_difference? fun(request: any, main: any, other: any)
--- called with both plans where they would ask somebody else

--- Asks a second policy too, compares, and does what the first says. It is
--- called as the others of the library are: shadow { old, new }.
---@class llmpool.policy.shadow
---@overload fun(t: llmpool.policy.shadow.options): llmpool.policy
local shadow = {}

--- What a shadow has counted: requests, and of them those where both would ask
--- the same, where they would not, and where the second failed.
---@param policy llmpool.policy made by shadow
---@return table<string, integer> counts {asked=, same=, different=, failed=}
function shadow.counts(policy) end

return shadow
