---@meta _

-- Annotations of simulation: simulated clients, scenarios, traces. Never
-- executed.

---@class llmpool
local llmpool = {}

--- A number, or how it varies: {"constant", value=}, {"uniform", min=, max=},
--- {"exponential", mean=}, {"lognormal", median=, sigma=}, or {"empirical",
--- values={...}} or {"empirical", file=} (one number a line).
---@alias llmpool.distribution number | table

--- When a simulated client fails, and how. Kinds are those of error objects
--- (server, overloaded, rate_limit, auth, reset, timeout_first, ...) and
--- "silence"; `kinds` is a list of them, or a table of their weights.
---@class llmpool.failures
---@field rate? number from 0 to 1: of all requests
---@field kind? string of what fails by `rate` ("server")
---@field kinds? table
---@field after? llmpool.distribution seconds until a failure is known (0.05)
---@field outages? { from?: number, to?: number, kind?: string, kinds?: table, every?: number, down?: number, rate?: number }[] by the clock; with every and down it comes and goes
---@field burst? { every: number, lasts: number, rate?: number, kind?: string, kinds?: table } bad times that come at random: mean seconds between, and of each
---@field limit? { rpm?: number, tpm?: number, retry_after?: boolean } 429 by real accounting
---@field slow_first? { rate?: number, delay: llmpool.distribution } a first token that is late
---@field cut? { rate?: number, at?: llmpool.distribution } the answer ends after so many tokens
---@field silence? { rate: number } never answers, until the time that is allowed is over

--- What llmpool.simulated takes, besides the fields of every client.
---@class llmpool.simulated_spec
---@field id string
---@field latency? llmpool.distribution | fun(request: any): number seconds until the whole answer
---@field first_token? llmpool.distribution seconds until the first token
---@field per_token? llmpool.distribution seconds from token to token
---@field tokens? llmpool.distribution how many tokens an answer has
---@field failure_rate? number from 0 to 1: fails with kind "provider"
---@field failures? llmpool.failures
---@field timeout? { first?: number, idle?: number, total?: number } what the client allows its provider, in seconds
---@field reply? string | fun(request: any, client: { id: string, model: string }): string

--- A client that only pretends: waits, then answers, streams or fails. Its
--- time is the world's and its chance the seed's, so that a simulation repeats.
--- Raises on unknown fields, distributions and kinds, and names the nearest.
---@param t llmpool.simulated_spec
---@return llmpool.client_spec
function llmpool.simulated(t) end
