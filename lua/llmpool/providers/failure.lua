-- What went wrong, in one form: the error object of a failed request.
--
-- One idea: an upstream's refusal is first reduced to facts (status, type,
-- code, message, reasons), whatever its format; then the first rule that fits
-- names the kind. What a kind means for the client and for other clients
-- stands in one table. It decides nothing: others read kind, retryable and
-- retry_at. No message ever carries a key.

local json = require "llmpool.json"
local retry = require "llmpool.providers.retry"

local failure = {}

-- Whether another client may be tried, before anything was given out; and
-- whether all of the provider is concerned, or this client of it.
local KINDS = {
  bad_request = {}, context_length = {}, content_filter = {}, too_large = {},
  cancelled = {}, memory = {}, timeout_total = { retryable = true },
  auth = { retryable = true }, billing = { retryable = true },
  quota_day = { retryable = true }, not_found = { retryable = true },
  rate_limit = { retryable = true },
  overloaded = { retryable = true, scope = "provider" },
  server = { retryable = true }, reset = { retryable = true },
  malformed = { retryable = true }, truncated = { retryable = true },
  timeout_connect = { retryable = true, scope = "provider" },
  timeout_first = { retryable = true }, timeout_idle = { retryable = true },
  resolve = { retryable = true, scope = "provider" },
  tls = { retryable = true, scope = "provider" },
  proxy = { retryable = true, scope = "provider" },
}

-- These are about the key: that asking again with it is of no use says nothing
-- of another one.
local OF_THE_KEY = { auth = true, billing = true, quota_day = true,
                     rate_limit = true }

-- ---- keys never leave -------------------------------------------------------

failure.scrub = require "llmpool.providers.scrub"

local MOST = 2000 -- bytes of a message; a longer one helps nobody

--- The beginning of a text that somebody else wrote. It is cut when the keys
-- are out of it, or the cut would leave a part of one that nobody knows.
-- @param most integer or nil: bytes
function failure.excerpt(context, text, most)
  most = most or MOST
  text = failure.scrub(text:sub(1, most + 4096), context:secret())
  return #text > most and text:sub(1, most) or text
end

-- ---- facts -----------------------------------------------------------------

local function text_of(value)
  if type(value) == "string" then return value end
  if math.type(value) == "integer" then return tostring(value) end
end

local function table_of(value)
  return type(value) == "table" and value or {}
end

-- The error object in a decoded body: {error = {}}, [{error = {}}],
-- {error = "text"}, {message = "text"}, {detail = "text"}.
local function find_error(body)
  if type(body) ~= "table" then return nil end
  if type(body[1]) == "table" then body = body[1] end
  local found = body.error
  if type(found) == "table" then return found end
  if type(found) == "string" then return { message = found } end
  local said = body.message or body.detail
  if type(said) == "table" and type(said[1]) == "table" then
    said = said[1].msg
  end
  return { message = text_of(said), type = text_of(body.type),
           code = text_of(body.code) }
end

-- Google's details: why, until when, and which quota.
local function read_details(facts, details)
  for _, detail in ipairs(table_of(details)) do
    local kind = text_of(table_of(detail)["@type"]) or ""
    if kind:find("RetryInfo", 1, true) then
      facts.retry_delay = text_of(detail.retryDelay)
    elseif kind:find("ErrorInfo", 1, true) then
      facts.reason = text_of(detail.reason)
    elseif kind:find("QuotaFailure", 1, true) then
      for _, violation in ipairs(table_of(detail.violations)) do
        local id = (text_of(violation.quotaId) or "")
          .. (text_of(violation.quotaMetric) or "")
        if id:lower():find "per_?day" then facts.per_day = true end
      end
    end
  end
end

local DIMENSIONS = { requests = "requests", tokens = "tokens",
                     input_tokens = "input-tokens" }

local LONGEST = 4096

local function dimension(facts)
  local words = (facts.message or ""):lower()
  return DIMENSIONS[facts.type] or (words:find "input tokens per"
    and "input-tokens") or (words:find "output tokens per" and "output-tokens")
    or (words:find "tokens per" and "tokens")
    or (words:find "requests per" and "requests") or nil
end

--- The facts of an upstream's refusal.
-- @param status integer or nil: nil where it came inside a good answer
-- @param body any: the decoded body, or its text where it is no JSON
function failure.facts(status, body)
  local found = find_error(body) or {}
  local details = found.details
  local facts = {
    status = status, message = text_of(found.message),
    type = text_of(found.type) or text_of(found.status),
    code = text_of(found.code) or text_of(table_of(details).error_code),
    inner = text_of(table_of(found.innererror).code),
    flagged = table_of(found.metadata).flagged_input ~= nil,
  }
  read_details(facts, details)
  facts.dimension = dimension(facts)
  if not status then facts.status = math.tointeger(tonumber(facts.code)) end
  if not facts.message and type(body) == "string" and body ~= "" then
    facts.message = body:gsub("%s+", " "):sub(1, 200)
  end
  -- its first words say it; keys are looked for in a sentence, not in a book
  facts.message = facts.message and facts.message:sub(1, LONGEST)
  return facts
end

-- ---- kinds -----------------------------------------------------------------

-- Words that say it whatever the status is.
local WORDS = {
  context_length_exceeded = "context_length",
  exceed_context_size_error = "context_length",
  content_filter = "content_filter",
  content_policy_violation = "content_filter",
  responsibleaipolicyviolation = "content_filter",
  insufficient_quota = "billing", billing_hard_limit_reached = "billing",
  billing_not_active = "billing", billing_error = "billing",
  insufficient_credits = "billing", enforced_spend_limit_reached = "billing",
  failed_precondition = "billing", -- Gemini: no free tier here, no billing
  api_key_invalid = "auth", invalid_api_key = "auth",
  account_deactivated = "auth", authentication_error = "auth",
  permission_error = "auth", unauthenticated = "auth",
  permission_denied = "auth", model_not_found = "not_found",
  overloaded_error = "overloaded",
}

-- Words that say it where there is no status to go by: inside a stream.
local WEAK_WORDS = {
  rate_limit_exceeded = "rate_limit", rate_limit_error = "rate_limit",
  resource_exhausted = "rate_limit", tokens = "rate_limit",
  requests = "rate_limit", unavailable = "overloaded",
  invalid_request_error = "bad_request", invalid_argument = "bad_request",
  request_too_large = "bad_request", not_found_error = "not_found",
  not_found = "not_found",
}

local PHRASES = {
  { "maximum context length", "context_length" },
  { "prompt is too long", "context_length" },
  { "exceed context limit", "context_length" },
  { "input token count", "context_length" },
  { "context size", "context_length" },
  { "credit balance is too low", "billing" },
  { "specified api usage limits", "billing" },
  { "api key not valid", "auth" }, { "api key expired", "auth" },
  { "free%-models%-per%-day", "quota_day" },
}

local STATUSES = {
  [401] = "auth", [402] = "billing", [403] = "auth", [404] = "not_found",
  [408] = "server", [409] = "server", [425] = "server", [429] = "rate_limit",
  [503] = "overloaded", [529] = "overloaded",
}

local function by_words(facts, words)
  for _, name in ipairs { "reason", "code", "type", "inner" } do
    local word = facts[name]
    local kind = word and words[word:lower()]
    if kind then return kind end
  end
end

-- A message is believed where the status leaves it open.
local OPEN = { [400] = true, [413] = true, [422] = true, [429] = true,
               [500] = true }

local function by_phrase(facts)
  if facts.status and not OPEN[facts.status] then return nil end
  local message = (facts.message or ""):lower()
  for _, phrase in ipairs(PHRASES) do
    if message:find(phrase[1]) then return phrase[2] end
  end
end

local function by_status(status)
  if not status then return nil end
  if STATUSES[status] then return STATUSES[status] end
  if status >= 400 and status < 500 then return "bad_request" end
  if status >= 500 then return "server" end
  if status >= 300 then return "malformed" end -- a redirect is no answer
end

--- The kind that the facts amount to.
function failure.kind(facts)
  if facts.flagged then return "content_filter" end
  if facts.per_day then return "quota_day" end
  return by_words(facts, WORDS) or by_phrase(facts)
    or by_status(facts.status) or by_words(facts, WEAK_WORDS) or "server"
end

-- ---- the object ------------------------------------------------------------

-- Fills in what every failed request has; the kind is there already.
local function complete(object, context, committed)
  local meaning = KINDS[object.kind] or {}
  object.provider = context.provider
  object.client, object.model = context.id, context.model
  object.committed = committed or false
  object.scope = object.scope or meaning.scope or "client"
  if committed then
    object.retryable = false
  elseif object.retryable == nil then
    object.retryable = meaning.retryable or false
  end
  return object
end

--- An error object of a request's own making.
-- @param context table: provider, id, model, key
function failure.new(context, kind, sentence, committed)
  local object = require "llmpool".error(kind, ("%s client \"%s\" of "
    .. "\"%s\": %s"):format(context.provider, context.id, context.model,
    failure.scrub(sentence, context:secret())))
  return complete(object, context, committed)
end

local WORD = 200 -- bytes of a type, a code, a request's name

local REMEDIES = {
  auth = "; its api_key is refused: replace it (pool:replace_client)",
  billing = "; its account cannot pay: top it up or replace its api_key",
  quota_day = "; its quota of the day is used up",
  not_found = "; is its model or base_url right?",
}

-- a code that only repeats the status says nothing
local function code_of(facts)
  if facts.reason then return facts.reason end
  return facts.code ~= tostring(facts.status) and facts.code or nil
end

local function sentence_of(context, facts, kind, span)
  local parts = {}
  if facts.status then parts[1] = tostring(facts.status) end
  parts[#parts + 1] = facts.message
    and failure.excerpt(context, facts.message) or "no reason given"
  local word = code_of(facts) or facts.type
  if word then parts[#parts + 1] = "(" .. word:sub(1, WORD) .. ")" end
  local sentence = table.concat(parts, " ") .. (REMEDIES[kind] or "")
  return span and ("%s; it may be asked again in %.3g s"):format(sentence, span)
    or sentence
end

local SPANS = { rate_limit = true, overloaded = true, server = true,
                quota_day = true }

-- A day's quota does not come back after the seconds of a RetryInfo.
local function span_of(kind, facts, headers)
  if not SPANS[kind] then return nil end
  return retry.after(headers, {
    retry_delay = kind ~= "quota_day" and facts.retry_delay or nil,
    dimension = facts.dimension, is_rate_limit = kind == "rate_limit",
  })
end

-- What the upstream says itself of asking again, in x-should-retry.
local function obey(object, order)
  if order ~= "true" and order ~= "false" then return object end
  object.should_retry = order == "true"
  if object.committed then return object end
  if object.should_retry then
    object.retryable = true
  elseif not OF_THE_KEY[object.kind] then
    object.retryable = false
  end
  return object
end

local function excerpt(context, text)
  return text and failure.excerpt(context, text, WORD)
end

--- The error object of a refusal: a bad status, or an error in the stream.
-- @param context table: provider, id, model, secret
-- @param refusal table: status (nil in a stream), headers, body (decoded, or
-- text), committed
function failure.refused(context, refusal)
  local body = refusal.body
  if type(body) == "string" then body = failure.excerpt(context, body) end
  local facts = failure.facts(refusal.status, body)
  local kind = failure.kind(facts)
  local headers = refusal.headers or {}
  local span = span_of(kind, facts, headers)
  local object = failure.new(context, kind,
    sentence_of(context, facts, kind, span), refusal.committed)
  object.status = facts.status
  object.provider_type = excerpt(context, facts.type)
  object.provider_code = excerpt(context, code_of(facts))
  object.request_id = excerpt(context, headers["x-request-id"]
    or headers["request-id"])
  object.retry_at = span and require "llmpool".now() + span
  return obey(object, headers["x-should-retry"])
end

--- The error object of a refusal whose body did not come whole: the status has
-- said enough. Nil, where the transport's error is none of a refusal.
function failure.cut(context, err)
  local status = type(err) == "table" and math.tointeger(err.status)
  if not status or status < 300 then return nil end
  return failure.refused(context, {
    status = status, headers = err.headers,
    body = "its answer is cut off: " .. tostring(err.kind),
  })
end

--- An error that the transport raised, with what it does not know.
function failure.transport(context, err, committed)
  if type(err) ~= "table" or not KINDS[err.kind] or err.kind == "cancelled"
  then
    return err
  end
  err.message = ("%s client \"%s\" of \"%s\": %s"):format(context.provider,
    context.id, context.model,
    failure.scrub(tostring(err.message), context:secret()))
  return complete(err, context, committed)
end

--- The decoded JSON, or nil and the text itself.
function failure.decode(text)
  local ok, value = pcall(json.decode, text)
  if ok then return value end
  return nil, text
end

return failure
