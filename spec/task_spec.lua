-- Tasks: spawn, join, cancellation (level-triggered, delivered at waits),
-- sleep, and where a wait is refused.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local message, raised, simulated =
  surface.message, surface.raised, surface.simulated

describe("a task", function()
  it("starts at the parent's next wait, in order", simulated(function()
    local order = {}
    for i = 1, 3 do
      llmpool.spawn(function(...) order[#order + 1] = select("#", ...) + i end,
        nil, nil)
    end
    assert.equal(0, #order)
    llmpool.sleep(0)
    assert.same({ 3, 4, 5 }, order)
  end))

  it("is joined for all it returns, as often as one likes", function()
    local task = llmpool.spawn(function(...) return ... end, 1, nil, 3)
    for _ = 1, 2 do
      assert.same({ 1, nil, 3, n = 3 }, table.pack(task:join()))
      assert.same({ true, 1, nil, 3, n = 4 }, table.pack(task:pjoin()))
    end
    assert.equal("done", task:status())
  end)

  it("raises in join what it raised, unchanged", function()
    local value = {}
    local task = llmpool.spawn(error, value)
    assert.equal(value, raised(task.join, task))
    assert.same({ false, value, n = 2 }, table.pack(task:pjoin()))
    assert.equal("failed", task:status())
    assert.equal("x", message(function()
      llmpool.spawn(error, "x", 0):join()
    end))
  end)

  it("keeps its error's traceback", function()
    local function deep()
      llmpool.sleep(0)
      error { code = 1 }
    end
    local err = raised(function()
      llmpool.spawn(function() deep() end):join()
    end)
    assert.matches("in upvalue 'deep'", llmpool.traceback(err))
  end)

  it("says what it is and where it was spawned", simulated(function()
    local line = debug.getinfo(1, "l").currentline + 1
    local task = llmpool.spawn(llmpool.sleep, 1)
    assert.equal("ready", task:status())
    assert.equal("task (ready, spawned at spec/task_spec.lua:" .. line .. ")",
      tostring(task))
    llmpool.sleep(0)
    assert.equal("waiting", task:status())
    task:join()
    assert.equal("done", task:status())
  end))

  it("cannot join itself, but two may join one", simulated(function()
    local task
    task = llmpool.spawn(function() return message(task.join, task) end)
    assert.matches("a task cannot join itself", task:join())
    local one = llmpool.spawn(function() llmpool.sleep(1) return 5 end)
    assert.same({ 5, 5 }, { llmpool.gather(
      function() return one:join() end, function() return one:join() end) })
  end))

  it("gets its time from a main chunk that only yields its turn", function()
    local done = false
    local task = llmpool.spawn(function()
      llmpool.sleep(0.01)
      done = true
    end)
    local stop = llmpool.now() + 5
    while not done and llmpool.now() < stop do llmpool.sleep(0) end
    assert.is_true(done)
    task:join()
  end)

  it("that waits for one that waits for it is a deadlock", function()
    local a, b
    a = llmpool.spawn(function() return b:join() end)
    b = llmpool.spawn(function() return a:join() end)
    assert.equal("deadlock", raised(a.join, a).kind)
    assert.equal("deadlock", raised(b.join, b).kind)
  end)

  it("takes no foreign self", function()
    for _, name in ipairs { "join", "pjoin", "cancel", "status" } do
      local task = llmpool.spawn(function() end)
      assert.matches("llmpool.task expected", message(task[name], {}))
      task:join()
    end
  end)
end)

describe("sleep", function()
  it("takes its time, by the clock", simulated(function()
    llmpool.sleep(1.5)
    assert.equal(1.5, llmpool.now())
    llmpool.sleep(0)
    assert.equal(1.5, llmpool.now())
  end))

  it("of 0 lets every other ready task run first", simulated(function()
    local order = {}
    llmpool.scope(function(scope)
      for i = 1, 3 do
        scope:spawn(function()
          order[#order + 1] = i
          llmpool.sleep(0)
          order[#order + 1] = i * 10
        end)
      end
    end)
    assert.same({ 1, 2, 3, 10, 20, 30 }, order)
  end))

  it("wakes in order of time, ties in order of begin", simulated(function()
    local order = {}
    llmpool.scope(function(scope)
      for i, s in ipairs { 3, 1, 2, 1 } do
        scope:spawn(function()
          llmpool.sleep(s)
          order[#order + 1] = i
        end)
      end
    end)
    assert.same({ 2, 4, 3, 1 }, order)
  end))

  it("of math.huge ends by cancellation", simulated(function()
    local task = llmpool.spawn(llmpool.sleep, math.huge)
    llmpool.spawn(function() llmpool.sleep(5) task:cancel() end)
    assert.is_true(llmpool.is_cancelled(select(2, task:pjoin())))
    assert.equal(5, llmpool.now())
  end))
end)

describe("a cancellation", function()
  -- Runs fn as a task, cancels it in its first wait, returns pjoin's results.
  local function cancelled(fn, reason)
    local task = llmpool.spawn(fn)
    llmpool.sleep(0)
    task:cancel(reason)
    return task:pjoin()
  end

  it("is an error object at the wait, with reason and task",
     simulated(function()
    local task = llmpool.spawn(llmpool.sleep, 10)
    llmpool.sleep(0)
    assert.is_true(task:cancel "enough")
    local ok, err = task:pjoin()
    assert.is_false(ok)
    assert.equal("cancelled", err.kind)
    assert.equal("enough", err.reason)
    assert.equal(task, err.task)
    assert.equal("task cancelled: enough", tostring(err))
    assert.is_true(llmpool.is_cancelled(err))
    -- nobody looks for a bug there, and it costs more than the task
    assert.is_nil(llmpool.traceback(err))
    assert.equal("cancelled", task:status())
    assert.equal(err, raised(task.join, task))
  end))

  it("comes again at the next wait, and to calls that need not wait",
     simulated(function()
    local pool = surface.pool()
    local count = 0
    local ok = cancelled(function()
      for _ = 1, 3 do
        local _, err = pcall(llmpool.sleep, 1)
        if llmpool.is_cancelled(err) then count = count + 1 end
      end
      for _, call in ipairs {
        function() llmpool.sleep(0) end,
        function() pool:acquire("m") end,
        function() pool:get_client("m", function() end) end,
        function() pool:generate("m", "q") end,
        function() llmpool.spawn(function() end):join() end,
        function() llmpool.scope(function() end) end,
        function() llmpool.gather(function() end) end,
        function() llmpool.timeout(1, function() end) end,
        function() pool:drain() end,
      } do
        local _, err = pcall(call)
        if llmpool.is_cancelled(err) then count = count + 1 end
      end
      return "in vain"
    end)
    assert.is_false(ok)
    assert.equal(12, count)
    assert.equal(0, pool:stats("m").acquired)
    ledger.settled(pool)
  end))

  it("does not touch what asks for now or not at all", simulated(function()
    local pool = surface.pool()
    local id
    cancelled(function()
      pcall(llmpool.sleep, 1)
      local client <close> = pool:acquire("m", { timeout = 0 })
      id = client.id
    end)
    assert.equal("a", id)
    ledger.settled(pool)
  end))

  it("runs close handlers, which may wait under a shield",
     simulated(function()
    local log = {}
    cancelled(function()
      local _ <close> = setmetatable({}, { __close = function(_, err)
        log[#log + 1] = tostring(err)
        llmpool.shield(function() llmpool.sleep(3) end)
        log[#log + 1] = llmpool.now()
      end })
      llmpool.sleep(10)
    end)
    assert.same({ "task cancelled", 3.0 }, log)
  end))

  it("counts also for one that returns normally after it",
     simulated(function()
    local ok, err = cancelled(function()
      pcall(llmpool.sleep, 1)
      return "fine"
    end)
    assert.is_false(ok)
    assert.is_true(llmpool.is_cancelled(err))
  end))

  it("does not hide the error of one that had ended", function()
    local task = llmpool.spawn(error, "own", 0)
    task:pjoin()
    assert.is_false(task:cancel())
    assert.same({ false, "own" }, { task:pjoin() })
    assert.equal("failed", task:status())
    task = llmpool.spawn(function() return 1 end)
    task:join()
    assert.is_false(task:cancel())
    assert.equal(1, task:join())
  end)

  it("ends waits for clients, in line and in the callback",
     simulated(function()
    local pool = surface.pool()
    local holder = llmpool.spawn(function()
      pool:get_client("m", function() llmpool.sleep(100) end)
    end)
    local waiter = llmpool.spawn(pool.get_client, pool, "m", print)
    local last = llmpool.spawn(pool.generate, pool, "m", "q")
    llmpool.sleep(0)
    waiter:cancel()
    assert.is_true(llmpool.is_cancelled(select(2, waiter:pjoin())))
    assert.equal(1, pool:stats("m").waiting)
    holder:cancel()
    assert.equal("aq", last:join())
    assert.is_false((holder:pjoin()))
    assert.equal(1, pool:stats("m").cancelled)
    ledger.settled(pool)
  end))

  it("ends a check or a creation that waits; nothing is lost",
     simulated(function()
    local pool = surface.pool_made_in(10)
    pool:generate("m", 1)
    local err = select(2, cancelled(function() pool:generate("m", 2) end))
    assert.is_true(llmpool.is_cancelled(err))
    assert.equal(1, pool:stats("m").vacant)
    assert.equal("a3", pool:generate("m", 3))
    ledger.settled(pool)
  end))

  it("before the first run comes at the first wait", simulated(function()
    local ran
    local task = llmpool.spawn(function()
      ran = true
      llmpool.sleep(0)
      ran = "on"
    end)
    task:cancel()
    assert.is_false((task:pjoin()))
    assert.is_true(ran)
  end))

  it("of other values is_cancelled does not know", function()
    for _, value in ipairs { 1, "cancelled", { kind = "cancelled" }, print } do
      assert.is_false(llmpool.is_cancelled(value))
    end
    assert.is_false(llmpool.is_cancelled(nil))
    assert.is_true(llmpool.is_cancelled(llmpool.error("cancelled", "x")))
  end)
end)

describe("a shield", function()
  it("passes arguments, results and errors", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(llmpool.shield(
      function(...) return ... end, 1, nil, 3)))
    assert.equal("x", message(llmpool.shield, error, "x", 0))
  end)

  it("puts the cancellation off to its end", simulated(function()
    local log = {}
    local task = llmpool.spawn(function()
      llmpool.shield(function()
        llmpool.shield(function() llmpool.sleep(1) end)
        llmpool.sleep(1)
        log[1] = llmpool.now()
      end)
      llmpool.sleep(0)
      log[2] = "never"
    end)
    llmpool.sleep(0)
    task:cancel()
    assert.is_false((task:pjoin()))
    assert.same({ 2.0 }, log)
  end))
end)

describe("the place of a spawn", function()
  it("is kept, however many there are and however long its name",
     simulated(function()
    local name = "=" .. ("long/"):rep(10) .. "x.lua" -- no interned string
    local function spawn(line)
      return load(("\n"):rep(line - 1) .. "return llmpool.spawn(...), 1", name,
        "t", { llmpool = llmpool })(llmpool.sleep, 1)
    end
    local tasks = {}
    for _ = 1, 2 do -- more than are remembered at a time, twice
      for line = 1, 300 do tasks[#tasks + 1] = (spawn(line)) end
      collectgarbage()
    end
    for i, task in ipairs(tasks) do
      assert.matches(("x.lua:%d)"):format((i - 1) % 300 + 1), tostring(task),
        1, true)
      task:join()
    end
  end))
end)
