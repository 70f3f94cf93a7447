-- The policies that choose: every one against exact expectations in virtual
-- time: order, shares, waits.

local llmpool = require "llmpool"
local routed = require "spec.support.routed"
local scripted = require "spec.support.scripted"

local policy, message, simulate, order, count, near, one_each =
  routed.policy, routed.message, routed.simulate, routed.order, routed.count,
  routed.near, routed.one_each

describe("fallback", function()
  it("takes the first that answers", function()
    local models, a = one_each()
    simulate(models, policy "fallback" { "m", "n" }, function(router)
      assert.equal("a a a", order(router, 3))
      a.steps = { { fail = "server" } }
      assert.equal("b b", order(router, 2))
    end)
  end)

  it("waits no longer than its bound in line", function()
    local models = one_each { after = 10 }
    simulate(models, policy "fallback" { { model = "m", wait = 2 }, "n" },
      function(router)
      local ends = {}
      llmpool.scope(function(scope)
        for i = 1, 2 do
          scope:spawn(function()
            router:generate "q"
            ends[i] = llmpool.now()
          end)
        end
      end)
      assert.same({ 10.0, 12.0 }, ends)
    end)
  end)

  it("of no models are all, in order of registration", function()
    simulate(one_each(), policy "fallback" {}, function(router)
      assert.equal("plan (m, then n)", tostring(router:explain("q").plan))
    end)
  end)
end)

describe("weighted", function()
  it("is exact and smooth", function()
    simulate(one_each(), policy "weighted" { m = 3, n = 1 }, function(router)
      assert.equal("a a b a a a b a", order(router, 8))
      local counts = count(order(router, 992))
      assert.same({ a = 744, b = 248 }, counts)
    end)
  end)

  it("gives nothing to a weight of 0", function()
    simulate(one_each(), policy "weighted" { m = 0, n = 1 }, function(router)
      assert.equal("b b b", order(router, 3))
    end)
  end)

  it("falls back to the others, unless told not to", function()
    local models, a = one_each()
    a.steps = { { fail = "server" } }
    simulate(models, policy "weighted" { m = 1, n = 1 }, function(router)
      assert.equal("b b", order(router, 2))
    end)
    simulate(models, policy "weighted" { m = 1, n = 0, fallback = false },
      function(router)
      assert.equal("server", select(2, message(router.generate, router,
        "q")).kind)
    end)
  end)

  it("refuses weights that are none", function()
    local weighted = policy "weighted"
    for _, case in ipairs {
      { {}, "needs weights by model" }, { { "m" }, "needs weights by model" },
      { { m = -1 }, "weight of 'm'.*got %-1$" }, { { m = "x" }, 'got "x"' },
      { { m = 0 }, "a weight greater than 0" },
    } do
      assert.matches(case[2], message(weighted, case[1]))
    end
  end)
end)

describe("round_robin", function()
  it("takes each model in its turn", function()
    simulate(one_each(), policy "round_robin" { "m", "n" }, function(router)
      assert.equal("a b a b", order(router, 4))
    end)
    simulate(one_each(), "round_robin", function(router)
      assert.equal("a b a b", order(router, 4))
    end)
  end)

  it("takes each client of one model in its turn", function()
    simulate({ { "m", scripted("a", {}), scripted("b", {}),
                 scripted("c", {}) } }, policy "round_robin" { "m" },
      function(router, pool)
      assert.equal("a b c a", order(router, 4))
      pool:add_client("m", scripted("d", {}))
      assert.equal("b c d a", order(router, 4))
    end)
  end)
end)

describe("least_busy", function()
  it("takes the client with the fewest leases, ties in turn", function()
    local clients = {}
    for i = 1, 4 do clients[i] = scripted("c" .. i, { after = 1 }) end
    simulate({ { "m", clients[1], clients[2] }, { "n", clients[3],
      clients[4] } }, policy "least_busy" { "m", "n" }, function(router)
      local counts = count(order(router, 400))
      for i = 1, 4 do near(100, counts["c" .. i]) end
    end)
  end)

  it("spreads a burst over all that are free", function()
    local a, b, c = scripted("a", { after = 1 }), scripted("b", { after = 1 }),
      scripted("c", { after = 1 })
    simulate({ { "m", a, b, c } }, "least_busy", function(router)
      llmpool.scope(function(scope)
        for _ = 1, 9 do scope:spawn(router.generate, router, "q") end
      end)
      assert.same({ 3, 3, 3, 3.0 },
        { #a.calls, #b.calls, #c.calls, llmpool.now() })
    end)
  end)

  it("counts leases against slots", function()
    local big, small = scripted("big", { after = 1 }),
      scripted("small", { after = 1 })
    big.slots, small.slots = 3, 1
    simulate({ { "m", big, small } }, "least_busy", function(router)
      llmpool.scope(function(scope)
        for _ = 1, 4 do scope:spawn(router.generate, router, "q") end
      end)
      assert.same({ 3, 1, 1.0 }, { #big.calls, #small.calls, llmpool.now() })
    end)
  end)

  it("waits for whoever comes free first when all are busy", function()
    local a, b = scripted("a", { after = 10 }), scripted("b", { after = 3 })
    simulate({ { "m", a }, { "n", b } }, policy "least_busy" { "m", "n" },
      function(router)
      llmpool.scope(function(scope)
        for _ = 1, 3 do scope:spawn(router.generate, router, "q") end
      end)
      assert.same({ 1, 2, 10.0 }, { #a.calls, #b.calls, llmpool.now() })
    end)
  end)
end)

describe("latency", function()
  it("prefers the client that was quicker lately", function()
    local slow, quick = scripted("s", { after = 2 }),
      scripted("q", { after = 0.2 })
    simulate({ { "m", slow, quick } }, policy "latency" { "m" },
      function(router)
      order(router, 2) -- each is known now
      assert.equal("q q q q q q", order(router, 6))
      quick.steps = { { after = 9 } }
      order(router, 1) -- bad news are believed at once
      assert.equal("s s s", order(router, 3))
    end)
  end)

  it("gives another chance, in time, to who was slow once", function()
    local clients = { "m" }
    for i = 1, 4 do clients[i + 1] = scripted("c" .. i, { after = 0.5 }) end
    simulate({ clients }, policy "latency" { "m" }, function(router)
      clients[2].steps = { { after = 5 }, { after = 0.5 } }
      local first, later = {}, {}
      for i = 1, 1200 do
        local list = i <= 60 and first or later
        list[#list + 1] = order(router, 1)
        llmpool.sleep(1)
      end
      local counts = count(table.concat(first, " "))
      assert.is_true(counts.c1 == 1, counts.c1) -- not within a minute or two
      counts = count(table.concat(later, " "))
      assert.is_true(counts.c1 > 100, counts.c1) -- then it is one of four
    end)
  end)

  it("draws two of many: the slowest of ten gets nearly nothing", function()
    local clients = { "m" }
    for i = 1, 10 do
      clients[i + 1] = scripted("c" .. i, { after = i / 10 })
    end
    simulate({ clients }, policy "latency" { "m" }, function(router)
      local counts = count(order(router, 1000))
      -- of two drawn by lot the quickest wins all its draws, a fifth
      near(200, counts.c1, 0.2)
      -- what is known of it fades, so that it is asked now and then
      assert.is_true((counts.c10 or 0) <= 20, counts.c10)
    end)
  end)

  it("waits for the pool when nobody is free", function()
    simulate({ { "m", scripted("a", { after = 1 }) } }, policy "latency" {},
      function(router)
      llmpool.gather(function() router:generate "q" end,
        function() router:generate "q" end)
      assert.equal(2, llmpool.now())
    end)
  end)
end)

describe("cheapest", function()
  local function priced(id, input, output, fields)
    local client = scripted(id, fields or {})
    client.price = { input = input, output = output }
    return client
  end

  it("takes the lowest price for this request", function()
    simulate({ { "m", priced("long", 1, 10) }, { "n", priced("short", 5, 1) } },
      policy "cheapest" { "m", "n" }, function(router)
      local function who(prompt, answer)
        local _, response = router:generate({ messages = {}, max_tokens =
          answer }, { tokens = prompt })
        return response.client
      end
      assert.equal("long", who(10000, 10))
      assert.equal("short", who(10, 10000))
    end)
  end)

  it("that answers in time, by its 95th percentile", function()
    local cheap = priced("cheap", 1, 1, { after = 3 })
    local dear = priced("dear", 9, 9, { after = 1 })
    local models = { { "m", cheap }, { "n", dear } }
    simulate(models, policy "cheapest" { "m", "n", within = 2 },
      function(router)
      assert.equal("cheap dear dear", order(router, 3))
    end)
    simulate(models, policy "cheapest" { "m", "n", within = 5 },
      function(router)
      assert.equal("cheap cheap cheap", order(router, 3))
    end)
    simulate(models, policy "cheapest" { "m", "n", within = 0.5 },
      function(router)
      order(router, 2)
      assert.equal("dear dear", order(router, 2)) -- the quickest at least
    end)
  end)

  it("takes a dearer one that is free before it waits", function()
    local cheap = priced("cheap", 1, 1, { after = 3 })
    local dear = priced("dear", 9, 9, { after = 3 })
    simulate({ { "m", cheap }, { "n", dear } }, policy "cheapest" { "m", "n" },
      function(router)
      llmpool.gather(function() router:generate "q" end,
        function() router:generate "q" end)
      assert.same({ 1, 1, 3.0 }, { #cheap.calls, #dear.calls, llmpool.now() })
    end)
  end)
end)

describe("sticky", function()
  local function eight()
    local clients = { "m" }
    for i = 1, 8 do clients[i + 1] = scripted("c" .. i, {}) end
    return clients
  end

  local function homes(router, n)
    local list = {}
    for i = 1, n do
      local _, response = router:generate("q", { key = "user" .. i })
      list[i] = response.client
    end
    return list
  end

  it("sends a key where it went before", function()
    simulate({ eight() }, policy "sticky" { "m" }, function(router)
      assert.same(homes(router, 200), homes(router, 200))
    end)
  end)

  it("uses all clients, nearly alike", function()
    simulate({ eight() }, policy "sticky" { "m" }, function(router)
      local counts = count(table.concat(homes(router, 4000), " "))
      for i = 1, 8 do near(500, counts["c" .. i], 0.35) end
    end)
  end)

  it("moves only the keys of a client that goes, or of a new one", function()
    simulate({ eight() }, policy "sticky" { "m" }, function(router, pool)
      local before = homes(router, 500)
      pool:retire_client("m", "c3")
      for i, home in ipairs(homes(router, 500)) do
        if before[i] ~= "c3" then assert.equal(before[i], home) end
        assert.not_equal("c3", home)
      end
      before = homes(router, 500)
      pool:add_client("m", scripted("new", {}))
      local moved = 0
      for i, home in ipairs(homes(router, 500)) do
        if home ~= before[i] then
          assert.equal("new", home)
          moved = moved + 1
        end
      end
      near(500 / 8, moved, 0.5)
    end)
  end)

  it("goes elsewhere when home is busy, and comes back", function()
    simulate({ eight() }, policy "sticky" { "m" }, function(router, pool)
      local home = homes(router, 1)[1]
      local held = pool:acquire("m", { prefer = home })
      local other = homes(router, 1)[1]
      assert.not_equal(home, other)
      assert.equal(other, homes(router, 1)[1])
      held:release()
      assert.equal(home, homes(router, 1)[1])
    end)
  end)

  it("takes the key from a function or the request's user", function()
    simulate({ eight() }, policy "sticky" { "m", key = function(request)
      return request.session
    end }, function(router)
      local function who(request)
        return select(2, router:generate(request)).client
      end
      local first = who { messages = {}, session = 1 }
      assert.equal(first, who { messages = {}, session = 1 })
    end)
  end)
end)
