-- Clients with slots, limits and breakers, as a script sees them: what happens
-- when, in virtual time; and what becomes of a client after a failure.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err), err
end

local function simulate(fn) return llmpool.simulate({ seed = 1 }, fn) end

-- A model "m" of these clients, inside a simulation.
local function with(clients, fn, options)
  simulate(function()
    local pool = llmpool.new()
    pool:register_model("m", clients, options)
    fn(pool)
    ledger.settled(pool)
  end)
end

local function of(pool, id)
  for _, client in ipairs(pool:stats("m").clients) do
    if client.id == id then return client end
  end
end

-- A client whose requests do what `acts` says, one after the other.
local function acting(id, acts, fields)
  local t = fields or {}
  local i = 0
  t.id = id
  function t.generate()
    i = i + 1
    local act = acts[i] or acts.always
    if type(act) == "function" then return act() end
    if type(act) == "table" then error(act, 0) end
    return act or "fine", { usage = { total_tokens = 10 } }
  end
  return t
end

local function failure(kind, fields)
  local err = llmpool.error(kind, "it said no")
  for name, value in pairs(fields or {}) do err[name] = value end
  return err
end

local function run(n, fn)
  local tasks = {}
  for i = 1, n do tasks[i] = llmpool.spawn(pcall, fn, i) end
  local results = {}
  for i = 1, n do results[i] = table.pack(tasks[i]:join()) end
  return results
end

describe("slots", function()
  -- One slot that comes back sees the end of the rest before it is due to be
  -- seen: the others are back as well.
  it("are all back after a rest that ended while one was lent #host", function()
    local pool = llmpool.new()
    pool:register_model("m", {
      { id = "a", slots = 3, generate = function() return "fine" end },
    })
    local client = pool:acquire "m"
    pool:cool_down("m", "a", 0.01)
    local stop = llmpool.now() + 0.03
    while llmpool.now() < stop do end
    client:release()
    local held = {}
    for i = 1, 3 do held[i] = pool:acquire("m", { timeout = 0.5 }) end
    assert.equal(3, #held)
    for i = 1, 3 do held[i]:release() end
    ledger.settled(pool)
  end)

  it("are so many requests at once through one client", function()
    with({ llmpool.simulated { id = "a", slots = 3, latency = 1 } },
      function(pool)
        run(6, function() pool:generate("m", "q") end)
        assert.equal(2, llmpool.now())
        local stats = pool:stats "m"
        assert.equal(3, stats.size)
        assert.equal(1, stats.clients_in_service)
        assert.equal(1, #stats.clients)
        assert.equal(3, stats.clients[1].slots)
        assert.equal(6, stats.clients[1].acquired)
      end)
  end)

  it("of a plain table share the table", function()
    local most, now = 0, 0
    with({ { id = "a", slots = 4, generate = function()
      now = now + 1
      most = math.max(most, now)
      llmpool.sleep(1)
      now = now - 1
    end } }, function(pool)
      run(8, function() pool:generate("m", "q") end)
      assert.equal(4, most)
      assert.equal(2, llmpool.now())
    end)
  end)

  it("spread the first requests over the clients", function()
    with({ llmpool.simulated { id = "a", slots = 2, latency = 1 },
           llmpool.simulated { id = "b", slots = 2, latency = 1 } },
      function(pool)
        run(2, function() pool:generate("m", "q") end)
        assert.equal(1, of(pool, "a").acquired)
        assert.equal(1, of(pool, "b").acquired)
      end)
  end)

  it("change with a replacement", function()
    with({ llmpool.simulated { id = "a", latency = 1 } }, function(pool)
      pool:replace_client("m", llmpool.simulated { id = "a", slots = 5,
                                                   latency = 1 })
      assert.equal(5, pool:stats("m").size)
      run(5, function() pool:generate("m", "q") end)
      assert.equal(1, llmpool.now())
    end)
  end)
end)

describe("rpm and tpm", function()
  it("let a burst through, then one after the other", function()
    with({ llmpool.simulated { id = "a", slots = 9, rpm = 60, rpm_burst = 3 } },
      function(pool)
        local times = {}
        run(6, function()
          pool:generate("m", "q")
          times[#times + 1] = llmpool.now()
        end)
        for i, time in ipairs { 0, 0, 0, 1, 2, 3 } do
          assert.is_true(math.abs(times[i] - time) < 1e-6, times[i])
        end
      end)
  end)

  it("rest a client only when no other can bear the request", function()
    with({ llmpool.simulated { id = "a", rpm = 60, rpm_burst = 1 },
           llmpool.simulated { id = "b" } }, function(pool)
      for _ = 1, 5 do pool:generate("m", "q") end
      assert.equal(0, llmpool.now())
      assert.is_true(of(pool, "a").acquired <= 1)
    end)
  end)

  it("are told by stats", function()
    with({ llmpool.simulated { id = "a", rpm = 10, tpm = 1000 } },
      function(pool)
        assert.equal(10, of(pool, "a").rpm_left)
        pool:get_client("m", function()
          assert.equal(9, of(pool, "a").rpm_left)
          assert.equal(700, of(pool, "a").tpm_left)
        end, { tokens = 300 })
        llmpool.sleep(6)
        assert.is_true(of(pool, "a").rpm_left > 9.99)
      end)
  end)

  it("say when they could bear it, to who does not wait", function()
    with({ llmpool.simulated { id = "a", tpm = 60, tpm_burst = 60 } },
      function(pool)
        local client = assert(pool:acquire("m", { tokens = 60 }))
        client:release()
        local none, err = pool:acquire("m", { tokens = 30, timeout = 0 })
        assert.is_nil(none)
        assert.equal("resting", err.kind)
        assert.is_true(math.abs(err.retry_at - 30) < 1e-6)
        none, err = pool:acquire("m", { tokens = 30, timeout = 10 })
        assert.is_nil(none)
        assert.equal("resting", err.kind)
        assert.equal(0, llmpool.now())
        local later <close> = pool:acquire("m", { tokens = 30, timeout = 31 })
        assert.is_true(math.abs(llmpool.now() - 30) < 1e-6)
        assert.equal("a", later.id)
      end)
  end)

  it("are settled with what the response says was used", function()
    with({ acting("a", {}, { tpm = 1000 }) }, function(pool)
      pool:generate("m", "q", { tokens = 500 })
      assert.equal(990, of(pool, "a").tpm_left)
      pool:get_client("m", function(client)
        assert.is_true(client:settle { tokens = 90 })
      end, { tokens = 1 })
      assert.equal(900, of(pool, "a").tpm_left)
    end)
  end)

  it("get it back when nothing was sent", function()
    with({ acting("a", { failure "timeout_connect",
                         failure("server", { status = 500 }) },
                  { rpm = 10, tpm = 1000 }) }, function(pool)
      pcall(pool.generate, pool, "m", "q", { tokens = 500 })
      assert.equal(1000, of(pool, "a").tpm_left)
      assert.equal(10, of(pool, "a").rpm_left)
      pcall(pool.generate, pool, "m", "q", { tokens = 500 })
      assert.equal(1000, of(pool, "a").tpm_left) -- refused: no tokens
      assert.equal(9, of(pool, "a").rpm_left) -- but a request
    end)
  end)

  it("owe what a request larger than the bucket takes", function()
    with({ llmpool.simulated { id = "a", tpm = 60 } }, function(pool)
      pool:get_client("m", function() end, { tokens = 100 })
      assert.equal(-40, of(pool, "a").tpm_left)
      pool:get_client("m", function() end, { tokens = 20 })
      assert.is_true(math.abs(llmpool.now() - 60) < 1e-6)
    end)
  end)

  -- Of several models, the one that grants may have too little: its client
  -- rests, and who asked is where it stood in the lines of the others.
  it("are no reason for who asks several models to queue anew", function()
    simulate(function()
      local pool, order = llmpool.new(), {}
      pool:register_model("x", { llmpool.simulated { id = "a", tpm = 60 } })
      pool:register_model("y", { llmpool.simulated { id = "b" } })
      local x = pool:acquire("x", { tokens = 60 })
      local y = pool:acquire "y"
      local function ask(name, models, options)
        llmpool.spawn(function()
          pool:get_client(models, function(client)
            order[#order + 1] = name .. " of " .. client.id
            llmpool.sleep(1)
          end, options)
        end)
        llmpool.sleep(0)
      end
      ask("before", "y")
      ask("either", { "x", "y" }, { tokens = 50 })
      for i = 1, 3 do ask("after " .. i, "y") end
      x:release() -- has 0 of 60 left
      llmpool.sleep(0.1)
      assert.equal("resting", pool:stats("x").clients[1].state)
      assert.equal(5, pool:stats("y").waiting)
      y:release()
      llmpool.sleep(10)
      assert.same({ "before of b", "either of b", "after 1 of b",
                    "after 2 of b", "after 3 of b" }, order)
      ledger.settled(pool)
    end)
  end)
end)

describe("a failure", function()
  local cases = {
    { "bad_request", "idle" }, { "context_length", "idle" },
    { "content_filter", "idle" }, { "too_large", "idle" },
    { "not_found", "idle" }, { "cancelled", "idle" },
    { "auth", "disabled" }, { "billing", "disabled" },
    { "quota_day", "disabled" }, { "rate_limit", "resting" },
    { "overloaded", "idle", true }, { "server", "idle", true },
    { "timeout_connect", "idle", true }, { "timeout_first", "idle", true },
    { "timeout_idle", "idle", true }, { "timeout_total", "idle", true },
    { "reset", "idle", true }, { "malformed", "idle", true },
    { "truncated", "idle", true },
  }
  for _, case in ipairs(cases) do
    local kind, state, counts = table.unpack(case)
    it(("of kind %s leaves its client %s"):format(kind, state), function()
      with({ acting("a", { failure(kind) }, { breaker = { failures = 1 } }),
             acting("b", {}) }, function(pool)
        local _, err = message(pool.generate, pool, "m", "q",
          { prefer = "a" })
        assert.equal(kind, err.kind)
        local a = of(pool, "a")
        assert.equal(counts and "open" or state, a.state)
        assert.equal(counts and "open" or "closed", a.breaker)
      end)
    end)
  end

  it("of a rate limit rests until the later of two times", function()
    local function limited(retry_at)
      return function()
        llmpool.sleep(1)
        error(failure("rate_limit", { retry_at = retry_at }), 0)
      end
    end
    with({ acting("a", { limited(20), limited(5) }, { slots = 2 }) },
      function(pool)
      run(2, function() pcall(pool.generate, pool, "m", "q") end)
      assert.equal(20, of(pool, "a").rest_until)
      pool:generate("m", "q")
      assert.equal(20, llmpool.now())
    end)
  end)

  it("of a rate limit without a time backs off", function()
    local limited = failure "rate_limit"
    with({ acting("a", { limited, limited, limited, "ok", limited }) },
      function(pool)
        local times = {}
        for i = 1, 6 do
          pcall(pool.generate, pool, "m", "q")
          times[i] = llmpool.now()
        end
        assert.same({ 0, 1, 3, 7, 7, 8 }, times)
      end)
  end)

  it("of a key takes it out until it is replaced, others serve", function()
    with({ acting("a", { failure("auth", { status = 401,
             provider_code = "invalid_api_key" }) }), acting("b", {}) },
      function(pool)
        message(pool.generate, pool, "m", "q", { prefer = "a" })
        for _ = 1, 3 do pool:generate("m", "q", { prefer = "a" }) end
        assert.equal(3, of(pool, "b").acquired)
        assert.equal("auth 401 invalid_api_key", of(pool, "a").last_error)
        pool:replace_client("m", acting("a", {}))
        pool:generate("m", "q", { prefer = "a" })
        assert.equal(2, of(pool, "a").acquired)
      end)
  end)

  it("of the last key ends all waits, and says which and why", function()
    with({ acting("a", { function()
             llmpool.sleep(1)
             error(failure("billing", { status = 402 }), 0)
           end }) }, function(pool)
      local results = run(3, function() pool:generate("m", "q") end)
      assert.equal(1, llmpool.now())
      assert.equal("billing", results[1][2].kind)
      for i = 2, 3 do
        local err = results[i][2]
        assert.equal("out_of_service", err.kind)
        assert.matches('no client of "m" is in service: a: billing 402; repla',
          tostring(err))
      end
      local client, err = pool:acquire "m"
      assert.is_nil(client)
      assert.equal("out_of_service", err.kind)
      pool:replace_client("m", acting("a", {}))
      assert.equal("fine", (pool:generate("m", "q")))
    end)
  end)

  it("of a quota lasts until the time that the provider gave", function()
    with({ acting("a", { failure("quota_day", { retry_at = 3600 }) }) },
      function(pool)
        pcall(pool.generate, pool, "m", "q")
        local _, err = pool:acquire("m", { timeout = 5 })
        assert.equal("out_of_service", err.kind)
        assert.equal(3600, err.retry_at)
        pool:generate("m", "q")
        assert.equal(3600, llmpool.now())
      end)
  end)

  it("arrives unchanged", function()
    local object = failure "server"
    with({ acting("a", { object, function() error("text", 0) end,
                         function() error() end }) }, function(pool)
      local _, err = message(pool.generate, pool, "m", "q")
      assert.equal(object, err)
      _, err = message(pool.generate, pool, "m", "q")
      assert.equal("text", err)
      assert.is_nil(select(2, pcall(pool.generate, pool, "m", "q")))
    end)
  end)

  it("in a stream counts as one anywhere else", function()
    local made = { id = "a", breaker = { failures = 1 },
                   generate = function() end }
    function made.stream()
      local i = 0
      return function()
        i = i + 1
        if i < 3 then
          llmpool.sleep(1)
          return { text = "x" }
        end
        error(failure("truncated", { committed = true }), 0)
      end
    end
    with({ made, acting("b", {}) }, function(pool)
      local stream = pool:stream("m", "q", { prefer = "a" })
      message(function() for _ in stream do end end)
      assert.equal("open", of(pool, "a").breaker)
    end)
  end)
end)

describe("a stream that ends well", function()
  it("tells latency, first token and usage", function()
    with({ llmpool.simulated { id = "a", tpm = 100000, first_token = 1,
                               per_token = 0.5, tokens = 5 } },
      function(pool)
        local stream = pool:stream("m", "hello", { tokens = 1000 })
        for _ in stream do end
        local a = of(pool, "a")
        assert.equal(1, a.first_token)
        assert.equal(3, a.latency)
        assert.equal(0, a.error_rate)
        assert.equal(1, a.outcomes)
        assert.is_true(a.tpm_left > 99900)
      end)
  end)
end)

describe("a breaker", function()
  local breaker = { failures = 2, window = 10, open = 30, max_open = 100 }

  it("opens, lets one probe through, and closes", function()
    local acts = { failure "server", failure "server", failure "reset" }
    with({ acting("a", acts, { breaker = breaker, slots = 2 }) },
      function(pool)
        local events = pool:events()
        for _ = 1, 2 do pcall(pool.generate, pool, "m", "q") end
        local _, err = pool:acquire("m", { timeout = 29 })
        assert.equal("resting", err.kind)
        assert.equal(30, err.retry_at)
        pcall(pool.generate, pool, "m", "q") -- the probe fails
        assert.equal(30, llmpool.now())
        assert.equal(90, of(pool, "a").rest_until)
        assert.equal("fine", (pool:generate("m", "q")))
        assert.equal(90, llmpool.now())
        local seen = {}
        for _, e in ipairs(events:read()) do
          if e.kind == "opened" or e.kind == "half_open" or e.kind == "closed"
          then
            seen[#seen + 1] = ("%s %s %g"):format(e.kind, e.client, e.time)
          end
        end
        assert.same({ "opened a 0", "half_open a 30", "opened a 30",
                      "half_open a 90", "closed a 90" }, seen)
      end)
  end)

  it("is off for simulated and plain clients, on for real ones", function()
    with({ acting("a", { always = failure "server" }) }, function(pool)
      for _ = 1, 20 do pcall(pool.generate, pool, "m", "q") end
      assert.is_nil(of(pool, "a").breaker)
      assert.equal("idle", of(pool, "a").state)
    end)
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.openai { id = "k", model = "x",
                                                api_key = "sk-1" },
                               llmpool.openai { id = "l", model = "x",
                                                api_key = "sk-1",
                                                breaker = false } })
    assert.equal("closed", of(pool, "k").breaker)
    assert.is_nil(of(pool, "l").breaker)
  end)

  it("that nobody asked for never takes a model's only client", function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.openai { id = "k", model = "x",
                                                api_key = "sk-1" } })
    for _ = 1, 20 do
      pool:get_client("m", function(client)
        client:report { kind = "failure" }
      end)
    end
    assert.equal("closed", of(pool, "k").breaker)
    assert.equal(20, of(pool, "k").errors)
  end)

  it("never takes the last of several clients", function()
    local function bad(id)
      return acting(id, { always = failure "server" }, { breaker = breaker })
    end
    with({ bad "a", bad "b", bad "c" }, function(pool)
      for _ = 1, 20 do pcall(pool.generate, pool, "m", "q") end
      local open = 0
      for _, client in ipairs(pool:stats("m").clients) do
        if client.breaker == "open" then open = open + 1 end
      end
      assert.equal(2, open)
      assert.equal(0, llmpool.now())
    end)
  end)
end)

describe("exclude", function()
  it("takes another client, waits for one, or says that there is none",
     function()
    with({ llmpool.simulated { id = "a", latency = 1 },
           llmpool.simulated { id = "b", latency = 1 } }, function(pool)
      local function id_without(...)
        return pool:get_client("m", function(client) return client.id end,
          { exclude = { ... } })
      end
      assert.equal("b", id_without "a")
      assert.equal("a", id_without "b")
      local b = pool:acquire("m", { prefer = "b" })
      local task = llmpool.spawn(id_without, "a")
      llmpool.sleep(1)
      assert.equal(1, pool:stats("m").waiting)
      pool:generate("m", "q") -- a serves meanwhile
      b:release()
      assert.equal("b", task:join())
      local _, err = message(id_without, "a", "b")
      assert.equal("excluded", err.kind)
      assert.matches('every client of "m" is excluded', tostring(err))
    end)
  end)
end)

describe("client:report", function()
  it("tells the pool of a request that the script made itself", function()
    with({ acting("a", {}, { tpm = 100, breaker = { failures = 1 } }) },
      function(pool)
        pool:get_client("m", function(client)
          assert.is_true(client:report { kind = "success", latency = 2,
                                         first = 1, tokens = 5 })
        end, { tokens = 50 })
        assert.equal(95, of(pool, "a").tpm_left)
        assert.equal(2, of(pool, "a").latency)
        pool:get_client("m", function(client)
          client:report { kind = "failure", reason = "it hung" }
        end)
        assert.equal("open", of(pool, "a").state)
        assert.equal("it hung", of(pool, "a").last_error)
      end)
  end)

  it("rests and disables", function()
    with({ acting("a", {}), acting("b", {}) }, function(pool)
      local a = pool:acquire("m", { prefer = "a" })
      a:report { rest = 7, reason = "429" }
      a:release()
      assert.equal(7, of(pool, "a").rest_until)
      pool:get_client("m", function(client) client:disable "no credit" end)
      assert.equal("disabled", of(pool, "b").state)
      pool:disable_client("m", "a", "gone", 100)
      assert.equal("disabled", of(pool, "a").state)
      llmpool.sleep(100)
      assert.equal("idle", of(pool, "a").state)
    end)
  end)

  local wrong = {
    { { kind = "fine" }, "kind must be \"success\", \"failure\" or \"none\"" },
    { { knd = "success" }, "unknown option 'knd'; did you mean 'kind'?" },
    { { tokens = -1 }, "tokens must be a number, 0 or more" },
    { { latency = "1" }, "latency must be a number, 0 or more" },
    { { reason = 5 }, "reason must be a string" },
  }
  for i, case in ipairs(wrong) do
    it("refuses what is wrong: " .. i, function()
      with({ acting("a", {}) }, function(pool)
        pool:get_client("m", function(client)
          assert.matches("bad argument #1 to 'report' %(" .. case[2],
            message(function() client:report(case[1]) end))
          assert.matches("tokens = n",
            message(function() client:settle {} end))
        end)
        assert.equal(0, of(pool, "a").outcomes)
      end)
    end)
  end

  it("raises after the lease", function()
    with({ acting("a", {}) }, function(pool)
      local kept
      pool:get_client("m", function(client) kept = client end)
      assert.matches("its lease has ended", message(function()
        kept:report { kind = "success" }
      end))
    end)
  end)
end)
