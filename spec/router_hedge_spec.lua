-- Hedges: when the second lane starts, who wins, that the loser is cancelled at
-- once, what becomes of failures, and that hedges stay within their budget.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local routed = require "spec.support.routed"
local scripted = require "spec.support.scripted"

local simulate = routed.each

local function drain(stream)
  local texts = {}
  for piece in stream do texts[#texts + 1] = piece.text end
  return table.concat(texts)
end

local function hedged(after)
  return { { model = "a", hedge_after = after or 2 }, "b" }
end

describe("a hedge", function()
  it("is not sent if the answer comes in time", function()
    local a, b = scripted("a", { after = 1 }), scripted("b", {})
    simulate({ a, b }, { policy = hedged() }, function(router)
      assert.equal("a: q", (router:generate "q"))
      assert.same({ 1.0, 0 }, { llmpool.now(), #b.calls })
      llmpool.sleep(60)
      assert.equal(0, #b.calls)
      assert.equal(0, router.hedge_budget.spent)
    end)
  end)

  it("wins if it is first; the other is cancelled at that moment", function()
    local a, b = scripted("a", { after = 60 }), scripted("b", { after = 1 })
    simulate({ a, b }, { policy = hedged() }, function(router, pool)
      assert.equal("b: q", (router:generate "q"))
      assert.equal(3, llmpool.now())
      assert.same({ "cancelled", 3.0, 2.0 },
        { a.calls[1].state, a.calls[1].till, b.calls[1].at })
      assert.equal(0, pool:stats("a").lent)
      assert.equal(1, router.hedge_budget.spent)
    end)
  end)

  it("loses if it is second", function()
    local a, b = scripted("a", { after = 3 }), scripted("b", { after = 60 })
    simulate({ a, b }, { policy = hedged() }, function(router)
      assert.equal("a: q", (router:generate "q"))
      assert.same({ 3.0, "cancelled", 3.0 },
        { llmpool.now(), b.calls[1].state, b.calls[1].till })
    end)
  end)

  it("of two that answer at one moment returns one, and gives both back",
     function()
    local a, b = scripted("a", { after = 4 }), scripted("b", { after = 2 })
    for _, method in ipairs { "generate", "stream" } do
      simulate({ a, b }, { policy = hedged() }, function(router)
        local answer = router[method](router, "q")
        if method == "stream" then drain(answer) end
        assert.equal(4, llmpool.now())
      end)
    end
  end)

  it("starts at once when the first has failed before it", function()
    local a = scripted("a", { after = 1, fail = "server" })
    local b = scripted("b", {})
    simulate({ a, b }, { policy = hedged() }, function(router)
      assert.equal("b: q", (router:generate "q"))
      assert.same({ 1.0, 0 }, { llmpool.now(), router.hedge_budget.spent })
    end)
  end)

  it("goes on when the first fails beside it, and the other way round",
     function()
    for _, times in ipairs { { 3, 9, "b" }, { 9, 3, "a" } } do
      local a = scripted("a", { after = times[1],
        fail = times[3] == "b" and "server" or nil })
      local b = scripted("b", { after = times[2],
        fail = times[3] == "a" and "server" or nil })
      simulate({ a, b }, { policy = hedged() }, function(router)
        assert.equal(times[3] .. ": q", (router:generate "q"))
      end)
    end
  end)

  it("that fails as well is told with the first cause", function()
    local a = scripted("a", { after = 5, fail = "server" })
    local b = scripted("b", { after = 1, fail = "overloaded" })
    simulate({ a, b }, { policy = hedged() }, function(router)
      local ok, err = pcall(router.generate, router, "q")
      assert.is_false(ok)
      -- what failed first: the hedge did, at 3
      assert.same({ "overloaded", 2, "server" },
        { err.kind, #err.attempts, err.attempts[2].kind })
    end)
  end)

  it("does not wait for its time when the caller's mistake ended it",
     function()
    simulate({ scripted("a", { after = 1, fail = "bad_request" }),
               scripted("b", {}) }, { policy = hedged(60) }, function(router)
      local _, err = pcall(router.generate, router, "q")
      assert.same({ "bad_request", 1.0 }, { err.kind, llmpool.now() })
    end)
  end)

  it("with nothing else in the plan asks another client of the model",
     function()
    llmpool.simulate({}, function()
      local a, b = scripted("a", { after = 60 }), scripted("b", { after = 1 })
      local pool = llmpool.new()
      pool:register_model("m", { a, b }, { order = "fifo" })
      local router = llmpool.router { pool = pool,
        policy = { model = "m", hedge_after = 2 } }
      assert.equal("b: q", (router:generate "q"))
      assert.equal(3, llmpool.now())
      ledger.settled(pool)
    end)
    simulate({ scripted("a", { after = 60 }) },
      { policy = { model = "a", hedge_after = 2 } }, function(router)
      assert.equal("a: q", (router:generate "q")) -- there is no other
      assert.same({ 60.0, 0 }, { llmpool.now(), router.hedge_budget.spent })
    end)
  end)

  it("of a client's namesake in another model asks that one", function()
    llmpool.simulate({}, function()
      local slow, quick = scripted("key", { after = 60 }),
        scripted("key", { after = 1 })
      local pool = llmpool.new()
      pool:register_model("m", { slow })
      pool:register_model("n", { quick })
      local router = llmpool.router { pool = pool, policy = {
        { model = { "m", "n" }, hedge_after = 2 } } }
      router:generate "q"
      assert.same({ 3.0, 1 }, { llmpool.now(), #quick.calls })
      ledger.settled(pool)
    end)
  end)

  it("of a stream: who commits first is read, the other is closed", function()
    local a = scripted("a", { text = "1 2 3", after = 1, every = 9 })
    local b = scripted("b", { text = "x y z", after = 1 })
    simulate({ a, b }, { policy = { { model = "a", hedge_after = 2,
      commit = 2 }, "b" } }, function(router, pool)
      assert.equal("x y z", drain(router:stream "q"))
      assert.equal("closed", a.calls[1].state)
      assert.equal(0, pool:stats("a").lent)
    end)
  end)

  it("gives everything back when the caller gives up", function()
    local a, b = scripted("a", { after = 60 }), scripted("b", { after = 60 })
    simulate({ a, b }, { policy = hedged() }, function(router)
      local task = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(5)
      task:cancel()
      local ok, err = task:pjoin()
      assert.is_false(ok)
      assert.is_true(llmpool.is_cancelled(err))
      assert.same({ "cancelled", "cancelled", 5.0 },
        { a.calls[1].state, b.calls[1].state, b.calls[1].till })
    end)
  end)

  it("stays within its budget", function()
    local a, b = scripted("a", { after = 10 }), scripted("b", { after = 1 })
    simulate({ a, b }, { policy = hedged(),
      hedge_budget = { ratio = 0.05, burst = 3 } }, function(router)
      local refused = 0
      router:listen(function(event)
        if event.event == "budget" then refused = refused + 1 end
      end)
      for _ = 1, 1000 do router:generate "q" end
      assert.is_true(#b.calls <= 53 and #b.calls >= 52, #b.calls)
      assert.equal(1000 - #b.calls, refused)
    end)
  end)

  it("as a policy has a budget of its own", function()
    local hedge = require "llmpool.policy.hedge"
    local a, b = scripted("a", { after = 10 }), scripted("b", { after = 1 })
    simulate({ a, b }, { policy = hedge { { "a", "b" }, after = 2,
      budget = { ratio = 0, burst = 4 } } }, function(router)
      for _ = 1, 20 do router:generate "q" end
      assert.equal(4, #b.calls)
      assert.equal(0, router.hedge_budget.spent)
    end)
  end)

  it("after p95 waits as long as 19 of 20 calls took", function()
    local hedge = require "llmpool.policy.hedge"
    local steps = {}
    for i = 1, 20 do steps[i] = { after = i == 20 and 50 or 2 } end
    steps[21] = { after = 60 }
    local a = scripted("a", table.unpack(steps))
    local b = scripted("b", { after = 1 })
    simulate({ a, b }, { policy = hedge { { "a", "b" } } }, function(router)
      for _ = 1, 20 do router:generate "q" end
      local before = llmpool.now()
      local hedges = #b.calls
      router:generate "q"
      assert.equal(hedges + 1, #b.calls)
      -- the slow one lost to its hedge, so it is no call that took 50 seconds
      assert.equal(2, b.calls[#b.calls].at - before)
    end)
  end)
end)
