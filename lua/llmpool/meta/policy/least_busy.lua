---@meta llmpool.policy.least_busy
-- A policy of the library, for editors, help and the reference. Never executed.

--- The client with the fewest requests in hand, for its slots.
---@param t string[] models; empty: all of the pool
---@return llmpool.policy
local function least_busy(t) end

return least_busy
