-- kinds.lua: the failures that a provider can answer with: what HTTP status
-- each has and whether another client may be tried. One idea: the simulated
-- provider fails as real ones do, so that what handles a failure cannot tell
-- them apart. It decides neither when nor whether something fails.

local fields = require "llmpool.fields"

local Error = getmetatable(require "llmpool.native".error("error", ""))

local kinds = {}

-- kind -> status, whether another client may be tried, scope, what it says
local table_of = {
  bad_request = { 400, false, "client", "the request is malformed" },
  context_length = { 400, false, "client", "the prompt is too long" },
  content_filter = { 400, false, "client", "the content filter refused" },
  auth = { 401, true, "client", "the key is not valid" },
  billing = { 402, true, "client", "the account is out of credit" },
  not_found = { 404, true, "client", "no such model" },
  too_large = { 413, false, "client", "the request is too large" },
  rate_limit = { 429, true, "client", "too many requests" },
  quota_day = { 429, true, "client", "the quota of the day is used up" },
  server = { 500, true, "client", "internal error" },
  overloaded = { 529, true, "provider", "overloaded" },
  timeout_connect = { nil, true, "client", "no connection in time" },
  timeout_first = { nil, true, "client", "no answer in time" },
  timeout_idle = { nil, true, "client", "the answer stalled" },
  timeout_total = { nil, true, "client", "the answer took too long" },
  reset = { nil, true, "client", "the connection was reset" },
  malformed = { 200, true, "client", "the answer is malformed" },
  truncated = { 200, true, "client", "the answer was cut off" },
  -- never answers: ends as timeout_first, after the time that is allowed
  silence = { nil, true, "client", "no answer in time" },
  -- what failure_rate alone gives
  provider = { nil, true, "client", "failed" },
}

function kinds.is_known(kind) return table_of[kind] ~= nil end

--- A check: one kind, a list of them, or kinds with their weights.
function kinds.check(v)
  if type(v) == "string" then v = { v } end
  if type(v) ~= "table" or next(v) == nil then
    return "a kind of failure, a list of kinds, or kinds with weights"
  end
  for key, value in pairs(v) do
    local kind = type(key) == "string" and key or value
    if not kinds.is_known(kind) then
      return ("!unknown kind of failure '%s'%s"):format(tostring(kind),
        fields.suggestion(kind, table_of))
    end
    if type(key) == "string" and fields.amount(value) then
      return ("!the weight of '%s' must be a number, 0 or more, got %s")
        :format(key, tostring(value))
    end
  end
end

--- A function (x in [0, 1)) -> kind, by the weights of what check accepted.
function kinds.chooser(v)
  if type(v) == "string" then return function() return v end end
  local list, total = {}, 0
  for key, value in pairs(v) do
    local named = type(key) == "string"
    list[#list + 1] = { named and key or value, named and value or 1 }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  for _, entry in ipairs(list) do
    total = total + entry[2]
    entry[2] = total
  end
  return function(x)
    for _, entry in ipairs(list) do
      if x * total < entry[2] then return entry[1] end
    end
    return list[#list][1]
  end
end

local function sentence(client, kind)
  local entry = table_of[kind]
  local status = entry[1] and entry[1] .. " " or ""
  if kind == "provider" then
    return ("client \"%s\" of \"%s\" failed, as simulated"):format(client.id,
      client.model)
  end
  return ("client \"%s\" of \"%s\": %s%s, as simulated"):format(client.id,
    client.model, status, entry[4])
end

--- The error object of a failure, complete.
-- @param client table: id, model; what is said of a kind is kept in it
-- @param committed boolean: content was given out already
function kinds.failure(client, kind, committed, retry_at)
  local entry, texts = table_of[kind], client.texts
  if not texts then
    texts = {}
    client.texts = texts
  end
  local text = texts[kind]
  if not text then
    text = sentence(client, kind)
    texts[kind] = text
  end
  -- at once: a table that grows by its fields costs thrice as much
  return setmetatable({
    kind = kind == "silence" and "timeout_first" or kind, message = text,
    client = client.id, model = client.model, provider = "simulated",
    scope = entry[3], status = entry[1], committed = committed or false,
    retryable = entry[2] and not committed, retry_at = retry_at,
  }, Error)
end

return kinds
