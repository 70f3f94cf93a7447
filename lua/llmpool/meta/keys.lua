---@meta _

-- Annotations of what a client is besides its provider: slots, limits, breaker,
-- price, weight, tags; and of what a pool says of it. Never executed.

--- When failures take a client out of use for a while.
---@class llmpool.breaker
---@field failures? integer so many, and at least half of what happened since
--- the first of them: it opens; default 5
---@field window? number seconds within which they must lie; default 60
---@field open? number seconds that it stays open the first time; default 30
---@field max_open? number the longest, doubled after each probe that failed;
--- default 300

--- What a client costs, in units of any currency per million tokens.
---@class llmpool.price
---@field input? number
---@field output? number

--- Fields that every client may have, whoever makes it.
---@class llmpool.client_spec
---@field slots? integer requests that it bears at once; default 1
---@field rpm? number requests per minute
---@field tpm? number tokens per minute
---@field rpm_burst? number requests that a full bucket holds; default: rpm
---@field tpm_burst? number tokens that a full bucket holds; default: tpm
---@field breaker? llmpool.breaker|boolean true: with the defaults
---@field price? llmpool.price
---@field weight? number for policies; default 1
---@field tags? string[] for policies

---@class llmpool.pool
local pool = {}

--- The clients of a model, in order of registration, each with the fields that
--- it was registered with, and what pool:stats says of it.
---@param model string
---@return table[] clients tables with id, provider, slots, rpm, tpm, breaker,
--- price, weight, tags, state, acquired, returned, ...
function pool:clients(model) end
