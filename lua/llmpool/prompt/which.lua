-- which.lua: which annotation a value is of: a function of ours, an object, a
-- module, what a constructor has made. It finds, help.lua tells.

local annotations = require "llmpool.annotations"
local client_fields = require "llmpool.client_fields"
local embedded = require "llmpool.embedded"
local members = require "llmpool.members"
local own_files = require "llmpool.own_files"

local which = {}

local function member_name(t, value)
  for name, field in next, t do
    if rawequal(field, value) and type(name) == "string" then return name end
  end
end

-- ---- functions -------------------------------------------------------------

-- A function of a module, or a method whose table C keeps.
local function known_member(fn)
  local items, functions, classes = annotations.all()
  for _, item in ipairs(items) do
    if item.module and rawequal(package.loaded[item.name], fn) then
      return item
    end
  end
  for name in pairs(classes) do
    local module = package.loaded[name]
    local member = type(module) == "table" and member_name(module, fn)
    local item = member and functions[name .. "." .. member]
    if item then return item end
    local metatable = debug.getregistry()[name]
    local index = type(metatable) == "table" and rawget(metatable, "__index")
    member = type(index) == "table" and member_name(index, fn)
    item = member and functions[name .. ":" .. member]
    if item then return item end
  end
end

-- The text of one of our own files by its chunk's name; nil: it is none.
local function own_source(source)
  local module = own_files.module(source:match "^@(.*)$")
  return module and embedded.text(module)
end

-- A method of an object in Lua: what its file says on that line.
local function method_in_source(info)
  local text = own_source(info.source)
  if not text then return nil end
  local number, class = 0, text:match '__name = "([%w_%.]+)"'
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    if number == info.linedefined then
      local member = line:match "^function [%w_]+[:.]([%w_]+)%("
      local _, functions = annotations.all()
      return member and class and functions[class .. ":" .. member]
    end
  end
end

--- The annotation of a function, or nil; whether it is one of ours.
function which.item(fn)
  local info = debug.getinfo(fn, "S")
  local item = known_member(fn) or method_in_source(info)
  return item, item ~= nil or own_source(info.source) ~= nil
end

--- The name of a function of Lua's own libraries, or nil.
function which.of_lua(fn)
  for _, module in ipairs(members.LIBRARIES) do
    local loaded = package.loaded[module]
    local name = type(loaded) == "table" and member_name(loaded, fn)
    if name then return module == "_G" and name or module .. "." .. name end
  end
end

-- ---- other values ----------------------------------------------------------

--- The name of a class or a module that tells of the value, or nil.
function which.topic(value)
  local _, _, classes = annotations.all()
  local class = members.class(value)
  if class and classes[class] then return class end
  if type(value) ~= "table" then return nil end
  local provider = rawget(value, client_fields.MARK)
  if type(provider) == "string" then -- made by llmpool.openai, ...
    local name = "llmpool." .. provider:match "[%w_]*$" .. "_spec"
    return classes[name] and name or "llmpool.client_spec"
  end
  for name, module in next, package.loaded do
    if rawequal(module, value) and type(name) == "string" then return name end
  end
end

return which
