-- members.lua: the fields and methods of a value, looked up raw.
--
-- One idea: whoever only looks must change nothing. Tables are read with rawget
-- and next, metatables' __index tables are followed, and a function in __index
-- never runs; of our own types, whose table C keeps to itself, the annotations
-- say what there is.

local annotations = require "llmpool.annotations"

local members = {
  LIBRARIES = { "_G", "coroutine", "debug", "io", "math", "os", "string",
                "table", "utf8" }, -- Lua's own
}

local LONGEST_CHAIN = 20 -- one that bites its tail has an end, too

local function annotated(class)
  local methods = {}
  for _, item in ipairs((annotations.all())) do
    if item.class == class and item.kind == "function" then
      methods[item.member] = print -- any function: only its type counts
    end
  end
  return methods
end

--- Calls visit with each table in which the value's fields are looked up.
function members.each_table(value, visit)
  for _ = 1, LONGEST_CHAIN do
    if type(value) == "table" then visit(value) end
    local metatable = debug.getmetatable(value)
    if type(metatable) ~= "table" then return end
    local index = rawget(metatable, "__index")
    if type(index) == "function" and rawget(metatable, "__name") then
      visit(annotated(rawget(metatable, "__name")))
    end
    if type(index) ~= "table" then return end
    if type(value) ~= "table" then visit(index) end
    value = index
  end
end

--- The field of that name, or nil.
function members.field(value, name)
  local found
  members.each_table(value, function(t)
    if found == nil then found = rawget(t, name) end
  end)
  return found
end

-- One step of a path from `i` on: .name, [3], ["text"]. The key, and the index
-- behind it.
local function next_key(path, i)
  local key, after = path:match("^%.?([%a_][%w_]*)()", i)
  if key then return key, after end
  key, after = path:match("^%[(%d+)%]()", i)
  if key then return math.tointeger(key), after end
  local _
  _, key, after = path:match("^%[([\"'])([^\"']*)%1%]()", i)
  return key, after
end

--- The value of "a.b[1].c" in the table; nil: none, or the path is no such.
function members.at(env, path)
  local value, i = env, 1
  while i <= #path do
    if value == nil then return nil end
    local key, after = next_key(path, i)
    if key == nil then return nil end
    value, i = members.field(value, key), after
  end
  return path ~= "" and value or nil
end

--- Whether it could stand behind a dot.
function members.is_identifier(name)
  return type(name) == "string" and name:find "^[%a_][%w_]*$" ~= nil
end

--- The names of fields as a set, of which `accept` (name, field) holds.
function members.names(value, accept)
  local set = {}
  members.each_table(value, function(t)
    for name, field in next, t do
      if members.is_identifier(name) and accept(name, field) then
        set[name] = true
      end
    end
  end)
  return set
end

--- What a value's type calls itself: "llmpool.pool", or nil.
function members.class(value)
  local metatable = debug.getmetatable(value)
  local name = type(metatable) == "table" and rawget(metatable, "__name")
  return type(name) == "string" and name or nil
end

--- Whether a value's type has words for it, __tostring.
function members.has_words(value)
  local metatable = debug.getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__tostring")
    and true or false
end

return members
