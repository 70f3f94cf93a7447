---@meta llmpool.policy.latency
-- A policy of the library, for editors, help and the reference. Never executed.

--- Of two free clients drawn by lot the one that was quicker lately.
---@param t string[] models; empty: all of the pool
---@return llmpool.policy
local function latency(t) end

return latency
