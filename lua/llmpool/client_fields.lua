-- The fields that every client may have, whoever makes it,
--   slots rpm tpm rpm_burst tpm_burst breaker price weight tags
-- and the spec that llmpool.client, llmpool.simulated, llmpool.openai, ...
-- make: a plain table, so that it can be sent to other threads. It knows no
-- models and keeps nothing.

local fields = require "llmpool.fields"

local client_fields = {}

--- The field that tells such a spec from a user's own table; its value is the
-- module that makes the instance.
client_fields.MARK = "llmpool.client"

local bad, amount, positive = fields.bad, fields.amount, fields.positive

-- What a breaker has where nothing else is said; but for the first: seconds.
local FAILURES, WINDOW, OPEN, LONGEST = 5, 60, 30, 300

local breaker_table = fields.table_of({
  failures = fields.up_to(1000), window = fields.positive_seconds,
  open = fields.positive_seconds, max_open = fields.positive_seconds,
  floor = fields.boolean,
}, "a table {failures=, window=, open=, max_open=, floor=}, true or false")

local function breaker(v)
  if type(v) == "boolean" then return end
  local wanted = breaker_table(v)
  if wanted then return wanted end
  if v.max_open and v.max_open < (v.open or OPEN) then
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

--- By name: what every client may be given besides what its provider knows.
client_fields.common = {
  slots = fields.up_to(65536), rpm = positive, tpm = positive,
  rpm_burst = positive, tpm_burst = positive, breaker = breaker,
  price = fields.table_of({ input = amount, output = amount },
    "a table {input=, output=}, per million tokens"),
  weight = amount, tags = tags,
}

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
function client_fields.limits(common, is_real)
  common = common or {}
  return { slots = common.slots, rpm = common.rpm, tpm = common.tpm,
           rpm_burst = common.rpm_burst, tpm_burst = common.tpm_burst,
           breaker = breaker_of(common.breaker, is_real) }
end

--- The common fields of `t`, checked, or nil if there are none.
function client_fields.take_common(t, what, level)
  local common
  for key, check in pairs(client_fields.common) do
    local value = t[key]
    if value ~= nil then
      if check(value) then
        fields.check({ [key] = value }, client_fields.common, what, level + 1)
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

function client_fields.check_id(id, where, level)
  if type(id) ~= "string" or id == "" then
    bad(level + 1, "%s needs an id, a string that is not empty (got %s)",
      where, id == "" and "an empty one" or type(id))
  end
  client_fields.check_bytes(id, where, level + 1)
end

--- Names end at a zero byte in C: two of them would be the same there.
function client_fields.check_bytes(name, where, level)
  if name:find("\0", 1, true) then
    bad(level + 1, "%s: a name has no zero bytes, got %q", where, name)
  end
end

--- What llmpool.simulated, llmpool.openai, ... return.
-- @param name how the function is called: "simulated"
-- @param module the Lua module that makes the instance from the config
-- @param t the user's table: id, common fields, and those of `known`, which
-- become the config
-- @param known table: checks by name
function client_fields.spec(name, module, t, known, level)
  local what = "llmpool." .. name
  if type(t) ~= "table" then
    bad(level + 1, "bad argument #1 to '%s' (table expected, got %s)", name,
      type(t))
  end
  local all = { id = fields.any }
  for key, check in pairs(client_fields.common) do all[key] = check end
  for key, check in pairs(known) do all[key] = check end
  fields.check(t, all, what, level + 1)
  client_fields.check_id(t.id, what, level + 1)
  local config = {}
  for key in pairs(known) do config[key] = t[key] end
  return { [client_fields.MARK] = module, id = t.id, config = config,
           common = client_fields.take_common(t, what, level + 1) }
end

return client_fields
