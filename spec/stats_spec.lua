-- Statistics: every number is counted where it happens, in C, and read as a
-- plain table.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local simulated = surface.simulated

describe("pool:stats", function()
  it("of a new model is zero, with its clients idle", simulated(function()
    local pool = surface.pool({}, "a", "b")
    local stats = pool:stats "m"
    for _, name in ipairs { "acquired", "returned", "timeouts", "cancelled",
      "queue_full", "rested", "refused_closed", "created", "create_failed",
      "checked", "check_failed", "replaced", "retired", "expired", "leaked",
      "double_returns", "lent", "resting", "vacant", "waiting",
      "max_waiting_seen" } do
      assert.same({ name, 0, "integer" },
        { name, stats[name], math.type(stats[name]) })
    end
    assert.same({ 2, 2, false }, { stats.size, stats.idle, stats.paused })
    assert.same({ 0, 0 }, { stats.wait.count, stats.hold.count })
    assert.same({ "a", "b" }, { stats.clients[1].id, stats.clients[2].id })
    assert.same({ "idle", "idle" },
      { stats.clients[1].state, stats.clients[2].state })
    assert.same({ "m" }, { next(pool:stats().models) and "m" })
    assert.same(pool:stats "m", pool:stats().models.m)
  end))

  it("counts leases, in the model and in the client", simulated(function()
    local pool = surface.pool({}, "a", "b")
    pool:get_client("m", function()
      local stats = pool:stats "m"
      assert.same({ 1, 0, 1, 1 },
        { stats.acquired, stats.returned, stats.lent, stats.idle })
      assert.equal("lent", stats.clients[1].state)
      llmpool.sleep(2)
      assert.equal(2, pool:stats("m").clients[1].held)
    end)
    local stats = pool:stats "m"
    assert.same({ 1, 1, 0, 2 },
      { stats.acquired, stats.returned, stats.lent, stats.idle })
    assert.same({ 1, 1, 0 }, { stats.clients[1].acquired,
      stats.clients[1].returned, stats.clients[2].acquired })
    ledger.settled(pool)
  end))

  it("has waits and holds as histograms, in seconds", simulated(function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a", latency = 2 } })
    local calls = {}
    for i = 1, 10 do
      calls[i] = function() pool:generate("m", "q") end
    end
    llmpool.gather(table.unpack(calls))
    local stats = pool:stats "m"
    local function near(expected, got)
      assert.is_true(math.abs(got - expected) <= expected * 0.07,
        ("%g is not near %g"):format(got, expected))
    end
    assert.same({ 10, 10 }, { stats.wait.count, stats.hold.count })
    near(2, stats.hold.p50)
    near(2, stats.hold.p99)
    assert.equal(2, stats.hold.max)
    assert.equal(2, stats.hold.mean)
    assert.equal(18, stats.wait.max)
    assert.equal(9, stats.wait.mean)
    near(8, stats.wait.p50)
    near(18, stats.wait.p95)
    assert.equal(9, stats.max_waiting_seen)
    assert.equal(10, stats.clients[1].hold.count)
    ledger.settled(pool)
  end))

  it("counts what did not come to a lease", simulated(function()
    local pool = surface.pool { max_waiting = 1 }
    local held = pool:acquire "m"
    pool:acquire("m", { timeout = 0 })
    pool:acquire("m", { timeout = 1 })
    local waiter = llmpool.spawn(pool.acquire, pool, "m")
    llmpool.sleep(3)
    local now = pool:stats "m"
    assert.same({ 1, 3.0 }, { now.waiting, now.max_wait })
    pool:acquire "m"
    waiter:cancel()
    waiter:pjoin()
    held:cool_down(10)
    held:release()
    pool:acquire("m", { timeout = 1 })
    now = pool:stats "m"
    assert.same({ 1, 14.0 }, { now.resting, now.earliest_rest })
    assert.same({ "resting", 14.0 },
      { now.clients[1].state, now.clients[1].rest_until })
    pool:close()
    local stats = pool:stats "m"
    assert.same({ 2, 1, 1, 1, 1, 1 }, { stats.timeouts, stats.queue_full,
      stats.cancelled, stats.rested, stats.acquired, stats.returned })
    ledger.settled(pool)
  end))

  it("is read while others work, and is theirs to change", simulated(function()
    local pool = surface.pool()
    local stats = pool:stats "m"
    stats.acquired = 99
    stats.clients[1].id = "changed"
    assert.equal(0, pool:stats("m").acquired)
    assert.equal("a", pool:stats("m").clients[1].id)
  end))
end)

describe("pool:clients", function()
  it("says what each was registered with", simulated(function()
    local pool = llmpool.new()
    pool:register_model("m", {
      llmpool.simulated { id = "a", weight = 2, tags = { "eu" },
                          price = { input = 1, output = 2 } },
      surface.plain "b",
    })
    local clients = pool:clients "m"
    assert.equal(2, #clients)
    assert.same({ "a", 2, "simulated", 1, "eu", 2 }, { clients[1].id,
      clients[1].weight, clients[1].provider, clients[1].slots,
      clients[1].tags[1], clients[1].price.output })
    assert.same({ "b", 1, 1, 0 }, { clients[2].id, clients[2].weight,
      clients[2].slots, #clients[2].tags })
    assert.equal("unknown_model",
      surface.raised(pool.clients, pool, "n").kind)
  end))
end)

describe("what a script holds of errors", function()
  it("is an object with kind and message", function()
    local err = llmpool.error("mine", "the sentence")
    assert.same({ "mine", "the sentence", "the sentence" },
      { err.kind, err.message, tostring(err) })
    assert.equal("table", type(err))
    err.message = nil
    assert.equal("nil", tostring(err))
  end)

  it("has a version and no globals", function()
    assert.matches("^llmpool %d+%.%d+%.%d+$", llmpool._VERSION)
    assert.is_nil(rawget(_G, "llmpool"))
    assert.equal(llmpool, require "llmpool")
  end)
end)
