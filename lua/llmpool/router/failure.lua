-- failure.lua: what went wrong, attempt by attempt, and the error that the
-- caller gets. One idea: the first cause is the error's own kind and cause;
-- what was tried after it is told in `attempts`. It decides nothing.

local failure = {}

local llmpool

-- Not at load time: llmpool requires what requires this.
local function error_object(kind, message)
  llmpool = llmpool or require "llmpool"
  return llmpool.error(kind, message)
end

failure.object = error_object

--- The kind of whatever was raised.
function failure.kind(err)
  local kind = type(err) == "table" and err.kind
  return type(kind) == "string" and kind or "error"
end

--- What each attempt's failure says, looked up when somebody reads it.
function failure.tell(attempts)
  for _, attempt in ipairs(attempts) do
    attempt.message = attempt.message or tostring(attempt.cause)
  end
  return attempts
end

local function sentence(attempt)
  local who = attempt.client and ("%s/%s"):format(attempt.model, attempt.client)
    or attempt.model
  return ("%s: %s"):format(who, attempt.message)
end

local function message(attempts, committed)
  if #attempts == 1 and not committed then return attempts[1].message end
  local parts = {}
  for i, attempt in ipairs(attempts) do parts[i] = sentence(attempt) end
  return ("%d attempts failed: %s"):format(#attempts, table.concat(parts, "; "))
end

-- What a handler needs to know is that of the first cause.
local copied = {
  "status", "provider", "provider_type", "provider_code", "scope", "client",
  "model", "stats", "waited", "models",
}

-- The earliest instant at which one of them may be asked again.
local function retry_at(attempts)
  local at
  for _, attempt in ipairs(attempts) do
    local its = attempt.retry_at
    if its and (not at or its < at) then at = its end
  end
  return at
end

--- The error of a request: kind, message, cause (the first), attempts, state.
function failure.of(attempts, state)
  local first = failure.tell(attempts)[1]
  local cause = first.cause
  local err = error_object(first.kind, message(attempts))
  if type(cause) == "table" then
    for _, name in ipairs(copied) do err[name] = cause[name] end
  end
  err.client, err.model = first.client, first.model
  err.cause, err.attempts, err.state = cause, attempts, state
  err.retry_at = retry_at(attempts)
  err.retryable, err.committed = err.retry_at ~= nil, false
  return err
end

--- An answer that was cut off after some of it had been given out.
function failure.truncated(run, attempt, cause, pieces)
  local err = error_object("truncated", ("%s/%s: the answer was cut off after "
    .. "%d piece%s: %s"):format(attempt.model, attempt.client, pieces,
    pieces == 1 and "" or "s", tostring(cause)))
  if type(cause) == "table" then
    for _, name in ipairs(copied) do err[name] = cause[name] end
  end
  err.client, err.model = attempt.client, attempt.model
  err.cause, err.attempts = cause, failure.tell(run.attempts)
  err.state = "TRUNCATED"
  err.retryable, err.committed = false, true
  return err
end

return failure
