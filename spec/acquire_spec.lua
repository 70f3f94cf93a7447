-- acquire: the same lease as a variable; nil and an error object where there
-- is no client, raised only what is misuse, cancellation or a deadlock.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"
local warned = require "spec.support.warned"

local message, raised, simulated =
  surface.message, surface.raised, surface.simulated

describe("acquire", function()
  it("ends with its variable", function()
    local pool = surface.pool()
    do
      local client <close>, err = pool:acquire "m"
      assert.is_nil(err)
      assert.equal("client (m/a, lent)", tostring(client))
      assert.equal("aq", client:generate "q")
    end
    ledger.settled(pool)
  end)

  it("ends with its variable when the block raises", function()
    local pool = surface.pool()
    assert.equal("mine", message(function()
      local client <close> = pool:acquire "m" -- luacheck: ignore
      error("mine", 0)
    end))
    ledger.settled(pool)
  end)

  it("ends by release, after which the variable's end is silent", function()
    local pool = surface.pool()
    do
      local client <close> = pool:acquire "m"
      client:release()
      ledger.settled(pool)
      assert.matches("was released already", message(client.release, client))
    end
    assert.equal(1, pool:stats("m").double_returns)
    assert.equal(1, pool:stats("m").returned)
    ledger.settled(pool)
  end)

  it("forgotten, ends by the collector, and is told with its place",
     function()
    local pool = surface.pool()
    local line = debug.getinfo(1, "l").currentline + 1
    do local _ = pool:acquire "m" end
    collectgarbage()
    collectgarbage()
    warned.of('client a of "m" was never returned .* taken at ' ..
      "spec/acquire_spec.lua:" .. line)
    assert.equal(1, pool:stats("m").leaked)
    assert.equal(1, pool:stats("m").clients[1].leaked)
    ledger.settled(pool)
  end)

  -- A name that is kept says nothing of the next lease, and does not keep it.
  it("forgotten, ends by the collector, whatever is kept of older ones",
     function()
    local pool = surface.pool()
    local kept = {}
    for round = 1, 3 do
      do
        local client <close> = pool:acquire "m"
        kept[round] = client
      end
      do local _ = pool:acquire "m" end
      collectgarbage()
      collectgarbage()
      warned.of 'client a of "m" was never returned'
      assert.equal(round, pool:stats("m").leaked)
      ledger.settled(pool)
    end
    assert.equal("client (returned)", tostring(kept[1]))
  end)

  it("forgotten by the hundred, each ends by the collector", function()
    local clients = {}
    for i = 1, 150 do clients[i] = { id = "key-" .. i, generate = print } end
    local pool = llmpool.new()
    pool:register_model("m", clients)
    for round = 1, 3 do
      local some = {}
      for i = 1, 150 do some[i] = pool:acquire "m" end
      for i = 1, 75 do some[i]:release() end
      some = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      warned.take()
      assert.equal(75 * round, pool:stats("m").leaked)
      ledger.settled(pool)
    end
  end)

  -- Of the same length, on the same line: only the names differ.
  it("forgotten, is told with the place of its own chunk", function()
    local pool = surface.pool()
    local deep = ("d/"):rep(40)
    for _, name in ipairs { "@one.lua", "@two.lua", "=one.lua", "=(one)ua",
                            "@/a/" .. deep .. "x.lua",
                            "@/b/" .. deep .. "x.lua",
                            "@/b/" .. deep .. "y.lua" } do
      local take = assert(load("local pool = ... do local _ = " ..
        "pool:acquire 'm' end", name))
      for _ = 1, 2 do
        take(pool)
        collectgarbage()
        collectgarbage()
        local short = debug.getinfo(take, "S").short_src
        warned.of("taken at " .. short:gsub("%p", "%%%0") .. ":1")
      end
    end
    ledger.settled(pool)
  end)

  it("without a client is nil and an error, which is a sentence", function()
    local pool = surface.pool()
    local held <close> = pool:acquire "m" -- luacheck: ignore
    local client <close>, err = pool:acquire("m", { timeout = 0 })
    assert.is_nil(client)
    assert.equal("timeout", err.kind)
    assert.equal('no client of "m" is free now (0 waiting, 1 lent, 0 ' ..
      "resting); give a timeout to wait", tostring(err))
    assert.equal(err.message, tostring(err))
    ledger.closed(pool)
  end)

  it("is nil and an error for a full line and for rest", simulated(function()
    local pool = surface.pool { max_waiting = 0 }
    local held = pool:acquire "m"
    local client, err = pool:acquire "m"
    assert.is_nil(client)
    assert.equal("queue_full", err.kind)
    held:cool_down(60)
    held:release()
    client, err = pool:acquire("m", { timeout = 10 })
    assert.is_nil(client)
    assert.equal("resting", err.kind)
    assert.equal(60, err.retry_at)
    assert.equal(0, llmpool.now()) -- it is not waited for in vain
    assert.matches('every client of "m" rests; the earliest is back in 60 s',
      tostring(err))
    client, err = pool:acquire("m", { timeout = 0 })
    assert.same({ nil, "resting" }, { client, err.kind })
    ledger.settled(pool)
  end))

  it("waits for rest that ends before its time", simulated(function()
    local pool = surface.pool()
    pool:cool_down("m", "a", 5)
    local client <close> = pool:acquire("m", { timeout = 6 })
    assert.equal("a", client.id)
    assert.equal(5, llmpool.now())
  end))

  it("raises a deadlock, an unknown model and a cancellation", function()
    local pool = surface.pool()
    do
      local held <close> = pool:acquire "m" -- luacheck: ignore
      assert.equal("deadlock", raised(pool.acquire, pool, "m").kind)
      local task = llmpool.spawn(pool.acquire, pool, "m")
      llmpool.sleep(0)
      assert.equal(1, pool:stats("m").waiting)
      task:cancel()
      local _, err = task:pjoin()
      assert.is_true(llmpool.is_cancelled(err))
      assert.equal(2, pool:stats("m").cancelled) -- the doomed one, too
      ledger.closed(pool)
    end
    assert.equal("unknown_model", raised(pool.acquire, pool, "n").kind)
    ledger.settled(pool)
  end)

  it("keeps a grant that a cancellation met, for the next in line",
     simulated(function()
    local pool = surface.pool()
    local held = pool:acquire "m"
    local first = llmpool.spawn(function()
      local client <close> = pool:acquire "m" -- luacheck: ignore
      return "served"
    end)
    local second = llmpool.spawn(pool.generate, pool, "m", "q")
    llmpool.sleep(0)
    held:release() -- granted to the first, which has not run since
    first:cancel()
    assert.is_false((first:pjoin()))
    assert.equal("aq", second:join())
    ledger.settled(pool)
  end))

  it("may cross from one task to another", simulated(function()
    local pool = surface.pool()
    local client = llmpool.spawn(pool.acquire, pool, "m"):join()
    assert.equal("aq", client:generate "q")
    llmpool.spawn(function() client:release() end):join()
    ledger.settled(pool)
  end))

  it("of several models takes the first that is free", simulated(function()
    local pool = surface.pool()
    pool:register_model("n", { surface.plain "b" })
    local one <close> = pool:acquire { "m", "n" }
    local two = pool:acquire { "m", "n" }
    assert.same({ "m", "n" }, { one.model, two.model })
    local client, err = pool:acquire({ "m", "n" }, { timeout = 1 })
    assert.same({ nil, "timeout", 1.0 }, { client, err.kind, llmpool.now() })
    local waiting = llmpool.spawn(pool.acquire, pool, { "m", "n" })
    llmpool.sleep(0)
    two:release()
    local three <close> = waiting:join()
    assert.equal("n", three.model)
    assert.equal(0, pool:stats("m").waiting)
    ledger.closed(pool)
  end))

  it("answers closed when all its models go", simulated(function()
    local pool = surface.pool()
    local held = pool:acquire "m"
    local waiting = llmpool.spawn(pool.acquire, pool, { "m" })
    llmpool.sleep(0)
    pool:unregister_model "m"
    local client, err = waiting:join()
    assert.same({ nil, "closed" }, { client, err.kind })
    held:release()
    ledger.settled(pool)
  end))
end)
