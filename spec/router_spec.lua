-- The router over scripted clients: which failure leads where, what the error
-- tells, what each state and event is, and that every lease comes back.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local scripted = require "spec.support.scripted"

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err), err
end

-- models: {{ "name", client, ... }, ...}; registered in that order
local function pool_of(models)
  local pool = llmpool.new()
  for _, entry in ipairs(models) do
    pool:register_model(entry[1], table.move(entry, 2, #entry, 1, {}),
      { order = "fifo" })
  end
  return pool
end

-- Runs in virtual time, and closes the ledger.
local function simulate(models, options, fn)
  return llmpool.simulate({ seed = 1 }, function()
    local pool = pool_of(models)
    options.pool = pool
    local router = llmpool.router(options)
    local results = table.pack(fn(router, pool))
    ledger.settled(pool)
    return table.unpack(results, 1, results.n)
  end)
end

local function events_of(router, kind)
  local list = {}
  router:listen(function(event)
    if not kind or event.event == kind then list[#list + 1] = event end
  end)
  return list
end

describe("a mistake of a policy's", function()
  it("that the view tells has the policy's place, too", function()
    local pool = llmpool.new()
    pool:register_model("fast", { llmpool.simulated { id = "a" } })
    local router = llmpool.router { pool = pool, strict = true,
      policy = load("return function(_, view)\n return view.fats end",
                    "=policy.lua")() }
    local ok, err = pcall(router.generate, router, "q")
    assert.is_false(ok)
    assert.equal("policy", err.kind)
    assert.equal("unknown_model", err.cause.kind)
    assert.matches("policy at policy.lua:1: no model \"fats\"; there is " ..
                   '"fast" %(did', tostring(err))
  end)
end)

describe("a router", function()
  it("answers by the plan's first attempt", function()
    local a, b = scripted("a", { text = "yes" }), scripted("b", {})
    simulate({ { "m", a }, { "n", b } }, { policy = { "m", "n" } },
      function(router)
      local text, response = router:generate "q"
      assert.same({ "yes", "a" }, { text, response.client })
      assert.same({ 1, 0 }, { #a.calls, #b.calls })
      assert.equal("q", a.calls[1].request)
    end)
  end)

  it("takes a policy as a function, a plan, a name, a table that is called",
     function()
    local callable = setmetatable({}, { __call = function(self)
      assert.is_table(self)
      return "m"
    end })
    for _, policy in ipairs { function() return "m" end, "m", { "m" },
                              "round_robin", callable, llmpool.plan "m" } do
      simulate({ { "m", scripted("a", {}) } }, { policy = policy },
        function(router)
        assert.equal("a: q", (router:generate "q"))
      end)
    end
    simulate({ { "m", scripted("a", {}) } }, {}, function(router)
      assert.equal("a: q", (router:generate "q"))
    end)
  end)

  it("hands the policy the request, the view and the call's options", function()
    local seen
    simulate({ { "m", scripted("a", {}) } }, { policy = function(...)
      seen = table.pack(...)
      return "m"
    end }, function(router)
      local request, options = { messages = {} }, { key = "k" }
      router:generate(request, options)
      assert.equal(request, seen[1])
      assert.equal(options, seen[3])
      assert.equal("m", seen[2].m.name)
    end)
  end)

  it("checks its arguments before anything is asked", function()
    local a = scripted("a", {})
    simulate({ { "m", a } }, {}, function(router)
      for _, case in ipairs {
        { { nil }, "prompt or a request table expected, got nil" },
        { { 42 }, "got number" }, { { "q", 3 }, "table expected, got number" },
        { { "q", { timout = 1 } }, "did you mean 'timeout'" },
        { { "q", { timeout = -1 } }, "timeout of router:generate must be" },
        { { "q", { priority = 9 } }, "priority of router:generate must be" },
      } do
        assert.matches(case[2], message(router.generate, router,
          table.unpack(case[1], 1, 2)))
      end
      for _, name in ipairs { "generate", "stream", "explain" } do
        assert.matches("calling '" .. name .. "' on bad self %(router "
          .. "expected, got string; it is a method: router:" .. name,
          message(router[name], "q"))
      end
      assert.equal(0, #a.calls)
    end)
    local _, err = message(function()
      llmpool.router { pool = llmpool.new() }:generate "q"
    end)
    assert.equal("the policy refuses this request: the pool has no model",
      err.message)
    local pool = pool_of { { "m", a } }
    for _, case in ipairs {
      { nil, "table expected, got nil" }, { {}, "llmpool.router needs a pool" },
      { { pool = 3 }, "pool of llmpool.router must be a pool" },
      { { pool = pool, polcy = 1 }, "did you mean 'policy'" },
      { { pool = pool, policy = "fallbak" }, "did you mean 'fallback'" },
      { { pool = pool, policy = 42 }, "not a policy: a number is no plan" },
      { { pool = pool, default = {} }, "default of llmpool.router: the plan" },
      { { pool = pool, retry_budget = { ration = 1 } },
        "did you mean 'ratio'" },
      { { pool = pool, hedge_budget = { burst = -1 } },
        "burst of hedge_budget" },
      { { pool = pool, memory = 1 }, "memory of llmpool.router must be" },
    } do
      assert.matches(case[2], message(llmpool.router, case[1]))
    end
  end)
end)

describe("after a failure", function()
  -- kind -> who is asked, in order: two clients of m, then one of n
  local rows = {
    bad_request = "a", content_filter = "a", too_large = "a",
    context_length = "a", auth = "a b c", billing = "a b c",
    quota_day = "a b c", not_found = "a b c", rate_limit = "a b c",
    overloaded = "a c", server = "a c", reset = "a c", malformed = "a c",
    truncated = "a c", timeout_connect = "a c", timeout_first = "a c",
    timeout_idle = "a c", timeout_total = "a c", resolve = "a c", tls = "a c",
    provider = "a c",
  }

  for kind, expected in pairs(rows) do
    it("of kind " .. kind .. " asks " .. expected, function()
      local asked = {}
      local clients = {}
      for i, id in ipairs { "a", "b", "c" } do
        clients[i] = { id = id, generate = function()
          asked[#asked + 1] = id
          error(llmpool.error(kind, kind), 0)
        end }
      end
      simulate({ { "m", clients[1], clients[2] }, { "n", clients[3] } },
        { policy = { "m", "n" } }, function(router)
        local _, err = message(router.generate, router, "q")
        assert.equal(expected, table.concat(asked, " "))
        assert.equal(kind, err.kind)
        assert.equal(#asked, #err.attempts)
      end)
    end)
  end

  it("of a plain Lua error goes on, and says what was raised", function()
    local a = { id = "a", generate = function() error("oops", 0) end }
    simulate({ { "m", a }, { "n", scripted("c", {}) } },
      { policy = { "m", "n" } }, function(router)
      assert.equal("c: q", (router:generate "q"))
    end)
    simulate({ { "m", a } }, { policy = "m" }, function(router)
      local text, err = message(router.generate, router, "q")
      assert.same({ "oops", "error", "oops" }, { text, err.kind, err.cause })
    end)
  end)

  it("of a provider that says no one should retry, does not", function()
    local a = scripted("a", { fail = "server", retryable = false })
    local c = scripted("c", {})
    simulate({ { "m", a }, { "n", c } }, { policy = { "m", "n" } },
      function(router)
      message(router.generate, router, "q")
      assert.equal(0, #c.calls)
    end)
  end)

  it("goes on only after the kinds that the plan says", function()
    local a, c = scripted("a", { fail = "server" }), scripted("c", {})
    for field, expected in pairs { fallback_on = { server = "1 1",
      reset = "1 0" }, retry_on = { server = "2 1", reset = "1 1" } } do
      for kind, calls in pairs(expected) do
        a.calls, c.calls = {}, {}
        simulate({ { "m", a }, { "n", c } }, { policy = { { model = "m",
          retries = field == "retry_on" and 1 or 0, [field] = kind }, "n" } },
          function(router)
          pcall(router.generate, router, "q")
          assert.equal(calls, #a.calls .. " " .. #c.calls)
        end)
      end
    end
  end)

  it("of the caller's is taken elsewhere where the plan says so", function()
    for _, kind in ipairs { "content_filter", "bad_request", "too_large",
      "context_length" } do
      local a, c = scripted("a", { fail = kind }), scripted("c", {})
      simulate({ { "m", a }, { "n", c } }, { context = { m = 8, n = 8 },
        policy = { { model = "m", fallback_on = kind, retries = 1 }, "n" } },
        function(router)
        assert.equal("c: q", (router:generate "q"))
        assert.equal(1, #a.calls)
      end)
      a.steps, a.calls = { { fail = kind }, {} }, {}
      simulate({ { "m", a }, { "n", c } }, {
        policy = { { model = "m", retry_on = kind, retries = 1 }, "n" } },
        function(router)
        assert.equal("a: q", (router:generate "q"))
        assert.equal(2, #a.calls)
      end)
    end
  end)

  it("of context_length goes on only to a larger model", function()
    local small = scripted("a", { fail = "context_length" })
    local same, large = scripted("b", {}), scripted("c", {})
    local models = { { "s", small }, { "t", same }, { "l", large } }
    simulate(models, { policy = { "s", "t", "l" },
      context = { s = 8000, t = 8000, l = 128000 } }, function(router)
      assert.equal("c: q", (router:generate "q"))
      assert.equal(0, #same.calls)
    end)
    simulate(models, { policy = { { model = "s", context = 8 },
      { model = "l", context = 4 } } }, function(router)
      local _, err = message(router.generate, router, "q")
      assert.equal("context_length", err.kind)
    end)
  end)

  it("keeps the first cause, and every attempt", function()
    local a = scripted("a", { fail = "rate_limit", retry_at = 40, after = 1 })
    local c = scripted("c", { fail = "bad_request", status = 400, after = 2 })
    simulate({ { "m", a }, { "n", c } }, { policy = { "m", "n" } },
      function(router)
      local text, err = message(router.generate, router, "q")
      assert.equal("2 attempts failed: m/a: rate_limit by a; n/c: bad_request "
        .. "by c", text)
      assert.same({ "rate_limit", "a", "m", 40, false, "FAILED" },
        { err.kind, err.client, err.model, err.retry_at, err.committed,
          err.state })
      assert.equal("rate_limit by a", err.cause.message)
      local tried = {}
      for i, attempt in ipairs(err.attempts) do
        tried[i] = { attempt.model, attempt.client, attempt.kind,
                     attempt.started, attempt.seconds, attempt.state }
      end
      assert.same({ { "m", "a", "rate_limit", 0, 1, "CONNECTED" },
                    { "n", "c", "bad_request", 1, 2, "CONNECTED" } }, tried)
      assert.matches("attempt 1 failed: m/a rate_limit",
        tostring(err.explanation))
    end)
  end)

  it("of the pool goes on: nobody free in time, a full line, all at rest",
     function()
    simulate({ { "m", scripted("a", { after = 10 }) },
               { "n", scripted("c", {}) } },
      { policy = { { model = "m", wait = 2 }, "n" } }, function(router)
      local first = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(0)
      assert.equal("c: r", (router:generate "r"))
      assert.equal(2, llmpool.now())
      first:join()
    end)
    simulate({ { "m", scripted("a", {}) }, { "n", scripted("c", {}) } },
      { policy = { { model = "m", wait = 2 }, "n" } }, function(router, pool)
      pool:cool_down("m", "a", 60)
      assert.equal("c: r", (router:generate "r"))
      assert.equal(0, llmpool.now())
    end)
  end)

  it("tells the earliest moment at which it may be tried again", function()
    simulate({ { "m", scripted("a", { fail = "rate_limit", retry_at = 90 }) },
               { "n", scripted("c", { fail = "rate_limit", retry_at = 30 }) } },
      { policy = { "m", "n" } }, function(router)
      local _, err = message(router.generate, router, "q")
      assert.equal(30, err.retry_at)
      assert.is_true(err.retryable)
    end)
  end)

  it("raises a model that is gone as the pool does", function()
    simulate({ { "m", scripted("a", {}) }, { "n", scripted("c", {}) } },
      { policy = "m" }, function(router, pool)
      router:generate "q"
      pool:unregister_model "m"
      local _, err = message(router.generate, router, "q")
      assert.equal("unknown_model", err.kind)
    end)
  end)
end)

describe("a retry", function()
  it("pauses with full jitter, within its bounds", function()
    local pauses = {}
    for seed = 1, 200 do
      llmpool.simulate({ seed = seed }, function()
        local a = scripted("a", { fail = "server" }, { fail = "server" }, {})
        local router = llmpool.router { pool = pool_of { { "m", a } },
          policy = { model = "m", retries = 2, backoff = 1,
                     max_backoff = 1.5 } }
        router:generate "q"
        pauses[#pauses + 1] = { a.calls[2].at, a.calls[3].at - a.calls[2].at }
      end)
    end
    local sum, later = 0, 0
    for _, pause in ipairs(pauses) do
      assert.is_true(pause[1] < 1 and pause[2] < 1.5)
      sum, later = sum + pause[1], later + pause[2]
    end
    assert.is_true(math.abs(sum / 200 - 0.5) < 0.06, sum)
    assert.is_true(math.abs(later / 200 - 0.75) < 0.09, later)
  end)

  it("goes to another client at once, if there is one", function()
    local a, b = scripted("a", { fail = "server" }), scripted("b", {})
    simulate({ { "m", a, b } }, { policy = { model = "m", retries = 1 } },
      function(router)
      assert.equal("b: q", (router:generate "q"))
      assert.equal(0, llmpool.now())
    end)
  end)

  it("does not ask a silent client again where there is another", function()
    local a = scripted("a", { fail = "timeout_first", after = 5 })
    local b, c = scripted("b", { fail = "timeout_first", after = 5 }),
      scripted("c", {})
    simulate({ { "m", a, b }, { "n", c } },
      { policy = { { model = "m", retries = 9 }, "n" } }, function(router)
      assert.equal("c: q", (router:generate "q"))
      assert.same({ 1, 1 }, { #a.calls, #b.calls })
    end)
    a.calls = {}
    simulate({ { "m", a } }, { policy = { model = "m", retries = 1 } },
      function(router)
      pcall(router.generate, router, "q")
      assert.equal(2, #a.calls) -- there is no other
    end)
  end)

  it("waits until the provider allows it, if the deadline does", function()
    local a = scripted("a", { fail = "rate_limit", retry_at = 20 }, {})
    simulate({ { "m", a } }, { policy = { model = "m", retries = 1 } },
      function(router)
      assert.equal("a: q", (router:generate "q"))
      assert.equal(20, llmpool.now())
    end)
    a.calls = {}
    simulate({ { "m", a } }, { policy = { model = "m", retries = 1 } },
      function(router)
      local _, err = message(router.generate, router, "q", { timeout = 10 })
      assert.equal("rate_limit", err.kind)
      assert.equal(0, llmpool.now())
    end)
  end)

  it("stays within its budget when everything fails", function()
    local a = scripted("a", { fail = "server" })
    simulate({ { "m", a } }, { policy = { model = "m", retries = 3,
      backoff = 0.001 }, retry_budget = { ratio = 0.2, burst = 5 } },
      function(router)
      local refused = events_of(router, "budget")
      for _ = 1, 1000 do pcall(router.generate, router, "q") end
      local extra = #a.calls - 1000
      assert.is_true(extra <= 205 and extra >= 195, extra)
      assert.is_true(#refused > 700)
    end)
  end)
end)

describe("a deadline", function()
  it("of the request ends it, whatever it waits for", function()
    for _, models in ipairs {
      { { "m", scripted("a", { after = 60 }) } },
      { { "m", scripted("a", { after = 2, fail = "server" }) },
        { "n", scripted("c", { after = 60 }) } },
    } do
      simulate(models, { policy = { "m", models[2] and "n" } },
        function(router)
        local _, err = message(router.generate, router, "q", { timeout = 5 })
        assert.is_true(llmpool.now() < 5.002, llmpool.now())
        assert.equal("timeout_total", err.attempts[#err.attempts].kind)
      end)
    end
  end)

  it("in line is the pool's own timeout", function()
    simulate({ { "m", scripted("a", { after = 60 }) } }, { policy = "m" },
      function(router)
      local first = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(0)
      local _, err = message(router.generate, router, "q", { timeout = 5 })
      assert.same({ "timeout", 5.0 }, { err.kind, llmpool.now() })
      first:join()
    end)
  end)

  it("of an attempt leads to the next", function()
    local c = scripted("c", {})
    simulate({ { "m", scripted("a", { after = 60 }) }, { "n", c } },
      { policy = { { model = "m", timeout = 3 }, "n" } }, function(router)
      assert.equal("c: q", (router:generate "q"))
      assert.is_true(math.abs(c.calls[1].at - 3) < 0.002)
    end)
    simulate({ { "m", scripted("a", { after = 2, fail = "server" }) },
               { "n", scripted("b", { after = 60 }) }, { "o", c } },
      { policy = { "m", { model = "n", deadline = 3 }, "o" } },
      function(router)
      assert.equal("c: q", (router:generate "q"))
      assert.is_true(math.abs(llmpool.now() - 3) < 0.002)
    end)
  end)

  it("that a client misses is counted against it", function()
    local a = scripted("a", { after = 60, text = "1", connect = 60 })
    a.breaker = { failures = 2, open = 30 }
    local models = { { "m", a, scripted("b", {}) } }
    for _, method in ipairs { "generate", "stream" } do
      simulate(models, { policy = { model = "m", timeout = 3,
        client = "a" } }, function(router, pool)
        for _ = 1, 2 do pcall(router[method], router, "q") end
        local state = pool:clients("m")[1].state
        assert.equal("open", state)
        assert.matches("m/a .*open .* s more .*but it is open",
          tostring(router:explain "q"))
        assert.is_true(pool:clients("m")[1].error_rate > 0)
      end)
    end
  end)

  it("is told to the client", function()
    local a = scripted("a", {})
    simulate({ { "m", a } }, { policy = { model = "m", timeout = 3, first = 1,
      idle = 2 } }, function(router)
      router:generate "q"
      assert.same({ total = 3, first = 1, idle = 2 },
        a.calls[1].options.timeout)
    end)
  end)
end)
