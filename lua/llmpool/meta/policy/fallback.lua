---@meta llmpool.policy.fallback
-- A policy of the library, for editors, help and the reference. Never executed.

--- The first answers, and if it fails the second, and so on. Without any, all
--- models in order of registration.
---@param t (string|llmpool.attempt)[] models' names or attempts
---@return llmpool.policy
local function fallback(t) end

return fallback
