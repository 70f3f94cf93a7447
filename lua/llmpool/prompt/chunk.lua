-- chunk.lua: what a text that was typed means: an expression, a statement, a
-- statement that goes on, or a text of many lines that ends in an expression.
--
-- A line means what it means to lua(1). What lua(1) cannot be given, a text of
-- many lines in one piece, is run as a whole, and if its last lines are an
-- expression, they are its value: that is what whoever pastes it wants to see.

local chunk = {}

local NAME = "=stdin"
local MOST_LINES = 200 -- of a last expression: the work grows with the square

local function compile(code) return load(code, NAME, "t") end

local function is_incomplete(message)
  return message:sub(-5) == "<eof>"
end

-- Where a statement before cannot be continued by what comes; a bracket or a
-- string would be an argument, an operator an operand.
local function begins_anew(text)
  return text:find "^%s*[%w_]" ~= nil
end

--- The text with `return` before its last lines, if they are an expression and
-- what is above them is whole without them; the function, or nil.
local function with_value(text, is_valid)
  local from = #text
  for _ = 1, MOST_LINES do
    local before, last = text:sub(1, from):match "^(.*)\n()"
    if not before then return nil end
    local expression = text:sub(last)
    if compile("return " .. expression .. "\n;") and compile(before)
      and (not is_valid or begins_anew(expression)) then
      return compile(before .. "\nreturn " .. expression .. "\n;")
    end
    from = #before
  end
end

--- The texts that a line consists of: itself, but where it was copied with its
-- prompts from a session, or from the manual, all that stands behind those; an
-- answer that was copied with them is left out.
function chunk.entries(text)
  if not text:find "^%s*>" then return { text } end
  local entries = {}
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    local sign, words = line:match "^%s*(>>?) ?(.*)$"
    if sign == ">>" and entries[1] then
      entries[#entries] = entries[#entries] .. "\n" .. words
    elseif sign then
      entries[#entries + 1] = words
    end
  end
  return entries
end

--- Reads a chunk that begins with a line.
-- @param line string
-- @param more function: what was typed so far -> the next line, or nil
-- @return table: `run`, a function, or `message`, why there is none; `text`,
-- all that was typed; `code`, what of it was compiled; `quiet`, whether its
-- value is not to be shown
function chunk.read(line, more)
  local text = line:gsub("^=", "return ", 1)
  local expression, quiet = text:gsub(";%s*$", "")
  local result = { text = line, code = text, quiet = quiet > 0 }
  result.run = compile("return " .. expression .. ";")
  while not result.run do
    local run, message = compile(text)
    if text:find "\n" then
      run = with_value(text:gsub(";%s*$", ""), run ~= nil) or run
    end
    result.run, result.message, result.code = run, message, text
    local next_line = not run and is_incomplete(message) and more(text)
    if not next_line then break end
    result.text = result.text .. "\n" .. next_line
    text = text .. "\n" .. next_line
  end
  return result
end

return chunk
