-- Virtual time: nothing sleeps, equal seeds give equal runs, and a wait that
-- nothing can end is an error that names the waiters.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local message, raised = surface.message, surface.raised
local simulate = llmpool.simulate

describe("a simulation", function()
  it("begins at 0 and passes arguments and results", function()
    assert.same({ 1, nil, 3, 0.0, n = 4 }, table.pack(simulate({},
      function(...)
        local a, b, c = ...
        return a, b, c, llmpool.now()
      end, 1, nil, 3)))
  end)

  it("takes no time", function()
    local before = os.clock()
    assert.equal(1e9, simulate({}, function()
      llmpool.sleep(1e9)
      return llmpool.now()
    end))
    assert.is_true(os.clock() - before < 5)
  end)

  it("raises what its function raises, with the traceback", function()
    local function deep() error { 1 } end
    local err = raised(simulate, {}, function()
      llmpool.sleep(1)
      deep()
    end)
    assert.same({ 1 }, err)
    assert.matches("in upvalue 'deep'", llmpool.traceback(err))
  end)

  it("ends when all its tasks have ended", function()
    local ended
    simulate({}, function()
      llmpool.spawn(function()
        llmpool.sleep(100)
        ended = llmpool.now()
      end)
    end)
    assert.equal(100, ended)
  end)

  it("cancels its tasks when its function fails", function()
    local reason
    assert.equal("x", message(simulate, {}, function()
      llmpool.spawn(function()
        reason = select(2, pcall(llmpool.sleep, 100))
      end)
      llmpool.sleep(1)
      error("x", 0)
    end))
    assert.is_true(llmpool.is_cancelled(reason))
  end)

  local function day(seed)
    return simulate({ seed = seed }, function()
      local pool = llmpool.new()
      pool:register_model("m", {
        llmpool.simulated { id = "a", latency = { "exponential", mean = 60 } },
        llmpool.simulated { id = "b", failure_rate = 0.2,
                            latency = { "uniform", min = 1, max = 9 } },
      })
      local events = pool:events()
      for _ = 1, 100 do
        llmpool.spawn(pcall, pool.generate, pool, "m", "q")
      end
      while pool:stats("m").returned < 100 do llmpool.sleep(60) end
      local log = {}
      for i, e in ipairs(events:read()) do
        log[i] = ("%d %.17g %s %s"):format(e.seq, e.time, e.kind, e.client)
      end
      ledger.settled(pool)
      return table.concat(log, "\n")
    end)
  end

  it("repeats to the last event with its seed, and not without", function()
    assert.equal(day(1), day(1))
    assert.not_equal(day(1), day(2))
    assert.equal(day(nil), day(0))
    local function three()
      return llmpool.random(), llmpool.random(), llmpool.random()
    end
    assert.same({ simulate({ seed = 5 }, three) },
                { simulate({ seed = 5 }, three) })
  end)

  it("draws numbers from 0 up to 1", function()
    simulate({ seed = 1 }, function()
      local sum = 0
      for _ = 1, 10000 do
        local x = llmpool.random()
        assert.is_true(x >= 0 and x < 1)
        sum = sum + x
      end
      assert.is_true(math.abs(sum / 10000 - 0.5) < 0.02)
    end)
    local x = llmpool.random()
    assert.is_true(x >= 0 and x < 1)
  end)

  it("names who waits, and for what, when nothing can run", function()
    local line = debug.getinfo(1, "l").currentline
    local err = raised(simulate, {}, function()
      local pool = surface.pool()
      local held <close> = pool:acquire "m" -- luacheck: ignore
      local waiter = llmpool.spawn(pool.acquire, pool, "m")
      llmpool.spawn(function() waiter:join() end)
      pcall(waiter.join, waiter)
    end)
    assert.equal("deadlock", err.kind)
    assert.equal(3, #err.waiters)
    assert.equal("nothing can run and no timer is left in the simulation: " ..
      table.concat(err.waiters, "; "), tostring(err))
    local text = table.concat(err.waiters, "\n")
    assert.matches(("spawned at spec/simulate_spec.lua:%d waits for a client")
      :format(line + 4), text, 1, true)
    assert.matches(("spawned at spec/simulate_spec.lua:%d joins a task")
      :format(line + 5), text, 1, true)
    collectgarbage()
  end)

  it("may run in a task, while the real world waits", function()
    assert.equal(1000, llmpool.spawn(simulate, {}, function()
      llmpool.sleep(1000)
      return llmpool.now()
    end):join())
  end)

  it("keeps the worlds apart", function()
    local pool = surface.pool()
    local past
    simulate({}, function()
      past = surface.pool()
      assert.matches("this pool runs on the real clock: inside " ..
        "llmpool.simulate use pools made inside it",
        message(pool.acquire, pool, "m"))
      assert.matches("llmpool.simulate inside a simulation",
        message(simulate, {}, function() end))
      assert.matches("llmpool.thread inside llmpool.simulate: a thread runs " ..
        "in real time", message(llmpool.thread, function() end))
      assert.matches("llmpool.open inside llmpool.simulate",
        message(llmpool.open, "x"))
    end)
    assert.matches("this pool runs on the clock of a simulation that is over",
      message(past.acquire, past, "m"))
    assert.equal("m", past:models()[1])
    local task = llmpool.spawn(function() end)
    simulate({}, function()
      assert.matches("belongs to a simulation that is over, or is asked for " ..
        "inside one", message(task.join, task))
    end)
    task:join()
    ledger.settled(pool)
    ledger.settled(past)
  end)

  it("is left by an error with leases out: they come back", function()
    local pool
    raised(simulate, {}, function()
      pool = surface.pool({}, "a", "b")
      llmpool.spawn(pool.get_client, pool, "m", function()
        llmpool.sleep(100)
      end)
      llmpool.sleep(0)
      pool:get_client("m", error)
    end)
    assert.equal(2, pool:stats("m").acquired)
    ledger.settled(pool)
  end)
end)

describe("what is due in virtual time", function()
  local simulated = surface.simulated

  it("is a client's rest", simulated(function()
    local pool = surface.pool()
    pool:cool_down("m", "a", 3600)
    assert.equal("a1", pool:generate("m", 1))
    assert.equal(3600, llmpool.now())
  end))

  it("alone keeps no clock going", simulated(function()
    local pool = surface.pool { idle_timeout = 10, max_lifetime = 10 }
    pool:generate("m", 1)
    assert.equal(0, llmpool.now())
  end))
end)
