-- report.lua: an error as the prompt shows it: the message, where in the line
-- the compiler stumbled, and the user's own frames of the traceback.

local failed_task = require "llmpool.failed_task"
local inspect = require "llmpool.inspect"
local llmpool = require "llmpool"
local members = require "llmpool.members"
local plain = require "llmpool.plain"
local pretty = require "llmpool.pretty"
local secrets = require "llmpool.secrets"

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
  local line = line_of(text, number)
  local column = column_of(text, number, token)
    or line and line:find(token, 1, true)
  if not column then return nil end
  return ("%s\n%s^"):format(line,
    (" "):rep(pretty.width_of(line:sub(1, column - 1))))
end

-- ---- tracebacks ------------------------------------------------------------

local function is_frame_of_user(frame)
  local file, ours = failed_task.file_of(frame)
  return file ~= nil and not ours
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

local MOST_BYTES = 4096 -- of a message

local function shown(text)
  if #text > MOST_BYTES then
    local last = utf8.offset(text, 0, MOST_BYTES + 1) or MOST_BYTES + 1
    text = ("%s... (%d bytes)"):format(text:sub(1, last - 1), #text)
  end
  return plain.text(secrets.masked(text))
end

local function words_of(err)
  if type(err) == "string" then return shown(err) end
  if members.has_words(err) then return shown(failed_task.words(err)) end
  return ("(error object is %s)"):format(pretty(err, { depth = 2 }))
end

local function coloured(words, options)
  if not (options and options.colour) then return words end
  return pretty.colours.error .. words .. pretty.plain
end

local function with_frames(words, traceback)
  local lines = { words }
  for _, frame in ipairs(traceback and report.frames(traceback) or {}) do
    lines[#lines + 1] = "  " .. plain.line(frame)
  end
  return lines
end

--- The text of an error that a line has raised.
-- @param options table: colour
function report.text(err, options)
  local words, hint = words_of(err), err ~= nil and inspect.hint(err)
  if hint then words = words .. "; " .. hint end
  return table.concat(with_frames(coloured(words, options),
    err ~= nil and llmpool.traceback(err)), "\n")
end

--- The text of a task's failure that nobody waited for; as failed_task.text.
function report.failure(what, err, traceback, hint, site, options)
  local words = ("llmpool: %s: %s"):format(what, words_of(err))
  if hint then words = words .. "; " .. hint end
  local lines = with_frames(coloured(words, options), traceback)
  if site then lines[#lines + 1] = "spawned at " .. plain.line(site) end
  return table.concat(lines, "\n")
end

return report
