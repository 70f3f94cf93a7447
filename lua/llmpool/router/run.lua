-- run.lua: one request on its way through a plan.
--
--   QUEUED -> CONNECTED -> HEADERS -> PRE_CONTENT -> COMMITTED -> DONE
--
-- One idea: until it is COMMITTED nothing was given out, so any failure leads
-- back to QUEUED with the next client; after it, a failure is TRUNCATED and
-- told. With nothing left to try it is FAILED; given up by its caller it is
-- CANCELLED. What runs through the plan is a lane; a hedge is a second lane
-- through the same plan, and the first that commits ends the other.

local failure = require "llmpool.router.failure"
local health = require "llmpool.health"
local kinds = require "llmpool.router.kinds"
local lanes = require "llmpool.router.lanes"
local native = require "llmpool.native"
local source = require "llmpool.router.source"

local now, random, sleep = native.now, native.random, native.sleep
local kind_of = failure.kind

local run = {}

-- ---- states -----------------------------------------------------------------

--- Goes over to a state, and tells those who listen.
local function enter(r, state, attempt)
  local from = r.state
  r.state = state
  local router = r.router
  if router.listening then
    router:_emit { event = "state", request = r.id, from = from, to = state,
                  time = now(), model = attempt and attempt.model,
                  client = attempt and attempt.client,
                  attempt = attempt and attempt.number }
  end
end

run.enter = enter

--- Calls a hook of the user's, which must not cost a request its answer.
local function call_hook(hook, ...)
  local ok, err = pcall(hook, ...)
  if ok then return end
  if native.is_cancelled(err) then error(err, 0) end
  warn("llmpool: a hook of the router failed: " .. tostring(err))
end

run.call_hook = call_hook

-- ---- attempts ---------------------------------------------------------------

-- What it means for the client, its own books have (outcome.c): the plan's
-- hooks are told.
local function outcome(r, record, ok, usage)
  local hooks = r.plan.on_attempt
  if not hooks then return end
  local result = {
    request = r.request, options = r.options, model = record.model,
    client = record.client, ok = ok, kind = record.kind,
    error = record.cause, seconds = now() - record.started,
    latency = record.latency,
    usage = usage, number = record.number, time = now(),
  }
  for _, hook in ipairs(hooks) do call_hook(hook, result) end
end

run.outcome = outcome

--- The record of an attempt, with room for all that is noted of it.
function run.record(number, started, model, client)
  return { number = number, started = started, model = model, client = client,
           kind = nil, cause = nil, seconds = nil, state = nil }
end

--- Notes of an attempt how it has failed, and in which state.
local function note(record, err, state)
  record.kind, record.cause, record.state = kind_of(err), err, state
  record.seconds = now() - record.started
  if type(err) == "table" then record.retry_at = err.retry_at end
end

local function tell_failure(r, record, err)
  if r.router.listening then
    r.router:_emit { event = "attempt_failed", request = r.id, time = now(),
                    model = record.model, client = record.client,
                    attempt = record.number, kind = record.kind,
                    message = tostring(err) }
  end
  outcome(r, record, false)
end

local function note_failure(r, record, err)
  local attempts = r.attempts
  note(record, err, r.state)
  attempts[#attempts + 1] = record
  tell_failure(r, record, err)
end

-- Seconds that this attempt may still take, or nil; what is over is 0.
local function time_left(r, attempt, started)
  local till = r.deadline
  if attempt.timeout then
    local own = started + attempt.timeout
    if not till or own < till then till = own end
  end
  if attempt.deadline then
    local own = r.started + attempt.deadline
    if not till or own < till then till = own end
  end
  if not till then return nil end
  local left = till - now()
  return left > 0 and left or 0
end

-- The pool's options for this attempt: a table of its own only if need be.
local function ask_for(r, lane, attempt, left)
  local excluded = lanes.excluded(r, lane, attempt)
  local wait = attempt.wait
  if left and (not wait or left < wait) then wait = left end
  if not (wait or excluded or r.priority or r.tokens) then
    return attempt.ask
  end
  return { timeout = wait, exclude = excluded, prefer = attempt.client,
           priority = attempt.priority or r.priority, tokens = r.tokens }
end

-- A trace of everything tells by it which asks of the pool are a router's.
local function acquire(r, model, ask)
  local router = r.router
  if router.take then return router.take(router.pool, model, ask) end
  return native.acquire(router.pool, model, ask)
end

-- Runs fn under the attempt's time; what takes longer is timeout_total. The
-- client is told the time as well, so that it can end by itself and say what
-- was slow: it gets the thousandth of a second that makes it first.
local GRACE = 0.001

local function within(seconds, fn, ...)
  if not seconds then return pcall(fn, ...) end
  return pcall(native.timeout_inside, seconds + GRACE, fn, ...)
end

local function call_options(attempt, left)
  if not (left or attempt.first or attempt.idle) then return nil end
  return { timeout = { total = left, first = attempt.first,
                       idle = attempt.idle } }
end

-- The client was too slow for the plan: that is counted against it, as if its
-- provider had said so itself.
local function blame(client, err, since)
  pcall(client.report, client, health.of_error(err, now() - since))
end

run.blame = blame

-- A timeout that `within` raised, as a provider would.
local function as_provider(client, err, record, left, started)
  if left and kind_of(err) == "timeout" and now() - started >= left then
    local object = failure.object("timeout_total",
      ("client \"%s\" of \"%s\": no answer within %g s"):format(record.client,
        record.model, left))
    object.client, object.model, object.retryable = record.client,
      record.model, true
    blame(client, object, started)
    return object
  end
  return err
end

local function no_client(attempt, record, err)
  local model = attempt.model
  record.model = type(err) == "table" and err.model
    or type(model) == "table" and model[1] or model
  return false, record, err
end

-- Whether nobody is told of an attempt while it is made.
local function is_unwatched(r)
  local made, router = r.plan, r.router
  return not (r.lanes or router.listening or router.take or made.on_attempt
    or made.on_done)
end

-- All of an attempt in one call into C (src/lua/attempt.c). Returns what
-- `generate` does; or nil, and nothing was done: it takes more than that.
local function at_once(r, attempt, record, ask)
  local ok, a, b, id = native.attempt(r.router.view, attempt.model, r.request,
    ask)
  if ok == nil then return nil end
  if not ok and not b then return no_client(attempt, record, a) end
  enter(r, "CONNECTED", record)
  if ok then return true, a, b end
  record.model, record.client = b, id
  return false, record, a
end

-- One whole answer. Returns true, text, response, or false, the record and the
-- error.
local function generate(r, lane, attempt, record)
  local started = record.started
  local left = time_left(r, attempt, started)
  if left == 0 then return no_client(attempt, record, r:too_late()) end
  local ask = ask_for(r, lane, attempt, left)
  if not (left or attempt.first or attempt.idle) and is_unwatched(r) then
    local ok, a, b = at_once(r, attempt, record, ask)
    if ok ~= nil then return ok, a, b end
  end
  local client <close>, err = acquire(r, attempt.model, ask)
  if not client then return no_client(attempt, record, err) end
  record.model, record.client = client.model, client.id
  lane.model, lane.client = record.model, record.client
  enter(r, "CONNECTED", record)
  local since = now()
  if left then left = time_left(r, attempt, started) end
  local ok, text, response = within(left, client.generate, client, r.request,
    call_options(attempt, left))
  if not ok then
    return false, record, as_provider(client, text, record, left, since)
  end
  record.latency = now() - since
  return true, text, response
end

-- ---- after a failure --------------------------------------------------------

-- Full jitter: anything from nothing to twice as much every time.
local function backoff(r, attempt, tries)
  local base = attempt.backoff or r.router.backoff
  local most = attempt.max_backoff or r.router.max_backoff
  return random() * math.min(most, base * 2 ^ (tries - 1))
end

-- Whether a wait of so many seconds ends before the request's time.
local function fits(r, attempt, seconds)
  local left = time_left(r, attempt, now())
  return not left or seconds < left
end

-- How long until the same route may be tried again; nil: never.
local function pause(r, lane, attempt, record, verdict)
  if lanes.has_other(r, lane, attempt) then return 0 end
  if not verdict.again and lanes.has_more(r, lane) then return nil end
  lanes.forgive(r, attempt)
  local seconds = backoff(r, attempt, lane.tries)
  if record.retry_at then
    seconds = math.max(seconds, record.retry_at - now())
  end
  return fits(r, attempt, seconds) and seconds or nil
end

-- Whether the same attempt is made again, when its wait is over.
local function retry(r, lane, attempt, record, verdict)
  if verdict.moves and lanes.has_other(r, lane, attempt) then return true end
  if lane.tries >= attempt.retries then return false end
  local on = attempt.retry_on
  if on and not on[record.kind] then return false end
  lane.tries = lane.tries + 1
  local seconds = pause(r, lane, attempt, record, verdict)
  if not seconds then return false end
  local router = r.router
  if not (r.plan.retry_budget or router.retry_budget):take() then
    if router.listening then
      router:_emit { event = "budget", request = r.id, budget = "retry",
                    time = now() }
    end
    return false
  end
  if router.listening then
    router:_emit { event = "retry", request = r.id, time = now(),
                  after = seconds, attempt = record.number }
  end
  if seconds > 0 then sleep(seconds) end
  return true
end

local function is_over(r) return r.deadline and r.deadline <= now() end

-- After a failure that is the caller's own: nobody else is asked, or only a
-- larger model.
local function end_with(r, lane, attempt, verdict)
  if verdict.stop then
    r.stopped = true
  elseif not is_over(r) then
    return lanes.larger(r, lane, attempt)
  end
end

-- The same, where the plan names the kind: what it says goes before.
local function go_on_as_told(r, lane, attempt, record, verdict)
  local again, on = attempt.retry_on, attempt.fallback_on
  if is_over(r) then return nil end
  if record.client then lanes.exclude(r, record) end
  if again and again[record.kind]
    and retry(r, lane, attempt, record, kinds.AGAIN) then
    return attempt
  end
  if on and on[record.kind] then return lanes.next(r, lane) end
  return end_with(r, lane, attempt, verdict)
end

local function names(attempt, kind)
  local again, on = attempt.retry_on, attempt.fallback_on
  return again and again[kind] or on and on[kind]
end

-- The attempt to go on with, or nil.
local function go_on(r, lane, attempt, record, err)
  local verdict = kinds.verdict(record.kind, err)
  if verdict.stop or verdict.larger then
    if names(attempt, record.kind) then
      return go_on_as_told(r, lane, attempt, record, verdict)
    end
    return end_with(r, lane, attempt, verdict)
  end
  if is_over(r) then return nil end
  if record.client then lanes.exclude(r, record) end
  if retry(r, lane, attempt, record, verdict) then return attempt end
  local on = attempt.fallback_on
  if on and not on[record.kind] then return nil end
  return lanes.next(r, lane)
end

--- Whether go_on would take the plan's next attempt at once, whatever there is
-- to the request: there is nothing to wait for and nobody to be asked instead.
function run.leads_on(attempt, record, err)
  local verdict = kinds.verdict(record.kind, err)
  return not (verdict.stop or verdict.larger or verdict.moves)
    and attempt.retries == 0 and not attempt.fallback_on
end

local function stop_if_cancelled(r, err)
  if not native.is_cancelled(err) then return end
  if not lanes.is_loser(r) and r.state ~= "CANCELLED" then
    enter(r, "CANCELLED")
  end
  error(err, 0)
end

-- Failures that say that nothing will ever come are the caller's to see.
local function try(r, lane, attempt)
  local record = run.record(r.tried + 1, now())
  r.tried = record.number
  enter(r, "QUEUED", record)
  local step = r.streams and source.open or generate
  local called, ok, a, b = pcall(step, r, lane, attempt, record)
  lane.client = nil
  if not called then
    ok, a, b = false, record, ok
    if not record.model then no_client(attempt, record, b) end
  end
  if ok then return record, a, b end
  stop_if_cancelled(r, b)
  note_failure(r, record, b)
  return nil, record, b
end

--- Goes through the plan from `attempt` on. Returns the record of the attempt
-- that succeeded and what it brought, or nil.
function run.lane(r, lane, attempt)
  while attempt do
    local record, a, b = try(r, lane, attempt)
    if record then return record, a, b end
    if r.won or r.stopped then return nil end
    attempt = go_on(r, lane, attempt, a, b)
  end
end

--- Goes on after an attempt that was made elsewhere, has failed, and is noted.
function run.after(r, lane, attempt, record, err)
  tell_failure(r, record, err)
  return run.lane(r, lane, go_on(r, lane, attempt, record, err))
end

run.time_left, run.ask_for, run.within = time_left, ask_for, within
run.acquire, run.note = acquire, note
run.call_options, run.no_client = call_options, no_client
source.bind(run)

return run
