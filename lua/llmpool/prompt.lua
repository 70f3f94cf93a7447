-- prompt.lua: the prompt for a terminal: read a line, run it as a task, show
-- what it gives.
--
-- One idea: the session is the main chunk, and a line is a task that it waits
-- for; so a line may wait, other tasks go on, and Ctrl-C cancels the line and
-- nothing else. What a line means is lua(1)'s: an expression if it compiles as
-- one, else a statement, which goes on while the compiler wants more.

local chunk = require "llmpool.prompt.chunk"
local commands = require "llmpool.prompt.commands"
local history = require "llmpool.prompt.history"
local inspect = require "llmpool.inspect"
local lazy = require "llmpool.prompt.lazy"
local llmpool = require "llmpool"
local locals = require "llmpool.prompt.locals"
local terminal = require "llmpool.terminal"

local complete = lazy "llmpool.prompt.complete"
local report = lazy "llmpool.prompt.report"
local show = lazy "llmpool.prompt.show"

local prompt = {}

local MOST_FAILURES = 10 -- in a row, of the prompt itself: it cannot go on

local last, before_last -- values: _ and __
local line_task         -- the line that runs
local lines             -- the history
local idle_interrupts = 0
local pending           -- the lines of a statement before the one being typed

local function screen()
  return {
    width = (terminal.size()), name = "_",
    colour = (os.getenv "NO_COLOR" or "") == "" and os.getenv "TERM" ~= "dumb",
  }
end

-- ---- reading ---------------------------------------------------------------

-- The global may be of any kind, and _G one that takes no unknown names.
local function prompt_text(first)
  local usual = first and "> " or ">> "
  local ok, text = pcall(function()
    local value = _G[first and "_PROMPT" or "_PROMPT2"]
    return value ~= nil and tostring(value)
  end)
  return ok and text or usual
end

-- The next line; nil: the end. A task that watches a pool, say, may have the
-- terminal: the prompt comes when it has done.
local function read(prompt_first)
  while terminal.is_read() do llmpool.sleep(0.05) end
  terminal.begin_line()
  return terminal.read(prompt_text(prompt_first))
end

-- The next line of a statement that goes on.
local function read_more(text)
  pending = text
  return read(false)
end

-- ---- showing ---------------------------------------------------------------

local function remember_value(value)
  before_last, last = last, value
  rawset(_G, "_", last)
  rawset(_G, "__", before_last)
end

local function complain(text)
  terminal.begin_line()
  io.stderr:write(text, "\n")
end

local function show_hint(text)
  complain("(" .. text .. ")")
end

-- ---- running ---------------------------------------------------------------

local function is_interrupt(err)
  return type(err) == "string" and err:find "interrupted!$" ~= nil
end

local function what_it_does(task)
  for _, known in ipairs(inspect.tasks()) do
    if known.task == task then return commands.doing(known) end
  end
end

-- Ctrl-C came while a line ran: it is cancelled, and waited for. A line that
-- takes no notice goes on as one task among others.
local function cancel_line(task)
  io.stdout:write "\n" -- behind the ^C that the terminal shows
  local doing = what_it_does(task)
  terminal.catch_interrupts()
  task:cancel "Ctrl-C"
  local ok, err = pcall(task.pjoin, task)
  terminal.catch_interrupts()
  if not ok and is_interrupt(err) and what_it_does(task) then
    return complain "still running; tasks() shows it"
  end
  local state = task:status()
  if state == "cancelled" then
    complain("cancelled: the line " .. (doing or "ran"):gsub("^waits", "waited")
      :gsub("^sleeps", "slept"))
  elseif state == "failed" then
    local _, failure = task:pjoin()
    complain(report.text(failure, screen()))
  end
end

local function finish_line(task, joined, ok, ...)
  if not joined then
    if is_interrupt((ok)) then return cancel_line(task) end
    task:cancel()
    return complain(report.text(ok, screen()))
  elseif not ok then
    complain(report.text((...), screen()))
    local lost = locals.lost_in((...))
    return lost and show_hint(lost)
  end
  return table.pack(...)
end

-- Runs a chunk as the line's task; returns its results, or nil if it failed,
-- which has been told.
local function run_chunk(run)
  line_task = llmpool.spawn(run)
  local task = line_task
  local results = finish_line(task, pcall(task.pjoin, task))
  line_task = nil
  return results
end

-- Shows what a line gave. A name that is nil may have been a local's.
local function show_value(line, results)
  if not results or results.n == 0 then return end
  remember_value(results[1])
  if line.quiet then return end
  terminal.begin_line()
  show.values(results, screen())
  local name = line.text:match "^%s*([%w_]+)%s*$"
  local lost = results[1] == nil and locals.lost(name)
  if lost then show_hint(lost) end
end

local function run_line(text)
  local line = chunk.read(text, read_more)
  lines.add(line.text)
  local aside = commands.aside(line)
  if aside then
    run_chunk(aside)
  elseif line.run then
    local results = run_chunk(line.run)
    show_value(line, results)
    locals.note(line.text)
  else
    local caret = report.caret(line.code, line.message)
    complain(show.text(caret and line.message .. "\n" .. caret
      or line.message))
  end
end

-- ---- the session -----------------------------------------------------------

-- One line from the prompt to its end; false at the end of the input.
local function step()
  terminal.catch_interrupts()
  pending = nil
  local line = read(true)
  if not line then return false end
  idle_interrupts = 0
  for _, entry in ipairs(chunk.entries(line)) do
    if entry:find "%S" then run_line(entry) end
  end
  return true
end

local function after_interrupt()
  idle_interrupts = idle_interrupts + 1
  if idle_interrupts == 2 then
    print "(Ctrl-D or os.exit() leaves)"
  end
end

-- What Tab offers: the place from which, and the list of what. What all have in
-- front and nobody has to see - a file's directory - is left where it is.
local function offers(line)
  local first, list, hidden = complete.line(line, _G, terminal.files, pending)
  for i, name in ipairs(list) do list[i] = name:sub(hidden + 1) end
  return first + hidden, list
end

local function set_globals()
  local globals = commands.globals {
    screen = screen, env = _G,
    last = function() return last end,
    own = function() return line_task end,
  }
  for name, value in pairs(globals) do
    if rawget(_G, name) == nil then rawset(_G, name, value) end
  end
end

-- ---- the rc file -----------------------------------------------------------

local function rc_path()
  local config, home = os.getenv "XDG_CONFIG_HOME", os.getenv "HOME"
  if config and config:sub(1, 1) == "/" then
    return config .. "/llmpool/init.lua"
  end
  return home and home ~= "" and home .. "/.config/llmpool/init.lua"
end

-- LLMPOOL_INIT as LUA_INIT: code, or the name of a file behind @; else the
-- file, if there is one.
local function load_rc()
  local init = os.getenv "LLMPOOL_INIT"
  if init then
    if init:sub(1, 1) == "@" then return loadfile(init:sub(2)) end
    return load(init, "=LLMPOOL_INIT")
  end
  local path = rc_path()
  local file = path and io.open(path)
  if not file then return nil end
  file:close()
  return loadfile(path)
end

local function run_rc()
  local run, message = load_rc()
  if run then
    run_chunk(run)
  elseif message then
    complain(message)
  end
end

local function count_tasks()
  local n = #inspect.tasks()
  if n == 0 then return end
  print(("%d task%s cancelled"):format(n, n == 1 and "" or "s"))
end

--- Runs a session; returns the exit status.
-- @param options table: rc, whether the rc file is run
function prompt.run(options)
  inspect.keep_ages()
  inspect.report_by(function(what, err, traceback, known, site)
    return report.failure(what, err, traceback, known, site, screen())
  end)
  inspect.hints_at_everything = true
  llmpool.trace_leaks(true) -- so that a pool's table says who holds a client
  set_globals()
  lines = history.open(terminal, history.path())
  terminal.complete_by(offers)
  io.stdout:setvbuf "line"
  terminal.watch_flushes()
  terminal.catch_interrupts()
  if options.rc then run_rc() end
  local failures = 0
  while failures < MOST_FAILURES do
    local ok, going_on = pcall(step)
    if ok and not going_on then break end
    if ok or is_interrupt(going_on) then
      failures = 0
    else
      failures = failures + 1
      complain(report.text(going_on, screen()))
    end
    if not ok and is_interrupt(going_on) then after_interrupt() end
  end
  print ""
  count_tasks()
  return failures < MOST_FAILURES and 0 or 1
end

return prompt
