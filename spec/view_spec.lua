-- What a policy sees: the numbers of one moment, field by field, and what it
-- may not do: run for ever, hold much, wait.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local native = require "llmpool.native"
local surface = require "spec.support.surface"

local message = surface.message

local function plain(id, fields)
  local client = { id = id, generate = function() return id end }
  for key, value in pairs(fields or {}) do client[key] = value end
  return client
end

local function pool_of(...)
  local pool = llmpool.new()
  pool:register_model("m", { ... })
  return pool
end

-- As a script does that calls something of its own with a lease.
local function report(pool, id, latency, failed)
  local client <close> = assert(pool:acquire("m", { prefer = id }))
  assert.equal(id, client.id)
  client:report { kind = failed and "none" or "success", error = failed,
                  latency = latency }
end

describe("a view", function()
  it("shows a model's numbers, of the moment that an epoch began", function()
    local pool = pool_of(plain "a", plain "b", plain "c")
    local view = native.view(pool)
    local m = view.m
    assert.equal(m, view:model "m")
    assert.same({ 3, 0, 0, 0, 3, 3 },
      { m.free, m.lent, m.waiting, m.resting, m.size, m.slots })
    assert.equal("m", m.name)
    assert.same({ false, math.huge }, { m.paused, m.limit })
    local held <close> = pool:acquire "m" -- luacheck: ignore
    assert.equal(3, m.free)
    native.view_begin(view)
    assert.same({ 2, 1 }, { m.free, m.lent })
    pool:limit("m", 2)
    native.view_begin(view)
    assert.same({ 1, 2 }, { m.free, m.limit })
    assert.is_nil(m.nonsense)
  end)

  it("shows each client, in order of registration", function()
    local pool = pool_of(plain "a", plain "b")
    local view = native.view(pool)
    local clients = view.m.clients
    assert.equal(2, #clients)
    assert.same({ "a", "b" }, { clients[1].id, clients[2].id })
    local held <close> = pool:acquire("m", { prefer = "b" }) -- luacheck: ignore
    native.view_begin(view)
    local b = view.m:client "b"
    assert.equal(clients[2], b)
    assert.same({ "lent", 0, 1, 1, "m" }, { b.state, b.free, b.lent, b.slots,
                                            b.model })
    assert.same({ "free", 1, 0 }, { clients[1].state, clients[1].free,
                                    clients[1].lent })
    assert.is_nil(view.m:client "x")
    assert.equal("client of a view (m/b, lent)", tostring(b))
    assert.matches("model of a view %(m, 1 free, 1 lent", tostring(view.m))
  end)

  it("shows who rests, and until when", function()
    llmpool.simulate({}, function()
      local pool = pool_of(plain "a", plain "b")
      pool:cool_down("m", "a", 5)
      local view = native.view(pool)
      local a = view.m.clients[1]
      assert.same({ "resting", 0, 1, 5.0 },
        { a.state, a.free, a.resting, a.rest_until })
      assert.equal(1, view.m.resting)
      llmpool.sleep(6)
      native.view_begin(view)
      assert.same({ "free", 0 }, { a.state, a.rest_until })
    end)
  end)

  it("shows what a client was registered with", function()
    local pool = pool_of(plain("a", { weight = 3, tags = { "eu" },
      price = { input = 2, output = 6 } }), plain "b")
    local a, b = table.unpack(native.view(pool).m.clients)
    assert.same({ 3, 2, 6, 4 },
      { a.weight, a.input_price, a.output_price, a.cost })
    assert.same({ "eu" }, a.tags)
    assert.same({ input = 2, output = 6 }, a.price)
    assert.same({ 1, 0, 0 }, { b.weight, b.cost, b.input_price })
    assert.is_nil(b.price)
  end)

  it("follows clients that come and go, with what is known of them", function()
    local pool = pool_of(plain "a", plain "b", plain "c")
    local view = native.view(pool)
    report(pool, "b", 2)
    report(pool, "c", 3)
    local c = view.m.clients[3]
    pool:retire_client("m", "a")
    pool:add_client("m", plain "d")
    native.view_begin(view)
    local ids, latencies = {}, {}
    for i, client in ipairs(view.m.clients) do
      ids[i], latencies[i] = client.id, client.latency
    end
    assert.same({ "b", "c", "d" }, ids)
    assert.same({ 2, 3, 0 }, latencies)
    assert.same({ 2, 3, 0 }, view.m:column "latency")
    assert.same({ "c", 3 }, { c.id, c.latency }) -- not who stands there now
  end)

  it("forgets a client that has left, and says so", function()
    local pool = pool_of(plain "a", plain "b")
    local view = native.view(pool)
    local a, b = table.unpack(view.m.clients)
    pool:retire_client("m", "a")
    native.view_begin(view)
    assert.matches('the client "a" has left its model',
      message(function() return a.id end))
    assert.equal("client of a view (m/a, left)", tostring(a))
    assert.equal("client of a view (m/b, free)", tostring(b))
  end)

  it("gives a field of all clients as one list, used again", function()
    local pool = pool_of(plain "a", plain "b")
    local view = native.view(pool)
    local free = view.m:column "free"
    assert.same({ 1, 1 }, free)
    local held <close> = pool:acquire("m", { prefer = "a" }) -- luacheck: ignore
    native.view_begin(view)
    assert.equal(free, view.m:column "free")
    assert.same({ 0, 1 }, free)
    assert.matches("a client's field that is a number",
      message(view.m.column, view.m, "id"))
  end)

  it("gives a field of those with a free slot, and where they stand", function()
    local pool = pool_of(plain "a", plain "b", plain("c", { slots = 2 }))
    local view = native.view(pool)
    local free, at = view.m:column("free", "free")
    assert.same({ { 1, 1, 2 }, { 1, 2, 3 } }, { free, at })
    local held <close> = pool:acquire("m", { prefer = "a" }) -- luacheck: ignore
    local other <close> = pool:acquire("m", { prefer = "c" }) -- luacheck: ignore
    native.view_begin(view)
    assert.same({ { 1, 1 }, { 2, 3 } }, { view.m:column("free", "free") })
    assert.equal(free, (view.m:column("free", "free")))
    assert.same({ 0, 1, 1 }, view.m:column "free")
    assert.same({ { 0, 0 }, { 2, 3 } }, { view.m:column("latency", "free") })
    assert.same({ 2, 3 }, at)
    local third <close> = pool:acquire "m" -- luacheck: ignore
    local last <close> = pool:acquire "m" -- luacheck: ignore
    native.view_begin(view)
    assert.same({ {}, {} }, { view.m:column("free", "free") })
    assert.matches('"free" or nothing expected',
      message(view.m.column, view.m, "free", "lent"))
  end)

  it("finds the least, the cheapest, and the k-th that is free", function()
    local pool = pool_of(plain("a", { price = { input = 9, output = 9 } }),
      plain("b", { price = { input = 1, output = 2 } }), plain "c")
    pool:register_model("n", { plain "d" })
    local view = native.view(pool)
    assert.same({ 1, 0.0, "a" }, { view.m:least "busy" })
    assert.same({ 2, 0.0, "b" }, { view.m:least("busy", 1) })
    assert.same({ 1, 0.0, "a" }, { view.m:least("busy", 3) })
    assert.same({ 3, 0.0, 0.0, true, "c" }, { view.m:cheapest(10, 10) })
    assert.same({ 4, 3 }, { view:open { "m", "n" }, view.m.open })
    assert.same({ 2, "d" }, { select(1, view:least({ "m", "n" }, "busy", 2)),
      select(4, view:least({ "m", "n" }, "busy", 2)) })
    report(pool, "c", 9)
    local held <close> = pool:acquire("m", { prefer = "a" }) -- luacheck: ignore
    native.view_begin(view)
    assert.same({ 2, 0.0, "b" }, { view.m:least("latency", 0) })
    local ids = {}
    for k = 1, 4 do
      local client, model = view:pick({ "m", "n" }, k)
      ids[k] = client and model .. client.id
    end
    assert.same({ "mb", "mc", "nd" }, ids)
    assert.same({ 2, 5e-5, 0.0, true, "b" },
      { view.m:cheapest(10, 20, 5) })
    assert.same({ 1, "c" }, { view:better({ "m", "n" }, "cost", 1, 2) })
    assert.same({ 2, "d" }, { view:better({ "m", "n" }, "latency", 2, 3) })
    assert.same({ 1, "b" }, { view:better({ "m", "n" }, "latency", 1, 3) })
    assert.same({}, { view:better({ "m", "n" }, "cost", 1, 4) })
    assert.same({ 1, "b", 5e-5, 0.0, true },
      { view:cheapest({ "m" }, 10, 20, 5) })
    assert.same({}, { view:cheapest({}, 10, 20, 5) })
    assert.same({}, { view:least({}, "busy") })
    assert.matches("field that is a number", message(view.m.least, view.m,
      "id"))
    assert.matches('no model "x"', message(view.least, view, { "m", "x" },
      "busy"))
    assert.matches("table expected", message(view.open, view, "m"))
  end)

  it("names the models there are for one that is not", function()
    local view = native.view(pool_of(plain "a"))
    assert.matches('no model "n"; there is "m"', message(function()
      return view.n
    end))
    assert.same({ "m" }, view:models())
  end)

  it("finds a model registered anew under the same name", function()
    local pool = pool_of(plain "a")
    local view = native.view(pool)
    assert.equal(1, view.m.size)
    pool:unregister_model "m"
    assert.matches("no model", message(function() return view.m end))
    pool:register_model("m", { plain "x", plain "y" })
    assert.equal(2, view.m.size)
  end)

  it("refuses what is no view", function()
    local view = native.view(pool_of(plain "a"))
    local index = getmetatable(view).__index
    for _, value in ipairs { 1, "x", {}, io.stdout } do
      assert.matches("view expected", message(index, value, "m"))
    end
    index = getmetatable(view.m).__index
    assert.matches("model of a view expected", message(index, view, "m"))
    assert.matches("client of a view expected",
      message(getmetatable(view.m.clients[1]).__index, view.m, "id"))
  end)
end)

describe("what is known of a client", function()
  local function known(...)
    return llmpool.simulate({}, function(...)
      local pool = pool_of(plain "a")
      local view = native.view(pool)
      for _, call in ipairs { ... } do
        if call.at then llmpool.sleep(call.at - llmpool.now()) end
        report(pool, "a", call[1], call.failed)
      end
      native.view_begin(view)
      local a = view.m.clients[1]
      return { latency = a.latency, errors = a.error_rate, p95 = a.p95,
               calls = a.calls }
    end, ...)
  end

  it("is a latency that believes bad news at once, good news in time",
     function()
    assert.equal(1, known({ 1 }).latency)
    assert.equal(3, known({ 1 }, { 3 }).latency)
    local one = known({ 3 }, { 1 }).latency -- a tenth of the way
    assert.is_true(math.abs(one - 2.8) < 1e-9)
    assert.equal(2, known({ 3 }, { 1, at = 10 }).latency) -- or half, in 10 s
  end)

  it("is a rate of errors, a tenth of each new one", function()
    assert.equal(0, known({ 1 }).errors)
    for _, at in ipairs { 0, 1e6 } do -- whatever time it is
      local once = known({ nil, failed = true, at = at })
      assert.is_true(math.abs(once.errors - 0.1) < 1e-12)
      assert.same({ 0, 0, 1 }, { once.latency, once.p95, once.calls })
    end
  end)

  it("is the 95th percentile of the last 64 calls", function()
    local calls = {}
    for i = 1, 100 do calls[i] = { i } end
    local result = known(table.unpack(calls))
    assert.equal(100, result.calls)
    assert.equal(97, result.p95) -- of 37 to 100
  end)

  local function numbers(client)
    return { latency = client.latency, first_token = client.first_token,
             p95 = client.p95, first_token_p95 = client.first_token_p95,
             error_rate = client.error_rate, calls = client.calls }
  end

  it("is the same for every router, and for what went past them", function()
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { llmpool.simulated { id = "a",
        first_token = 0.5, per_token = 0.25, tokens = 7 } })
      local first = native.view(pool)
      assert.same({ latency = 0, first_token = 0, p95 = 0, first_token_p95 = 0,
                    error_rate = 0, calls = 0 }, numbers(first.m.clients[1]))
      pool:generate("m", "q")
      for _ in pool:stream("m", "q") do end
      llmpool.router { pool = pool, policy = "m" }:generate "q"
      native.view_begin(first)
      local shown = numbers(first.m.clients[1])
      assert.same(shown, numbers(native.view(pool).m.clients[1]))
      local books = pool:clients("m")[1]
      assert.same({ books.latency, books.first_token, books.error_rate, 3 },
        { shown.latency, shown.first_token, shown.error_rate, shown.calls })
      assert.is_true(shown.latency > 1 and shown.first_token == 0.5
        and shown.p95 >= shown.latency and shown.first_token_p95 == 0.5)
    end)
  end)

  it("counts a call that ran out of its time as one that took as long",
     function()
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { llmpool.simulated { id = "a",
        latency = 60, first_token = 30 } })
      local router = llmpool.router { pool = pool,
        policy = { model = "m", timeout = 2 } }
      assert.is_false(pcall(router.generate, router, "q"))
      local view = native.view(pool)
      local a = view.m.clients[1]
      assert.is_true(math.abs(a.latency - 2) < 0.01 and a.p95 == a.latency)
      assert.same({ 1, 0 }, { a.calls, a.first_token })
      router = llmpool.router { pool = pool,
        policy = { model = "m", first = 5 } }
      assert.is_false(pcall(router.stream, router, "q"))
      native.view_begin(view)
      assert.is_true(math.abs(a.latency - 5) < 0.01
        and a.first_token == a.latency)
    end)
  end)

  it("follows many that come and go", function()
    local pool = pool_of(plain "a")
    for i = 1, 200 do pool:add_client("m", plain("x" .. i)) end
    local view = native.view(pool)
    report(pool, "x200", 7)
    native.view_begin(view)
    assert.equal(201, #view.m:column "p95")
    assert.equal(7, view.m:column("p95")[201])
    for i = 1, 200 do pool:retire_client("m", "x" .. i) end
    native.view_begin(view)
    assert.equal(1, #view.m.clients)
    assert.equal(1, #view.m:column "p95")
  end)
end)

describe("a bound", function()
  local function bounded(fn, instructions, bytes)
    return native.bounded("a test", instructions or 10000, bytes or 1 << 20, fn)
  end

  it("passes the first result on", function()
    assert.equal(42, bounded(function() return 42, 1 end))
    assert.is_nil((bounded(function() end)))
  end)

  it("passes an error on, and says that it was raised", function()
    local value = {}
    assert.same({ n = 3, nil, value, "raised" },
      table.pack(bounded(function() error(value) end)))
    assert.matches("view_spec.lua:%d+: oops", select(2,
      bounded(function() error "oops" end)))
  end)

  it("ends a loop, also around a pcall or in a coroutine", function()
    local pcall, coroutine = pcall, coroutine -- busted's are looked up in Lua
    local function loop() while true do end end -- luacheck: ignore
    local generator = coroutine.wrap(function()
      coroutine.yield()
      loop()
    end)
    generator()
    local function catching() while true do pcall(loop) end end
    for _, fn in ipairs { loop, catching, coroutine.wrap(loop), generator,
      function() while true do coroutine.wrap(function() end)() end end } do
      local _, err, why = bounded(fn)
      assert.equal("instructions", why)
      assert.matches("view_spec.lua:%d+: .*too many instructions", err)
    end
    assert.equal(1, bounded(function() return 1 end))
  end)

  it("ends what takes memory, and gives it back", function()
    local function double()
      local s = "x"
      while true do s = s .. s end
    end
    local function fill()
      local t = {} -- luacheck: ignore
      while true do t[#t + 1] = {} end
    end
    for _, fn in ipairs { double, fill, function()
      return ("x"):rep(1 << 30)
    end } do
      local _, err, why = bounded(fn, 10000000)
      assert.equal("memory", why)
      assert.equal("not enough memory", err)
    end
    collectgarbage()
    assert.equal(1 << 21, #bounded(function()
      return ("x"):rep(1 << 21)
    end, 1000, 1 << 23))
  end)

  it("lets nothing wait, wherever it is called", function()
    local function waits(pool)
      for _, fn in ipairs {
        function() llmpool.sleep(0) end,
        function() pool:generate("m", "q") end,
        function() llmpool.scope(function() end) end,
        coroutine.wrap(function() llmpool.sleep(1) end),
      } do
        local _, err, why = bounded(fn)
        assert.equal("raised", why)
        assert.matches("cannot wait in a test", err)
      end
    end
    for _, run in ipairs { function(fn) fn() end, function(fn)
      llmpool.simulate({}, fn)
    end } do
      run(function()
        local pool = pool_of(plain "a")
        waits(pool)
        ledger.settled(pool)
      end)
    end
  end)

  it("nests: the inner is charged to the outer", function()
    local asked = 0
    local _, _, why = bounded(function()
      while true do
        asked = asked + 1
        bounded(function() end)
      end
    end)
    assert.equal("instructions", why)
    assert.is_true(asked <= 12, asked)
    assert.equal("inner", bounded(function()
      local _, _, inner = bounded(function() while true do end end, 2000)
      return inner == "instructions" and "inner" or inner
    end, 100000))
  end)

  it("leaves a hook of the user's as it was", function()
    local lines = 0
    debug.sethook(function() lines = lines + 1 end, "l")
    bounded(function() return 1 end)
    local hook = debug.gethook()
    debug.sethook()
    assert.is_function(hook)
    assert.is_true(lines > 0)
  end)
end)
