-- Named fields of a table, checked one by one: an unknown name is an error that
-- names the nearest, a wrong value one that says what is wanted. One idea: a
-- check is a function of a value that returns nil or what is wanted instead, so
-- that every table of options is a list of names and checks, and the same
-- mistake reads the same everywhere. It knows no clients and no models.

local nearest = require "llmpool.nearest"
local plain = require "llmpool.plain"
local sorted = require "llmpool.sorted"

local fields = {}

-- Names may be anybody's: what a terminal would obey is shown.
function fields.bad(level, ...)
  error(plain.text(string.format(...)), level + 1)
end

local bad = fields.bad

--- What to say of a name that is none of `known` (a table by name).
function fields.suggestion(name, known)
  local list = sorted(known)
  local near = nearest(tostring(name), list)
  if near then return ("; did you mean '%s'?"):format(near) end
  if #list == 0 then return "; it takes none" end
  return "; there are " .. table.concat(list, ", ")
end

--- A wrong value, as a message names it.
function fields.describe(value)
  if type(value) == "number" then return tostring(value) end
  if type(value) == "string" then return ('"%s"'):format(value) end
  return type(value)
end

--- What to say of a value, by what its check has returned.
function fields.complaint(name, wanted, value)
  if wanted:sub(1, 1) == "!" then return name .. ": " .. wanted:sub(2) end
  return ("%s must be %s, got %s"):format(name, wanted, fields.describe(value))
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
    if wanted then
      bad(level + 1, "%s",
        fields.complaint(("%s of %s"):format(key, what), wanted, value))
    end
  end
end

-- ---- checks ----------------------------------------------------------------

function fields.is_number(v) return type(v) == "number" and v == v end

local is_number = fields.is_number

function fields.any() end

function fields.boolean(v)
  if type(v) ~= "boolean" then return "true or false" end
end

function fields.string(v)
  if type(v) ~= "string" then return "a string" end
end

function fields.text(v)
  if type(v) ~= "string" or v == "" then return "a string that is not empty" end
end

function fields.table(v)
  if type(v) ~= "table" then return "a table" end
end

function fields.func(v)
  if type(v) ~= "function" then return "a function" end
end

function fields.count(v)
  if not is_number(v) or v < 0 or (v ~= math.huge and v % 1 ~= 0) then
    return "a whole number, 0 or more"
  end
end

function fields.at_least_one(v)
  if fields.count(v) or v < 1 then return "a whole number, 1 or more" end
end

function fields.priority(v)
  if math.type(v) ~= "integer" or v < 0 or v > 3 then return "0, 1, 2 or 3" end
end

function fields.up_to(most)
  return function(v)
    if fields.at_least_one(v) or v > most then
      return "a whole number from 1 to " .. most
    end
  end
end

function fields.rate(v)
  if not is_number(v) or v < 0 or v > 1 then return "a number from 0 to 1" end
end

--- math.huge is no amount.
function fields.amount(v)
  if not is_number(v) or v < 0 or v == math.huge then
    return "a number, 0 or more"
  end
end

--- math.huge is the greatest: no limit.
function fields.positive(v)
  if not is_number(v) or v <= 0 then return "a number greater than 0" end
end

function fields.positive_amount(v)
  if fields.positive(v) or v == math.huge then
    return "a number greater than 0"
  end
end

function fields.seconds(v)
  if not is_number(v) or v < 0 then return "a number of seconds, 0 or more" end
end

function fields.positive_seconds(v)
  if fields.positive(v) then return "a number of seconds greater than 0" end
end

--- A check for a table with these fields.
function fields.table_of(known, wanted)
  return function(v)
    if type(v) ~= "table" then return wanted end
    for key, value in pairs(v) do
      if not known[key] then
        return ("!unknown field '%s'%s"):format(tostring(key),
          fields.suggestion(key, known))
      end
      local need = known[key](value)
      if need then return "!" .. fields.complaint(key, need, value) end
    end
  end
end

return fields
