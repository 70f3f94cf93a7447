-- kinds.lua: what kinds of failure there are and what may be done after each.
-- One idea: one table says it all, and the router only looks there.
--   stop    nobody else would answer differently
--   larger  only a model with a larger context may
--   moves   at once to another client of the attempt: it is this one's trouble
--   again   the same client may be asked again, when its backoff is over
-- What has none of these goes to another client only. It knows no clients.

local sorted = require "llmpool.sorted"

local kinds = {}

local MOVES, AGAIN, OTHER = { moves = true }, { again = true }, {}
local STOP = { stop = true }

kinds.AGAIN = AGAIN

kinds.known = {
  -- the caller's
  bad_request = STOP, content_filter = STOP, too_large = STOP,
  cancelled = STOP, context_length = { larger = true },
  -- a key's
  auth = MOVES, billing = MOVES, quota_day = MOVES, not_found = MOVES,
  rate_limit = { moves = true, again = true },
  -- the provider's
  overloaded = AGAIN, server = AGAIN, reset = AGAIN, malformed = AGAIN,
  truncated = AGAIN, provider = AGAIN, resolve = AGAIN, tls = OTHER,
  proxy = OTHER, timeout_connect = OTHER, timeout_first = OTHER,
  timeout_idle = OTHER, timeout_total = OTHER,
  -- a client's that says no kind: an error of its code
  error = AGAIN,
  -- the pool's: no client came
  timeout = AGAIN, resting = AGAIN, queue_full = AGAIN, create_failed = AGAIN,
  closed = OTHER, unknown_model = OTHER, deadlock = STOP,
}

kinds.names = sorted(kinds.known)

-- Not the client's doing: they say nothing of its health.
kinds.innocent = {
  bad_request = true, content_filter = true, too_large = true,
  cancelled = true, context_length = true,
}

--- What may be done after this failure.
-- @param err the error: an object with kind, or anything else
function kinds.verdict(kind, err)
  local verdict = kinds.known[kind] or kinds.known.error
  if verdict.stop or verdict.larger then return verdict end
  -- what a provider gave out already is no matter here: the router knows what
  -- it gave out itself
  if type(err) == "table" and err.retryable == false and not err.committed then
    return STOP
  end
  return verdict
end

return kinds
