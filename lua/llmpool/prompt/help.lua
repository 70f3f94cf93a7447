-- help.lua: the documentation of anything public, by its name or by itself.
-- All that it says stands in the annotations (lua/llmpool/meta), the manual's
-- pages (lua/llmpool/doc) and the commands; it finds and lays out.

local annotations = require "llmpool.annotations"
local calls = require "llmpool.prompt.calls"
local commandline = require "llmpool.commandline"
local embedded = require "llmpool.embedded"
local look = require "llmpool.members"
local nearest = require "llmpool.nearest"
local plain = require "llmpool.plain"
local which = require "llmpool.prompt.which"

local help = {}

-- ---- text ------------------------------------------------------------------

-- `head` stands before the first line in the margin's place.
local function wrap(text, width, margin, head)
  local lines, line = {}, head or margin
  local begun = false
  for word in text:gmatch "%S+" do
    if begun and #line + 1 + #word > width then
      lines[#lines + 1], line, begun = line, margin, false
    end
    line = begun and line .. " " .. word or line .. word
    begun = true
  end
  if begun or head then lines[#lines + 1] = line end
  return table.concat(lines, "\n")
end

local function first_sentence(text)
  local flat = text:gsub("\n", " ")
  return (flat:match "^(.-[%.:])%s" or flat)
end

-- ---- one function, one class -----------------------------------------------

-- Names in a column, and beside each its type and what it is. Rows are
-- {name, type or nil, text}.
local function entries(rows, width)
  local column = 0
  for _, row in ipairs(rows) do column = math.max(column, #row[1]) end
  column = math.min(column, width // 4)
  local lines = {}
  for i, row in ipairs(rows) do
    local name = row[1] .. (" "):rep(column - #row[1])
    local words = row[2] and ("(%s) %s"):format(row[2], row[3]) or row[3]
    lines[i] = wrap(words, width, (" "):rep(column + 4), "  " .. name .. "  ")
  end
  return table.concat(lines, "\n")
end

-- Of a parameter or a field.
local function row_of(value)
  return { value.name .. (value.optional and "?" or ""), value.type,
           value.text }
end

local function value_words(item, width)
  local rows = {}
  for _, param in ipairs(item.params) do rows[#rows + 1] = row_of(param) end
  for _, value in ipairs(item.returns) do
    rows[#rows + 1] = { "-> " .. (value.name or ""), value.type, value.text }
  end
  return entries(rows, width)
end

local function fields_text(fields, width)
  local rows = {}
  for i, field in ipairs(fields) do rows[i] = row_of(field) end
  return entries(rows, width)
end

-- What the table of a policy may say: the classes that are named after it.
local function options_text(name, width)
  local lines = {}
  for _, item in ipairs((annotations.all())) do
    if item.kind == "class" and name:find "^llmpool%.policy%."
      and item.name:sub(1, #name + 1) == name .. "." then
      lines[#lines + 1] = item.text .. "\n" .. fields_text(item.fields, width)
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

-- The fields of the tables that a function takes: of its options, of a spec.
local function params_text(item, width)
  local lines = {}
  for _, param in ipairs(item.params) do
    local fields = param.type:find "options" or param.type:find "_spec"
    fields = fields and calls.fields_of(param.type) or {}
    if #fields > 0 then
      lines[#lines + 1] = ("Fields of %s:\n%s"):format(param.name,
        fields_text(fields, width))
    end
  end
  return #lines > 0 and table.concat(lines, "\n\n") or nil
end

local function function_text(item, width)
  local text = annotations.call_of(item) .. "\n" .. wrap(item.text, width, "  ")
  local options
  if item.module then
    text = ('%s\n\n  local %s = require "%s"'):format(text, item.member,
      item.name)
    options = options_text(item.name, width)
  else
    options = params_text(item, width)
  end
  local values = value_words(item, width)
  if item.async then text = text .. "\n  It may wait." end
  if values ~= "" then text = text .. "\n\n" .. values end
  return options and text .. "\n\n" .. options or text
end

local function members_of(class)
  local members = {}
  for _, item in ipairs((annotations.all())) do
    if item.kind == "function" and item.class == class then
      members[#members + 1] = item
    end
  end
  return members
end

local function class_text(item, width)
  local lines = { item.name }
  if item.text ~= "" then lines[2] = wrap(item.text, width, "  ") end
  if #item.fields > 0 then
    lines[#lines + 1] = "\nFields:\n" .. fields_text(item.fields, width)
  end
  local members = members_of(item.name)
  if #members > 0 then lines[#lines + 1] = "\nFunctions:" end
  local is_narrow = width < 60 -- then what they do stands beneath
  for _, member in ipairs(members) do
    local call, words = annotations.call_of(member), first_sentence(member.text)
    local line = ("  %-34s %s"):format(call, words)
    if #line > width and not is_narrow then
      line = line:sub(1, width - 3) .. "..."
    end
    lines[#lines + 1] = is_narrow and wrap(call, width, "    ", "  ") .. "\n"
      .. wrap(words, width, "      ") or line
  end
  local options = options_text(item.name, width)
  if options then lines[#lines + 1] = "\n" .. options end
  return table.concat(lines, "\n")
end

-- ---- finding ---------------------------------------------------------------

-- "acquire", "pool:acquire", "pool.acquire" or "llmpool.pool:acquire"
local function find_function(topic)
  local wanted = topic:gsub(":", ".")
  local found = {}
  for _, item in ipairs((annotations.all())) do
    if item.kind == "function" then
      local name = item.name:gsub(":", ".")
      local short = name:match "([%w_]+%.[%w_]+)$"
      if name == wanted then return { item } end
      if short == wanted or item.member == wanted then
        found[#found + 1] = item
      end
    end
  end
  return found
end

local function page(topic)
  return embedded.text("llmpool/doc/" .. topic .. ".md")
end

--- The names of the manual's pages.
function help.pages()
  local pages = {}
  for _, name in ipairs(embedded.names()) do
    pages[#pages + 1] = name:match "^llmpool/doc/(.*)%.md$"
  end
  return pages
end

local function all_topics()
  local topics = help.pages()
  for _, item in ipairs((annotations.all())) do
    topics[#topics + 1] = item.name
    topics[#topics + 1] = item.member
  end
  table.move(commandline.names(), 1, #commandline.names(), #topics + 1, topics)
  return topics
end

local function command_text(name)
  local text = ""
  commandline.help(name, { program = "llmpool", out = function(more)
    text = text .. more
  end })
  return (text:gsub("\n$", ""))
end

local text_of_function

local function topic_text(topic, width)
  local _, _, classes = annotations.all()
  local found, texts = find_function(topic), {}
  for _, prefix in ipairs { "", "llmpool.", "llmpool.policy." } do
    local class = classes[prefix .. topic]
    if class then texts[#texts + 1] = class_text(class, width) end
  end
  if #texts == 0 and #members_of(topic) > 0 then -- a module of modules
    texts[1] = class_text({ name = topic, text = "", fields = {} }, width)
  end
  for _, item in ipairs(found) do
    texts[#texts + 1] = function_text(item, width)
  end
  if page(topic) then texts = { (page(topic):gsub("\n$", "")) } end
  if commandline.find(topic) then texts[#texts + 1] = command_text(topic) end
  if #texts > 0 then return table.concat(texts, "\n\n") end
  local value = look.at(package.loaded._G, topic)
  if type(value) == "function" then return text_of_function(value, width) end
  local near = nearest(topic, all_topics())
  return nil, ("no help on '%s'%s"):format(topic,
    near and ("; did you mean help \"%s\"?"):format(near) or "")
end

-- ---- by value --------------------------------------------------------------

-- The comment that stands right above a function in its file, or nil.
local function comment_above(info)
  local path = info.source:match "^@(.*)"
  local file = path and io.open(path)
  if not file then return nil end
  local comment, number = {}, 0
  for line in file:lines() do
    number = number + 1
    if number == info.linedefined then break end
    local words = line:match "^%s*%-%-+ ?(.*)$"
    comment = words and table.move({ words }, 1, 1, #comment + 1, comment) or {}
  end
  file:close()
  return #comment > 0 and table.concat(comment, "\n") or nil
end

local MANUAL = "https://www.lua.org/manual/5.4/manual.html#pdf-"

function text_of_function(fn, width)
  local item, is_ours = which.item(fn)
  if item then return function_text(item, width) end
  local name = which.of_lua(fn)
  if name then
    return ("%s is Lua's own:\n  %s%s"):format(name, MANUAL, name)
  elseif is_ours then
    return nil, "a function of llmpool's without documentation: a policy, say"
  end
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then
    return nil, "a function of C without documentation"
  end
  local where = ("a function of yours, defined at %s:%d"):format(
    plain.line(info.short_src), info.linedefined)
  local comment = comment_above(info)
  if comment then return where .. "\n" .. plain.text(comment) end
  return nil, where
end

local function text_of_value(value, width)
  local kind = type(value)
  if kind == "string" then return topic_text(value, width) end
  if kind == "function" then return text_of_function(value, width) end
  local topic = which.topic(value)
  local text = topic and topic_text(topic, width)
  if text then return text end
  return nil, ("no help on a %s"):format(kind)
end

local ABOUT = [[
At the prompt a line is a task: pool:generate("gpt-4", "hi") waits, and what
you have spawned goes on meanwhile. Ctrl-C cancels a line; Ctrl-D leaves.]]

local COMMANDS = {
  { "help(pool.acquire)", "what a function does; help(pool), help \"pool\"" },
  { "help \"tutorial\"", "a page of the manual, of those named below" },
  { "_, __", "the last value, the one before; a ; at the end hides" },
  { "more()", "the last value in full; more(x, {depth=, items=})" },
  { "time(f, ...)", "how long a call takes" },
  { "tasks()", "what runs now" },
  { "run \"file.lua\"", "run a script here" },
  { "reload \"module\"", "load a module anew, and say what has changed" },
  { "pool:watch()", "the pool, as it goes, until a key is pressed" },
}

local BEGINNING = [[
A first pool:
  pool = llmpool.new()
  pool:register_model("m", { llmpool.simulated { id = "a", latency = 0.3 } })
  pool:generate("m", "hello")]]

local function overview(width)
  local rows = {}
  for i, command in ipairs(COMMANDS) do
    rows[i] = { command[1], nil, command[2] }
  end
  return table.concat({
    wrap(ABOUT, width, ""), entries(rows, width), BEGINNING,
    wrap("Pages: " .. table.concat(help.pages(), ", "), width, ""),
  }, "\n\n")
end

--- The text of help(...): the overview, or that of the value or topic.
-- @return the text, or nil and why there is none
function help.text(width, ...)
  if select("#", ...) == 0 then
    return overview(width)
  end
  return text_of_value((...), width)
end

return help
