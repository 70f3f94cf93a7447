---@meta llmpool

-- Annotations of the pool, its clients and its events: the one source of
-- help(), completion and the reference. Never executed.

--- Lends LLM clients to many callers, one caller per client at a time.
---@class llmpool
---@field _VERSION string the name and the version: "llmpool 0.1.0"
local llmpool = {}

--- Models with their clients, and the line of those who wait for one.
---@class llmpool.pool
local pool = {}

--- A client that is lent: good until the callback ends, or until it is
--- released or closed. Other fields and methods are those of its instance.
---@class llmpool.client
---@field id string as registered; unique within its model
---@field model string the model that it was lent for
local client = {}

--- A ring that records what happens in a pool.
---@class llmpool.events
local events = {}

--- What a failed call raises, or answers beside nil; tostring is the message.
---@class llmpool.error
---@field kind string "timeout", "closed", "queue_full", "unknown_model", ...
---@field message string the sentence
---@field cause? any what was raised further in
---@field model? string the model that was asked for
---@field client? string the client that failed
---@field provider? string "openai", "anthropic", "gemini", ...
---@field status? integer the provider's HTTP status
---@field retryable? boolean the same request may come again
---@field retry_at? number not before this moment of llmpool.now()
---@field committed? boolean some of the answer had been given out
---@field state? string the request's last state: "FAILED", "TRUNCATED", ...
---@field attempts? table[] a router's: each with model, client, kind, cause
---@field reason? string a policy's failure: "load", "error", "bound", ...
---@field explanation? llmpool.explanation of the plan that failed

--- Options of one call for a client.
---@class llmpool.call_options
---@field timeout? number seconds to wait; 0: now or not at all
---@field priority? integer 0 to 3; higher ones go first; default 1
---@field prefer? string|string[] ids: the first that is free is taken, else any
---@field exclude? string[] ids of clients that are not wanted
---@field tokens? number estimated, of the request, for clients with tpm

--- Options of a model.
---@class llmpool.model_options
---@field timeout? number seconds a call waits that gives no timeout itself
---@field max_waiting? integer more callers than these are refused: queue_full
---@field order? "lifo"|"fifo" which idle client is lent first; default "lifo"
---@field check? fun(client: llmpool.client): boolean? is it well?
---@field check_after? number seconds idle before a check; 0: always
---@field check_interval? number seconds idle after which a client is checked in
--- the background, and made anew if it is sick
---@field check_timeout? number seconds a check may take; default 5
---@field create? fun(spec: any, reason: string): table makes a client anew
---@field create_timeout? number seconds a creation may take; default 30
---@field max_creates? integer creations under way at once
---@field max_lifetime? number seconds; an older client is renewed
---@field max_uses? integer lends, after which a client is renewed
---@field idle_timeout? number seconds idle, after which it is destroyed
---@field min_idle? integer how many idle clients are kept all the same
---@field on_create? fun(client: llmpool.client) may wait
---@field on_lend? fun(client: llmpool.client) may not wait
---@field on_return? fun(client: llmpool.client) may not wait

--- What a client is made from: llmpool.simulated, llmpool.client, or a table
--- of your own with an id and a generate method.
---@class llmpool.client_spec
---@field id string unique within its model
---@field generate? fun(self: table, request: any): any, any
---@field stream? fun(self: table, request: any): function pieces, one a call
---@field provider? string who answers, as pool:clients shows it
---@field config? any what its module is given: keys are secrets in it

-- ---- the module ------------------------------------------------------------

--- Makes a pool of this Lua state's own.
---@return llmpool.pool
---@nodiscard
function llmpool.new() end

--- Opens the pool of that name: one a process, shared by all its threads.
--- Plain tables and functions with upvalues cannot be registered in it.
---@param name string not empty
---@return llmpool.pool
---@nodiscard
function llmpool.open(name) end

--- A client made by a Lua module, anew in every thread that uses it.
--- Raises on unknown fields and on a missing id or module.
---@param t { id: string, module: string, config?: any } the module is a
--- function, or a table with `new`, called with config and {id, model}
---@return llmpool.client_spec
function llmpool.client(t) end

--- Whether get_client records where it was called, so that the report of a
--- leak can say it (acquire always does). Costs a little.
---@param on boolean
---@return boolean before
function llmpool.trace_leaks(on) end

-- ---- registering -----------------------------------------------------------

--- Registers a model with its clients.
--- Raises if the model is there already, on unknown options, on an empty list.
---@param name string what callers ask for
---@param clients llmpool.client_spec[] one at least, with ids of their own
---@param options? llmpool.model_options
function pool:register_model(name, clients, options) end

--- Takes a model out; those who wait for it get an error of kind "closed".
---@param model string
function pool:unregister_model(model) end

--- Adds a client to a model that is in use; whoever waits may get it at once.
---@param model string
---@param client llmpool.client_spec
function pool:add_client(model, client) end

--- Replaces the client of the same id; a lease that is out ends on the old one.
---@param model string
---@param client llmpool.client_spec
function pool:replace_client(model, client) end

--- Takes a client out for good; if it is lent, when it comes back.
---@param model string
---@param id string
function pool:retire_client(model, id) end

-- ---- lending ---------------------------------------------------------------

--- Lends a client of the model to the callback. The client is back before
--- anybody sees what the callback returned or raised.
--- Raises the callback's error unchanged, or an error object: "timeout",
--- "queue_full", "closed", "resting", "create_failed", "cancelled",
--- "deadlock", "unknown_model".
---@async
---@param model string|string[] of several, the first that is free serves
---@param callback fun(client: llmpool.client): ...
---@param options? llmpool.call_options
---@return any ... what the callback returns
function pool:get_client(model, callback, options) end

--- Lends a client as a variable: local client <close> = pool:acquire(model).
--- Answers nil and an error object where get_client raises one; misuse, an
--- unknown model and a cancellation raise.
---@async
---@nodiscard
---@param model string|string[] of several, the first that is free serves
---@param options? llmpool.call_options
---@return llmpool.client? client
---@return llmpool.error? err
function pool:acquire(model, options) end

--- Lends a client for one request and gives its answer. Raises as get_client.
---@async
---@param model string|string[] of several, the first that is free serves
---@param request string|table what the client's generate takes
---@param options? llmpool.call_options
---@return string text
---@return table response the whole answer
function pool:generate(model, request, options) end

-- ---- a pool in use ---------------------------------------------------------

--- The names of the models, in order of registration.
---@return string[]
function pool:models() end

--- Shows the pool on the terminal, anew in its place, until a key is pressed;
--- where there is no terminal, once.
---@async
---@param interval? number seconds from picture to picture; default 0.5
function pool:watch(interval) end

--- Records the pool's events from now on. They are read with events:read, or
--- handed to a callback, one by one and in order, in a task of this thread's
--- that runs at its next wait: it holds no lock and may wait. A callback that
--- raises is reported as a failed task; the next event comes all the same. It
--- is called until the events are closed or this pool object is collected.
--- When `capacity` events have not been heard yet, the newest are dropped.
---@param options? integer|{ capacity?: integer, callback?: fun(event: llmpool.event) }
---a capacity (default 4096), or a table
---@return llmpool.events
function pool:events(options) end

--- Lends no client of the model (of all, without one) until resume; callers
--- wait.
---@param model? string
function pool:pause(model) end

--- Ends a pause.
---@param model? string none: of all models
function pool:resume(model) end

--- Makes all clients of the model (of all, without one) anew before they are
--- lent again.
---@param model? string
function pool:renew(model) end

--- Lends no more clients of the model at once than that.
---@param model string
---@param limit number a count, 0 or more; math.huge, the default: all there are
function pool:limit(model, limit) end

--- Lets a client rest: it is not lent for that time.
---@param model string
---@param id string
---@param seconds number
function pool:cool_down(model, id, seconds) end

--- Waits until nothing is lent. It goes on lending: pause or close it first.
---@async
---@param timeout? number seconds
---@return integer lent how many are still out: 0, unless the time ran out
function pool:drain(timeout) end

--- Closes the pool: who waits gets an error of kind "closed", what is lent
--- comes back.
function pool:close() end

-- ---- a client --------------------------------------------------------------

--- Sends one request through the client and waits for its answer. Raises what
--- the provider raises.
---@async
---@param request string|table
---@return string text
---@return table response the whole answer
function client:generate(request, ...) end

--- Lets the client rest after this lease: it is not lent for that time.
---@param seconds number
function client:cool_down(seconds) end

--- Takes the client out for good, after this lease.
function client:retire() end

--- Gives the client back before the block ends. A second time raises.
function client:release() end

-- ---- events ----------------------------------------------------------------

--- What has happened since the last call.
---@return llmpool.event[] events
---@return integer dropped how many were lost because the ring was full
function events:read() end

--- How many events were lost because the ring was full.
---@return integer
function events:dropped() end

--- Ends the recording.
function events:close() end

return llmpool
