---@meta llmpool.scenario

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

-- ---- traces ----------------------------------------------------------------

--- Begins to write what a router is asked, or what a pool lends, as JSON lines
--- without any words of prompts or answers: for `llmpool sim --replay`. Raises
--- if the file cannot be written.
---@param path string the file, which is written anew
---@param target any a router or a pool
---@return table trace with the method close
function llmpool.trace(path, target) end

-- ---- scenarios -------------------------------------------------------------

--- require "llmpool.scenario": a scenario is declared as a table, checked at
--- once, and run any number of times. The module itself may be called:
--- scenario { models = ..., traffic = ... }.
---@class llmpool.scenario
---@overload fun(t: llmpool.scenario_spec): llmpool.scenario_object
local scenario = {}

--- A source of requests: {kind, ...}. Kinds and their own fields: "poisson"
--- and "constant" (rate a second), "bursts" (every, size, spread), "day" (peak,
--- low, period, peak_at), "steps" (steps = {{from=, rate=}}), "at" (times),
--- "once" (callers, at), "closed" (callers, think), "replay" (file).
---@class llmpool.traffic
---@field model? string | string[] asked for; policies may choose another
---@field tenant? string whose requests they are
---@field stream? boolean read piece by piece
---@field prompt_tokens? llmpool.distribution
---@field max_tokens? llmpool.distribution
---@field request? string | table | fun(number: integer): any
---@field tags? table handed to the policy
---@field keys? integer how many different keys, for sticky policies
---@field timeout? number seconds for the whole request
---@field priority? integer 0 to 3
---@field from? number seconds
---@field to? number seconds
---@field count? integer so many requests and no more

--- What a scenario says.
---@class llmpool.scenario_spec
---@field name? string
---@field about? string
---@field models table name -> a list of clients, or {clients = list,
--- options? = table, live? = list}
---@field traffic llmpool.traffic | llmpool.traffic[] | (string|llmpool.traffic)[]
---@field policy? function | table | string a function, a plan, a name, a file
---@field make_policy? fun(): any makes one that remembers, anew for each run
---@field router? table options of the router, such as timeout
---@field duration? number seconds of traffic; the run ends with the last answer
---@field seed? integer (1)
---@field expect? (string | function)[] "latency.p95 < 2", or fun(report)
---@field actions? table[] {at = seconds, function (run) ... end}
---@field prepare? function called with {pool, router, scenario, now}
---@field log? integer events kept one by one, for a timeline

--- What a run was like; every number has a path, such as latency.p95.
---@class llmpool.report
---@field requests integer
---@field served integer
---@field served_rate number
---@field failed table kind -> count, and total
---@field wait table count, mean, sd, min, p50, p95, p99, max: of each lease
---@field turn table the same, of requests in tenant_shares' own line
---@field latency table the same, of what was served
---@field models table name -> {wait, lends, queue}
---@field clients table[] {id, model, lends, utilisation, resting, ...}
---@field queue table {mean, max, series, width}
---@field tenants table name -> {requests, served, failed, latency, cost}
---@field fairness table Jain's index: of the service, of the speed
---@field cost number by the clients' prices
---@field hash string of the sequence of events
---@field wall number seconds of processor time that the run took
---@field ok boolean whether every expectation held
---@field expected table[] {text, ok, message, actual}

--- A scenario that was declared.
---@class llmpool.scenario_object
local object = {}

--- Declares a scenario; raises at the script's line on what is wrong with it.
---@param t llmpool.scenario_spec
---@return llmpool.scenario_object
function scenario.new(t) end

--- The scenario that a script returns; raises on a script that does not
--- compile, raises, or returns something else.
---@param path string
---@param settings? table what scenario.settings gives to the script
---@return llmpool.scenario_object
function scenario.load(path, settings) end

--- The settings of a scenario script: defaults that --set may change. Raises
--- on a setting that is not among them, and names the nearest.
---@param defaults table name -> number, string or boolean
---@return table
function scenario.settings(defaults) end

--- n clients of the same fields, whose ids are t.id and a number.
---@param n integer
---@param t table what llmpool.simulated takes
---@return table[]
function scenario.clients(n, t) end

--- Whether a value is a scenario.
---@param value any
---@return boolean
function scenario.is(value) end

--- Runs the scenario and judges its expectations; raises what its policy
--- raises.
---@param options? { seed?: integer, policy?: any, real?: boolean, live?: boolean, log?: integer, trace?: function, progress?: function }
---@return llmpool.report report
---@return table run for a timeline or a trace
function object:run(options) end

--- Runs the scenario and raises if an expectation does not hold; under busted
--- that is a failure of the test.
---@param options? table as of run
---@return llmpool.report
function object:verify(options) end

return scenario
