-- show.lua: what a line gave, as it is shown at the prompt: one value beside
-- the other, or one beneath the other where they have lines. It remembers
-- nothing.

local members = require "llmpool.members"
local plain = require "llmpool.plain"
local poolview = require "llmpool.poolview"
local pretty = require "llmpool.pretty"
local secrets = require "llmpool.secrets"

local show = {}

local MOST_BYTES = 16384 -- of a string that is shown at once

--- A text of anybody's: no secrets, and nothing that a terminal would obey.
function show.text(text) return plain.text(secrets.masked(text)) end

-- What an object says of itself, be it of many lines: an explanation, say.
local function own_words(value)
  if type(value) ~= "table" or not members.has_words(value)
    or members.class(value) == "llmpool.error" then
    return nil
  end
  local ok, text = pcall(tostring, value)
  return ok and show.text(text) or nil
end

-- A string is shown as it is, as lua does: it is an answer, more often than
-- not. One that fills many screens is cut.
local function string_text(text)
  if #text <= MOST_BYTES then return show.text(text), false end
  local behind = utf8.offset(text, 0, MOST_BYTES + 1) or MOST_BYTES + 1
  local head = show.text(text:sub(1, behind - 1))
  return ("%s\n... (%d bytes)"):format(head, #text), true
end

-- The text of a value and whether it was cut.
local function value_text(value, options)
  if type(value) == "string" then return string_text(value) end
  local words = own_words(value)
  if words then return words, false end
  if members.class(value) == "llmpool.pool" then
    return poolview.text(value, options), false
  end
  return pretty.text(value, options)
end

--- Shows values, packed by table.pack.
-- @param options table: as of pretty.text
function show.values(values, options)
  local texts, has_lines, is_cut = {}, false, false
  for i = 1, values.n do
    local text, cut = value_text(values[i], options)
    texts[i] = text
    has_lines = has_lines or text:find "\n" ~= nil
    is_cut = is_cut or cut
  end
  io.stdout:write(table.concat(texts, has_lines and "\n" or "\t"), "\n")
  if is_cut then io.stdout:write "-- more() shows all of it\n" end
  io.stdout:flush()
end

return show
