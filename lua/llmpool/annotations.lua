-- annotations.lua: reads what lua/llmpool/meta says of every public function,
-- as plain tables. help(), completion, the reference and the spec that keeps
-- the annotations true all read these; nobody parses the files twice.
--
-- An item is
--   { name = "llmpool.pool:acquire", kind = "function", class =, member =,
--     method = true, text =, params = { {name, type, text, optional} },
--     returns = { {type, name, text} }, async =, signature = "a, b" }
-- or { name = "llmpool.pool", kind = "class", text =, fields = { ... } }.
-- A module that is a function, llmpool.policy.hedge, is an item whose `module`
-- is true and whose class is what stands before its last dot. A file says by
-- `---@meta NAME` which module it is of; `_`: of none. It understands the part
-- of LuaLS's language that those files use.

local embedded = require "llmpool.embedded"

local annotations = {}

local PREFIX = "llmpool.meta."

-- ---- one line --------------------------------------------------------------

-- A type goes on over blanks inside brackets, after a comma or a colon, and
-- around "|". Returns it and the rest of the line.
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find "[%(%[{<]" then
      depth = depth + 1
    elseif c:find "[%)%]}>]" then
      depth = depth - 1
    elseif c == '"' then
      i = text:find('"', i + 1, true) or #text
    elseif c == " " and depth == 0
      and not text:sub(1, i - 1):find "[:,|]$"
      and not text:find("^%s*|", i) then
      break
    end
    i = i + 1
  end
  return text:sub(1, i - 1), (text:sub(i):match "^%s*(.-)%s*$")
end

local function read_param(text)
  local name, optional, rest = text:match "^([%w_%.%[%]]+)(%??)%s+(.*)$"
  local kind, words = split_type(rest)
  return { name = name, type = kind, text = words,
           optional = optional == "?" }
end

local function read_return(text)
  local kind, rest = split_type(text)
  local name, words = rest:match "^([%w_%.]+)%s*(.*)$"
  if kind == "any" and rest:sub(1, 3) == "..." then
    name, words = "...", rest:sub(4):match "^%s*(.*)$"
  end
  return { type = kind, name = name, text = words or "" }
end

-- ---- blocks ----------------------------------------------------------------

local tags = {}

function tags.class(block, text)
  block.class, block.parent = text:match "^([%w_%.]+)%s*:?%s*(.*)$"
end
function tags.alias(block, text) block.alias = text:match "^[%w_%.]+" end
function tags.async(block) block.async = true end
function tags.nodiscard(block) block.nodiscard = true end
function tags.deprecated(block) block.deprecated = true end

local function list_tag(field, read)
  return function(block, text)
    local item = read(text)
    table.insert(block[field], item)
    block.last = item
  end
end

tags.param = list_tag("params", read_param)
tags.field = list_tag("fields", read_param)
tags["return"] = list_tag("returns", read_return)

local function new_block(file, line)
  return { lines = {}, params = {}, fields = {}, returns = {}, file = file,
           line = line }
end

-- Plain words belong to the tag before them, or to the whole.
local function add_words(block, words)
  local last = block.last
  if last then
    last.text = last.text .. " " .. words:gsub("^ ", "")
  else
    block.lines[#block.lines + 1] = words
  end
end

local function add_comment(block, comment)
  local tag, rest = comment:match "^@(%a+)%s*(.*)$"
  if not tag then return add_words(block, (comment:gsub("^ ", ""))) end
  block.last = nil
  if tags[tag] then tags[tag](block, rest) end
end

-- ---- files -----------------------------------------------------------------

local function class_item(block)
  return { kind = "class", name = block.class, fields = block.fields,
           parent = block.parent ~= "" and block.parent or nil,
           text = table.concat(block.lines, "\n"), file = block.file }
end

local function function_item(block, class, sign, member, signature)
  return {
    kind = "function", name = class .. sign .. member, class = class,
    member = member, method = sign == ":", signature = signature,
    params = block.params, returns = block.returns, async = block.async,
    text = table.concat(block.lines, "\n"), file = block.file,
    line = block.line,
  }
end

-- `local function hedge(t) end` in the file of llmpool.policy.hedge.
local function read_module(line, block, module, add)
  local name, signature = line:match "^local function ([%w_]+)%((.-)%) end"
  local class, member = (module or ""):match "^(.*)%.([%w_]+)$"
  if not name or member ~= name then return end
  local item = function_item(block or new_block(), class, ".", member,
    signature)
  item.module = true
  add(item)
end

-- Classes are known in a file by the local that stands behind them.
local function read_code(line, block, classes, add)
  local name = line:match "^local ([%w_]+) = {}"
  if block and block.class then
    if name then classes[name] = block.class end
    add(class_item(block))
  end
  local object, sign, member, signature =
    line:match "^function ([%w_]+)([%.:])([%w_]+)%((.-)%) end"
  if object and classes[object] then
    add(function_item(block or new_block(), classes[object], sign, member,
      signature))
  end
end

--- The module that an annotation file is of, or nil.
function annotations.module_of(text)
  local name = text:match "^%-%-%-@meta ([%w_.]+)"
  return name ~= "_" and name or nil
end

local function read_file(name, text, add)
  local block, number, classes = nil, 0, {}
  local module = annotations.module_of(text)
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local comment = line:match "^%-%-%-(.*)$"
    if comment then
      block = block or new_block(name, number)
      add_comment(block, comment)
    else
      read_module(line, block, module, add)
      read_code(line, block, classes, add)
      block = nil
    end
  end
  read_code("", block, classes, add) -- a class may end the file
end

local function merge(known, item)
  if known.text == "" then known.text = item.text end
  table.move(item.fields, 1, #item.fields, #known.fields + 1, known.fields)
end

--- Reads annotation files: { {name, text}, ... } in this order.
-- @return the items in order; functions by name; classes by name
function annotations.read(files)
  local items, functions, classes = {}, {}, {}
  for _, file in ipairs(files) do
    read_file(file[1], file[2], function(item)
      local named = item.kind == "class" and classes or functions
      if named[item.name] and named == classes then
        return merge(classes[item.name], item)
      end
      items[#items + 1] = item
      named[item.name] = item
    end)
  end
  return items, functions, classes
end

--- The files that travel with the program: list of {name, text}, the name
-- without lua/llmpool/meta and with dots, "policy.hedge".
function annotations.files()
  local files = {}
  for _, name in ipairs(embedded.names()) do
    if name:sub(1, #PREFIX) == PREFIX then
      files[#files + 1] = { name:sub(#PREFIX + 1), embedded.text(name) }
    end
  end
  return files
end

--- The modules that are for everybody, in order: those that have a file.
function annotations.modules()
  local modules = {}
  for _, file in ipairs(annotations.files()) do
    modules[#modules + 1] = annotations.module_of(file[2])
  end
  table.sort(modules)
  return modules
end

local all

--- All annotations that travel with the program; returns as read does.
function annotations.all()
  if not all then all = { annotations.read(annotations.files()) } end
  return table.unpack(all)
end

--- "pool:acquire(model, options)", as one would write the call.
function annotations.call_of(item)
  local params = {}
  for i, param in ipairs(item.params) do
    params[i] = param.optional and "[" .. param.name .. "]" or param.name
  end
  local object = item.class:match "[%w_]+$" .. (item.method and ":" or ".")
  return ("%s%s(%s)"):format(item.module and "" or object, item.member,
    table.concat(params, ", "))
end

return annotations
