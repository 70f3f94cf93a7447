-- Structured concurrency: scope, gather, race, timeout. Nobody outlives the
-- block; what happened is told once.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local message, raised, simulated =
  surface.message, surface.raised, surface.simulated

describe("a scope", function()
  it("returns what its block returns, after its children",
     simulated(function()
    local ended = 0
    local results = table.pack(llmpool.scope(function(scope)
      for i = 1, 3 do
        scope:spawn(function() llmpool.sleep(i) ended = ended + 1 end)
      end
      return 1, nil, scope
    end))
    assert.same({ 3, 3, 3.0 }, { ended, results.n, llmpool.now() })
    assert.equal("scope (over, 0 tasks)", tostring(results[3]))
    assert.matches("this scope is over", message(results[3].spawn, results[3],
      print))
    assert.matches("this scope is over", message(results[3].cancel, results[3]))
  end))

  it("owns also what a plain spawn starts in it", simulated(function()
    llmpool.scope(function() llmpool.spawn(llmpool.sleep, 2) end)
    assert.equal(2, llmpool.now())
  end))

  it("cancels the others when a child fails, waits, and raises its error",
     simulated(function()
    local cleaned
    local value = { "boom" }
    local err = raised(llmpool.scope, function(scope)
      scope:spawn(function()
        local _ <close> = setmetatable({}, { __close = function()
          llmpool.shield(llmpool.sleep, 1)
          cleaned = llmpool.now()
        end })
        llmpool.sleep(100)
      end)
      scope:spawn(function()
        llmpool.sleep(2)
        error(value)
      end)
      llmpool.sleep(100)
    end)
    assert.equal(value, err)
    assert.same({ 3.0, 3.0 }, { cleaned, llmpool.now() })
  end))

  it("cancels its children when the block raises", simulated(function()
    local reason
    assert.equal("block", message(llmpool.scope, function(scope)
      scope:spawn(function()
        reason = select(2, pcall(llmpool.sleep, 100))
        error(reason)
      end)
      llmpool.sleep(1)
      error("block", 0)
    end))
    assert.is_true(llmpool.is_cancelled(reason))
    assert.equal(1, llmpool.now())
  end))

  it("does not fail for a child that was cancelled, or claimed",
     simulated(function()
    assert.equal("fine", llmpool.scope(function(scope)
      scope:spawn(llmpool.sleep, 100):cancel()
      local ok, err = scope:spawn(error, "claimed", 0):pjoin()
      assert.same({ false, "claimed" }, { ok, err })
      return "fine"
    end))
  end))

  it("may cancel itself: it ends quietly", simulated(function()
    local ended = 0
    local results = table.pack(llmpool.scope(function(scope)
      for _ = 1, 3 do
        scope:spawn(function()
          pcall(llmpool.sleep, 100)
          ended = ended + 1
        end)
      end
      llmpool.sleep(1)
      scope:cancel()
      llmpool.sleep(100)
    end))
    assert.same({ 3, 0, 1.0 }, { ended, results.n, llmpool.now() })
  end))

  it("passes an outer cancellation to its children and on",
     simulated(function()
    local inner
    local task = llmpool.spawn(function()
      llmpool.scope(function(scope)
        inner = scope:spawn(llmpool.sleep, 100)
      end)
    end)
    llmpool.sleep(0)
    task:cancel "outer"
    local _, err = task:pjoin()
    assert.same({ "cancelled", "outer" }, { err.kind, err.reason })
    assert.equal("cancelled", inner:status())
  end))

  it("lets go of a task that is detached", simulated(function()
    local task
    llmpool.scope(function(scope)
      task = scope:spawn(function() llmpool.sleep(5) return "later" end)
      scope:detach(task)
    end)
    assert.equal(0, llmpool.now())
    assert.equal("later", task:join())
    llmpool.scope(function(scope)
      assert.matches("not a task of this scope", message(scope.detach, scope,
        task))
    end)
  end))

  it("nests: the inner one ends first", simulated(function()
    local order = {}
    llmpool.scope(function(outer)
      outer:spawn(function() llmpool.sleep(3) order[#order + 1] = "outer" end)
      llmpool.scope(function(inner)
        inner:spawn(function() llmpool.sleep(2) order[#order + 1] = "inner" end)
      end)
      order[#order + 1] = "between"
    end)
    assert.same({ "inner", "between", "outer" }, order)
  end))

  it("gives back every client of tasks that it cancels", simulated(function()
    local pool = surface.pool({}, "a", "b")
    raised(llmpool.scope, function(scope)
      for _ = 1, 6 do
        scope:spawn(pool.get_client, pool, "m", function()
          llmpool.sleep(100)
        end)
      end
      llmpool.sleep(1)
      error "stop"
    end)
    assert.equal(2, pool:stats("m").acquired)
    assert.equal(4, pool:stats("m").cancelled)
    ledger.settled(pool)
  end))
end)

describe("gather", function()
  it("gives the first value of each, in the order of the arguments",
     simulated(function()
    assert.same({ "a", nil, "c", n = 3 }, table.pack(llmpool.gather(
      function() llmpool.sleep(2) return "a", "x" end,
      function() end,
      function() llmpool.sleep(1) return "c" end)))
    assert.equal(2, llmpool.now())
    assert.equal(0, select("#", llmpool.gather()))
  end))

  it("raises the first failure and cancels the rest", simulated(function()
    local ended
    assert.equal("bad", message(llmpool.gather,
      function()
        local _ <close> = setmetatable({}, { __close = function()
          ended = true
        end })
        llmpool.sleep(10)
      end,
      function() llmpool.sleep(1) error("bad", 0) end))
    assert.same({ true, 1.0 }, { ended, llmpool.now() })
  end))
end)

describe("race", function()
  it("gives all that the first returns, and cancels the rest",
     simulated(function()
    local ended
    assert.same({ "fast", nil, 3, n = 3 }, table.pack(llmpool.race(
      function()
        local ok = pcall(llmpool.sleep, 10)
        ended = not ok
      end,
      function() llmpool.sleep(1) return "fast", nil, 3 end)))
    assert.same({ true, 1.0 }, { ended, llmpool.now() })
    assert.is_nil((llmpool.race(function() end)))
  end))

  it("raises a failure that comes first", simulated(function()
    assert.equal("bad", message(llmpool.race,
      function() llmpool.sleep(10) end, function() error("bad", 0) end))
  end))
end)

describe("timeout", function()
  it("passes arguments, results and errors", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(llmpool.timeout(1,
      function(...) return ... end, 1, nil, 3)))
    local value = {}
    assert.equal(value, raised(llmpool.timeout, 1, error, value))
    assert.equal(1, llmpool.timeout(math.huge, function() return 1 end))
  end)

  it("raises kind timeout when the time is over", simulated(function()
    local err = raised(llmpool.timeout, 2, llmpool.sleep, 10)
    assert.equal("timeout", err.kind)
    assert.equal(2, llmpool.now())
    assert.equal("timeout", raised(llmpool.timeout, 0, llmpool.sleep, 1).kind)
  end))

  it("of an outer block ends an inner one", simulated(function()
    local inner
    local err = raised(llmpool.timeout, 2, function()
      local ok, e = pcall(llmpool.timeout, 10, llmpool.sleep, 20)
      inner = { ok, llmpool.is_cancelled(e) }
      error(e)
    end)
    assert.equal("timeout", err.kind)
    assert.same({ false, true }, inner)
    assert.equal(2, llmpool.now())
  end))

  it("does not cut off a block that catches it and returns",
     simulated(function()
    assert.equal("caught", llmpool.timeout(1, function()
      pcall(llmpool.sleep, 10)
      return "caught"
    end))
  end))

  it("gives a lease back", simulated(function()
    local pool = surface.pool()
    raised(llmpool.timeout, 1, pool.get_client, pool, "m", function()
      llmpool.sleep(10)
    end)
    ledger.settled(pool)
  end))
end)
