-- report.lua: an error as the prompt shows it: the message, where in the line
-- the compiler stumbled, and the user's own frames of the traceback.

local embedded = require "llmpool.embedded"
local llmpool = require "llmpool"
local pretty = require "llmpool.pretty"

local report = {}

-- ---- syntax errors ---------------------------------------------------------

local function line_of(text, number)
  local i = 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    i = i + 1
    if i == number then return line end
  end
end

-- Where the compiler's token stands in its line: the first place of it at which
-- the text, cut behind it, fails with that same token. `lead` is what the
-- program put before the text.
local function column_of(text, number, token)
  local before = ""
  for i = 1, number - 1 do before = before .. line_of(text, i) .. "\n" end
  local line = line_of(text, number)
  local from = 1
  while line do
    local first, last = line:find(token, from, true)
    if not first then return nil end
    local _, message = load(before .. line:sub(1, last), "=stdin", "t")
    if message and message:find("near '" .. token .. "'", 1, true) then
      return first
    end
    from = first + 1
  end
end

--- The line of a syntax error with a caret under the place, or nil.
-- @param text string: what was compiled
-- @param message string: what the compiler says
function report.caret(text, message)
  local number, token = message:match "^stdin:(%d+):.* near '(.*)'$"
  if not number then
    number = message:match "^stdin:(%d+):.* near <eof>$"
    local line = number and line_of(text, tonumber(number))
    return line and line ~= "" and ("%s\n%s^"):format(line,
      (" "):rep(pretty.width_of(line)))
  end
  number = tonumber(number)
  local column = column_of(text, number, token)
  local line = line_of(text, number)
  if not column then return nil end
  return ("%s\n%s^"):format(line,
    (" "):rep(pretty.width_of(line:sub(1, column - 1))))
end

-- ---- tracebacks ------------------------------------------------------------

local ours

-- "llmpool/pool.lua", for each file that travels with the program
local function our_files()
  if ours then return ours end
  ours = {}
  for _, name in ipairs(embedded.names()) do
    ours[(name:gsub("%.", "/")) .. ".lua"] = true
    ours[(name:gsub("%.", "/")) .. "/init.lua"] = true
  end
  return ours
end

local function is_frame_of_user(frame)
  local file = frame:match "^%s*(.-):%d+:"
  return file ~= nil and not our_files()[file]
end

--- The frames of a traceback that are the user's, as a list. One that says only
-- that the line itself raised is no news.
function report.frames(traceback)
  local frames = {}
  for frame in traceback:gmatch "[^\n]+" do
    if is_frame_of_user(frame) then
      frames[#frames + 1] = (frame:gsub("^%s+", ""))
    end
  end
  if #frames == 1 and frames[1]:find "^stdin:1: in " then frames = {} end
  return frames
end

-- ---- the whole -------------------------------------------------------------

local function words_of(err)
  if type(err) == "string" then return err end
  local metatable = debug.getmetatable(err)
  if type(metatable) == "table" and rawget(metatable, "__tostring") then
    local ok, text = pcall(tostring, err)
    if ok then return text end
  end
  return ("(error object is %s)"):format(pretty(err, { depth = 2 }))
end

--- The text of an error that a line has raised.
-- @param options table: colour
function report.text(err, options)
  local words = words_of(err)
  if options and options.colour then
    words = pretty.colours.error .. words .. pretty.plain
  end
  local lines = { words }
  local traceback = err ~= nil and llmpool.traceback(err)
  for _, frame in ipairs(traceback and report.frames(traceback) or {}) do
    lines[#lines + 1] = "  " .. frame
  end
  return table.concat(lines, "\n")
end

return report
