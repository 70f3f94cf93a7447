-- pretty.lua: values as text that one can read: nested tables with their keys
-- in order, on one line where they fit and on many where not, with an end.
--
-- Values are read raw: no __index and no __pairs runs. __tostring is asked, and
-- __name shown. A table that contains itself is shown as the way back to it.
-- What looks like a secret is shown as ***. It prints nothing.

local keywords = require "llmpool.keywords"
local members = require "llmpool.members"
local plain = require "llmpool.plain"
local secrets = require "llmpool.secrets"

local DEFAULTS = { depth = 4, items = 40, width = 80, length = 1000 }

local COLOURS = {
  string = "\27[32m", number = "\27[36m", boolean = "\27[35m",
  ["nil"] = "\27[35m", key = "\27[34m", note = "\27[2m", error = "\27[31m",
}
local PLAIN = "\27[0m"

-- ---- width -----------------------------------------------------------------

-- East Asian wide characters and emoji take two columns; marks take none.
local function columns_of(code)
  if code >= 0x300 and code <= 0x36f or code == 0x200d
    or code >= 0xfe00 and code <= 0xfe0f then
    return 0
  elseif code >= 0x1100 and (code <= 0x115f
    or code >= 0x2e80 and code <= 0xa4cf or code >= 0xac00 and code <= 0xd7a3
    or code >= 0xf900 and code <= 0xfaff or code >= 0xfe30 and code <= 0xfe6f
    or code >= 0xff00 and code <= 0xff60 or code >= 0x1f300
    and code <= 0x1faff or code >= 0x20000 and code <= 0x3fffd) then
    return 2
  end
  return 1
end

-- How many columns of a terminal a text takes.
local function width_of(text)
  if not text:find "[\128-\255]" or not utf8.len(text) then return #text end
  local width = 0
  for _, code in utf8.codes(text) do width = width + columns_of(code) end
  return width
end

-- ---- single values ---------------------------------------------------------

local ESCAPES = {
  ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r",
  ['"'] = '\\"', ["\\"] = "\\\\",
}

local function escape(c)
  return ESCAPES[c] or ("\\x%02x"):format(c:byte())
end

local function quote(text, length)
  local whole = text
  if #text > length then
    text = text:sub(1, (utf8.offset(text, 0, length + 1) or length + 1) - 1)
  end
  text = text:gsub('[%c"\\\127]', escape)
  if not utf8.len(text) then text = text:gsub("[\128-\255]", escape) end
  text = plain.line(text)
  text = '"' .. text .. '"'
  if #whole > length then
    text = ("%s... (%d bytes)"):format(text, #whole)
  end
  return text
end

-- Of several names the first by the alphabet.
local function note_name(names, fn, name)
  if type(fn) ~= "function" then return end
  if not names[fn] or name < names[fn] then names[fn] = name end
end

-- Functions of Lua's libraries and of ours by their names in package.loaded;
-- `_` is no name but the prompt's last value.
local function named_functions()
  local libraries = members.LIBRARIES
  local names, modules = {}, table.move(libraries, 1, #libraries, 1, {})
  for module in next, package.loaded do
    if type(module) == "string" and module:find "^llmpool%f[%z%.]" then
      modules[#modules + 1] = module
    end
  end
  for _, module in ipairs(modules) do
    local value = package.loaded[module]
    note_name(names, value, module)
    local prefix = module == "_G" and "" or module .. "."
    for name, member in next, type(value) == "table" and value or {} do
      if type(name) == "string" and not name:find "^_" then
        note_name(names, member, prefix .. name)
      end
    end
  end
  return names
end

-- By its name, or by the place where it stands.
local function function_words(state, fn)
  state.functions = state.functions or named_functions()
  local name, info = state.functions[fn], debug.getinfo(fn, "S")
  if name then return "function: " .. name end
  if info.what == "C" then return tostring(fn) end
  return ("function: %s:%d"):format(plain.line(info.short_src),
    info.linedefined)
end

-- What a value says of itself, through __tostring, or lua's words for it.
local function described(value)
  local ok, text = pcall(tostring, value)
  if ok then return plain.line(text) end
  return ("<%s: its __tostring fails>"):format(type(value))
end

local function leaf(state, value, key)
  local kind = type(value)
  if kind == "string" then
    if secrets.is_name(key) then return '"***"', kind end
    return quote(secrets.masked(value), state.length), kind
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value), kind
  elseif kind == "function" and not debug.getmetatable(value) then
    return function_words(state, value), "note"
  end
  return described(value), "note"
end

-- ---- keys ------------------------------------------------------------------

local RANK = { number = 1, string = 2, boolean = 3 }

local function key_less(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return (RANK[ta] or 4) < (RANK[tb] or 4) end
  if RANK[ta] and ta ~= "boolean" then return a < b end
  return described(a) < described(b)
end

-- The first `most` keys in order: of a million, nobody waits for all to be
-- sorted.
local function first_of(keys, most)
  local best = {}
  for _, key in ipairs(keys) do
    if #best < most or key_less(key, best[most]) then
      local low, high = 1, #best + 1
      while low < high do
        local middle = (low + high) // 2
        if key_less(key, best[middle]) then
          high = middle
        else
          low = middle + 1
        end
      end
      table.insert(best, low, key)
      best[most + 1] = nil
    end
  end
  return best
end

-- How long the list in front is; the other keys, the first `most` at least, in
-- order; how many they are.
local function keys_of(t, most)
  local n, keys = 0, {}
  while rawget(t, n + 1) ~= nil do n = n + 1 end
  for key in next, t do
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then
      keys[#keys + 1] = key
    end
  end
  if most > 0 and #keys > 16 * most then
    return n, first_of(keys, most), #keys
  end
  pcall(table.sort, keys, key_less)
  return n, keys, #keys
end

local function key_text(state, key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$"
    and not keywords[key] then
    return key
  end
  return "[" .. leaf(state, key) .. "]"
end

local function path_of(path, key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then
    return path .. "." .. key
  end
  return ("%s[%s]"):format(path, type(key) == "string" and quote(key, 40)
    or described(key))
end

-- ---- tables ----------------------------------------------------------------

local show -- (state, value, path, indent, room, key) -> text, its width

local function paint(state, kind, text)
  local colour = state.colour and COLOURS[kind]
  return colour and text ~= "" and colour .. text .. PLAIN or text
end

-- The entries as { text, width, has lines, is of the list }, at most
-- state.items of them; the last one says how many there are besides.
local function entries_of(state, t, path, indent)
  local n, keys, others = keys_of(t, state.items)
  local entries, all = {}, n + others
  for i = 1, math.min(all, state.items) do
    local key = i <= n and i or keys[i - n]
    local prefix = i <= n and "" or key_text(state, key) .. " = "
    local text, width = show(state, rawget(t, key), path_of(path, key),
      indent + 2, state.width - indent - 3 - width_of(prefix), key)
    entries[i] = { paint(state, "key", prefix) .. text,
                   width + width_of(prefix), text:find "\n" ~= nil, i <= n }
  end
  if all > state.items then
    state.cut = true
    local more = ("... %d more"):format(all - state.items)
    entries[#entries + 1] = { paint(state, "note", more), #more, false }
  end
  return entries
end

local function on_one_line(entries, prefix, room)
  local width, texts = #prefix + 4, {}
  for i, entry in ipairs(entries) do
    width = width + entry[2] + (i > 1 and 2 or 0)
    if entry[3] or width > room then return nil end
    texts[i] = entry[1]
  end
  return prefix .. "{ " .. table.concat(texts, ", ") .. " }", width
end

-- A line an entry; short ones of a list share their lines.
local function on_many_lines(state, entries, prefix, indent)
  local margin, lines, room = (" "):rep(indent + 2), {}, 0
  for i, entry in ipairs(entries) do
    local comma = i < #entries and "," or ""
    local short = entry[4] and not entry[3] and entry[2] <= 24
    if short and entry[2] + 2 <= room then
      lines[#lines] = lines[#lines] .. " " .. entry[1] .. comma
      room = room - entry[2] - 2
    else
      lines[#lines + 1] = margin .. entry[1] .. comma
      room = short and state.width - indent - 3 - entry[2] or 0
    end
  end
  return ("%s{\n%s\n%s}"):format(prefix, table.concat(lines, "\n"),
    (" "):rep(indent)), math.huge
end

local function show_fields(state, t, path, indent, room, prefix)
  if state.seen[t] then
    local text = ("<cycle: %s>"):format(state.seen[t])
    return paint(state, "note", text), #text
  elseif next(t) == nil then
    return prefix .. "{}", #prefix + 2
  elseif state.level >= state.depth then
    state.cut = true
    return prefix .. paint(state, "note", "{...}"), #prefix + 5
  end
  state.seen[t] = path
  state.level = state.level + 1
  local entries = entries_of(state, t, path, indent)
  state.level = state.level - 1
  state.seen[t] = nil
  local text, width = on_one_line(entries, prefix, room)
  if text then return text, width end
  return on_many_lines(state, entries, prefix, indent)
end

-- Error objects are worth their fields, whatever they say of themselves.
local function describes_itself(value)
  return members.has_words(value) and members.class(value) ~= "llmpool.error"
end

function show(state, value, path, indent, room, key)
  if type(value) == "table" and not describes_itself(value) then
    local class = members.class(value)
    return show_fields(state, value, path, indent, room,
      class and plain.line(class) .. " " or "")
  end
  local text, kind = leaf(state, value, key)
  return paint(state, kind, text), width_of(text)
end

local pretty = { width_of = width_of, colours = COLOURS, plain = PLAIN }

--- The text of a value.
-- @param options table: depth (4), items (40) of one table, width (80) of the
-- screen, length (1000) of a string, colour (false), name (what the value is
-- called where it contains itself)
-- @return the text; whether something was left out
function pretty.text(value, options)
  local state = { seen = {}, level = 0, cut = false }
  for name, default in pairs(DEFAULTS) do
    state[name] = options and options[name] or default
  end
  state.colour = options and options.colour
  local text = show(state, value, options and options.name or "it", 0,
    state.width)
  return text, state.cut
end

return setmetatable(pretty, {
  __call = function(_, value, options) return pretty.text(value, options) end,
})
