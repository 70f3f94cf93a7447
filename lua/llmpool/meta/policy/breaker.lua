---@meta llmpool.policy.breaker
-- A policy of the library, for editors, help and the reference. Never executed.

--- What `breaker` takes.
---@class llmpool.policy.breaker.options
---@field [1] llmpool.policy|llmpool.planned
---@field failures? integer in a row; default 5
---@field open? number seconds that a model is left out the first time; 30
---@field max_open? number the longest, doubled after each trial that failed;
--- default 300

--- Leaves out a model that has failed several times in a row, for a while.
---@param t llmpool.policy.breaker.options
---@return llmpool.policy
local function breaker(t) end

return breaker
