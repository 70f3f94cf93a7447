-- plain.lua: text that can be shown on a terminal or in a log: whatever a
-- terminal would obey - escape sequences, in the form of one byte or of two -
-- or could not show stands there as Lua would write it, \x1b. It knows nothing
-- of what the text says.

local plain = {}

local function escape(c) return ("\\x%02x"):format(c:byte()) end

-- the second half of the control characters, as UTF-8 has them
local function escape_wide(c) return ("\\u{%02x}"):format(c:byte(2)) end

-- Bytes that are no UTF-8 are escaped, the rest is as it was.
local function valid(text)
  local parts, from = {}, 1
  while true do
    local length, bad = utf8.len(text, from)
    if length then break end
    parts[#parts + 1] = text:sub(from, bad - 1)
    parts[#parts + 1] = escape(text:sub(bad, bad))
    from = bad + 1
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- A text of one line or of many: newlines and tabs stay.
function plain.text(text)
  if not text:find "[%c\127-\255]" then return text end
  if not utf8.len(text) then text = valid(text) end
  return (text:gsub("[^%C\n\t]", escape):gsub("\xc2[\x80-\x9f]", escape_wide))
end

local WORDS = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

--- A text that has to stay on its line: a name, say.
function plain.line(text)
  if not text:find "[%c\127-\255]" then return text end
  return (plain.text(text:gsub("[\n\t\r]", WORDS)))
end

return plain
