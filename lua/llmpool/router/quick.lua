-- quick.lua: the short way of a request whose plan asks for nothing special: no
-- hedge, no hooks, no gate, no time of its own, nobody who listens. One idea:
-- what most requests need is a client and its answer; only one that fails gets
-- all that run.lua needs, and goes on there as if it had begun there.

local native = require "llmpool.native"
local Request = require "llmpool.router.request"
local run = require "llmpool.router.run"

local now = native.now

-- A call with no more than it needs takes the pool's own short way.
local function acquire(pool, model, ask)
  if ask then return native.acquire(pool, model, ask) end
  return native.acquire(pool, model)
end

local quick = {}

--- Whether a plan's first attempt can go the short way.
local function is_plain(made)
  local attempt = made[1]
  return attempt ~= nil and not (made.refuse or made.gate or made.timeout
    or made.on_attempt or made.on_done or attempt.hedge_after or attempt.wait
    or attempt.timeout or attempt.deadline or attempt.first or attempt.idle
    or attempt.exclude)
end

--- Looked up once for each plan.
function quick.fits(made)
  local plain = made.plain
  if plain == nil then
    plain = is_plain(made)
    made.plain = plain
  end
  return plain
end

-- The first attempt has failed: the request is made now, with it behind.
local function go_on(router, request, options, made, failed)
  local r = Request.new(router, request, options, made, false)
  r.started, r.cursor, r.tried = failed.started, 1, 1
  r.state = failed.client and "CONNECTED" or "QUEUED"
  return r, { tries = 0 }, made[1], failed
end

-- Returns true, text, response; or false, the record and the error.
local function try(router, request, attempt)
  local started = now()
  local client <close>, err = acquire(router.pool, attempt.model, attempt.ask)
  if not client then
    local record = { number = 1, started = started }
    run.no_client(attempt, record, err)
    return false, record, err
  end
  local ok, text, response = pcall(client.generate, client, request)
  if ok then return true, text, response end
  local model, id = native.lease_names(client)
  return false, { number = 1, started = started, model = model, client = id },
    text
end

--- Answers by the first attempt. Returns true, text, response; or false, and
-- what run.after takes to go on.
function quick.generate(router, request, options, made)
  local attempt = made[1]
  local called, ok, a, b = pcall(try, router, request, attempt)
  if called and ok then
    router.requests = router.requests + 1
    return true, a, b
  end
  if not called then
    local record = { number = 1, started = now() }
    run.no_client(attempt, record, ok)
    a, b = record, ok
  end
  if native.is_cancelled(b) then error(b, 0) end
  return false, b, go_on(router, request, options, made, a)
end

return quick
