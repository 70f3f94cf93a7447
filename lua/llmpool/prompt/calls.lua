-- calls.lua: what the annotations say of the place that the cursor stands in:
-- the argument of a call, or the fields of a table of options.
--
--   pool:acquire("gpt-4", { ti|      -> llmpool.call_options
--   llmpool.openai { breaker = { |   -> llmpool.breaker
--
-- Values are looked up raw, as everywhere in completion.

local annotations = require "llmpool.annotations"
local members = require "llmpool.members"
local scan = require "llmpool.prompt.scan"

local calls = {}

-- ---- functions -------------------------------------------------------------

-- Of an object that nobody knows, a pool's method or the only one of the name.
local function likely_item(member)
  local found, n = nil, 0
  for _, item in ipairs((annotations.all())) do
    if item.kind == "function" and item.member == member then
      if item.class == "llmpool.pool" then return item end
      found, n = item, n + 1
    end
  end
  return n == 1 and found or nil
end

local function module_of(object)
  for name, module in next, package.loaded do
    if rawequal(module, object) and type(name) == "string" then return name end
  end
end

-- The annotation of what is called by the end of a text: by the module that is
-- required or called itself, by the object's type, by the module that it is a
-- field of, or by its name.
local function item_of(before, value_of)
  local _, functions = annotations.all()
  local module = before:match "require%s*%(?%s*[\"']([%w_%.]+)[\"']%s*%)?%s*$"
  if module then return functions[module] end
  local path, sign, name = scan.callee(before)
  if not name then return nil end
  if not path then return functions[module_of(value_of(name)) or ""] end
  local object = value_of(path)
  local class = members.class(object) or module_of(object)
  local item = class and functions[class .. (sign or ".") .. name]
  return item or sign == ":" and likely_item(name) or nil
end

local function param_of(before, index, value_of)
  local item = item_of(before, value_of)
  return item and item.params[index], item, before
end

--- The parameter that the end of the text belongs to, its function's
-- annotation, and the text up to the call's arguments; or nil.
function calls.param(text, state, value_of)
  local depth = #state.open
  if state.string then -- f "x|
    local before = text:sub(1, state.string - #state.quote - 1)
    if before:find "[%w_]%s*$" then return param_of(before, 1, value_of) end
  end
  while depth > 0 and state.open[depth].char == "{" do depth = depth - 1 end
  local top = state.open[depth]
  if not top or top.char ~= "(" then return nil end
  return param_of(text:sub(1, top.at - 1), top.items, value_of)
end

-- ---- tables ----------------------------------------------------------------

-- The fields of an inline type: { id: string, config?: any }
local function inline_fields(kind)
  local fields = {}
  for name, words in kind:gmatch "([%a_][%w_]*)%??:%s*([^,}]*)" do
    fields[#fields + 1] = { name = name, type = words, text = "" }
  end
  return fields
end

--- The fields of a type and of what it builds on, in order.
function calls.fields_of(kind)
  local _, _, classes = annotations.all()
  if kind:find "%[%]%s*$" then return {} end
  local fields = {}
  local function add(class)
    if not class then return end
    add(class.parent and classes[class.parent])
    table.move(class.fields, 1, #class.fields, #fields + 1, fields)
  end
  for name in kind:gmatch "llmpool[%w_%.]*" do add(classes[name]) end
  if #fields == 0 and kind:find "{" then return inline_fields(kind) end
  return fields
end

local fields_at, type_at

-- A request is what its provider takes, and most take what ours do.
local function type_of_param(param)
  if param and param.name == "request" then
    return param.type .. "|llmpool.request"
  end
  return param and param.type
end

-- What a table that is open is: the type, or nil.
function type_at(text, state, depth, value_of)
  local bracket, outer = state.open[depth], state.open[depth - 1]
  local before = text:sub(1, bracket.at - 1)
  local key = before:match "([%a_][%w_]*)%s*=%s*$"
  if key then
    if not outer or outer.char ~= "{" then return nil end
    for _, field in ipairs(fields_at(text, state, depth - 1, value_of)) do
      if field.name == key then return field.type end
    end
    return nil
  end
  if before:find "[%w_%]\"']%s*$" then -- f { |
    return type_of_param(param_of(before, 1, value_of))
  elseif not (outer and before:find "[%({,]%s*$") then
    return nil
  elseif outer.char == "(" then
    return type_of_param(param_of(text:sub(1, outer.at - 1), outer.items,
      value_of))
  end
  local list = type_at(text, state, depth - 1, value_of)
  return list and list:match "^(.*)%[%]$" -- { {}, { |
end

function fields_at(text, state, depth, value_of)
  local kind = type_at(text, state, depth, value_of)
  return kind and calls.fields_of(kind) or {}
end

--- The fields of the table that the end of the text stands in, where a new one
-- could begin, as a list of {name, type, text}; else nothing.
function calls.fields(text, state, value_of)
  local depth = #state.open
  local top = state.open[depth]
  if not top or top.char ~= "{" then return {} end
  return fields_at(text, state, depth, value_of)
end

return calls
