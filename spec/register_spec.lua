-- Models and clients that come and go while the pool is in use: registered,
-- added, replaced, retired, unregistered, resting, paused, limited.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local raised, simulated = surface.raised, surface.simulated

local function id(client) return client.id end

describe("a pool", function()
  it("knows its models in order of registration", function()
    local pool = llmpool.new()
    assert.same({}, pool:models())
    assert.matches("^pool %(.*0 models, open%)$", tostring(pool))
    for _, name in ipairs { "z", "a", "m" } do
      pool:register_model(name, { surface.plain "x" })
    end
    assert.same({ "z", "a", "m" }, pool:models())
    pool:unregister_model "a"
    assert.same({ "z", "m" }, pool:models())
    assert.equal("userdata", type(pool))
  end)

  it("has no fields to set, and tells pools apart", function()
    local pool = llmpool.new()
    assert.has_error(function() pool.x = 1 end)
    assert.is_nil(pool.nothing)
    assert.not_equal(pool, llmpool.new())
  end)

  it("may be a variable to be closed", function()
    local kept
    do
      local pool <close> = surface.pool()
      kept = pool
    end
    assert.equal("closed", raised(kept.generate, kept, "m", "q").kind)
  end)

  it("that is forgotten takes its clients along", function()
    local gone = setmetatable({}, { __mode = "v" })
    do
      local pool = surface.pool()
      pool:generate("m", "q")
      gone[1] = pool
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(gone[1])
  end)

  it("takes names and ids as they are", simulated(function()
    local pool = llmpool.new()
    for _, name in ipairs { "a b", "ü", "x/y:z", ("n"):rep(300) } do
      pool:register_model(name, { surface.plain(name) })
      assert.equal(name .. "!", pool:generate(name, "!"))
    end
    assert.equal(4, #pool:models())
    ledger.settled(pool)
  end))

  it("has room for many models and clients", function()
    local pool = llmpool.new()
    for m = 1, 100 do
      local clients = {}
      for c = 1, 50 do clients[c] = surface.plain("c" .. c) end
      pool:register_model("m" .. m, clients)
    end
    assert.equal(100, #pool:models())
    assert.equal(50, pool:stats("m100").size)
    ledger.settled(pool)
  end)
end)

describe("a model", function()
  it("of a name that was taken out may be registered anew", simulated(
     function()
    local pool = surface.pool()
    local held = pool:acquire "m"
    local waiter = llmpool.spawn(pool.acquire, pool, "m")
    llmpool.sleep(0)
    pool:unregister_model "m"
    local none, err = waiter:join()
    assert.same({ nil, "closed" }, { none, err.kind })
    assert.matches('"m" is closed: its pool was closed or the model ' ..
      "unregistered", tostring(err), 1, true)
    assert.equal("a1", held:generate(1))
    assert.equal("unknown_model", raised(pool.generate, pool, "m", 1).kind)
    pool:register_model("m", { surface.plain "b" })
    assert.equal("b1", pool:generate("m", 1))
    held:release()
    assert.equal("b2", pool:generate("m", 2))
    ledger.settled(pool)
  end))

  it("lends its clients newest or oldest first", function()
    local function three(order)
      local pool = surface.pool({ order = order }, "a", "b", "c")
      local ids = {}
      for i = 1, 6 do ids[i] = pool:get_client("m", id) end
      ledger.settled(pool)
      return table.concat(ids)
    end
    assert.equal("aaaaaa", three())
    assert.equal("aaaaaa", three "lifo")
    assert.equal("abcabc", three "fifo")
  end)

  it("that is paused lends nothing; those who wait are served in order after",
     simulated(function()
    local pool = surface.pool({}, "a", "b")
    pool:pause "m"
    assert.is_true(pool:stats("m").paused)
    local order = {}
    for i = 1, 4 do
      llmpool.spawn(pool.get_client, pool, "m", function()
        llmpool.sleep(1)
        order[#order + 1] = i
      end)
    end
    assert.is_nil((pool:acquire("m", { timeout = 0 })))
    llmpool.sleep(10)
    assert.same({ 0, 4 }, { #order, pool:stats("m").waiting })
    pool:resume "m"
    llmpool.sleep(10)
    assert.same({ 1, 2, 3, 4 }, order)
    assert.is_false(pool:stats("m").paused)
    ledger.settled(pool)
  end))

  it("lends no more than its limit, which may change", simulated(function()
    local pool = surface.pool({}, "a", "b")
    pool:limit("m", 1)
    local one <close> = pool:acquire "m" -- luacheck: ignore
    assert.is_nil((pool:acquire("m", { timeout = 1 })))
    pool:limit("m", 2)
    local two <close> = pool:acquire("m", { timeout = 0 })
    assert.equal("b", two.id)
    assert.equal(2, pool:stats("m").limit)
    pool:limit("m", 0)
    two:release()
    assert.is_nil((pool:acquire("m", { timeout = 1 })))
    ledger.closed(pool)
  end))

  it("has no limit but its clients until it is given one", simulated(function()
    local pool = surface.pool({}, "a", "b")
    assert.equal(math.huge, pool:stats("m").limit)
    pool:limit("m", 1)
    pool:limit("m", math.huge)
    assert.equal(math.huge, pool:stats("m").limit)
    local one <close> = pool:acquire "m" -- luacheck: ignore
    local two <close> = pool:acquire("m", { timeout = 0 })
    assert.equal("b", two.id)
    for _, wrong in ipairs { -1, 0.5, 0 / 0, -math.huge, 1 << 32 } do
      local _, message = pcall(function() pool:limit("m", wrong) end)
      assert.matches("bad argument #2 to 'limit'", message)
    end
    local _, message = pcall(function() pool:limit "m" end)
    assert.matches("bad argument #2 to 'limit' %(number expected, got no value",
      message)
    ledger.closed(pool)
  end))
end)

describe("a client", function()
  it("that is added serves those who wait", simulated(function()
    local pool = surface.pool()
    local held <close> = pool:acquire "m" -- luacheck: ignore
    local waiter = llmpool.spawn(pool.generate, pool, "m", 1)
    llmpool.sleep(5)
    pool:add_client("m", surface.plain "b")
    assert.equal("b1", waiter:join())
    assert.same({ 2, 5.0 }, { pool:stats("m").size, llmpool.now() })
    ledger.closed(pool)
  end))

  it("that is retired is lent no more; a lease of it ends on it", simulated(
     function()
    local pool = surface.pool({}, "a", "b")
    local held = pool:acquire("m", { prefer = "a" })
    pool:retire_client("m", "a")
    assert.equal("a1", held:generate(1))
    for _ = 1, 3 do assert.equal("b2", pool:generate("m", 2)) end
    held:release()
    assert.equal("b3", pool:generate("m", 3))
    assert.same({ 1, 1 }, { pool:stats("m").size, pool:stats("m").retired })
    assert.equal("unknown_client",
      raised(pool.retire_client, pool, "m", "a").kind)
    pool:add_client("m", surface.plain "a")
    assert.equal(2, pool:stats("m").size)
    ledger.settled(pool)
  end))

  it("may be the last: who waits then waits for a new one", simulated(
     function()
    local pool = surface.pool()
    pool:retire_client("m", "a")
    assert.equal("timeout", select(2, pool:acquire("m", { timeout = 1 })).kind)
    llmpool.spawn(function()
      llmpool.sleep(1)
      pool:add_client("m", surface.plain "z")
    end)
    assert.equal("z1", pool:generate("m", 1))
    ledger.settled(pool)
  end))

  it("that is replaced serves its lease to the end", simulated(function()
    local pool = surface.pool()
    pool:get_client("m", function(client)
      pool:replace_client("m", { id = "a", generate = function()
        return "new"
      end })
      assert.equal("a1", client:generate(1))
    end)
    assert.equal("new", pool:generate("m", 2))
    assert.equal(1, pool:stats("m").size)
    ledger.settled(pool)
  end))

  it("that rests is not waited for while another is free", simulated(
     function()
    local pool = surface.pool({}, "a", "b")
    pool:cool_down("m", "a", 10)
    for _ = 1, 3 do assert.equal("b1", pool:generate("m", 1)) end
    assert.same({ 0.0, 1 }, { llmpool.now(), pool:stats("m").resting })
    pool:cool_down("m", "b", 4)
    assert.equal("b2", pool:generate("m", 2))
    assert.equal(4, llmpool.now())
    pool:cool_down("m", "a", 1) -- the later end stands
    pool:retire_client("m", "b")
    assert.equal("a3", pool:generate("m", 3))
    assert.equal(10, llmpool.now())
    ledger.settled(pool)
  end))

  it("may be registered in many models and pools", function()
    local shared = surface.plain "a"
    local pool, other = llmpool.new(), llmpool.new()
    pool:register_model("m", { shared })
    pool:register_model("n", { shared })
    other:register_model("m", { shared })
    assert.equal("a1a2a3", pool:generate("m", 1) .. pool:generate("n", 2) ..
      other:generate("m", 3))
    ledger.settled(pool)
    ledger.settled(other)
  end)

  it("comes and goes under load with nothing lost", simulated(function()
    local pool = llmpool.new()
    local function client(name)
      return llmpool.simulated { id = name,
        latency = { "uniform", min = 0, max = 2 } }
    end
    pool:register_model("m", { client "c0" })
    local served = 0
    llmpool.scope(function(scope)
      for _ = 1, 200 do
        scope:spawn(function()
          pool:generate("m", "q")
          served = served + 1
        end)
      end
      scope:spawn(function()
        for i = 1, 20 do
          pool:add_client("m", client("c" .. i))
          llmpool.sleep(1)
          pool:retire_client("m", "c" .. i - 1)
          pool:cool_down("m", "c" .. i, 0.5)
          llmpool.sleep(1)
          pool:replace_client("m", client("c" .. i))
        end
      end)
    end)
    assert.equal(200, served)
    assert.equal(1, pool:stats("m").size)
    ledger.settled(pool)
  end))
end)

describe("drain", function()
  it("waits until nothing is lent", simulated(function()
    local pool = surface.pool({}, "a", "b")
    for i = 1, 2 do
      llmpool.spawn(pool.get_client, pool, "m", function()
        llmpool.sleep(i)
      end)
    end
    llmpool.sleep(0)
    assert.equal(0, pool:drain())
    assert.equal(2, llmpool.now())
    assert.equal(0, pool:drain(0))
    ledger.settled(pool)
  end))

  it("tells how many are out when the time is over", simulated(function()
    local pool = surface.pool()
    local held <close> = pool:acquire "m" -- luacheck: ignore
    assert.equal(1, pool:drain(0))
    assert.equal(1, pool:drain(3))
    assert.equal(3, llmpool.now())
  end))

  it("is not kept by a rest", simulated(function()
    local pool = surface.pool()
    pool:cool_down("m", "a", 1000)
    assert.same({ 0, 0.0 }, { pool:drain(), llmpool.now() })
  end))

  it("that can never end is a deadlock", function()
    local pool = surface.pool()
    do
      local held <close> = pool:acquire "m" -- luacheck: ignore
      assert.equal("deadlock", raised(pool.drain, pool).kind)
    end
    ledger.settled(pool)
  end)

  -- A rest that nobody in line waits for brings nothing back.
  it("that can never end is one at once, though a client rests", function()
    local time
    assert.equal("deadlock", raised(llmpool.simulate, {}, function()
      local pool = surface.pool()
      pool:add_client("m", { id = "b", generate = print })
      local held <close> = pool:acquire "m" -- luacheck: ignore
      pool:cool_down("m", held.id == "a" and "b" or "a", 1000)
      local at <close> = setmetatable({}, { -- luacheck: ignore
        __close = function() time = llmpool.now() end,
      })
      pool:drain()
    end).kind)
    assert.equal(0.0, time)
    local pool = surface.pool()
    pool:add_client("m", { id = "b", generate = print })
    local began = llmpool.now()
    do
      local held <close> = pool:acquire "m" -- luacheck: ignore
      pool:cool_down("m", held.id == "a" and "b" or "a", 2)
      assert.equal("deadlock", raised(pool.drain, pool).kind)
    end
    assert.is_true(llmpool.now() - began < 1)
    ledger.settled(pool)
  end)

  it("waits for a rest that somebody waits for", simulated(function()
    local pool = surface.pool()
    pool:cool_down("m", "a", 1000)
    local order = {}
    local waiter = llmpool.spawn(function()
      pool:get_client("m", function() llmpool.sleep(1) end)
      order[#order + 1] = "served"
    end)
    local other = llmpool.new()
    other:register_model("n", { { id = "x", generate = print } })
    local held = other:acquire "n"
    llmpool.spawn(function()
      waiter:join()
      held:release()
    end)
    assert.equal(0, other:drain())
    assert.same({ "served", 1001.0 }, { order[1], llmpool.now() })
    ledger.settled(pool)
    ledger.settled(other)
  end))

  it("may be waited for by several, and cancelled", simulated(function()
    local pool = surface.pool()
    local held = pool:acquire "m"
    local one = llmpool.spawn(pool.drain, pool)
    local two = llmpool.spawn(pool.drain, pool)
    llmpool.sleep(0)
    one:cancel()
    assert.is_true(llmpool.is_cancelled(select(2, one:pjoin())))
    held:release()
    assert.equal(0, two:join())
    ledger.settled(pool)
  end))
end)
