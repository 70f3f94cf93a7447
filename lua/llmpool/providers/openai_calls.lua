-- Tool calls of OpenAI's format, in the many ways in which servers send them.
--
-- One idea: whatever a server says of a call's place (no index, one index for
-- all, a new id in every fragment), a call that begins is known by its id and
-- name; each fragment gets the index of its call, counted from 0 in the order
-- in which they began. It puts nothing together.

local json = require "llmpool.json"
local request = require "llmpool.providers.request"

local calls = {}

local function text_of(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- Ollama and some others send the object itself.
local function arguments_of(value)
  return type(value) == "table" and json.encode(value) or value
end

local function without_nulls(t)
  local copy = {}
  for name, value in pairs(t) do
    if request.given(value) then copy[name] = value end
  end
  return copy
end

local function function_of(value)
  if not request.given(value) then return nil end
  local f = without_nulls(value)
  f.arguments = arguments_of(f.arguments)
  return f
end

-- A fragment as all others are; its index is to be set.
local function plain(fragment)
  local copy = without_nulls(fragment)
  copy["function"] = function_of(fragment["function"])
  return copy
end

local function name_of(fragment)
  local called = fragment["function"] or fragment.custom
  return type(called) == "table" and text_of(called.name) or nil
end

--- The calls of a whole message: their order tells them apart.
function calls.whole(list)
  local result = {}
  for i, call in ipairs(list) do
    result[i] = plain(call)
    result[i].index = i - 1
  end
  return result
end

-- The call that a fragment goes on with: the latest at the server's index,
-- or with its id, or the latest of all.
local function known_call(known, place, id)
  for i = #known, 1, -1 do
    local call = known[i]
    if place then
      if call.place == place then return call end
    elseif not id or call.id == id then
      return call
    end
  end
end

-- Ids alone say nothing: vLLM has made a new one for every fragment; a name
-- comes with a call's beginning. Some repeat both.
local function begins(call, id, name)
  if not call then return true end
  if not name or not call.name then return false end
  return id ~= nil and call.id ~= nil and id ~= call.id
end

local function begin(known, place, id, name)
  local call = { place = place, id = id, name = name, index = #known }
  known[#known + 1] = call
  return call
end

-- Without ids it is the name that begins a call.
local function call_of(known, fragment)
  local place = math.tointeger(fragment.index)
  local id, name = text_of(fragment.id), name_of(fragment)
  local call = known_call(known, place, id)
  if begins(call, id, name)
    or not place and not id and name and call.name then
    return begin(known, place, id, name)
  end
  call.id, call.name = call.id or id, call.name or name
  return call
end

--- The fragments of an event, with their calls' indices.
-- @param known table: what the choice's events before this one brought
function calls.fragments(known, list)
  local result = {}
  for i, fragment in ipairs(list) do
    result[i] = plain(fragment)
    result[i].index = call_of(known, result[i]).index
  end
  return result
end

return calls
