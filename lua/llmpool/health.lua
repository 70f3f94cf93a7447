-- What becomes of a client after a request: by the kind of a failure it rests,
-- is out of service, is counted by its breaker, or nothing of it.
--
-- One idea: a failure is translated once into an outcome, a table that C
-- understands; what an outcome does is the pool's business. It keeps nothing.

local health = {}

-- The caller's own fault, or a refusal that says that the client is well.
local WELL = { bad_request = true, context_length = true, too_large = true,
               content_filter = true, not_found = true }

-- Nobody's fault: it says nothing about the client.
local SILENT = { cancelled = true, deadlock = true, closed = true,
                 memory = true }

-- Out of service until replaced, or until the time the provider gave.
local OUT = { auth = "replaced", billing = "retry_at", quota_day = "retry_at" }

-- It had its time and did not answer in it: that is a latency too, or else who
-- never answers would count as the quickest.
local LATE = { timeout_connect = true, timeout_first = true,
               timeout_idle = true, timeout_total = true }

-- Nothing had been sent, so nothing was used up.
local UNSENT = { timeout_connect = true, resolve = true, tls = true,
                 proxy = true }

local MOST = 150 -- bytes of a reason

local function cut(text)
  if #text <= MOST then return text end
  local stop = MOST
  while stop > 0 and (text:byte(stop + 1) or 0) & 0xC0 == 0x80 do
    stop = stop - 1
  end
  return text:sub(1, stop)
end

-- In few words; a provider's messages have no keys in them.
local function reason_of(err, kind)
  if type(err) ~= "table" then return cut(tostring(err)) end
  local parts = { kind or "error" }
  if err.status then parts[#parts + 1] = tostring(err.status) end
  local code = err.provider_code or err.provider_type
  if code then parts[#parts + 1] = tostring(code) end
  return cut(table.concat(parts, " "))
end

local function time_of(value)
  return math.type(value) and value or nil
end

--- The outcome of a request that raised.
-- @param err any: what it raised
-- @param seconds number: after how long, if that is known
-- @return a table as client:report takes it
function health.of_error(err, seconds)
  local object = type(err) == "table" and err or {}
  local kind = type(object.kind) == "string" and object.kind or nil
  if kind and SILENT[kind] then return { kind = "none" } end
  local retry_at = time_of(object.retry_at)
  local outcome = { kind = "success", reason = reason_of(err, kind),
                    sent = not (kind and UNSENT[kind]) }
  if object.sent == false then outcome.sent = false end
  if object.status and not object.committed then outcome.tokens = 0 end
  if kind and WELL[kind] then return outcome end
  outcome.error = true
  if LATE[kind] and seconds then
    outcome.latency = math.max(0, seconds)
    outcome.first = kind == "timeout_first" and outcome.latency or nil
  end
  if kind and OUT[kind] then
    outcome.kind = "none"
    outcome.disable_until = OUT[kind] == "retry_at" and retry_at or math.huge
  elseif kind == "rate_limit" then
    outcome.rest_until = retry_at
    outcome.backoff = retry_at == nil
  else
    outcome.kind = "failure"
    outcome.rest_until = retry_at
  end
  return outcome
end

-- Nothing about it but its kind and status: what follows is always the same.
local function is_usual(err)
  return type(err) == "table" and type(err.kind) == "string"
    and not LATE[err.kind] and err.retry_at == nil and err.sent == nil
    and not err.committed and err.provider_code == nil
    and err.provider_type == nil and math.type(err.status or 0) == "integer"
end

local MOST_KEPT = 200 -- of a provider that has more kinds it begins anew

--- The same, by way of `make`, which gets such a table: what it returns is kept
-- for the failures that follow.
function health.keeper(make)
  local kept, count = {}, 0
  return function(err, seconds)
    if not is_usual(err) then return health.of_error(err, seconds) end
    local kind, status = err.kind, err.status or 0
    local of_kind = kept[kind]
    local outcome = of_kind and of_kind[status]
    if outcome then return outcome end
    if count >= MOST_KEPT then kept, count, of_kind = {}, 0, nil end
    of_kind = of_kind or {}
    outcome = make(health.of_error(err))
    kept[kind], of_kind[status], count = of_kind, outcome, count + 1
    return outcome
  end
end

--- The tokens that a response says were used, or nil.
function health.tokens_of(response)
  local usage = type(response) == "table" and response.usage
  local total = type(usage) == "table" and usage.total_tokens
  return math.type(total) and total >= 0 and total or nil
end

--- What a stream is to report: how it ended, after how long.
-- @param state string: "ended", "failed", "closed", "lease"
function health.of_stream(state, err, response, seconds)
  if state == "failed" then return health.of_error(err, seconds) end
  local tokens = health.tokens_of(response)
  if state == "ended" then
    return { kind = "success", tokens = tokens, latency = seconds }
  end
  return { kind = "none", tokens = tokens }
end

return health
