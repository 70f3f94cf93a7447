-- failed_task.lua: the report of a task's failure that nobody waited for, as a
-- script's user reads it on standard error: the message, the traceback without
-- what is beneath every task, where the task was spawned. The prompt words its
-- own, shorter still.

local embedded = require "llmpool.embedded"

local failed_task = {}

--- What an error says of itself; a table without words, what is in it.
function failed_task.words(err)
  local metatable = debug.getmetatable(err)
  local has_words = type(metatable) == "table"
    and rawget(metatable, "__tostring") ~= nil
  if type(err) == "table" and not has_words then
    return ("(error object is %s)"):format(
      require "llmpool.pretty"(err, { depth = 3 }))
  end
  local ok, text = pcall(tostring, err)
  if ok then return text end
  return ("(error object is a %s value without a text)"):format(type(err))
end

local files

-- "llmpool/pool.lua", for each file that travels with the program
local function our_files()
  if files then return files end
  files = {}
  for _, name in ipairs(embedded.names()) do
    files[(name:gsub("%.", "/")) .. ".lua"] = true
    files[(name:gsub("%.", "/")) .. "/init.lua"] = true
  end
  return files
end

--- The file of a line of a traceback, or nil; whether it is one of ours.
function failed_task.file_of(frame)
  local file = frame:match "^%s*(.-):%d+:"
  return file, file ~= nil and our_files()[file] == true
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
