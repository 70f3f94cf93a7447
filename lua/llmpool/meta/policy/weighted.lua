---@meta llmpool.policy.weighted
-- A policy of the library, for editors, help and the reference. Never executed.

--- Each model gets its share of the requests, exactly and without chance; the
--- others follow as fallbacks.
---@param t table<string, number|boolean> model -> weight; fallback = false
--- leaves the others out
---@return llmpool.policy
local function weighted(t) end

return weighted
