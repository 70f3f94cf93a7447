---@meta _

-- Annotations of what a client is besides its provider: slots, limits, breaker,
-- price, weight, tags. Never executed.

--- When failures take a client out of use for a while.
---@class llmpool.breaker
---@field failures? integer so many, and at least half of what happened since
--- the first of them: it opens; default 5
---@field window? number seconds within which they must lie; default 60
---@field open? number seconds that it stays open the first time; default 30
---@field floor? boolean true: the last client that is left never opens, also a
--- model's only one; false: it may; default: the last of several never opens
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

--- Takes a client out of service until it is replaced, or for so long. When no
--- client of the model can ever serve, those who wait get kind
--- "out_of_service", which says which clients and why.
---@param model string
---@param id string
---@param reason? string a few words, without any secret
---@param seconds? number
function pool:disable_client(model, id, reason, seconds) end

---@class llmpool.client
local client = {}

--- What has become of a request.
---@class llmpool.outcome
---@field kind? "success"|"failure"|"none" for the breaker; default "none"
---@field error? boolean for the error rate; default: whether kind is "failure"
---@field sent? boolean false: nothing was sent, what was reserved goes back
---@field tokens? number that it really took
---@field latency? number seconds
---@field first? number seconds until the first token
---@field rest? number seconds that the client is to rest
---@field rest_until? number the same as a time of llmpool.now
---@field backoff? boolean it rests for 1 s, then 2 s, ... until a success
---@field disable_until? number out of service until then; math.huge: until it
--- is replaced
---@field reason? string a few words, without any secret

--- Tells the pool what has become of a request that the script made by its own
--- means; client:generate and streams tell it themselves. Raises on unknown
--- fields.
---@param outcome llmpool.outcome
---@return boolean told false: the lease had ended
function client:report(outcome) end

--- Says what the request really took, in place of the tokens that were
--- estimated.
---@param usage { tokens: number }
---@return boolean told false: the lease had ended
function client:settle(usage) end

--- Takes the client out of service until it is replaced, or for so long.
---@param reason? string a few words, without any secret
---@param seconds? number
function client:disable(reason, seconds) end
