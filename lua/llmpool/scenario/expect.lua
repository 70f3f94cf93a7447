-- expect.lua: what must hold of a report. One idea: an expectation is a line
-- that anybody can read - "latency.p95 < 2" - so that the message of one that
-- fails is the line itself and the number that was there. For all else there
-- are functions. It prints nothing.

local fields = require "llmpool.fields"
local kinds = require "llmpool.router.kinds"
local nearest = require "llmpool.nearest"

local expect = {}

local compare = {
  ["<"] = function(a, b) return a < b end,
  ["<="] = function(a, b) return a <= b end,
  [">"] = function(a, b) return a > b end,
  [">="] = function(a, b) return a >= b end,
  ["=="] = function(a, b) return a == b end,
  ["~="] = function(a, b) return a ~= b end,
}

local FORM = "an expectation is \"PATH OPERATOR NUMBER\", as in \"latency.p95 "
  .. "< 2\", or a function (report) that returns true, or false and why"

-- "served_rate >= 99 %" -> path, operator, number or path
local function parse(line)
  local path, operator, value = line:match "^%s*(%S+)%s*([<>=~]=?)%s*(.-)%s*$"
  if not path or not compare[operator] or value == "" then return nil end
  local percent = value:match "^(.-)%s*%%$"
  local number = tonumber(percent or value)
  if not number and (percent or value:find "[%s<>=~]") then return nil end
  return path, operator, number and (percent and number / 100 or number)
    or value
end

--- A list of expectations, parsed; raises on what is none.
function expect.check(list, level)
  local result = {}
  for i, entry in ipairs(list) do
    if type(entry) == "function" then
      result[i] = { test = entry, text = "expectation " .. i }
    elseif type(entry) == "string" then
      local path, operator, value = parse(entry)
      if not path then
        fields.bad(level + 1, "expectation %d, \"%s\": %s", i, entry, FORM)
      end
      result[i] = { path = path, operator = operator, value = value,
                    text = entry }
    else
      fields.bad(level + 1, "expectation %d is a %s; %s", i, type(entry), FORM)
    end
  end
  if #result == 0 and next(list) ~= nil then
    fields.bad(level + 1, "expect is a list; %s", FORM)
  end
  return result
end

local function names_of(t)
  local names = {}
  for _, entry in ipairs(t) do
    names[#names + 1] = type(entry) == "table" and entry.id or nil
  end
  if #names > 0 then return names end
  for name, value in pairs(t) do
    if type(name) == "string" and
      (type(value) == "number" or type(value) == "table") then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

-- A client of the list, by "model/id" or by its id.
local function in_list(list, key)
  for _, entry in ipairs(list) do
    if entry.id == key or entry.model
      and entry.model .. "/" .. entry.id == key then
      return entry
    end
  end
end

-- Names may have dots in them: the longest that is there is taken.
local function step(t, rest)
  local stop = #rest
  while stop do
    local key = rest:sub(1, stop)
    local value = t[key]
    if value == nil and t[1] then value = in_list(t, key) end
    if value ~= nil then return value, rest:sub(stop + 2), key end
    stop = rest:sub(1, stop):match "^.*()%."
    stop = stop and stop - 1
  end
end

-- What has not failed by this kind is 0, if there is such a kind.
local function kind_of_failure(name)
  local near = not kinds.known[name] and nearest(name, kinds.names)
  if not near then return 0 end
  return nil, ("unknown kind of failure '%s'; did you mean '%s'?"):format(name,
    near)
end

--- The number at a path of a report: "latency.p95", "clients.key-1.busy".
-- What may be absent because nothing of it happened, such as a kind of
-- failure, is 0. Returns it, or nil and what is wrong with the path.
function expect.lookup(report, path)
  local value, rest, seen = report, path, ""
  while rest ~= "" do
    if type(value) ~= "table" then
      return nil, ("%s is a number; there is nothing below it"):format(seen)
    end
    local inner, left, key = step(value, rest)
    if inner == nil then
      local names = names_of(value)
      if value == report.failed then
        return kind_of_failure(rest)
      end
      local near = nearest(rest:match "^[^.]+", names)
      return nil, ("there is no '%s' in %s; %s"):format(rest:match "^[^.]+",
        seen == "" and "a report" or seen,
        near and ("did you mean '%s'?"):format(near) or "there are "
        .. table.concat(names, ", "))
    end
    value, rest, seen = inner, left, seen == "" and key or seen .. "." .. key
  end
  if type(value) == "table" and value.total then value = value.total end
  if type(value) ~= "number" then
    return nil, ("%s is no number; below it there are %s"):format(path,
      type(value) == "table" and table.concat(names_of(value), ", ") or "none")
  end
  return value
end

local function number(value)
  if math.type(value) == "integer" then return tostring(value) end
  return ("%.6g"):format(value)
end

local function run_test(entry, report)
  local ok, message = entry.test(report)
  if ok then return true end
  if ok == nil and message == nil then
    return false, "the function returned nothing; it must return true, or "
      .. "false and why"
  end
  return false, message and tostring(message) or "the function returned false"
end

local function judge(entry, report)
  if entry.test then return run_test(entry, report) end
  local actual, wrong = expect.lookup(report, entry.path)
  if not actual then return false, wrong end
  local wanted = entry.value
  if type(wanted) == "string" then
    wanted, wrong = expect.lookup(report, wanted)
    if not wanted then return false, wrong end
  end
  if compare[entry.operator](actual, wanted) then return true, nil, actual end
  return false, ("expected %s %s %s, got %s"):format(entry.path,
    entry.operator, number(wanted), number(actual)), actual
end

--- Judges every expectation.
-- @return list of {text, ok, message, actual}, and how many failed
function expect.judge(list, report)
  local results, bad = {}, 0
  for i, entry in ipairs(list) do
    local ok, message, actual = judge(entry, report)
    results[i] = { text = entry.text, ok = ok, message = message,
                   actual = actual }
    if not ok then bad = bad + 1 end
  end
  return results, bad
end

return expect
