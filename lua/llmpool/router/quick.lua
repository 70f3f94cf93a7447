-- quick.lua: the short way of a request whose plan asks for nothing special: no
-- hedge, no hooks, no gate, no time of its own, nobody who listens. One idea:
-- what most requests need is a client and its answer, and that is one call into
-- C (src/lua/attempt.c); only one that fails gets all that run.lua needs, and
-- goes on there as if it had begun there.

local native = require "llmpool.native"
local Request = require "llmpool.router.request"
local run = require "llmpool.router.run"

local attempt_once, is_cancelled, now = native.attempt, native.is_cancelled,
  native.now

local quick = {}

local function is_plain(made)
  local attempt = made[1]
  return attempt ~= nil and not (made.refuse or made.gate or made.timeout
    or made.on_attempt or made.on_done or attempt.hedge_after or attempt.wait
    or attempt.timeout or attempt.deadline or attempt.first or attempt.idle
    or attempt.exclude)
end

--- Whether a plan's first attempt can go the short way; looked up once for each
-- plan.
function quick.fits(made)
  local plain = made.plain
  if plain == nil then
    plain = is_plain(made)
    made.plain = plain
  end
  return plain
end

-- ---- what C leaves to Lua ---------------------------------------------------

-- A call with no more than it needs takes the pool's own short way.
local function acquire(pool, model, ask)
  if ask then return native.acquire(pool, model, ask) end
  return native.acquire(pool, model)
end

-- Several models, hooks, a coroutine of the user's own: the same, step by step.
local function step_by_step(router, model, request, ask)
  local client <close>, err = acquire(router.pool, model, ask)
  if not client then return false, err end
  local ok, text, response = pcall(client.generate, client, request)
  if ok then return true, text, response end
  return false, text, native.lease_names(client)
end

local function try(router, model, request, ask)
  local ok, a, b, c, d = pcall(step_by_step, router, model, request, ask)
  if ok then return a, b, c, d end
  return false, a
end

-- ---- one request ------------------------------------------------------------

-- The first attempt has failed: the request is made now, with it behind.
local function go_on(router, request, options, made, failed)
  local r = Request.new(router, request, options, made, false)
  r.started, r.cursor, r.tried = failed.started, 1, 1
  r.state = failed.client and "CONNECTED" or "QUEUED"
  return r, { tries = 0 }, made[1], failed
end

local function failed(router, request, options, made, started, err, model, id)
  if is_cancelled(err) then error(err, 0) end
  local record = run.record(1, started, model, id)
  if not model then run.no_client(made[1], record, err) end
  return false, err, go_on(router, request, options, made, record)
end

--- Answers by the first attempt. Returns true, text, response; or false, and
-- what run.after takes to go on.
function quick.generate(router, request, options, made)
  local attempt = made[1]
  local model, ask, started = attempt.model, attempt.ask, now()
  local ok, a, b, c = attempt_once(router.view, model, request, ask)
  if ok == nil then ok, a, b, c = try(router, model, request, ask) end
  if not ok then
    return failed(router, request, options, made, started, a, b, c)
  end
  router.requests = router.requests + 1
  return true, a, b
end

return quick
