---@meta llmpool.policy.round_robin
-- A policy of the library, for editors, help and the reference. Never executed.

--- Each in its turn: the next model of several, the next client of one.
---@param t string[] models; empty: all of the pool
---@return llmpool.policy
local function round_robin(t) end

return round_robin
