-- pager.lua: a text that may be longer than the terminal, page by page.
--
-- What fits is printed. Else a page is shown and a key waited for, as tasks
-- wait; what other tasks write meanwhile comes behind the text.
-- Without a terminal it is print.

local pretty = require "llmpool.pretty"
local terminal = require "llmpool.terminal"

local pager = {}

local PROMPT = "-- space: a page, Enter: a line, b: back, q: end --"
local SHORT_PROMPT = "-- space, Enter, b, q --"

-- How many rows of the terminal a line takes; colours take no place.
local function rows_of(line, columns)
  local width = pretty.width_of((line:gsub("\27%[[%d;]*m", "")))
  return math.max(1, (width + columns - 1) // columns)
end

-- Adds a line, in parts where it is longer than the terminal: each is a row.
local function add_rows(lines, line, columns)
  if rows_of(line, columns) == 1 then
    lines[#lines + 1] = line
    return
  end
  local width, from, i = 0, 1, 1
  while i <= #line do
    local colour = line:match("^\27%[[%d;]*m()", i)
    local next_i = colour or line:match("^[^\128-\191][\128-\191]*()", i)
      or i + 1
    local more = colour and 0 or pretty.width_of(line:sub(i, next_i - 1))
    if width + more > columns then
      lines[#lines + 1] = line:sub(from, i - 1)
      width, from = 0, i
    end
    width, i = width + more, next_i
  end
  lines[#lines + 1] = line:sub(from)
end

local function lines_of(text, columns)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "(.-)\n" do
    add_rows(lines, line, columns)
  end
  return lines
end

-- The last line of a page that begins with that one; at least that one.
local function end_of_page(lines, first, columns, room)
  local last = first
  room = room - rows_of(lines[first], columns)
  while lines[last + 1] do
    room = room - rows_of(lines[last + 1], columns)
    if room < 0 then break end
    last = last + 1
  end
  return last
end

-- The first line of a page that ends with that one.
local function begin_of_page(lines, last, columns, room)
  local first = math.max(1, last)
  while first > 1 do
    room = room - rows_of(lines[first], columns)
    if room < rows_of(lines[first - 1], columns) then break end
    first = first - 1
  end
  return first
end

local KEYS = {
  [" "] = "page", f = "page", ["\27[6~"] = "page", ["\r"] = "line",
  ["\n"] = "line", j = "line", ["\27[B"] = "line", b = "back",
  ["\27[5~"] = "back", q = "end", Q = "end", ["\27"] = "end", ["\4"] = "end",
}

-- Waits for a key that says how to go on.
local function ask(columns)
  local words = (#PROMPT < columns and PROMPT or SHORT_PROMPT)
    :sub(1, columns - 1)
  terminal.write(words)
  local answer
  repeat answer = KEYS[terminal.key()] until answer
  terminal.write("\r" .. (" "):rep(#words) .. "\r")
  return answer
end

local function write(lines, first, last)
  terminal.write(table.concat(lines, "\n", first, last) .. "\n")
end

local function page(lines)
  local _ <close> = terminal.hold()
  local columns, rows = terminal.size()
  local top, last = 1, end_of_page(lines, 1, columns, rows - 1)
  write(lines, 1, last)
  while last < #lines do
    local answer = ask(columns)
    columns, rows = terminal.size()
    if answer == "end" then break end
    if answer == "back" then
      top = begin_of_page(lines, top - 1, columns, rows - 1)
      last = end_of_page(lines, top, columns, rows - 1)
      write(lines, top, last)
    else
      local next_last = answer == "line" and last + 1
        or end_of_page(lines, last + 1, columns, rows - 1)
      write(lines, last + 1, next_last)
      top = answer == "line" and top + 1 or last + 1
      last = next_last
    end
  end
end

--- Shows a text; waits for keys where it does not fit.
function pager.show(text)
  if terminal.is_there() and not terminal.is_read() then
    local columns, rows = terminal.size()
    local lines = lines_of(text, columns)
    local last = end_of_page(lines, 1, columns, rows - 1)
    if last < #lines then
      page(lines)
      return
    end
  end
  print(text)
end

return pager
