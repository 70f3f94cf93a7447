-- commands.lua: the functions that are globals at the prompt: help, more, time,
-- tasks, run, reload. They print for people and are not there in scripts.

local inspect = require "llmpool.inspect"
local lazy = require "llmpool.prompt.lazy"
local llmpool = require "llmpool"
local terminal = require "llmpool.terminal"

local help = lazy "llmpool.prompt.help"
local members = lazy "llmpool.members"
local pager = lazy "llmpool.prompt.pager"
local plain = lazy "llmpool.plain"
local poolview = lazy "llmpool.poolview"
local pretty = lazy "llmpool.pretty"
local show = lazy "llmpool.prompt.show"

local commands = {}

-- ---- tasks -----------------------------------------------------------------

local TASK_COLUMNS = {
  { name = "site", title = "task, spawned at", rank = 0 },
  { name = "state", title = "state", rank = 0 },
  { name = "age", title = "age", rank = 1, right = true },
}

--- What a task does, in words: "waits for a client of gpt-4".
function commands.doing(task)
  if not task.waits then return task.state end
  if task.waits == "client" and task.model then
    return "waits for a client of " .. plain.line(task.model)
  end
  if task.waits == "I/O" and terminal.is_read() == "key" then
    return "waits for a key"
  end
  local words = { client = "waits for a client", sleep = "sleeps",
                  join = "waits for a task", scope = "waits for its tasks",
                  ["I/O"] = "waits for I/O" }
  return words[task.waits]
end

-- ---- reload ----------------------------------------------------------------

local function changes(old, new)
  if type(old) ~= "table" or type(new) ~= "table" then
    return old == new and "the same value" or "a new value"
  end
  local words = {}
  local function note(sign, name) words[#words + 1] = sign .. tostring(name) end
  for name, value in next, new do
    if rawget(old, name) == nil then
      note("+", name)
    elseif not rawequal(rawget(old, name), value) then
      note("*", name)
    end
  end
  for name in next, old do
    if rawget(new, name) == nil then note("-", name) end
  end
  table.sort(words)
  return #words > 0 and table.concat(words, " ") or "nothing has changed"
end

-- Globals that hold the old value get the new one.
local function rebind(env, old, new)
  local names = {}
  for name, value in next, env do
    if rawequal(value, old) and old ~= new and type(old) ~= "boolean"
      and type(name) == "string" and name:sub(1, 1) ~= "_" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do rawset(env, name, new) end
  return names
end

local function load_anew(env, name)
  local old = package.loaded[name]
  package.loaded[name] = nil
  local ok, new = pcall(require, name)
  if not ok then
    package.loaded[name] = old
    error(new, 0)
  end
  local names = rebind(env, old, new)
  print(("%s: %s%s"):format(name, old == nil and "loaded"
    or changes(old, new), #names > 0 and " (now in "
    .. table.concat(names, ", ") .. ")" or ""))
  return new
end

-- ---- asides ---------------------------------------------------------------

local function leave() print "(Ctrl-D or os.exit() leaves)" end

--- What is meant by a line that is no Lua, or says nothing, but is what people
-- type elsewhere: exit, help, name?, ?name. A function, or nil.
-- @param line table: as chunk.read returns it
function commands.aside(line)
  local word = line.text:match "^%s*%.?(%l+)%s*%(?%s*%)?%s*$"
  if (word == "exit" or word == "quit") and rawget(_G, word) == nil then
    return leave
  elseif word == "help" and not line.text:find "%(" then
    return _G.help
  end
  local name = line.text:match "^%s*([%w_%.:]-)%s*%?%??%s*$"
    or line.text:match "^%s*%?%??%s*([%w_%.:]-)%s*$"
  if line.run or not name then return nil end
  if name == "" then return _G.help end
  local value = members.at(_G, (name:gsub(":", ".")))
  return function() return _G.help(value == nil and name or value) end
end

-- ---- the globals -----------------------------------------------------------

--- The functions, for a session: {screen = function () -> options for pretty,
-- last = function () -> the last value, env =, own = the session's task}.
function commands.globals(session)
  local globals = { llmpool = llmpool }

  function globals.help(...)
    local text, why = help.text(session.screen().width, ...)
    pager.show(text or why)
  end

  function globals.more(...)
    local value, options = session.last(), nil
    if select("#", ...) > 0 then value, options = ... end
    local screen = session.screen()
    if type(value) == "string" and not options then
      return pager.show(show.text(value))
    end
    pager.show((pretty.text(value, {
      depth = options and options.depth or 100,
      items = options and options.items or 10000,
      length = options and options.length or 1 << 20,
      width = screen.width, colour = screen.colour,
    })))
  end

  function globals.time(fn, ...)
    local started, cpu = llmpool.now(), os.clock()
    local results = table.pack(fn(...))
    print(("%s (%s of the processor)"):format(
      poolview.duration(llmpool.now() - started),
      poolview.duration(os.clock() - cpu)))
    return table.unpack(results, 1, results.n)
  end

  function globals.tasks()
    local rows = {}
    for _, task in ipairs(inspect.tasks()) do
      if task.task ~= session.own() then
        rows[#rows + 1] = { site = task.site or "?",
                            state = commands.doing(task),
                            age = poolview.duration(task.age) }
      end
    end
    if #rows == 0 then return print "no tasks" end
    pager.show(table.concat(poolview.lines(TASK_COLUMNS, rows,
      session.screen()), "\n"))
  end

  function globals.run(file, ...)
    if type(file) ~= "string" then
      error(("bad argument #1 to 'run' (a file's name expected, got %s)")
        :format(type(file)), 2)
    end
    local chunk, message = loadfile(file)
    if not chunk then error(message, 0) end
    return chunk(...)
  end

  function globals.reload(name)
    if type(name) ~= "string" then
      error(("bad argument #1 to 'reload' (a module's name expected, got %s)")
        :format(type(name)), 2)
    end
    return load_anew(session.env, name)
  end

  return globals
end

return commands
