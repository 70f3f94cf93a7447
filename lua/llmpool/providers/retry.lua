-- When a refused request may be tried again, from what the upstream said.
--
-- One idea: every source is a function from the answer to seconds from now, or
-- nil where it says nothing that can be understood; the first that speaks is
-- believed, in the order in which the providers' own libraries ask. Moments on
-- the wall's clock are measured from the answer's own Date, so that a clock
-- that is wrong here does no harm.

local retry = {}

local MOST = 1e9 -- seconds; anything later is never
local LONGEST = 64 -- bytes of what can be a time

local function is_time(text)
  return type(text) == "string" and #text <= LONGEST
end

local function seconds(text)
  local number = is_time(text)
    and text:match "^%s*(%-?%d+%.?%d*)%s*$"
  number = tonumber(number)
  return number and math.max(0, math.min(number, MOST))
end

local function milliseconds(text)
  local number = seconds(text)
  return number and number / 1000
end

-- ---- moments ---------------------------------------------------------------

local MONTHS = { jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6,
                 jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12 }

-- Seconds since 1970 of a moment in UTC; os.time would take it for local time.
local function epoch(year, month, day, hour, minute, second)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if month < 1 or month > 12 or day < 1 or day > 31 then return nil end
  if month <= 2 then year, month = year - 1, month + 12 end
  local era_days = 365 * year + year // 4 - year // 100 + year // 400
  local days = era_days + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
  return days * 86400 + hour * 3600 + minute * 60 + second
end

local function full_year(year)
  year = tonumber(year)
  if year >= 100 then return year end
  return year < 70 and 2000 + year or 1900 + year
end

--- The three forms of an HTTP date, as seconds since 1970.
function retry.http_date(text)
  if not is_time(text) then return nil end
  local day, month, year, h, m, s = text:match
    "^%a+,%s*(%d+)[%s%-](%a+)[%s%-](%d+)%s+(%d+):(%d+):(%d+)%s*GMT%s*$"
  if not day then
    month, day, h, m, s, year = text:match
      "^%a+%s+(%a+)%s+(%d+)%s+(%d+):(%d+):(%d+)%s+(%d+)%s*$"
  end
  month = month and MONTHS[month:lower()]
  return month and epoch(full_year(year), month, day, h, m, s)
end

local function offset(zone)
  if zone == "Z" or zone == "z" then return 0 end
  local sign, h, m = zone:match "^([%+%-])(%d%d):?(%d%d)$"
  return sign and (sign == "-" and -1 or 1) * (h * 3600 + m * 60)
end

--- A moment of RFC 3339, as seconds since 1970.
function retry.rfc3339(text)
  if not is_time(text) then return nil end
  local year, month, day, h, m, s, zone = text:match
    "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d%.?%d*)(.+)$"
  local shift = zone and offset(zone)
  local moment = shift and epoch(year, month, day, h, m, s)
  return moment and moment - shift
end

local function until_moment(moment, headers)
  if not moment then return nil end
  local now = retry.http_date(headers.date) or os.time()
  return math.max(0, math.min(moment - now, MOST))
end

local UNITS = { ns = 1e-9, us = 1e-6, ["µs"] = 1e-6, ["μs"] = 1e-6,
                ms = 1e-3, s = 1, m = 60, h = 3600, d = 86400 }

--- A duration as Go writes it ("6m0s", "12ms") or as protobuf does ("1.5s").
function retry.duration(text)
  if not is_time(text) then return nil end
  local sum, rest = 0, text:match "^%s*(.-)%s*$"
  if rest == "" then return nil end
  while rest ~= "" do
    local number, unit, after = rest:match "^(%d*%.?%d*)([^%d%.%s]+)(.*)$"
    number = tonumber(number)
    if not number or not UNITS[unit] then return nil end
    sum, rest = sum + number * UNITS[unit], after
  end
  return math.min(sum, MOST)
end

-- What stands in a reset header: a duration, a moment, seconds, or (as
-- OpenRouter has it) milliseconds since 1970.
local function reset(text, headers)
  local number = seconds(text)
  if not number then
    return retry.duration(text) or until_moment(retry.rfc3339(text), headers)
  end
  local raw = tonumber(text)
  if raw >= 1e11 then return until_moment(raw / 1000, headers) end
  return raw >= 1e8 and until_moment(raw, headers) or number
end

-- ---- what is exhausted -----------------------------------------------------

local PLAIN = "^x%-ratelimit%-remaining%-?(.*)$"
local ANTHROPIC = "^anthropic%-ratelimit%-(.+)%-remaining$"

-- The header with the reset of the dimension that `name` counts, or nil.
local function reset_header(name)
  local dimension = name:match(PLAIN)
  if dimension == "" then return "x-ratelimit-reset", dimension end
  if dimension then return "x-ratelimit-reset-" .. dimension, dimension end
  dimension = name:match(ANTHROPIC)
  if dimension then
    return "anthropic-ratelimit-" .. dimension .. "-reset", dimension
  end
end

-- The latest reset of what has nothing left; of the dimension that the
-- message names, where the headers show none as exhausted (a request may want
-- more tokens than there are left).
local function exhausted(headers, hint)
  local latest, hinted
  for name, left in pairs(headers) do
    local header, dimension = reset_header(name)
    local span = header and reset(headers[header], headers)
    if span and (tonumber(left) or 1) <= 0 then
      latest = math.max(latest or 0, span)
    elseif span and dimension == hint then
      hinted = span
    end
  end
  return latest or hinted
end

--- Seconds until the request may be tried again, or nil: nobody said.
-- @param headers table: the answer's, names in lower case
-- @param facts table: retry_delay, from the body; dimension, that the message
-- names; is_rate_limit, whether the reset headers are to be asked
function retry.after(headers, facts)
  return milliseconds(headers["retry-after-ms"])
    or milliseconds(headers["x-ms-retry-after-ms"])
    or seconds(headers["retry-after"])
    or until_moment(retry.http_date(headers["retry-after"]), headers)
    or retry.duration(facts.retry_delay)
    or (facts.is_rate_limit and exhausted(headers, facts.dimension) or nil)
end

return retry
