-- What becomes of a client after a failure: it rests, is out of service, or its
-- breaker opens; and what a script reports of requests that it made itself.

local llmpool = require "llmpool"
local acting = require "spec.support.acting"
local surface = require "spec.support.surface"

local failure, run, stats_of, with =
  acting.failure, acting.run, acting.stats, acting.with
local message = surface.message

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
      local breaker = { failures = 1 }
      with({ acting.client("a", { failure(kind) }, { breaker = breaker }),
             acting.client("b", {}) }, function(pool)
        local _, err = message(pool.generate, pool, "m", "q",
          { prefer = "a" })
        assert.equal(kind, err.kind)
        local a = stats_of(pool, "a")
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
    with({ acting.client("a", { limited(20), limited(5) }, { slots = 2 }) },
      function(pool)
      run(2, function() pcall(pool.generate, pool, "m", "q") end)
      assert.equal(20, stats_of(pool, "a").rest_until)
      pool:generate("m", "q")
      assert.equal(20, llmpool.now())
    end)
  end)

  it("of a rate limit without a time backs off", function()
    local limited = failure "rate_limit"
    with({ acting.client("a", { limited, limited, limited, "ok", limited }) },
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
    with({ acting.client("a", { failure("auth", { status = 401,
             provider_code = "invalid_api_key" }) }), acting.client("b", {}) },
      function(pool)
        message(pool.generate, pool, "m", "q", { prefer = "a" })
        for _ = 1, 3 do pool:generate("m", "q", { prefer = "a" }) end
        assert.equal(3, stats_of(pool, "b").acquired)
        assert.equal("auth 401 invalid_api_key", stats_of(pool, "a").last_error)
        pool:replace_client("m", acting.client("a", {}))
        pool:generate("m", "q", { prefer = "a" })
        assert.equal(2, stats_of(pool, "a").acquired)
      end)
  end)

  it("of the last key ends all waits, and says which and why", function()
    with({ acting.client("a", { function()
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
      pool:replace_client("m", acting.client("a", {}))
      assert.equal("fine", (pool:generate("m", "q")))
    end)
  end)

  it("of a quota lasts until the time that the provider gave", function()
    with({ acting.client("a", { failure("quota_day", { retry_at = 3600 }) }) },
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
    with({ acting.client("a", { object, function() error("text", 0) end,
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
    with({ made, acting.client("b", {}) }, function(pool)
      local stream = pool:stream("m", "q", { prefer = "a" })
      message(function() for _ in stream do end end)
      assert.equal("open", stats_of(pool, "a").breaker)
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
        local a = stats_of(pool, "a")
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
    with({ acting.client("a", acts, { breaker = breaker, slots = 2 }) },
      function(pool)
        local events = pool:events()
        for _ = 1, 2 do pcall(pool.generate, pool, "m", "q") end
        local _, err = pool:acquire("m", { timeout = 29 })
        assert.equal("resting", err.kind)
        assert.equal(30, err.retry_at)
        pcall(pool.generate, pool, "m", "q") -- the probe fails
        assert.equal(30, llmpool.now())
        assert.equal(90, stats_of(pool, "a").rest_until)
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
    with({ acting.client("a", { always = failure "server" }) }, function(pool)
      for _ = 1, 20 do pcall(pool.generate, pool, "m", "q") end
      assert.is_nil(stats_of(pool, "a").breaker)
      assert.equal("idle", stats_of(pool, "a").state)
    end)
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.openai { id = "k", model = "x",
                                                api_key = "sk-1" },
                               llmpool.openai { id = "l", model = "x",
                                                api_key = "sk-1",
                                                breaker = false } })
    assert.equal("closed", stats_of(pool, "k").breaker)
    assert.is_nil(stats_of(pool, "l").breaker)
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
    assert.equal("closed", stats_of(pool, "k").breaker)
    assert.equal(20, stats_of(pool, "k").errors)
  end)

  it("never takes the last of several clients", function()
    local function bad(id)
      return acting.client(id, { always = failure "server" },
        { breaker = breaker })
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

describe("client:report", function()
  it("tells the pool of a request that the script made itself", function()
    with({ acting.client("a", {}, { tpm = 100, breaker = { failures = 1 } }) },
      function(pool)
        pool:get_client("m", function(client)
          assert.is_true(client:report { kind = "success", latency = 2,
                                         first = 1, tokens = 5 })
        end, { tokens = 50 })
        assert.equal(95, stats_of(pool, "a").tpm_left)
        assert.equal(2, stats_of(pool, "a").latency)
        pool:get_client("m", function(client)
          client:report { kind = "failure", reason = "it hung" }
        end)
        assert.equal("open", stats_of(pool, "a").state)
        assert.equal("it hung", stats_of(pool, "a").last_error)
      end)
  end)

  it("rests and disables", function()
    with({ acting.client("a", {}), acting.client("b", {}) }, function(pool)
      local a = pool:acquire("m", { prefer = "a" })
      a:report { rest = 7, reason = "429" }
      a:release()
      assert.equal(7, stats_of(pool, "a").rest_until)
      pool:get_client("m", function(client) client:disable "no credit" end)
      assert.equal("disabled", stats_of(pool, "b").state)
      pool:disable_client("m", "a", "gone", 100)
      assert.equal("disabled", stats_of(pool, "a").state)
      llmpool.sleep(100)
      assert.equal("idle", stats_of(pool, "a").state)
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
      with({ acting.client("a", {}) }, function(pool)
        pool:get_client("m", function(client)
          assert.matches("bad argument #1 to 'report' %(" .. case[2],
            message(function() client:report(case[1]) end))
          assert.matches("tokens = n",
            message(function() client:settle {} end))
        end)
        assert.equal(0, stats_of(pool, "a").outcomes)
      end)
    end)
  end

  it("raises after the lease", function()
    with({ acting.client("a", {}) }, function(pool)
      local kept
      pool:get_client("m", function(client) kept = client end)
      assert.matches("its lease has ended", message(function()
        kept:report { kind = "success" }
      end))
    end)
  end)
end)
