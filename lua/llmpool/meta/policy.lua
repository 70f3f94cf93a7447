---@meta _

-- Annotations of policies, plans and the view. Never executed.

--- Decides where a request goes. It runs under a bound and may not wait.
---@alias llmpool.policy fun(request: any, view: llmpool.view, options?: llmpool.request_options): llmpool.planned

--- What stands for a plan: a model's name, one attempt, a list of both.
---@alias llmpool.planned string|llmpool.attempt|llmpool.plan

--- The attempts in their order: names of models, or what each may say.
---@class llmpool.plan
---@field [integer] string|llmpool.attempt
---@field timeout? number seconds for the request
---@field refuse? string the request is not sent: why
---@field retry_at? number with refuse: when it may come again
---@field on_attempt? fun(result: llmpool.attempt_result) after each attempt
---@field on_done? fun(result: llmpool.router_event) once, at the request's end

--- One attempt of a plan.
---@class llmpool.attempt
---@field model string|string[] a model, or several: who comes free first
---@field client? string|string[] the clients that are preferred, in that order
---@field exclude? string[] clients that are not wanted
---@field wait? number seconds in line for a client
---@field timeout? number seconds for the attempt, waiting included
---@field deadline? number seconds from the request's start
---@field first? number seconds until the first content of a stream
---@field idle? number seconds between two pieces of a stream
---@field retries? integer how often it is tried again, 0
---@field retry_on? string|string[] kinds of failure after which it is tried
--- again; default: all that make sense
---@field fallback_on? string|string[] kinds of failure after which the next
--- attempt is made, also those like "content_filter" after which nobody else
--- is asked otherwise; default: all that make sense
---@field backoff? number seconds: the first pause before a retry is at most that
---@field max_backoff? number seconds: no pause is longer
---@field hedge_after? number seconds until a second lane starts beside it
---@field commit? "first"|"end"|integer when a stream counts: its first content,
--- its end, or so many pieces
---@field context? integer tokens that it takes
---@field priority? integer 0 to 3

--- What a policy sees of a pool: the numbers of the moment of its decision.
--- view["gpt-4"] is a model.
---@class llmpool.view
---@field now number seconds
---@field streams boolean the answer is wanted piece by piece
---@field probe boolean nothing will be sent: keep your turn
---@field explaining boolean notes are wanted
local view = {}

--- The view of a model. Raises for one that is not registered.
---@param name string
---@return llmpool.view.model model
function view:model(name) end

--- The names of the pool's models, in order of registration.
---@return string[] names
function view:models() end

--- How many clients of these models have a free slot.
---@param names string[]
---@return integer clients
function view:open(names) end

--- The k-th client of these models that has a free slot, from 1.
---@param names string[]
---@param k integer
---@return llmpool.view.client|nil client
---@return string|nil model its name
function view:pick(names, k) end

--- Of the i-th and the j-th client of these models that have a free slot the one
--- with less of a field; of equals the i-th.
---@param names string[]
---@param field string
---@param i integer
---@param j integer
---@return integer|nil number of the model, in the list
---@return string|nil id
function view:better(names, field, i, j) end

--- The client with the least of a field, among those of these models that have
--- a free slot.
---@param names string[]
---@param field string
---@param last? integer of equals the first behind the client `after` of the
--- model number `last` comes first, in turn
---@param after? integer
---@return integer|nil number of the model, in the list
---@return integer|nil position of the client
---@return number|nil value
---@return string|nil id
function view:least(names, field, last, after) end

--- The client of these models that answers a request for the lowest price, in
--- time, as far as is known; in time comes before late, free before busy.
---@param names string[]
---@param prompt number tokens
---@param answer number tokens
---@param within? number seconds: its p95 must not be more
---@return integer|nil number of the model, in the list
---@return string|nil id
---@return number|nil price
---@return number|nil p95
---@return boolean|nil free
function view:cheapest(names, prompt, answer, within) end

--- Says why, for router:explain; without an explanation it does nothing.
---@param model? string
---@param client? string
---@param score? number
---@param why? string
function view:note(model, client, score, why) end

--- A model, as a policy sees it.
---@class llmpool.view.model
---@field name string
---@field free integer clients that could be lent now
---@field lent integer
---@field waiting integer callers in line
---@field resting integer
---@field limit number how many are lent at once at most; math.huge: all
---@field size integer clients
---@field slots integer what could be lent at once
---@field open integer clients that have a free slot
---@field paused boolean
---@field clients llmpool.view.client[] the same list until clients change
local model = {}

--- A field of all clients, a number each, in a list that is used again in the
--- next decision: the quick way to look at many clients. "free": of those alone
--- that have a free slot, which is quicker where many are lent.
---@param field string
---@param which? "free"
---@return number[] numbers what is not known is 0
---@return integer[]|nil positions with "free": where each stands in `clients`
function model:column(field, which) end

--- The client with the least of a field, among those that have a free slot.
---@param field string
---@param after? integer of equals the first behind that position comes first
---@return integer|nil position
---@return number|nil value
---@return string|nil id
function model:least(field, after) end

--- The client that answers a request for the lowest price, in time.
---@param prompt number tokens
---@param answer number tokens
---@param within? number seconds: its p95 must not be more
---@return integer|nil position
---@return number|nil price
---@return number|nil p95
---@return boolean|nil free
---@return string|nil id
function model:cheapest(prompt, answer, within) end

--- A client by its id, or nil.
---@param id string
---@return llmpool.view.client|nil client
function model:client(id) end

--- A client, as a policy sees it.
---@class llmpool.view.client
---@field id string
---@field model string
---@field state string "free", "lent", "resting", "busy", ...
---@field free integer slots
---@field lent integer slots
---@field slots integer
---@field resting integer slots
---@field rest_until number 0: it does not rest
---@field latency number seconds that whole answers took of late, peaks at once;
--- 0: not known. These are the pool's own books (pool:stats), for all calls of
--- the client, whoever made them
---@field first_token number the same, until the first token
---@field p95 number what 95 % of its last 64 answers took; 0: not known
---@field first_token_p95 number the same, of first tokens
---@field error_rate number from 0 to 1, lately
---@field calls integer that said how they went
---@field busy number lent per slot
---@field load number latency times the requests that it would have in hand;
--- of a latency half is believed a minute after the last answer
---@field weight number
---@field cost number the mean of the two prices
---@field input_price number per million tokens
---@field output_price number
---@field rpm_left number
---@field tpm_left number
---@field price? llmpool.price
---@field tags? string[]
---@field provider? string
