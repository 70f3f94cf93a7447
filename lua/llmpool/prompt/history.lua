-- history.lua: the lines typed at the prompt, kept between runs in a file that
-- only its owner can read. A statement of many lines is one entry.
--
-- What holds a key, or begins with a space, is remembered for this session
-- only. The file is LLMPOOL_HISTORY (empty: none), else llmpool/history in the
-- directory for such things.

local secrets = require "llmpool.secrets"

local history = {}

local KEEP = 1000 -- entries; the file is cut when it has twice as many

--- The path of the file, or nil.
function history.path(getenv)
  getenv = getenv or os.getenv
  local path = getenv "LLMPOOL_HISTORY"
  if path then return path ~= "" and path or nil end
  local state, home = getenv "XDG_STATE_HOME", getenv "HOME"
  if state and state:sub(1, 1) == "/" then
    return state .. "/llmpool/history"
  end
  return home and home ~= "" and home .. "/.local/state/llmpool/history" or nil
end

local function encode(entry)
  return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n"))
end

local function decode(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

local function read_lines(path)
  local lines, file = {}, io.open(path, "r")
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

-- Beside the file first, so that nothing is lost if this fails half-way.
local function rewrite(path, lines, append)
  local beside = path .. ".new"
  os.remove(beside)
  if append(beside, table.concat(lines, "\n") .. "\n") then
    os.rename(beside, path)
  end
end

--- Opens the history.
-- @param terminal what has remember (for this session) and append (to a file)
function history.open(terminal, path)
  local self = { last = nil }
  local lines = path and read_lines(path) or {}
  if #lines > 2 * KEEP then
    lines = table.move(lines, #lines - KEEP + 1, #lines, 1, {})
    rewrite(path, lines, terminal.append)
  end
  for i = math.max(1, #lines - KEEP + 1), #lines do
    self.last = decode(lines[i])
    terminal.remember(self.last)
  end

  --- Adds what was typed.
  function self.add(entry)
    if not entry:find "%S" or entry == self.last then return end
    self.last = entry
    terminal.remember(entry)
    if path and not history.is_private(entry) then
      terminal.append(path, encode(entry) .. "\n")
    end
  end

  return self
end

--- Whether an entry stays out of the file.
function history.is_private(entry)
  return entry:find "^ " ~= nil or secrets.is_set_in(entry)
end

return history
