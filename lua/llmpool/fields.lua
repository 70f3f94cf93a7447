-- Named fields of a table, checked one by one: an unknown name is an error that
-- names the nearest, a wrong value one that says what is wanted. Here are the
-- checks, and the fields that every client may have, whoever makes it:
--   slots rpm tpm rpm_burst tpm_burst breaker price weight tags
-- It knows no models and keeps nothing.

local nearest = require "llmpool.nearest"

local fields = {}

--- The field that tells a spec made by llmpool.client, llmpool.simulated, ...
-- from a user's own table; its value is the module that makes the instance.
fields.MARK = "llmpool.client"

function fields.bad(level, ...) error(string.format(...), level + 1) end

local bad = fields.bad

--- What to say of a name that is none of `known` (a table by name).
function fields.suggestion(name, known)
  local list = {}
  for key in pairs(known) do list[#list + 1] = key end
  table.sort(list)
  local near = nearest(tostring(name), list)
  if near then return ("; did you mean '%s'?"):format(near) end
  if #list == 0 then return "; it takes none" end
  return "; there are " .. table.concat(list, ", ")
end

local function describe(value)
  if type(value) == "number" then return tostring(value) end
  if type(value) == "string" then return ('"%s"'):format(value) end
  return type(value)
end

--- Raises unless every field of `t` is one of `known` and passes its check, a
-- function (value) -> nil, or what is wanted, or a whole sentence after "!".
function fields.check(t, known, what, level)
  for key, value in pairs(t) do
    local check = known[key]
    if not check then
      bad(level + 1, "unknown option '%s' of %s%s", tostring(key), what,
        fields.suggestion(key, known))
    end
    local wanted = check(value)
    if wanted and wanted:sub(1, 1) == "!" then
      bad(level + 1, "%s of %s: %s", key, what, wanted:sub(2))
    elseif wanted then
      bad(level + 1, "%s of %s must be %s, got %s", key, what, wanted,
        describe(value))
    end
  end
end

-- ---- checks ----------------------------------------------------------------

function fields.is_number(v) return type(v) == "number" and v == v end

local is_number = fields.is_number

function fields.any() end

function fields.seconds(v)
  if not is_number(v) or v < 0 then return "a number of seconds, 0 or more" end
end

function fields.count(v)
  if not is_number(v) or v < 0 or (v ~= math.huge and v % 1 ~= 0) then
    return "a whole number, 0 or more"
  end
end

function fields.at_least_one(v)
  if fields.count(v) or v < 1 then return "a whole number, 1 or more" end
end

function fields.func(v)
  if type(v) ~= "function" then return "a function" end
end

function fields.rate(v)
  if not is_number(v) or v < 0 or v > 1 then return "a number from 0 to 1" end
end

local function positive(v)
  if not is_number(v) or v <= 0 then return "a number greater than 0" end
end

function fields.positive_seconds(v)
  if not is_number(v) or v <= 0 then
    return "a number of seconds greater than 0"
  end
end

local function amount(v)
  if not is_number(v) or v < 0 or v == math.huge then
    return "a number, 0 or more"
  end
end

-- A check for a table with these fields.
local function table_of(known, wanted)
  return function(v)
    if type(v) ~= "table" then return wanted end
    for key, value in pairs(v) do
      if not known[key] then
        return ("!unknown field '%s'%s"):format(tostring(key),
          fields.suggestion(key, known))
      end
      local need = known[key](value)
      if need then
        return ("!%s must be %s, got %s"):format(key, need, describe(value))
      end
    end
  end
end

-- ---- the fields of every client --------------------------------------------

local function up_to(most)
  return function(v)
    if fields.at_least_one(v) or v > most then
      return "a whole number from 1 to " .. most
    end
  end
end

local function boolean(v)
  if type(v) ~= "boolean" then return "true or false" end
end

local breaker_table = table_of({
  failures = up_to(1000), window = fields.positive_seconds,
  open = fields.positive_seconds,
  max_open = fields.positive_seconds, floor = boolean,
}, "a table {failures=, window=, open=, max_open=, floor=}, true or false")

local function breaker(v)
  if type(v) == "boolean" then return end
  local wanted = breaker_table(v)
  if wanted then return wanted end
  if v.max_open and v.max_open < (v.open or 30) then
    return "!max_open is less than open"
  end
end

local function tags(v)
  local wanted = "a list of strings"
  if type(v) ~= "table" then return wanted end
  local n = 0
  for key, value in pairs(v) do
    if math.type(key) ~= "integer" or type(value) ~= "string" then
      return wanted
    end
    n = n + 1
  end
  if n ~= #v then return wanted end
end

local function weight(v)
  if amount(v) then return "a number, 0 or more" end
end

--- By name: what every client may be given besides what its provider knows.
fields.common = {
  slots = up_to(65536), rpm = positive, tpm = positive, rpm_burst = positive,
  tpm_burst = positive, breaker = breaker,
  price = table_of({ input = amount, output = amount },
    "a table {input=, output=}, per million tokens"),
  weight = weight, tags = tags,
}

local FAILURES, WINDOW, OPEN, LONGEST = 5, 60, 30, 300 -- seconds

-- What a breaker is in full; nil: none. One that nobody asked for never takes
-- the only client of a model.
local function breaker_of(value, is_real)
  if value == nil and is_real then value = { floor = true } end
  if not value then return nil end
  if value == true then value = {} end
  local open = value.open or OPEN
  return { failures = value.failures or FAILURES,
           window = value.window or WINDOW, open = open,
           max_open = value.max_open or math.max(LONGEST, open),
           floor = value.floor }
end

--- What C is told of a client's limits.
-- @param common the common fields, or nil
-- @param is_real whether it is a provider that can fail for real: then it has
-- a breaker unless it says otherwise
function fields.limits(common, is_real)
  common = common or {}
  return { slots = common.slots, rpm = common.rpm, tpm = common.tpm,
           rpm_burst = common.rpm_burst, tpm_burst = common.tpm_burst,
           breaker = breaker_of(common.breaker, is_real) }
end

--- The common fields of `t`, checked, or nil if there are none.
function fields.take_common(t, what, level)
  local common
  for key, check in pairs(fields.common) do
    local value = t[key]
    if value ~= nil then
      if check(value) then
        fields.check({ [key] = value }, fields.common, what, level + 1)
      end
      common = common or {}
      common[key] = value
    end
  end
  if common and common.rpm_burst and not common.rpm then
    bad(level + 1, "rpm_burst of %s needs rpm", what)
  end
  if common and common.tpm_burst and not common.tpm then
    bad(level + 1, "tpm_burst of %s needs tpm", what)
  end
  return common
end

function fields.check_id(id, where, level)
  if type(id) ~= "string" or id == "" then
    bad(level + 1, "%s needs an id, a string that is not empty (got %s)",
      where, id == "" and "an empty one" or type(id))
  end
  fields.check_bytes(id, where, level + 1)
end

--- Names end at a zero byte in C: two of them would be the same there.
function fields.check_bytes(name, where, level)
  if name:find("\0", 1, true) then
    bad(level + 1, "%s: a name has no zero bytes, got %q", where, name)
  end
end

--- What llmpool.simulated, llmpool.openai, ... return: a plain table, so that
-- it can be sent to other threads.
-- @param name how the function is called: "simulated"
-- @param module the Lua module that makes the instance from the config
-- @param t the user's table: id, common fields, and those of `known`, which
-- become the config
-- @param known table: checks by name
function fields.spec(name, module, t, known, level)
  local what = "llmpool." .. name
  if type(t) ~= "table" then
    bad(level + 1, "bad argument #1 to '%s' (table expected, got %s)", name,
      type(t))
  end
  local all = { id = fields.any }
  for key, check in pairs(fields.common) do all[key] = check end
  for key, check in pairs(known) do all[key] = check end
  fields.check(t, all, what, level + 1)
  fields.check_id(t.id, what, level + 1)
  local config = {}
  for key in pairs(known) do config[key] = t[key] end
  return { [fields.MARK] = module, id = t.id, config = config,
           common = fields.take_common(t, what, level + 1) }
end

return fields
