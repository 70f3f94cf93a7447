---@meta llmpool.router

-- Annotations of the router: requests over a pool, as a policy says. Never
-- executed.

---@class llmpool
local llmpool = {}

--- Sends requests over a pool as a policy says, and does what takes time:
--- waits, fails over, retries, hedges, streams.
---@class llmpool.router
local router = {}

--- What llmpool.router takes.
---@class llmpool.router_options
---@field pool llmpool.pool
---@field policy? llmpool.policy|llmpool.planned a policy, a plan that is
--- always the same, or the name of one of the library's; default: any model,
--- who comes free first
---@field default? llmpool.planned for requests whose policy failed; default: any
--- model
---@field timeout? number seconds for a request that says none; default: none
---@field retry_budget? llmpool.budget default {ratio = 0.2, burst = 10}
---@field hedge_budget? llmpool.budget default {ratio = 0.1, burst = 10}
---@field backoff? number seconds: the first pause is at most so long; 0.5
---@field max_backoff? number seconds: no pause is longer; 8
---@field context? table<string, integer> tokens that each model takes
---@field instructions? integer of a decision; default 100000
---@field memory? integer bytes that a decision may hold; default 16 MiB
---@field strict? boolean true: a policy that fails is the request's error
---@field probes? table requests that a new policy is asked for before it serves
---@field probation? integer decisions until a new policy is trusted; 100
---@field on_event? fun(event: llmpool.router_event) as with router:listen

--- A share of the requests, for retries and hedges.
---@class llmpool.budget
---@field ratio? number of the requests
---@field burst? number so many more, saved up

--- Options of one request.
---@class llmpool.request_options
---@field timeout? number seconds until the answer, waiting included
---@field priority? integer 0 to 3, in the pool's line
---@field tokens? integer estimated, for clients with tpm and for policies
---@field key? any for sticky and canary
---@field tenant? any for tenant_shares
---@field tags? string[] for by_request

--- Makes a router. Raises for unknown options and for what is no policy.
---@param options llmpool.router_options
---@return llmpool.router router
---@nodiscard
function llmpool.router(options) end

--- Compiles a plan: it is checked once, however often a policy returns it.
--- Raises a sentence that says what a plan is.
---@param value llmpool.planned
---@return llmpool.plan plan which must not be changed
---@nodiscard
function llmpool.plan(value) end

--- What llmpool.router calls.
---@param options llmpool.router_options
---@return llmpool.router router
function router.new(options) end

--- Answers a request. Raises the first cause's kind, with `cause`, `attempts`,
--- `retry_at` and `explanation`; kind "refused" if the policy sends nothing.
---@async
---@param request string|table a prompt, or a request in OpenAI's form
---@param options? llmpool.request_options
---@return string text
---@return table response the whole answer
function router:generate(request, options) end

--- Answers a request piece by piece. Returns when the answer has committed;
--- until then it raises as generate does. The stream raises kind "truncated",
--- with committed = true, if the answer is cut off after that.
---@async
---@param request string|table
---@param options? llmpool.request_options
---@return llmpool.router_stream stream
function router:stream(request, options) end

--- Why a request would go where it would go now; print shows a table. Nothing
--- is sent, and policies keep their turn.
---@param request string|table
---@param options? llmpool.request_options
---@return llmpool.explanation explanation
function router:explain(request, options) end

--- Takes another policy, from a file that returns it, if it loads and makes
--- plans for probe requests. During its probation a failure puts the old one
--- back.
---@param path string
---@return boolean|nil ok
---@return string|nil err why it was refused; the old policy stays
function router:reload(path) end

--- Follows a file: takes its policy now, and when it has changed. It is looked
--- at when a request comes.
---@param path string
---@param every? number seconds between two looks, 1
---@return boolean|nil ok
---@return string|nil err why the file's present policy was refused
function router:watch(path, every) end

--- Calls fn(event) for what happens from now on: events "decision", "state",
--- "attempt_failed", "retry", "hedge", "budget", "done", "policy_failed",
--- "reloaded", "reload_refused", "rolled_back".
---@param fn fun(event: llmpool.router_event)
---@return fun() stop ends it
function router:listen(fn) end

--- An answer that comes in pieces: called, or read, it gives the next.
---@class llmpool.router_stream
---@field model string who answers
---@field client string
---@field response? table the whole answer, after its end

--- Why a request goes where it goes.
---@class llmpool.explanation
---@field policy string
---@field request string its first words
---@field plan? llmpool.plan none where the policy has failed
---@field error? string what the policy failed with
---@field reason? string why that is a failure
---@field refused? string why the policy sends nothing
---@field candidates llmpool.candidate[] all clients, in the plan's order
---@field chosen? llmpool.candidate the first of them
---@field notes string[] the policy's remarks
---@field attempts? llmpool.attempt_record[] of a failed request: what was tried

--- A client, as the explanation of a request shows it.
---@class llmpool.candidate
---@field model string
---@field client string
---@field state string "free", "busy, 1 of 1 lent", "rests 3 s more", ...
---@field free integer slots
---@field lent integer
---@field waiting integer callers in its model's line
---@field latency number seconds, of late; 0: unknown
---@field first_token number the same, of streams
---@field error_rate number of late; 0 to 1
---@field rank? integer which attempt of the plan; nil: left out
---@field preference? integer 1: preferred by it
---@field position integer in order of registration
---@field score? number the policy's
---@field why string

--- An attempt of a request that failed.
---@class llmpool.attempt_record
---@field number integer
---@field model string
---@field client? string its id; nil: none was lent
---@field state string how far it came
---@field started number seconds on llmpool.now's clock
---@field seconds? number
---@field kind string of failure
---@field message string
---@field cause any what it failed with
---@field retry_at? number when it may be asked again

return router
