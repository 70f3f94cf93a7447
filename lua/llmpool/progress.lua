-- progress.lua: one line on a terminal that says how far a long piece of work
-- is; on a pipe, nothing. It goes to standard error and is gone when the work
-- has ended, so that results stand alone.

local progress = {}

local INTERVAL = 0.1 -- seconds between two pictures

--- Whether anybody would see a line.
function progress.is_seen()
  return require "llmpool.native".terminal(2) ~= nil
end

--- Begins a line.
-- @param title string: what the work is
-- @return a function (done, all, words), to be called as often as one likes:
-- with both numbers it shows a share, and `words` behind it; a function that
-- takes the line away. Both do nothing where nobody looks.
function progress.line(title)
  local native = require "llmpool.native"
  local width = native.terminal(2)
  if not width then return function() end, function() end end
  local shown, last = false, -math.huge
  local function show(done, all, words)
    local now = os.clock()
    if now - last < INTERVAL and done ~= all then return end
    last, shown = now, true
    local text = ("%s: %3.0f %%%s"):format(title, all > 0
      and done / all * 100 or 0, words and ", " .. words or "")
    io.stderr:write("\r", text:sub(1, width - 1), "\27[K")
    io.stderr:flush()
  end
  local function clear()
    if shown then io.stderr:write "\r\27[K" end
    shown = false
  end
  return show, clear
end

return progress
