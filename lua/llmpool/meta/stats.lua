---@meta _

-- Annotations of what a pool says of itself: statistics of models and clients.
-- Never executed.

--- How long something took, in seconds: a histogram's summary, all 0 where
--- nothing has happened. Quantiles are at most 1/16 too large.
---@class llmpool.times
---@field count integer
---@field mean number
---@field p50 number
---@field p95 number
---@field p99 number
---@field max number exact

--- A model's numbers. Counts are since it was registered, each is exact;
--- acquired == returned + lent whenever nothing is in motion.
---@class llmpool.stats
---@field acquired integer leases that began
---@field returned integer leases that ended
---@field lent integer leases that are out now
---@field idle integer slots with a client that waits to be lent
---@field vacant integer slots whose client has to be created yet
---@field resting integer slots of clients that rest or are out of service
---@field size integer slots of all clients that have not been retired
---@field clients_in_service integer clients that have not been retired
---@field limit number leases at once at most (pool:limit); math.huge: all
---@field paused boolean
---@field waiting integer callers in line
---@field max_waiting_seen integer the longest that the line has been
---@field max_wait? number seconds that the first in line has waited
---@field earliest_rest? number seconds on llmpool.now's clock: when the first
--- that rests is back
---@field wait llmpool.times from a call to its lend
---@field hold llmpool.times from a lend to its return
---@field timeouts integer callers who waited in vain
---@field cancelled integer callers who were cancelled in line
---@field queue_full integer callers refused by max_waiting
---@field rested integer callers refused because all clients rest or are out of
--- service
---@field refused_closed integer callers refused by the end of pool or model
---@field created integer clients made by `create`
---@field create_failed integer
---@field checked integer checks that were run
---@field check_failed integer checks that found a client sick
---@field replaced integer clients given up to be made anew: sick, too old, used
--- too often, renewed, replaced
---@field expired integer clients given up after idle_timeout
---@field retired integer slots taken out for good
---@field leaked integer leases returned by the collector
---@field double_returns integer releases of what had been released
---@field clients llmpool.client_stats[] in order of registration

--- A client's numbers.
---@class llmpool.client_stats
---@field id string
---@field state "idle"|"lent"|"resting"|"vacant"|"busy"|"retired"|"disabled"|"open"|"half_open"
---@field slots integer leases that it bears at once
---@field lent integer leases that are out now
---@field acquired integer leases that began
---@field returned integer leases that ended
---@field held? number seconds that it is lent already, the longest lease
---@field hold llmpool.times from a lend to its return
---@field rest_until? number seconds on llmpool.now's clock
---@field rpm_left? number requests in its bucket
---@field tpm_left? number tokens in its bucket; below 0: what it owes
---@field breaker? "closed"|"open"|"half_open"
---@field outcomes integer requests of which it is known what has become
---@field errors integer of these
---@field error_rate number of late; 0 to 1
---@field latency? number seconds of a request, of late
---@field first_token? number seconds until the first token, of late
---@field last_error? string
---@field created integer
---@field checked integer
---@field check_failed integer
---@field replaced integer
---@field leaked integer

--- A client as it was registered, defaults filled in, and its numbers.
---@class llmpool.registered_client: llmpool.client_stats
---@field provider? string "simulated", "openai", ..., or a module's name
---@field rpm? number requests per minute
---@field tpm? number tokens per minute
---@field rpm_burst? number requests that a full bucket holds
---@field tpm_burst? number tokens that a full bucket holds
---@field breaker? llmpool.breaker|boolean as registered
---@field breaker_state? "closed"|"open"|"half_open"
---@field price? llmpool.price
---@field weight number for policies
---@field tags string[] for policies

---@class llmpool.pool
local pool = {}

--- What a model has done and holds now. Without a model: {models = {name ->
--- that}}.
---@param model? string
---@return llmpool.stats
function pool:stats(model) end

--- The clients of a model, in order of registration, each with the fields that
--- it was registered with, and what pool:stats says of it.
---@param model string
---@return llmpool.registered_client[] clients
function pool:clients(model) end
