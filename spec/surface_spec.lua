-- The Lua surface, end to end: lending, errors, tasks, rest, health, threads,
-- simulation. Each test ends with the ledger closed.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local warned = require "spec.support.warned"

local function plain(id)
  return { id = id, generate = function(_, request) return id .. request end }
end

local function pool_of(...)
  local pool = llmpool.new()
  pool:register_model("m", { ... })
  return pool
end

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err), err
end

describe("a lease", function()
  it("returns what the callback returns, and the client", function()
    local pool = pool_of(plain "a")
    assert.same({ "m", "aq", nil, 3, n = 4 }, table.pack(
      pool:get_client("m", function(client)
        return client.model, client:generate "q", nil, 3
      end)))
    ledger.settled(pool)
  end)

  it("is over when the callback raises, the error unchanged", function()
    local pool = pool_of(plain "a")
    for _, value in ipairs { "text", { code = 1 }, 42, print } do
      local ok, err = pcall(pool.get_client, pool, "m", function()
        error(value, 0)
      end)
      assert.is_false(ok)
      assert.equal(value, err)
      ledger.settled(pool)
    end
  end)

  it("raises when it is used after its end", function()
    local pool = pool_of(plain "a")
    local kept
    pool:get_client("m", function(client) kept = client end)
    pool:get_client("m", function()
      assert.matches("its lease has ended", message(function()
        return kept.id
      end))
    end)
    assert.matches("released already", message(kept.release, kept))
    assert.equal(1, pool:stats("m").double_returns)
    ledger.settled(pool)
  end)

  it("of acquire ends with its variable, by release, or by the collector",
     function()
    local pool = pool_of(plain "a")
    do
      local client <close> = pool:acquire "m"
      assert.equal("client (m/a, lent)", tostring(client))
    end
    ledger.settled(pool)
    pool:acquire("m"):release()
    ledger.settled(pool)
    do local _ = pool:acquire "m" end
    collectgarbage()
    collectgarbage()
    assert.equal(1, pool:stats("m").leaked)
    warned.of "client a of \"m\" was never returned"
    ledger.settled(pool)
  end)

  it("is returned if its coroutine is dropped", function()
    local pool = pool_of(plain "a")
    local co = coroutine.create(function()
      pool:get_client("m", coroutine.yield)
    end)
    assert(coroutine.resume(co))
    assert.equal(1, pool:stats("m").lent)
    co = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    warned.of "client a of \"m\" was never returned"
    ledger.settled(pool)
  end)

  it("is returned if its coroutine is closed", function()
    local pool = pool_of(plain "a")
    local co = coroutine.create(function()
      pool:get_client("m", coroutine.yield)
    end)
    assert(coroutine.resume(co))
    coroutine.close(co)
    ledger.settled(pool)
  end)

  it("that cannot be had is nil and an error from acquire", function()
    local pool = pool_of(plain "a")
    local held <close> = pool:acquire "m" -- luacheck: ignore
    local client, err = pool:acquire("m", { timeout = 0 })
    assert.is_nil(client)
    assert.equal("timeout", err.kind)
    assert.equal(1, err.stats.lent)
    client, err = pool:acquire("m", { timeout = 0.01 })
    assert.is_nil(client)
    assert.matches("no client of \"m\" within 0.01", tostring(err))
    ledger.closed(pool)
  end)

  it("that nothing can bring is a deadlock", function()
    local pool = pool_of(plain "a")
    local _, err = message(function()
      pool:get_client("m", function()
        pool:get_client("m", print)
      end)
    end)
    assert.equal("deadlock", err.kind)
    ledger.settled(pool)
  end)
end)

describe("bad input", function()
  local pool = pool_of(plain "a")

  local cases = {
    { "bad argument #2 to 'get_client' %(function expected, got nil%)",
      function() pool:get_client("m", nil) end },
    { "no model \"n\"; there is \"m\"",
      function() pool:get_client("n", print) end },
    { "unknown option 'timout'; did you mean 'timeout'%?",
      function() pool:get_client("m", print, { timout = 1 }) end },
    { "timeout must be a number of seconds, 0 or more, got %-1",
      function() pool:get_client("m", print, { timeout = -1 }) end },
    { "timeout must be a number of seconds, 0 or more",
      function() pool:acquire("m", { timeout = 0 / 0 }) end },
    { "priority must be 0, 1, 2 or 3",
      function() pool:acquire("m", { priority = 9 }) end },
    { "needs a client at least", function() pool:register_model("x", {}) end },
    { "is registered already",
      function() pool:register_model("m", { plain "z" }) end },
    { "has the id \"b\" of client 1",
      function() pool:register_model("x", { plain "b", plain "b" }) end },
    { "did you mean 'max_waiting'%?",
      function()
        pool:register_model("x", { plain "b" }, { max_waitin = 1 })
      end },
    { "has no generate method",
      function() pool:register_model("x", { { id = "b" } }) end },
    { "has no client \"q\"", function() pool:retire_client("m", "q") end },
    { "function expected", function() llmpool.spawn(1) end },
    { "a sleep must be a number", function() llmpool.sleep "x" end },
  }

  for _, case in ipairs(cases) do
    it("is told: " .. case[1], function()
      assert.matches(case[1], (message(case[2])))
      ledger.settled(pool)
    end)
  end
end)

describe("tasks", function()
  it("wait for clients in the order in which they came", function()
    local pool = pool_of(plain "a")
    local order = {}
    llmpool.scope(function(scope)
      for i = 1, 20 do
        scope:spawn(function()
          pool:get_client("m", function()
            llmpool.sleep(0)
            order[#order + 1] = i
          end)
        end)
      end
    end)
    for i = 1, 20 do assert.equal(i, order[i]) end
    ledger.settled(pool)
  end)

  it("give the client back when they are cancelled", function()
    local pool = pool_of(plain "a")
    local task = llmpool.spawn(function()
      pool:get_client("m", function() llmpool.sleep(100) end)
    end)
    local waiter = llmpool.spawn(pool.get_client, pool, "m", print)
    llmpool.sleep(0)
    waiter:cancel()
    task:cancel "enough"
    local ok, err = task:pjoin()
    assert.is_false(ok)
    assert.is_true(llmpool.is_cancelled(err))
    assert.equal("enough", err.reason)
    assert.is_false((waiter:pjoin()))
    ledger.settled(pool)
  end)

  it("may wait inside coroutines of their own, but not in a comparator",
     function()
    local sum = llmpool.spawn(function()
      local numbers = coroutine.wrap(function()
        for i = 1, 3 do
          llmpool.sleep(0)
          coroutine.yield(i)
        end
      end)
      return numbers() + numbers() + numbers()
    end):join()
    assert.equal(6, sum)
    assert.matches("cannot wait here: inside table.sort", message(function()
      llmpool.spawn(function()
        local ok, err = pcall(table.sort, { 2, 1 }, function()
          llmpool.sleep(0)
        end)
        return error(err, 0), ok
      end):join()
    end))
  end)

  it("gather, race and time out", function()
    local a, b = llmpool.gather(
      function() llmpool.sleep(0.002) return "a" end,
      function() return "b" end)
    assert.same({ "a", "b" }, { a, b })
    assert.equal("fast", llmpool.race(
      function() llmpool.sleep(10) return "slow" end,
      function() llmpool.sleep(0.001) return "fast" end))
    local _, err = message(llmpool.timeout, 0.001, llmpool.sleep, 10)
    assert.equal("timeout", err.kind)
    assert.matches("boom", message(llmpool.scope, function(scope)
      scope:spawn(error, "boom")
      llmpool.sleep(10)
    end))
  end)
end)

describe("clients", function()
  it("rest, and are not lent until then", function()
    llmpool.simulate({}, function()
      local pool = pool_of(plain "a")
      pool:cool_down("m", "a", 5)
      local _, err = pool:acquire("m", { timeout = 1 })
      assert.equal("resting", err.kind)
      assert.equal(5, err.retry_at)
      pool:get_client("m", function() assert.equal(5, llmpool.now()) end)
      ledger.settled(pool)
    end)
  end)

  it("that are sick are created anew in their place", function()
    local sick = true
    local pool = llmpool.new()
    pool:register_model("m", { plain "a" }, {
      check_after = 0,
      check = function() assert(not sick, "sick") end,
      create = function(_, reason)
        sick = false
        return plain(reason)
      end,
    })
    assert.equal("sickq", pool:generate("m", "q"))
    assert.equal(1, pool:stats("m").replaced)
    ledger.settled(pool)
  end)

  it("come and go while the pool is in use", function()
    local pool = pool_of(plain "a")
    pool:add_client("m", plain "b")
    pool:retire_client("m", "a")
    assert.equal("bq", pool:generate("m", "q"))
    pool:get_client("m", function(client)
      pool:replace_client("m", { id = "b", generate = function()
        return "new"
      end })
      assert.equal("bq", client:generate "q")
    end)
    assert.equal("new", pool:generate("m", "q"))
    ledger.settled(pool)
  end)
end)

describe("threads", function()
  it("share a pool", function()
    local pool = llmpool.open "surface_spec"
    pool:register_model("m", { llmpool.simulated { id = "a", latency = 0.001 },
                               llmpool.simulated { id = "b" } })
    local threads = {}
    for i = 1, 3 do
      threads[i] = llmpool.thread(function(shared, n)
        for _ = 1, n do shared:generate("m", "q") end
        return n
      end, pool, 5)
    end
    for i = 1, 3 do assert.equal(5, threads[i]:join()) end
    assert.equal(15, pool:stats("m").acquired)
    ledger.settled(pool)
    pool:close()
  end)

  it("take no plain table and no upvalue", function()
    local pool = pool_of(plain "a")
    local upvalue = 1
    assert.matches("cannot send a pool that holds plain tables",
      (message(llmpool.thread, function() end, pool)))
    assert.matches("cannot send a function with the upvalue 'upvalue'",
      (message(llmpool.thread, function() return upvalue end)))
    ledger.settled(pool)
  end)
end)

describe("a simulation", function()
  local function day(seed)
    return llmpool.simulate({ seed = seed }, function()
      local pool = llmpool.new()
      pool:register_model("m", {
        llmpool.simulated { id = "a", latency = { "exponential", mean = 60 } },
        llmpool.simulated { id = "b",
                            latency = { "uniform", min = 1, max = 9 } },
      })
      local calls = {}
      for i = 1, 100 do
        calls[i] = function() return pool:generate("m", "q") end
      end
      llmpool.gather(table.unpack(calls))
      ledger.settled(pool)
      return llmpool.now()
    end)
  end

  it("repeats with its seed", function()
    assert.equal(day(1), day(1))
    assert.not_equal(day(1), day(2))
  end)

  it("names who waits when nothing can run", function()
    local text, err = message(llmpool.simulate, {}, function()
      local pool = pool_of(plain "a")
      pool:get_client("m", function() pool:get_client("m", print) end)
    end)
    assert.equal("deadlock", err.kind)
    assert.matches("waits for a client", text)
  end)
end)
