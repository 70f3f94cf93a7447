-- get_client: one client for one callback, back before anybody sees the result
-- or the error, however the callback ends.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"
local warned = require "spec.support.warned"

local message, raised, simulated =
  surface.message, surface.raised, surface.simulated

local function full_collection()
  collectgarbage()
  collectgarbage()
end

describe("get_client", function()
  it("returns what the callback returns, and the client", function()
    local pool = surface.pool()
    assert.same({ "m", "aq", nil, 3, n = 4 }, table.pack(
      pool:get_client("m", function(client)
        return client.model, client:generate "q", nil, 3
      end)))
    assert.equal(0, select("#", pool:get_client("m", function() end)))
    local many = table.pack(pool:get_client("m", function()
      return table.unpack({}, 1, 200)
    end))
    assert.equal(200, many.n)
    ledger.settled(pool)
  end)

  it("is over when the callback raises, the error unchanged", function()
    local pool = surface.pool()
    for _, value in ipairs { "text", { code = 1 }, 42, print, true } do
      local err = raised(pool.get_client, pool, "m", function()
        error(value, 0)
      end)
      assert.equal(value, err)
      ledger.settled(pool)
    end
    local ok, err = pcall(pool.get_client, pool, "m", function() error() end)
    assert.same({ false, nil }, { ok, err })
    ledger.settled(pool)
  end)

  it("has given the client back before the error is seen", function()
    local pool = surface.pool()
    xpcall(function()
      pool:get_client("m", function() error "x" end)
    end, function() end)
    local lent
    pcall(function()
      local _ <close> = setmetatable({}, { __close = function()
        lent = pool:stats("m").lent
      end })
      pool:get_client("m", function() error "x" end)
    end)
    assert.equal(0, lent)
  end)

  it("keeps the traceback of the place that raised", function()
    local pool = surface.pool()
    local function deep() error { code = 1 } end
    local err = raised(pool.get_client, pool, "m", function() deep() end)
    assert.matches("in upvalue 'deep'", llmpool.traceback(err))
    err = raised(pool.get_client, pool, "m", function() error("t", 0) end)
    assert.matches("in function 'error'", llmpool.traceback(err))
    assert.is_nil(llmpool.traceback {})
  end)

  it("lends different clients in nested calls, and of several models",
     function()
    local pool = surface.pool({}, "a", "b")
    pool:register_model("n", { surface.plain "x" })
    assert.equal("abx", pool:get_client("m", function(one)
      return pool:get_client("m", function(two)
        return pool:get_client("n", function(three)
          return one.id .. two.id .. three.id
        end)
      end)
    end))
    ledger.settled(pool)
  end)

  it("serves whichever of several models is free first", simulated(function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a", latency = 5 } })
    pool:register_model("n", { llmpool.simulated { id = "b", latency = 3 } })
    local both = { "m", "n" }
    local function model(client) return client.model end
    assert.equal("m", pool:get_client(both, model))
    local first = llmpool.spawn(pool.generate, pool, "m", "q")
    llmpool.sleep(0)
    assert.equal("n", pool:get_client(both, model))
    local second = llmpool.spawn(pool.generate, pool, "n", "q")
    llmpool.sleep(0)
    assert.equal("n", pool:get_client(both, model))
    assert.equal(3, llmpool.now())
    first:join()
    second:join()
    ledger.settled(pool)
  end))

  it("is returned if its coroutine is dropped, and reported", function()
    local pool = surface.pool()
    local co = coroutine.create(function()
      pool:get_client("m", coroutine.yield)
    end)
    assert(coroutine.resume(co))
    assert.equal(1, pool:stats("m").lent)
    co = nil -- luacheck: ignore
    full_collection()
    warned.of 'client a of "m" was never returned.* taken at spec/lease_spec'
    assert.equal(1, pool:stats("m").leaked)
    ledger.settled(pool)
  end)

  it("is returned if its coroutine is closed", function()
    local pool = surface.pool()
    local co = coroutine.create(function()
      pool:get_client("m", coroutine.yield)
    end)
    assert(coroutine.resume(co))
    assert(coroutine.close(co))
    ledger.settled(pool)
    assert.equal(0, pool:stats("m").leaked)
  end)

  it("closes nobody else's lease when a dead coroutine is closed late",
     function()
    local pool = surface.pool()
    local co = coroutine.create(function()
      pool:get_client("m", function() error "dead" end)
    end)
    assert.is_false(coroutine.resume(co))
    ledger.settled(pool)
    pool:get_client("m", function(client)
      coroutine.close(co)
      assert.equal("a1", client:generate(1))
      assert.equal(1, pool:stats("m").lent)
    end)
    ledger.settled(pool)
  end)

  it("says how to find out where a leak was taken", function()
    local before = llmpool.trace_leaks(false)
    assert.is_true(before)
    local pool = surface.pool()
    local co = coroutine.create(function()
      pool:get_client("m", coroutine.yield)
    end)
    coroutine.resume(co)
    co = nil -- luacheck: ignore
    full_collection()
    llmpool.trace_leaks(before)
    warned.of "taken where llmpool.trace_leaks%(true%) would tell"
    ledger.settled(pool)
  end)

  it("waits in line: served in order of arrival", function()
    local pool = surface.pool()
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

  it("lets higher priorities go first, in order among equals", function()
    local pool = surface.pool()
    local order = {}
    local held = pool:acquire "m"
    llmpool.scope(function(scope)
      for i, priority in ipairs { 0, 3, 1, 3, 2 } do
        scope:spawn(pool.get_client, pool, "m", function()
          order[#order + 1] = i
        end, { priority = priority })
      end
      llmpool.sleep(0)
      held:release()
    end)
    assert.same({ 2, 4, 5, 3, 1 }, order)
    ledger.settled(pool)
  end)

  it("takes the client that is preferred, if it is free", function()
    local pool = surface.pool({}, "a", "b", "c")
    local function id(client) return client.id end
    assert.equal("b", pool:get_client("m", id, { prefer = "b" }))
    assert.equal("c", pool:get_client("m", function()
      return pool:get_client("m", id, { prefer = { "a", "c" } })
    end, { prefer = "a" }))
    assert.is_string(pool:get_client("m", id, { prefer = "zz" }))
    ledger.settled(pool)
  end)

  it("raises timeout with the numbers, at its time", simulated(function()
    local pool = surface.pool()
    local held <close> = pool:acquire "m" -- luacheck: ignore
    local err = raised(pool.get_client, pool, "m", print, { timeout = 2.5 })
    assert.equal("timeout", err.kind)
    assert.equal("m", err.model)
    assert.equal(2.5, err.waited)
    assert.equal(1, err.stats.lent)
    assert.equal(1, err.stats.clients)
    assert.equal(2.5, llmpool.now())
    assert.equal('no client of "m" within 2.5 s (0 waiting, 1 lent, 0 idle, ' ..
      "0 resting); raise timeout or add clients", tostring(err))
    assert.equal('no client of "m" is free now (0 waiting, 1 lent, 0 ' ..
      "resting); give a timeout to wait",
      message(pool.get_client, pool, "m", print, { timeout = 0 }))
    assert.equal(2, pool:stats("m").timeouts)
    ledger.closed(pool)
  end))

  it("of a paused model or one without clients says what helps",
     simulated(function()
    local pool = surface.pool()
    pool:pause "m"
    for _, timeout in ipairs { 0, 1 } do
      assert.equal('"m" is paused and lends nothing (0 waiting); ' ..
        "pool:resume ends that",
        message(pool.get_client, pool, "m", print, { timeout = timeout }))
    end
    pool:resume "m"
    pool:retire_client("m", "a")
    for _, timeout in ipairs { 0, 1 } do
      assert.equal('"m" has no clients (0 waiting); pool:add_client adds one',
        message(pool.get_client, pool, "m", print, { timeout = timeout }))
    end
    ledger.settled(pool)
  end))

  it("takes its model's timeout where the call has none", simulated(function()
    local pool = surface.pool { timeout = 3 }
    local held <close> = pool:acquire "m" -- luacheck: ignore
    raised(pool.get_client, pool, "m", print)
    assert.equal(3, llmpool.now())
    raised(pool.get_client, pool, "m", print, { timeout = 1 })
    assert.equal(4, llmpool.now())
  end))

  it("is refused at once when the line is full", simulated(function()
    local pool = surface.pool { max_waiting = 2 }
    local held = pool:acquire "m"
    local tasks = {}
    for i = 1, 2 do
      tasks[i] = llmpool.spawn(pool.generate, pool, "m", "q")
    end
    llmpool.sleep(0)
    local err = raised(pool.get_client, pool, "m", print)
    assert.equal("queue_full", err.kind)
    assert.equal(2, err.stats.waiting)
    assert.equal('the line for "m" is full (2 waiting, 1 of 1 lent); try ' ..
      "later or raise max_waiting", tostring(err))
    assert.equal(1, pool:stats("m").queue_full)
    held:release()
    for i = 1, 2 do assert.equal("aq", tasks[i]:join()) end
    ledger.settled(pool)
  end))

  it("that nothing can bring is a deadlock, not a hang", function()
    local pool = surface.pool()
    local err = raised(function()
      pool:get_client("m", function()
        pool:get_client("m", print)
      end)
    end)
    assert.equal("deadlock", err.kind)
    assert.equal("m", err.model)
    assert.matches("1 lent, 1 waiting%); is one asked for while one is held",
      tostring(err))
    pool:pause()
    err = raised(pool.get_client, pool, "m", print)
    assert.equal('"m" is paused (1 waiting) and no task, timer, I/O or ' ..
      "thread is left that could resume it", tostring(err))
    pool:resume()
    pool:retire_client("m", "a")
    err = raised(pool.get_client, pool, "m", print)
    assert.equal('"m" has no clients (1 waiting) and no task, timer, I/O or ' ..
      "thread is left that could add one", tostring(err))
    ledger.settled(pool)
  end)
end)

-- The design's list of what the pool must survive, where it needs Lua.
describe("generate", function()
  it("counts the wait for a client in the timings", function()
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { llmpool.simulated { id = "a", latency = 1 } })
      local first = llmpool.spawn(pool.generate, pool, "m", "q")
      local second = llmpool.spawn(pool.generate, pool, "m", "q")
      local _, response = first:join()
      assert.same({ queued = 0, connected = 0, first = 1, total = 1 },
        response.timings)
      _, response = second:join()
      assert.same({ queued = 1, connected = 1, first = 2, total = 2 },
        response.timings)
      ledger.settled(pool)
    end)
  end)
end)

describe("a lease survives", function()
  it("every kind of error in its callback (admission 29)", function()
    local pool = surface.pool()
    local function overflow() return (("x"):gsub("x", overflow)) end
    for name, fail in pairs {
      string = function() error "x" end, table = function() error {} end,
      ["nil"] = function() error() end, overflow = overflow,
      ["a close handler"] = function()
        local _ <close> = setmetatable({}, { __close = function()
          error "closing"
        end })
      end,
      ["no memory"] = function() return ("x"):rep(1 << 46) end,
      ["a bad call"] = function() return (nil)() end,
    } do
      assert.is_false((pcall(pool.get_client, pool, "m", fail)), name)
      ledger.settled(pool)
      -- the message handler itself fails
      assert.is_false((xpcall(pool.get_client, error, pool, "m", fail)), name)
      ledger.settled(pool)
      assert.is_false((llmpool.spawn(pool.get_client, pool, "m", fail)
        :pjoin()), name)
      ledger.settled(pool)
    end
  end)

  it("an overflow of Lua's stack in its callback #slow", function()
    local pool = surface.pool()
    local function overflow() return 1 + overflow() end
    assert.is_false((pcall(pool.get_client, pool, "m", overflow)))
    ledger.settled(pool)
  end)

  it("a callback that yields and is never resumed (admission 30)", function()
    local pool = surface.pool({}, "a", "b")
    for _ = 1, 10 do
      local co = coroutine.wrap(function()
        pool:get_client("m", function()
          pool:get_client("m", coroutine.yield)
        end)
      end)
      co()
      co = nil -- luacheck: ignore
      full_collection()
      ledger.settled(pool)
    end
    assert.equal(20, pool:stats("m").leaked)
    warned.of "never returned"
  end)

  it("every way out of a block, and a close from outside (admission 31)",
     function()
    local pool = surface.pool()
    for i = 1, 3 do
      local client <close> = pool:acquire "m"
      if i == 1 then goto continue end
      if client.id and i == 2 then break end
      ::continue::
    end
    ledger.settled(pool)
    assert.is_false((pcall(function()
      local _ <close> = setmetatable({}, { __close = function()
        error "closing"
      end })
      local client <close> = pool:acquire "m" -- luacheck: ignore
      local _ <close> = setmetatable({}, { __close = function()
        error "closing"
      end })
      error "body"
    end)))
    ledger.settled(pool)
    local co = coroutine.create(function()
      local client <close> = pool:acquire "m" -- luacheck: ignore
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert.equal(1, pool:stats("m").lent)
    assert(coroutine.close(co))
    ledger.settled(pool)
    assert.equal(0, pool:stats("m").leaked)
  end)
end)

describe("a client", function()
  it("has its instance's fields and methods", function()
    local instance = surface.plain "a"
    instance.region = "eu"
    function instance:embed(x, y) return self.id, x, y end
    local pool = llmpool.new()
    pool:register_model("m", { instance })
    pool:get_client("m", function(client)
      assert.same({ "a", "m", "eu" },
        { client.id, client.model, client.region })
      assert.same({ "a", 1, 2 }, { client:embed(1, 2) })
      assert.is_nil(client.nothing)
      assert.equal("client (m/a, lent)", tostring(client))
      assert.equal("userdata", type(client))
    end)
    ledger.settled(pool)
  end)

  it("is good for one lease only, also for the same caller again", function()
    local pool = surface.pool()
    local kept = pool:get_client("m", function(client) return client end)
    pool:get_client("m", function(client)
      assert.not_equal(client, kept)
      for name, use in pairs {
        id = function() return kept.id end,
        generate = function() return kept:generate "q" end,
        cool_down = function() kept:cool_down(1) end,
        retire = function() kept:retire() end,
      } do
        assert.matches("this client was returned: its lease has ended",
          message(use), 1, true, name)
      end
      assert.equal("client (returned)", tostring(kept))
    end)
    assert.matches("released already", message(kept.release, kept))
    assert.equal(1, pool:stats("m").double_returns)
    assert.equal(2, pool:stats("m").acquired)
    ledger.settled(pool)
  end)

  it("may be released before the callback ends", function()
    local pool = surface.pool()
    assert.equal("done", pool:get_client("m", function(client)
      client:release()
      ledger.settled(pool)
      assert.matches("lease has ended", message(function()
        return client.id
      end))
      return "done"
    end))
    assert.equal(0, pool:stats("m").double_returns)
    ledger.settled(pool)
  end)

  it("may rest or retire from inside its lease", simulated(function()
    local pool = surface.pool({}, "a", "b")
    pool:get_client("m", function(client)
      client:cool_down(10)
      assert.equal("a1", client:generate(1))
    end, { prefer = "a" })
    assert.equal("resting", pool:stats("m").clients[1].state)
    pool:get_client("m", function(client) client:retire() end)
    assert.equal(1, pool:stats("m").retired)
    assert.equal("a2", pool:generate("m", 2))
    assert.equal(10, llmpool.now())
    ledger.settled(pool)
  end))
end)
