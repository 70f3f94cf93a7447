-- complete.lua: what could stand at the end of a line that is being typed.
--
-- Globals, fields and methods, keywords; in a string the names of modules,
-- models, help's topics or files, by what stands before it. Everything is
-- looked up raw (members.lua), so that pressing Tab changes nothing.

local annotations = require "llmpool.annotations"
local embedded = require "llmpool.embedded"
local members = require "llmpool.members"

local complete = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in
  local nil not or repeat return then true until while]]):gmatch "%a+" do
  KEYWORDS[#KEYWORDS + 1] = word
end

-- The value of "a.b.c", or nil.
local function raw_value(path, env)
  local value = env
  for name in path:gmatch "[^%.]+" do
    if value == nil then return nil end
    value = members.field(value, name)
  end
  return value
end

-- ---- names -----------------------------------------------------------------

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local is_identifier = members.is_identifier

local function names_in(value, prefix, functions_only)
  return members.names(value, function(name, field)
    return name:sub(1, #prefix) == prefix
      and (not functions_only or type(field) == "function")
      and (prefix:sub(1, 1) == "_" or name:sub(1, 1) ~= "_")
  end)
end

local function with_prefix(list, prefix)
  local set = {}
  for _, name in ipairs(list) do
    if type(name) == "string" and name:sub(1, #prefix) == prefix then
      set[name] = true
    end
  end
  return set
end

local function complete_name(line, env)
  local first, word = line:match "()([%a_][%w_%.:]*)$"
  if not first then return #line + 1, {} end
  local before = line:sub(1, first - 1)
  if before:find "[^%.][%.:]$" or before:find "%d$" then
    return #line + 1, {} -- of something that would have to be run
  end
  local object, sign, prefix = word:match "^(.*)([%.:])([%w_]*)$"
  if not object then
    local set = names_in(env, word)
    for name in pairs(with_prefix(KEYWORDS, word)) do set[name] = true end
    return first, sorted(set)
  end
  local value = raw_value(object, env)
  local from = #line - #prefix + 1
  if value == nil then return from, {} end
  return from, sorted(names_in(value, prefix, sign == ":"))
end

-- ---- strings ---------------------------------------------------------------

-- Where the string begins that is open at the end of the line, or nil; whether
-- the end is in a comment.
local function open_string(line)
  local quote, first
  local i = 1
  while i <= #line do
    local c = line:sub(i, i)
    if c == "\\" and quote then
      i = i + 1
    elseif c == quote then
      quote = nil
    elseif not quote and (c == '"' or c == "'") then
      quote, first = c, i + 1
    elseif not quote and line:sub(i, i + 1) == "--" then
      return nil, true
    end
    i = i + 1
  end
  return quote and first or nil
end

-- Adds the modules that one template of a path would find, such as "./?.lua".
local function modules_by(template, prefix, files, set)
  local root, ending = template:match "^([^?]*/)%?(%.%w+)$"
  if not root then return end
  local parent, start = prefix:match "^(.*%.)([^.]*)$"
  parent, start = parent or "", start or prefix
  local directory = root .. parent:gsub("%.", "/")
  for _, file in ipairs(files(directory)) do
    local name = file:sub(-#ending) == ending and file:sub(1, -#ending - 1)
    if name and name:sub(1, #start) == start and is_identifier(name) then
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

local function is_pool(value)
  local metatable = debug.getmetatable(value)
  return type(value) == "userdata" and type(metatable) == "table"
    and rawget(metatable, "__name") == "llmpool.pool"
end

-- Of the pool that is named, or of every pool that a global holds.
local function model_names(path, env, prefix)
  local pools, set = { raw_value(path, env) }, {}
  if not is_pool(pools[1]) then
    pools = {}
    for _, value in next, env do
      if is_pool(value) then pools[#pools + 1] = value end
    end
  end
  for _, pool in ipairs(pools) do
    local ok, names = pcall(pool.models, pool)
    for name in pairs(with_prefix(ok and names or {}, prefix)) do
      set[name] = true
    end
  end
  return set
end

local MODEL_METHODS = {
  get_client = true, acquire = true, generate = true, stream = true,
  stats = true, clients = true, pause = true, resume = true, renew = true,
  limit = true, cool_down = true, add_client = true, replace_client = true,
  retire_client = true, unregister_model = true,
}

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

-- Of one candidate, the string's end comes with it.
local function closed(set, quote)
  local list = sorted(set)
  if #list == 1 and list[1]:sub(-1) ~= "/" then list[1] = list[1] .. quote end
  return list
end

local function complete_string(line, first, env, files)
  local prefix, before = line:sub(first), line:sub(1, first - 2)
  local quote = line:sub(first - 1, first - 1)
  local word = before:match "([%a_][%w_]*)%s*%(?%s*$"
  local path, method = before:match "([%a_][%w_%.]*):([%a_][%w_]*)%s*%(?%s*$"
  if not method then -- the second of a list of models
    path, method = before:match "([%a_][%w_%.]*):([%a_][%w_]*)%s*%(?%s*{[^}]*$"
  end
  if method and MODEL_METHODS[method] then
    return first, closed(model_names(path, env, prefix), quote)
  elseif word == "require" or word == "reload" then
    return first, closed(module_names(prefix, files), quote)
  elseif word == "help" then
    return first, closed(topics(prefix), quote)
  end
  return first, closed(file_names(prefix, files), quote)
end

--- What could stand at the end of the line.
-- @param line string: up to the cursor
-- @param env table: the globals
-- @param files function: directory -> list of names, directories with a "/"
-- @return the place from which, and the list of what, in order
function complete.line(line, env, files)
  local first, in_comment = open_string(line)
  if in_comment then return #line + 1, {} end
  if first then return complete_string(line, first, env, files) end
  return complete_name(line, env)
end

return complete
