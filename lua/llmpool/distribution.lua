-- distribution.lua: how long something takes, or how large it is: a number, or
-- a table that names a distribution. One idea: what may be written is said
-- once, here, and turned into a function that draws one value a call from a
-- stream of chance. It waits for nothing and knows no clients.
--
--   0.3                                        always that
--   {"constant", value = 0.3}                  the same
--   {"uniform", min = 0.1, max = 0.5}
--   {"exponential", mean = 0.3}
--   {"lognormal", median = 0.3, sigma = 0.5}   the spread of its logarithm
--   {"empirical", values = {0.2, 0.3, 0.9}}    one of these, all alike
--   {"empirical", file = "latencies.txt"}      one number a line

local fields = require "llmpool.fields"

local distribution = {}

local amount = fields.amount

local function check_values(values)
  if type(values) ~= "table" or #values == 0 then
    return "a list of numbers, one at least"
  end
  for i, value in ipairs(values) do
    if amount(value) then
      return ("!number %d of the list must be 0 or more, got %s"):format(i,
        tostring(value))
    end
  end
end

local files = {} -- what was read already, by name

local function read_file(name)
  local file, message = io.open(name)
  if not file then return nil, "cannot read " .. message end
  local values, number = {}, 0
  for line in file:lines() do
    number = number + 1
    local text = line:match "^%s*(.-)%s*$"
    if text ~= "" and text:sub(1, 1) ~= "#" then
      local value = tonumber(text)
      if not value or amount(value) then
        file:close()
        return nil, ("%s:%d: a number, 0 or more, expected, got '%s'")
          :format(name, number, text)
      end
      values[#values + 1] = value
    end
  end
  file:close()
  if #values == 0 then return nil, name .. " holds no numbers" end
  return values
end

local function values_of_file(name)
  if not files[name] then
    local values, message = read_file(name)
    if not values then return nil, message end
    files[name] = values
  end
  return files[name]
end

local function check_file(name)
  if type(name) ~= "string" then return "a file's name" end
  local values, message = values_of_file(name)
  if not values then return "!" .. message end
end

-- name -> field -> check
local known = {
  constant = { value = amount },
  uniform = { min = amount, max = amount },
  exponential = { mean = amount },
  lognormal = { median = amount, sigma = amount },
  empirical = { values = check_values, file = check_file },
}

local function check_needed(name, t)
  if name == "empirical" then
    if (t.values == nil) == (t.file == nil) then
      return "!distribution 'empirical' needs values, a list, or file, a name"
    end
    return
  end
  for field, check in pairs(known[name]) do
    local wanted = check(t[field])
    if wanted then
      return ("!%s of distribution '%s' must be %s, got %s"):format(field,
        name, wanted, t[field] == nil and "nil" or tostring(t[field]))
    end
  end
  if name == "uniform" and t.max < t.min then
    return ("!distribution 'uniform' has max %s below min %s"):format(t.max,
      t.min)
  end
end

local function check_table(t)
  local name = t[1] or t.distribution
  if type(name) ~= "string" or not known[name] then
    return ("!unknown distribution '%s'%s"):format(tostring(name),
      fields.suggestion(name, known))
  end
  for field, value in pairs(t) do
    if field ~= 1 and field ~= "distribution" then
      local check = known[name][field]
      if not check then
        return ("!distribution '%s' has no field '%s'%s"):format(name,
          tostring(field), fields.suggestion(field, known[name]))
      end
      local wanted = check(value)
      if wanted then
        return wanted:sub(1, 1) == "!" and wanted
          or ("!%s of distribution '%s' must be %s, got %s"):format(field,
            name, wanted, tostring(value))
      end
    end
  end
  return check_needed(name, t)
end

--- Whether a value describes a distribution: a check as fields.lua has them.
-- @return nil, or what is wanted, or a whole sentence after "!"
function distribution.check(v)
  if type(v) == "table" then return check_table(v) end
  if amount(v) then return "a number, 0 or more, or a distribution" end
end

local two = { -- the two numbers that the draws of C take
  constant = function(t) return t.value end,
  uniform = function(t) return t.min, t.max end,
  exponential = function(t) return t.mean end,
  lognormal = function(t) return t.median, t.sigma end,
}

local function pick(values, stream)
  local n = #values
  return function() return values[1 + stream() * n // 1 | 0] end
end

local mean = {
  constant = function(t) return t.value end,
  uniform = function(t) return (t.min + t.max) / 2 end,
  exponential = function(t) return t.mean end,
  lognormal = function(t) return t.median * math.exp(t.sigma ^ 2 / 2) end,
  empirical = function(t)
    local values, sum = t.values or assert(values_of_file(t.file)), 0
    for _, value in ipairs(values) do sum = sum + value end
    return sum / #values
  end,
}

--- The mean of a distribution, which must have passed its check.
function distribution.mean(v)
  if type(v) == "number" then return v end
  return mean[v[1] or v.distribution](v)
end

--- A function () -> number that draws from the stream; the value must have
-- passed its check.
function distribution.drawer(v, stream)
  local native = require "llmpool.native"
  if type(v) == "number" then return native.draw(stream, "constant", v) end
  local name = v[1] or v.distribution
  if name == "empirical" then
    return pick(v.values or assert(values_of_file(v.file)), stream)
  end
  return native.draw(stream, name, two[name](v))
end

return distribution
