-- fields.lua: what llmpool.simulated takes, field by field. One idea: every
-- mistake is found when the client is described, and the nearest name offered;
-- what runs later need not look again.

local distribution = require "llmpool.distribution"
local fields = require "llmpool.fields"
local kinds = require "llmpool.simulated.kinds"

local positive, boolean = fields.positive_amount, fields.boolean

-- The sentence for a field of a table that is inside another.
local function inner(what, key, wanted, value)
  if wanted:sub(1, 1) == "!" then return "!" .. key .. ": " .. wanted:sub(2) end
  return "!" .. fields.complaint(("%s of %s"):format(key, what), wanted, value)
end

-- A check for a table with these fields; `also` looks at the whole.
local function table_of(what, known, needed, also)
  return function(v)
    if type(v) ~= "table" then return "a table" end
    for key, value in pairs(v) do
      if not known[key] then
        return ("!%s has no field '%s'%s"):format(what, tostring(key),
          fields.suggestion(key, known))
      end
      local wanted = known[key](value)
      if wanted then return inner(what, key, wanted, value) end
    end
    for _, key in ipairs(needed) do
      if v[key] == nil then return ("!%s needs %s"):format(what, key) end
    end
    return also and also(v)
  end
end

local outage = table_of("an outage", {
  from = fields.seconds, to = fields.seconds, kind = kinds.check,
  kinds = kinds.check, every = positive, down = positive, rate = fields.rate,
}, {}, function(v)
  if v.to and v.to <= (v.from or 0) then
    return ("!an outage ends (to = %s) before it begins (from = %s)"):format(
      v.to, v.from or 0)
  end
  if (v.every == nil) ~= (v.down == nil) then
    return "!an outage that comes back needs both every and down"
  end
  if v.every and v.down >= v.every then
    return ("!an outage is down for %s of every %s s, that is always"):format(
      v.down, v.every)
  end
end)

local function outages(v)
  if type(v) ~= "table" or (#v == 0 and next(v) ~= nil) then
    return "a list of outages"
  end
  for i, entry in ipairs(v) do
    local wanted = outage(entry)
    if wanted then return inner("the list", "outage " .. i, wanted, entry) end
  end
end

local burst = table_of("a burst", {
  every = positive, lasts = positive, rate = fields.rate, kind = kinds.check,
  kinds = kinds.check,
}, { "every", "lasts" })

local limit = table_of("a limit", {
  rpm = positive, tpm = positive, retry_after = boolean,
}, {}, function(v)
  if not (v.rpm or v.tpm) then return "!a limit needs rpm or tpm" end
end)

local slow_first = table_of("slow_first", {
  rate = fields.rate, delay = distribution.check,
}, { "delay" })

local cut = table_of("cut", {
  rate = fields.rate, at = distribution.check,
}, {})
local silence = table_of("silence", { rate = fields.rate }, { "rate" })

local failures = table_of("failures", {
  rate = fields.rate, kind = kinds.check, kinds = kinds.check,
  after = distribution.check, outages = outages, burst = burst, limit = limit,
  slow_first = slow_first, cut = cut, silence = silence,
}, {})

local timeout = table_of("timeout", {
  first = positive, idle = positive, total = positive,
}, {})

local function latency(v)
  if type(v) ~= "function" then return distribution.check(v) end
end

local function reply(v)
  if type(v) ~= "string" and type(v) ~= "function" then
    return "a string or a function"
  end
end

--- Checks by name, for client_fields.spec.
return {
  latency = latency, first_token = distribution.check,
  per_token = distribution.check, tokens = distribution.check,
  failure_rate = fields.rate, failures = failures, reply = reply,
  timeout = timeout,
}
