-- failed_task.lua: the report of a task's failure that nobody waited for, as a
-- script's user reads it on standard error: the message, the traceback without
-- what is beneath every task, where the task was spawned. The prompt words its
-- own, shorter still.

local members = require "llmpool.members"
local own_files = require "llmpool.own_files"

local failed_task = {}

--- What an error says of itself; a table without words, what is in it.
function failed_task.words(err)
  if type(err) == "table" and not members.has_words(err) then
    return ("(error object is %s)"):format(
      require "llmpool.pretty"(err, { depth = 3 }))
  end
  local ok, text = pcall(tostring, err)
  if ok then return text end
  return ("(error object is a %s value without a text)"):format(type(err))
end

--- The file of a line of a traceback, or nil; whether it is one of ours.
function failed_task.file_of(frame)
  local file = frame:match "^%s*(.-):%d+:"
  return file, own_files.module(file) ~= nil
end

-- What is beneath every task, and a function of ours that has no name, says
-- nothing; the others by their public names.
local function trimmed(traceback)
  local lines = {}
  for line in traceback:gmatch "[^\n]+" do
    local _, ours = failed_task.file_of(line)
    if not (ours and line:find "in function <")
      and not line:find "^%s*%[C%]: in %?$" then
      lines[#lines + 1] = (line:gsub("'llmpool%.native%.", "'llmpool."))
    end
  end
  return table.concat(lines, "\n")
end

--- The text of the report.
-- @param what string: "task failed"
-- @param traceback string or nil
-- @param hint string or nil: what was probably meant
-- @param site string or nil: where the task was spawned
function failed_task.text(what, err, traceback, hint, site)
  local lines = { ("llmpool: %s: %s"):format(what, failed_task.words(err)) }
  if hint then lines[1] = lines[1] .. "; " .. hint end
  if traceback then lines[#lines + 1] = trimmed(traceback) end
  if site then lines[#lines + 1] = "spawned at " .. site end
  return table.concat(lines, "\n")
end

return failed_task
