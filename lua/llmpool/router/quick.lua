-- quick.lua: the short way of a request whose plan asks for nothing special: no
-- hedge, no hooks, no gate, nobody who listens. One idea: what most requests
-- need is a client and its answer, perhaps within a time, and that is one call
-- into C (src/lua/attempt.c); one that fails goes straight on to the next
-- attempt where there is no more to it. All else gets what run.lua needs, and
-- goes on there as if it had begun there.

local lanes = require "llmpool.router.lanes"
local native = require "llmpool.native"
local Request = require "llmpool.router.request"
local run = require "llmpool.router.run"

local attempt_once, attempt_within = native.attempt, native.attempt_within
local is_cancelled, now = native.is_cancelled, native.now

local quick = {}

local function is_plain(attempt)
  return not (attempt.hedge_after or attempt.wait or attempt.timeout
    or attempt.deadline or attempt.first or attempt.idle or attempt.exclude)
end

local function has_more(made)
  return made.refuse or made.gate or made.on_attempt or made.on_done
end

-- How many attempts of the plan, from the first on, can go the short way.
local function count_plain(made)
  local n = 0
  if has_more(made) or made.timeout then return n end
  while made[n + 1] and is_plain(made[n + 1]) do n = n + 1 end
  return n
end

-- Whether the first attempt has nothing special but its time, or the plan's.
local function is_timed(made)
  local first = made[1]
  return not (has_more(made) or first.hedge_after or first.first or first.idle
    or first.exclude)
end

--- Looks once at a plan: `plain` says how many of its attempts, from the first
-- on, go the short way; `timed`, whether the first does if it is given a time;
-- `budgeted`, whether it has budgets of its own.
function quick.look(made)
  made.plain = count_plain(made)
  made.timed = made.plain > 0 or not made.refuse and is_timed(made)
  made.budgeted = (made.hedge_budget or made.retry_budget) ~= nil
end

-- ---- what C leaves to Lua ---------------------------------------------------

-- A call with no more than it needs takes the pool's own short way.
local function acquire(pool, model, ask)
  if ask then return native.acquire(pool, model, ask) end
  return native.acquire(pool, model)
end

local function steps(router, model, request, ask)
  local client <close>, err = acquire(router.pool, model, ask)
  if not client then return false, err end
  local ok, text, response = pcall(client.generate, client, request)
  if ok then return true, text, response end
  return false, text, native.lease_names(client)
end

--- Several models, hooks, a coroutine of the user's own: what native.attempt
-- does, step by step.
function quick.step_by_step(router, model, request, ask)
  local called, ok, a, b, c = pcall(steps, router, model, request, ask)
  if called then return ok, a, b, c end
  return false, ok
end

-- Makes an attempt. Returns true, text, response; or false, the error, and
-- whose it was: model and id, where there was a client.
local function make(router, request, attempt)
  local model, ask = attempt.model, attempt.ask
  local ok, a, b, c = attempt_once(router.view, model, request, ask)
  if ok == nil then
    return quick.step_by_step(router, model, request, ask)
  end
  return ok, a, b, c
end

-- ---- after a failure --------------------------------------------------------

-- What it takes to go on in run.lua, with these attempts behind.
local function go_on(router, request, options, made, records, deadline)
  local r = Request.new(router, request, options, made, false)
  r.deadline = deadline
  local n = #records
  for i = 1, n - 1 do
    if records[i].client then lanes.exclude(r, records[i]) end
  end
  r.started, r.attempts = records[1].started, records
  r.cursor, r.tried, r.state = n, n, records[n].state
  return r, { tries = 0 }, made[n], records[n]
end

local function record_of(number, attempt, started, err, model, id)
  local record = run.record(number, started, model, id)
  if not model then run.no_client(attempt, record, err) end
  run.note(record, err, id and "CONNECTED" or "QUEUED")
  return record
end

-- Whether none of these has been at the model of the attempt.
local function is_fresh(attempt, records)
  if type(attempt.model) ~= "string" then return false end
  for _, record in ipairs(records) do
    if record.model == attempt.model then return false end
  end
  return true
end

--- Goes on after the first attempt, begun at `started`, whose failure follows.
-- Returns true, text, response; or false, the error and what run.after takes.
function quick.walk(router, request, options, made, started, err, model, id)
  local records = {}
  for i = 1, made.plain do
    if is_cancelled(err) then error(err, 0) end
    local attempt, after = made[i], made[i + 1]
    local record = record_of(i, attempt, started, err, model, id)
    records[i] = record
    if i == made.plain or not after or router.listening
      or not run.leads_on(attempt, record, err)
      or not is_fresh(after, records) then
      break
    end
    started = now()
    local ok, a, b, c = make(router, request, after)
    if ok then
      router.requests = router.requests + 1
      return true, a, b
    end
    err, model, id = a, b, c
  end
  return false, err, go_on(router, request, options, made, records)
end

-- ---- with a time -----------------------------------------------------------

local function earliest(a, b)
  if a and b then return a < b and a or b end
  return a or b
end

-- When the request's time is over, or nil, and when that of its first attempt.
local function ends_of(router, options, made, attempt, started)
  local timeout = earliest(made.timeout, options.timeout or router.timeout)
  local deadline = timeout and started + timeout or nil
  local till = deadline
  if attempt.timeout then till = earliest(till, started + attempt.timeout) end
  if attempt.deadline then till = earliest(till, started + attempt.deadline) end
  return deadline, till
end

-- What is left of a time; what is over is 0, as run.lua has it.
local function left_of(till)
  local left = till - now()
  return left > 0 and left or 0
end

--- Makes the first attempt of a plan within its time, and goes on elsewhere if
-- it fails. Returns what walk does; or nil: nothing was done.
function quick.within(router, request, options, made, started)
  local attempt = made[1]
  local deadline, till = ends_of(router, options, made, attempt, started)
  local left = till and left_of(till)
  if left == 0 then return nil end
  local wait = earliest(attempt.wait, left)
  local ok, a, b, c = attempt_within(router.view, attempt.model, request,
    attempt.ask, wait, till)
  if ok then
    router.requests = router.requests + 1
    return ok, a, b
  end
  if ok == nil then return nil end
  if is_cancelled(a) then error(a, 0) end
  local record = record_of(1, attempt, started, a, b, c)
  return false, a, go_on(router, request, options, made, { record }, deadline)
end

return quick
