-- complete.lua: what could stand at the end of a line that is being typed.
--
-- Globals, locals of the same text, fields, methods and keywords; in a table of
-- options its fields; in a string what strings.lua finds. Everything is looked
-- up raw (members.lua), so that pressing Tab changes nothing.

local calls = require "llmpool.prompt.calls"
local keywords = require "llmpool.keywords"
local members = require "llmpool.members"
local scan = require "llmpool.prompt.scan"
local sorted = require "llmpool.sorted"
local strings = require "llmpool.prompt.strings"

local complete = {}

local function add(set, more, prefix)
  for name in pairs(more) do
    if name:sub(1, #prefix) == prefix then set[name] = true end
  end
end

-- ---- names -----------------------------------------------------------------

local function names_in(value, prefix, functions_only)
  return members.names(value, function(name, field)
    return name:sub(1, #prefix) == prefix
      and (not functions_only or type(field) == "function")
      and (prefix:sub(1, 1) == "_" or name:sub(1, 1) ~= "_")
  end)
end

local DECLARATIONS = {
  "%f[%w_]local%s+function%s+([%w_]+)", "%f[%w_]local%s+([%w_,%s<>]+)",
  "%f[%w_]function[%s%w_%.:]*%(([%w_,%s]*)%)", "%f[%w_]for%s+([%w_,%s]+)",
}

-- Locals and parameters that the text declares, wherever in it they are known.
local function local_names(text)
  local set = {}
  for _, declaration in ipairs(DECLARATIONS) do
    for list in text:gmatch(declaration) do
      for name in list:gmatch "[%a_][%w_]*" do
        if keywords[name] then break end -- for k, v IN ...
        set[name] = true
      end
    end
  end
  return set
end

-- The object in front of a dot or a colon, which ends the text: its value, or
-- nil where it is none or something that would have to be run.
local function object_of(text, env)
  if text:find "%(%s*\"[^\"\\]*\"%s*%)$"
    or text:find "%(%s*'[^'\\]*'%s*%)$" then
    return not text:find "[%w_%]%)]%s*%([^%(]*$" and "" or nil -- ("x"):rep
  end
  local first, path = text:match "()([%a_][%w_%.%[%]\"']*)$"
  while first do
    if text:sub(1, first - 1):find "[%w_%)%]\"'}][%.:]?$"
      or text:sub(1, first - 1):find "[^%.][%.:]$" then
      return nil
    end
    local value = members.at(env, path)
    if value ~= nil then return value end
    local inner = path:match "%[([%a_][%w_%.%[%]\"']*)$" -- t[a.b
    first, path = inner and #text - #inner + 1, inner
  end
end

local function complete_name(text, env)
  local first, word = text:match "()([%w_]*)$"
  if word:find "^%d" then return first, {} end
  local before = text:sub(1, first - 1)
  local object, sign = before:match "^(.*[^%.:%s])%s*([%.:])%s*$"
  if object then
    local value = object_of(object, env)
    if value == nil then return first, {} end
    return first, sorted(names_in(value, word, sign == ":"))
  elseif word == "" or before:find "[%.:]$" and not before:find "%.%.$" then
    return first, {}
  end
  local set = names_in(env, word)
  add(set, keywords, word)
  add(set, local_names(before), word)
  return first, sorted(set)
end

-- ---- tables of options -----------------------------------------------------

-- The fields that the table could have, where one may begin; else nil.
local function complete_field(text, state, value_of)
  local top = state.open[#state.open]
  if not top or top.char ~= "{" then return nil end
  local first, word = text:match("^%s*()([%w_]*)$", top.from)
  if not first then return nil end
  local given, list = text:sub(top.at, first - 1), {}
  for _, field in ipairs(calls.fields(text, state, value_of)) do
    if members.is_identifier(field.name) and field.name:sub(1, #word) == word
      and not given:find("%f[%w_]" .. field.name .. "%s*=") then
      list[#list + 1] = field.name .. " = "
    end
  end
  table.sort(list)
  if #list > 0 then return first, list end
end

-- ---- the whole -------------------------------------------------------------

--- What could stand at the end of the line.
-- @param line string: up to the cursor
-- @param env table: the globals
-- @param files function: directory -> list of names, directories with a "/"
-- @param pending string or nil: the lines of the statement before this one
-- @return the place from which, the list of what, in order, and how much in
-- front of each of them need not be shown
function complete.line(line, env, files, pending)
  local text = pending and pending .. "\n" .. line or line
  local before = #text - #line
  local state = scan.text(text)
  local function value_of(path) return members.at(env, path) end
  local first, list, hidden
  if state.comment then
    first, list = #text + 1, {}
  elseif state.string then
    first, list, hidden = strings.complete(text, state, env, files)
  else
    first, list = complete_field(text, state, value_of)
    if not first then first, list = complete_name(text, env) end
  end
  if first <= before then return #line + 1, {}, 0 end
  return first - before, list, hidden or 0
end

return complete
