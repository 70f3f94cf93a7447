-- strings.lua: what could stand in a string that is being typed: the names of
-- modules, models, clients, help's topics, of what an option may be, or of
-- files, by what the string is for. What is chosen is written as such a string
-- has it, with its end where there is but one.

local annotations = require "llmpool.annotations"
local calls = require "llmpool.prompt.calls"
local embedded = require "llmpool.embedded"
local members = require "llmpool.members"
local scan = require "llmpool.prompt.scan"
local sorted = require "llmpool.sorted"

local strings = {}

local function with_prefix(list, prefix)
  local set = {}
  for _, name in ipairs(list) do
    if type(name) == "string" and name:sub(1, #prefix) == prefix then
      set[name] = true
    end
  end
  return set
end

-- ---- modules ---------------------------------------------------------------

-- Adds the modules that one template of a path would find, such as "./?.lua".
local function modules_by(template, prefix, files, set)
  local root, ending = template:match "^([^?]*/)%?(%.%w+)$"
  if not root then return end
  local parent, start = prefix:match "^(.*%.)([^.]*)$"
  parent, start = parent or "", start or prefix
  local directory = root .. parent:gsub("%.", "/")
  for _, file in ipairs(files(directory)) do
    local name = file:sub(-#ending) == ending and file:sub(1, -#ending - 1)
    if name and name:sub(1, #start) == start
      and members.is_identifier(name) then
      set[parent .. name] = true
    end
  end
end

local function module_names(prefix, files)
  local set = with_prefix(annotations.modules(), prefix)
  for _, known in ipairs { package.loaded, package.preload } do
    for name in pairs(with_prefix(sorted(known), prefix)) do
      set[name] = set[name] or not name:find "^llmpool%." or nil
    end
  end
  for _, path in ipairs { package.path, package.cpath } do
    for template in path:gmatch "[^;]+" do
      modules_by(template, prefix, files, set)
    end
  end
  return set
end

-- ---- models and clients ----------------------------------------------------

local function is_pool(value)
  return type(value) == "userdata" and members.class(value) == "llmpool.pool"
end

-- Of the pool that is named, or of every pool that a global holds.
local function model_names(pool, env, prefix)
  local pools, set = { pool }, {}
  if not is_pool(pool) then
    pools = {}
    for _, value in next, env do
      if is_pool(value) then pools[#pools + 1] = value end
    end
  end
  for _, known in ipairs(pools) do
    local ok, names = pcall(known.models, known)
    for name in pairs(with_prefix(ok and names or {}, prefix)) do
      set[name] = true
    end
  end
  return set
end

-- Of the model that is the call's first argument.
local function client_ids(pool, text, call, prefix)
  local model = text:match("^%(%s*[\"']([^\"']*)[\"']", #call + 1)
  if not (is_pool(pool) and model) then return {} end
  local ok, clients = pcall(pool.clients, pool, model)
  local ids = {}
  for i, client in ipairs(ok and clients or {}) do ids[i] = client.id end
  return with_prefix(ids, prefix)
end

-- What a field of a table of options may be: "lifo"|"fifo"; or nil.
local function alternatives(text, state, value_of, prefix)
  local before = text:sub(1, state.string - #state.quote - 1)
  local key = before:match "([%a_][%w_]*)%s*=%s*$"
  if not key then return nil end
  for _, field in ipairs(calls.fields(text, state, value_of)) do
    if field.name == key and field.type:find '^"' then
      local words = {}
      for word in field.type:gmatch '"([^"]*)"' do words[#words + 1] = word end
      return with_prefix(words, prefix)
    end
  end
end

-- ---- the rest --------------------------------------------------------------

local function file_names(prefix, files)
  local directory, name = prefix:match "^(.*/)([^/]*)$"
  directory, name = directory or "", name or prefix
  local set = {}
  for _, file in ipairs(files(directory == "" and "." or directory)) do
    if file:sub(1, #name) == name
      and (name ~= "" or file:sub(1, 1) ~= ".") then
      set[directory .. file] = true
    end
  end
  return set
end

local function topics(prefix)
  local set = {}
  for _, item in ipairs((annotations.all())) do
    if item.name:sub(1, #prefix) == prefix then set[item.name] = true end
  end
  for _, name in ipairs(embedded.names()) do
    local page = name:match "^llmpool/doc/(.*)%.md$"
    if page and page:sub(1, #prefix) == prefix then set[page] = true end
  end
  return set
end

-- A name as it stands in a string that is quoted so, and back.
local function escaped(name, quote)
  if quote:sub(1, 1) == "]" then return name end
  return (name:gsub("[\\" .. quote .. "]", "\\%0"):gsub("\n", "\\n"))
end

local function unescaped(text, quote)
  if quote:sub(1, 1) == "]" then return text end
  return (text:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

-- The names, and what of one need not be shown in a list of them: a pattern.
local function names_for(text, state, env, files)
  local prefix = unescaped(text:sub(state.string), state.quote)
  local before = text:sub(1, state.string - #state.quote - 1)
  local word = before:match "([%a_][%w_]*)%s*%(?%s*$"
  if word == "require" or word == "reload" then
    return module_names(prefix, files), "^.*%."
  elseif word == "help" then
    return topics(prefix)
  end
  local function value_of(path) return members.at(env, path) end
  local words = alternatives(text, state, value_of, prefix)
  if words then return words end
  local param, item, call = calls.param(text, state, value_of)
  local pool = item and item.class == "llmpool.pool"
    and value_of((scan.callee(call)) or "")
  if param and param.name == "model" then
    return model_names(pool, env, prefix)
  elseif param and param.name == "id" and pool then
    return client_ids(pool, text, call, prefix)
  elseif pool and before:find "prefer%s*=[%s{]*$"
    or pool and before:find "exclude%s*=%s*{[^}]*$" then
    return client_ids(pool, text, call, prefix)
  end
  return file_names(prefix, files), "^.*/"
end

--- What could stand in the string that is open; as complete.line returns it.
function strings.complete(text, state, env, files)
  local set, hidden = names_for(text, state, env, files)
  local typed = text:sub(state.string)
  local list = sorted(set)
  for i, name in ipairs(list) do list[i] = escaped(name, state.quote) end
  if #list == 1 and list[1]:sub(-1) ~= "/" then
    list[1] = list[1] .. state.quote
  end
  return state.string, list, hidden and #(typed:match(hidden) or "") or 0
end

return strings
