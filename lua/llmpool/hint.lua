-- hint.lua: what was probably meant where a method, a field or a global that
-- was called or indexed turned out to be nil.
--
-- One idea: it is asked by the message handler of an error that Lua has already
-- worded, while the frame that failed is still there; so it sees the object in
-- that frame's registers, and a right call pays nothing. It knows the objects
-- and modules of ours; at the prompt whatever it sees.

local annotations = require "llmpool.annotations"
local inspect = require "llmpool.inspect"
local members = require "llmpool.members"
local nearest = require "llmpool.nearest"
local sorted = require "llmpool.sorted"

local hint = {}

-- Whether it speaks of what is not ours, too: at the prompt.
local function at_everything() return inspect.hints_at_everything end

local function is_ours(value)
  local class = members.class(value)
  return class ~= nil and class:find "^llmpool%f[%z%.]" ~= nil
end

local function function_names(value)
  return sorted(members.names(value, function(_, field)
    return type(field) == "function"
  end))
end

-- The values in the frame's registers, in order: locals first.
local function registers(level)
  local values, i = {}, 1
  while true do
    local name, value = debug.getlocal(level + 1, i)
    if not name then return values, i - 1 end
    values[i] = value
    i = i + 1
  end
end

-- ---- methods ---------------------------------------------------------------

-- A method call has put the object behind the nil that it found.
local function of_method(name, level)
  local values, n = registers(level + 1)
  for i = n, 2, -1 do
    local object = values[i]
    if values[i - 1] == nil and object ~= nil
      and (at_everything() or is_ours(object)) then
      local near = nearest(name, function_names(object))
      if near then return "'" .. near .. "'" end
    end
  end
end

-- ---- fields ----------------------------------------------------------------

-- A module that was taken for a field of llmpool's.
local function of_module(name)
  for _, module in ipairs(annotations.modules()) do
    if module == "llmpool." .. name
      or module:sub(1, #name + 9) == "llmpool." .. name .. "." then
      return ('require "llmpool.%s"'):format(name)
    end
  end
end

-- The modules that the frame can see, by value: their names.
local function modules(level)
  local seen, found = {}, {}
  for name, module in next, package.loaded do
    if type(module) == "table" and type(name) == "string"
      and (at_everything() or name:find "^llmpool%f[%z%.]") then
      seen[module] = name
    end
  end
  local function note(value)
    if value ~= nil and seen[value] then found[value] = seen[value] end
  end
  local values, n = registers(level + 1)
  for i = 1, n do note(values[i]) end
  local fn = debug.getinfo(level + 1, "f").func
  local i = 1
  while true do
    local name, value = debug.getupvalue(fn, i)
    if not name then break end
    note(value)
    if name == "_ENV" and type(value) == "table" then
      for _, global in next, value do note(global) end
    end
    i = i + 1
  end
  return found
end

-- What is a method of some object was looked for in the module.
local function of_object(name)
  for _, item in ipairs((annotations.all())) do
    if item.kind == "function" and item.member == name then
      return "'" .. item.name:gsub("^llmpool%.", "") .. "'"
    end
  end
end

local function of_field(name, level)
  local words, is_llmpool
  for module, title in pairs(modules(level + 1)) do
    local near = nearest(name, function_names(module))
    local candidate = near and ("'%s.%s'"):format(title:match "[%w_]+$", near)
    if near and title == "_G" then candidate = "'" .. near .. "'" end
    if near and (not words or candidate < words) then words = candidate end
    is_llmpool = is_llmpool or title == "llmpool"
  end
  return is_llmpool and of_module(name) or words
    or is_llmpool and of_object(name) or nil
end

-- ---- globals ---------------------------------------------------------------

local function of_global(name)
  if not at_everything() then return nil end
  local list = {}
  for known in next, _G do list[#list + 1] = known end
  local near = nearest(name, list)
  return near and "'" .. near .. "'"
end

local finders = { method = of_method, field = of_field, global = of_global }

--- "did you mean 'generate'?" for a message of Lua's, or nil.
-- @param message string
-- @param level integer: of the frame that failed, as the caller counts
function hint.find(message, level)
  local kind, name =
    message:match "attempt to %a+ a nil value %((%a+) '([^']*)'%)$"
  local find = finders[kind]
  if not find then return nil end
  local meant = find(name, level + 1)
  return meant and ("did you mean %s?"):format(meant)
end

return hint
