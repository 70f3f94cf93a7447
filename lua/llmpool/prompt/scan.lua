-- scan.lua: what is open at the end of a text that is being typed: a string, a
-- comment, brackets, and so the calls and tables that the cursor stands in.
--
-- It reads Lua's tokens as far as that takes, and knows nothing of values.

local scan = {}

local CLOSES = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

-- What is quoted from `i` on: the index behind it, or nil and the index of what
-- is in it; how it would end.
local function skip_quoted(text, i)
  local quote = text:sub(i, i)
  local at = i + 1
  while true do
    at = text:find("[\\\n" .. quote .. "]", at)
    if not at then return nil, i + 1, quote end
    local c = text:sub(at, at)
    if c ~= "\\" then return at + 1 end -- a newline ends it, with an error
    at = at + 2
  end
end

local function skip_long(text, i)
  local level = text:match("^%[(=*)%[", i)
  local _, last = text:find("]" .. level .. "]", i, true)
  if last then return last + 1 end
  return nil, i + #level + 2, "]" .. level .. "]"
end

local function skip_comment(text, i)
  if text:find("^%[=*%[", i + 2) then return (skip_long(text, i + 2)) end
  return text:find("\n", i, true)
end

local function note(open, c, i)
  local top = open[#open]
  if c == "(" or c == "{" or c == "[" then
    open[#open + 1] = { char = c, at = i, items = 1, from = i + 1 }
  elseif CLOSES[c] then
    if top and top.char == CLOSES[c] then open[#open] = nil end
  elseif top and (c == "," or c == ";") then
    top.items = top.items + 1
    top.from = i + 1
  end
end

--- Reads a text.
-- @return table: `open`, the open brackets, outermost first, each with
-- char, at, items (that many have begun in it) and from (where the last one
-- does); `string`, where an open string begins, and `quote`, what would
-- close it; `comment`, whether the end is in one
function scan.text(text)
  local state, i = { open = {} }, 1
  while i and i <= #text do
    local c = text:sub(i, i)
    if text:find("^%-%-", i) then
      i = skip_comment(text, i)
      state.comment = i == nil
    elseif c == '"' or c == "'" then
      i, state.string, state.quote = skip_quoted(text, i)
    elseif text:find("^%[=*%[", i) then
      i, state.string, state.quote = skip_long(text, i)
    else
      note(state.open, c, i)
      i = i + 1
    end
  end
  return state
end

--- The function that is called by what stands before an opening bracket or a
-- string: the path, "." or ":" or nil, the last name.
function scan.callee(before)
  local path, sign, name =
    before:match "([%a_][%w_%.%[%]\"']*)([%.:])([%a_][%w_]*)%s*$"
  if name then return path, sign, name end
  name = before:match "([%a_][%w_]*)%s*$"
  if name then return nil, nil, name end
end

return scan
