-- What tasks are good for, composed of spawn, scope and join: gather, race,
-- thread. It knows nothing of pools.

local tasks = {}

local function check_functions(name, ...)
  for i = 1, select("#", ...) do
    local f = select(i, ...)
    if type(f) ~= "function" then
      error(("bad argument #%d to '%s' (function expected, got %s)")
        :format(i, name, type(f)), 3)
    end
  end
end

-- in the new state: without upvalues, so that it can be sent
local function run_module(name, ...)
  return require(name)(...)
end

function tasks.extend(llmpool, native)
  --- Runs the functions side by side.
  -- @return the first value of each, in the order of the arguments; the first
  -- failure cancels the others and is raised
  function llmpool.gather(...)
    check_functions("gather", ...)
    local functions = table.pack(...)
    local results = {}
    llmpool.scope(function(scope)
      for i = 1, functions.n do
        scope:spawn(function() results[i] = (functions[i]()) end)
      end
    end)
    return table.unpack(results, 1, functions.n)
  end

  --- Runs the functions side by side until the first returns.
  -- @return what it returned; the others are cancelled; a failure that comes
  -- before is raised
  function llmpool.race(...)
    check_functions("race", ...)
    local functions = table.pack(...)
    if functions.n == 0 then error("race needs a function at least", 2) end
    local first
    llmpool.scope(function(scope)
      for i = 1, functions.n do
        scope:spawn(function()
          local results = table.pack(functions[i]())
          if first then return end
          first = results
          scope:cancel()
        end)
      end
    end)
    return table.unpack(first, 1, first.n)
  end

  --- Runs a function in an OS thread with a Lua state of its own.
  -- @param fn a function without upvalues other than _ENV, or a module's name
  -- (then that module's value is called)
  -- @return a task: join, pjoin and cancel as of any other
  function llmpool.thread(fn, ...)
    local ok, thread
    if type(fn) ~= "string" and type(fn) ~= "function" then
      error(("bad argument #1 to 'thread' (a function or a module's name "
        .. "expected, got %s)"):format(type(fn)), 2)
    end
    if type(fn) == "string" then
      ok, thread = pcall(native.thread_start, run_module, fn, ...)
    else
      ok, thread = pcall(native.thread_start, fn, ...)
    end
    if not ok then error(thread, 2) end
    return native.spawn(native.thread_wait, thread)
  end
end

return tasks
