-- The simulated provider: what it may be given, how long it takes, how it
-- streams, and each way in which it fails, at the stated instant.

local llmpool = require "llmpool"
local files = require "spec.support.files"
local ledger = require "spec.support.ledger"

local FIRST = 2 ^ -30 -- of a second: retry_at is rounded up

-- Runs `body(pool)` on a virtual clock with one client of model "m".
local function with(fields, body, seed)
  return llmpool.simulate({ seed = seed or 1 }, function()
    local pool = llmpool.new()
    fields.id = fields.id or "a"
    pool:register_model("m", { llmpool.simulated(fields) })
    local results = table.pack(body(pool))
    ledger.settled(pool)
    return table.unpack(results, 1, results.n)
  end)
end

local function failure_of(pool, request, options)
  local ok, err = pcall(pool.get_client, pool, "m", function(client)
    return client:generate(request or "q", options)
  end)
  assert.is_false(ok)
  return err
end

local function stream_of(pool, request, options)
  return pool:get_client("m", function(client)
    local pieces, stream = {}, client:stream(request or "q", options)
    for piece in stream do pieces[#pieces + 1] = piece end
    return pieces, stream
  end)
end

describe("what a simulated client may be given", function()
  local function refused(fields)
    fields.id = fields.id or "a"
    local ok, message = pcall(llmpool.simulated, fields)
    assert.is_false(ok)
    return message
  end

  for _, case in ipairs {
    { { latncy = 1 }, "'latncy'.*did you mean 'latency'" },
    { { latency = { "uniforn", min = 1, max = 2 } }, "did you mean 'uniform'" },
    { { latency = { "uniform", min = 1 } }, "max of distribution 'uniform'" },
    { { latency = { "uniform", min = 2, max = 1 } }, "max 1 below min 2" },
    { { latency = { "constant", valu = 1 } }, "did you mean 'value'" },
    { { latency = -1 }, "latency" },
    { { latency = 0 / 0 }, "latency" },
    { { latency = math.huge }, "latency" },
    { { tokens = { "empirical" } }, "values, a list, or file" },
    { { tokens = { "empirical", values = {} } }, "one at least" },
    { { tokens = { "empirical", values = { 1, -1 } } }, "number 2" },
    { { tokens = { "empirical", file = "/none" } }, "cannot read /none" },
    { { failures = 1 }, "failures .*must be a table" },
    { { failures = { outage = {} } }, "did you mean 'outages'" },
    { { failures = { rate = 2 } }, "rate of failures must be.*got 2" },
    { { failures = { kinds = { "sever" } } }, "did you mean 'server'" },
    { { failures = { kinds = { server = -1 } } }, "weight of 'server'" },
    { { failures = { kind = "auht" } }, "did you mean 'auth'" },
    { { failures = { outages = { { from = 2, to = 1 } } } }, "outage 1.*ends" },
    { { failures = { outages = { { every = 2 } } } }, "both every and down" },
    { { failures = { outages = { { every = 2, down = 2 } } } }, "always" },
    { { failures = { burst = { every = 1 } } }, "needs lasts" },
    { { failures = { limit = {} } }, "rpm or tpm" },
    { { failures = { limit = { rpm = 0 } } }, "rpm of a limit" },
    { { failures = { cut = { rates = 1 } } }, "did you mean 'rate'" },
    { { failures = { silence = {} } }, "silence needs rate" },
    { { failures = { slow_first = { rate = 1 } } }, "needs delay" },
    { { timeout = { firs = 1 } }, "did you mean 'first'" },
  } do
    it("refuses it and says " .. case[2], function()
      assert.matches(case[2], refused(case[1]))
    end)
  end

  it("names the line of a file that holds no number", function()
    local message = files.with("0.1\n# a comment\n\nfast\n", function(name)
      return refused { latency = { "empirical", file = name } }
    end)
    assert.matches(":4: a number.*'fast'", message)
  end)
end)

describe("a simulated client's time", function()
  local function elapsed(fields, request)
    return with(fields, function(pool)
      pool:generate("m", request or "q")
      return llmpool.now()
    end)
  end

  local function near(expected, actual)
    assert.is_true(math.abs(expected - actual) < 1e-6,
      ("%s expected, got %s"):format(expected, actual))
  end

  it("is its latency", function()
    near(0.5, elapsed { latency = 0.5 })
    near(0.5, elapsed { latency = { "constant", value = 0.5 } })
    near(0.5, elapsed { latency = { "empirical", values = { 0.5 } } })
    near(3, elapsed({ latency = function(request) return #request end },
      "abc"))
  end)

  it("is the first token's and the others'", function()
    near(1.9, elapsed { first_token = 1, per_token = 0.1, tokens = 10 })
    near(1.2, elapsed({ first_token = 1, per_token = 0.1, tokens = 10 },
      { messages = { { role = "user", content = "q" } }, max_tokens = 3 }))
  end)

  it("has the mean of its distribution", function()
    local distribution = require "llmpool.distribution"
    for _, latency in ipairs {
      { "uniform", min = 1, max = 3 }, { "exponential", mean = 2 },
      { "lognormal", median = 1, sigma = 0.5 },
      { "empirical", values = { 1, 2, 6 } },
    } do
      local n = 4000
      local mean = with({ latency = latency }, function(pool)
        for _ = 1, n do pool:generate("m", "q") end
        return llmpool.now() / n
      end)
      local expected = distribution.mean(latency)
      assert.is_true(math.abs(mean / expected - 1) < 0.05,
        ("%s: mean %s, not %s"):format(latency[1], mean, expected))
    end
  end)

  it("is its own: others' draws do not shift it", function()
    local function first_of_b(many)
      return llmpool.simulate({ seed = 5 }, function()
        local pool = llmpool.new()
        local latency = { "exponential", mean = 1 }
        pool:register_model("m", { llmpool.simulated { id = "a",
          latency = latency } })
        pool:register_model("n", { llmpool.simulated { id = "b",
          latency = latency } })
        for _ = 1, many do pool:generate("m", "q") end
        local start = llmpool.now()
        pool:generate("n", "q")
        return llmpool.now() - start
      end)
    end
    assert.is_true(math.abs(first_of_b(0) - first_of_b(7)) < 1e-6)
  end)

  it("repeats with the seed, and only with it", function()
    local function run(seed)
      return with({ latency = { "exponential", mean = 1 } }, function(pool)
        for _ = 1, 5 do pool:generate("m", "q") end
        return llmpool.now()
      end, seed)
    end
    assert.equal(run(1), run(1))
    assert.not_equal(run(1), run(2))
  end)
end)

describe("a simulated answer", function()
  it("says what it has used and how long it took", function()
    local text, response = with({ first_token = 1, per_token = 0.5,
      tokens = 4, reply = "fine" }, function(pool)
      return pool:generate("m", "twelve chars")
    end)
    assert.equal("fine", text)
    assert.same({ prompt_tokens = 3, completion_tokens = 4, total_tokens = 7 },
      response.usage)
    assert.equal("stop", response.finish_reason)
    assert.equal(1, response.timings.first)
    assert.equal(2.5, response.timings.total)
    assert.equal("a", response.client)
  end)

  it("is cut by the request's max_tokens", function()
    local _, response = with({ tokens = 40 }, function(pool)
      return pool:generate("m", { max_tokens = 7,
        messages = { { role = "user", content = "q" } } })
    end)
    assert.equal(7, response.usage.completion_tokens)
    assert.equal("length", response.finish_reason)
  end)

  it("streams the words of its reply", function()
    with({ first_token = 1, per_token = 0.25, reply = "all is well" },
      function(pool)
        local pieces, stream = stream_of(pool)
        assert.equal("all", pieces[1].text)
        assert.equal(" is", pieces[2].text)
        assert.equal(4, #pieces)
        assert.equal("stop", pieces[4].finish_reason)
        assert.equal(1, pieces[4].usage.prompt_tokens)
        assert.equal("all is well", stream.response.text)
        assert.equal(1, stream.response.timings.first)
        assert.equal(1.5, llmpool.now())
        assert.is_nil(stream())
      end)
  end)

  it("streams as many tokens as are drawn", function()
    with({ tokens = 5, reply = "a b" }, function(pool)
      local pieces, stream = stream_of(pool)
      assert.equal(6, #pieces)
      assert.equal("a b a b a", stream.response.text)
      assert.equal(5, stream.response.usage.completion_tokens)
    end)
  end)

  it("ends when the stream is closed", function()
    with({ tokens = 5, per_token = 1 }, function(pool)
      pool:get_client("m", function(client)
        local stream <close> = client:stream "q"
        assert.truthy(stream:read().text)
        assert.matches("^stream %(m/a, open%)", tostring(stream))
        stream:close()
        assert.is_nil(stream:read())
        assert.is_nil(stream.response)
      end)
      assert.equal(0, llmpool.now())
    end)
  end)
end)

describe("a simulated failure", function()
  for kind, expected in pairs {
    bad_request = { 400, false, 0.05 }, context_length = { 400, false, 0.05 },
    content_filter = { 400, false, 0.05 }, auth = { 401, true, 0.05 },
    billing = { 402, true, 0.05 }, not_found = { 404, true, 0.05 },
    too_large = { 413, false, 0.05 }, rate_limit = { 429, true, 0.05 },
    quota_day = { 429, true, 0.05 }, server = { 500, true, 0.05 },
    overloaded = { 529, true, 0.05 }, timeout_connect = { nil, true, 5 },
    timeout_first = { nil, true, 30 }, reset = { nil, true, 0.05 },
    malformed = { 200, true, 0.05 }, truncated = { 200, true, 0.05 },
  } do
    it("of kind " .. kind .. " is as a provider's", function()
      with({ timeout = { first = 30 },
        failures = { rate = 1, kind = kind } }, function(pool)
        local err = failure_of(pool)
        assert.equal(kind, err.kind)
        assert.equal(expected[1], err.status)
        assert.equal(expected[2], err.retryable)
        assert.equal(expected[3], llmpool.now())
        assert.equal("simulated", err.provider)
        assert.is_false(err.committed)
        assert.equal("a", err.client)
        assert.equal("m", err.model)
      end)
    end)
  end

  it("without more is of kind provider, after the latency", function()
    with({ latency = 2, failure_rate = 1 }, function(pool)
      local err = failure_of(pool)
      assert.equal("provider", err.kind)
      assert.equal('client "a" of "m" failed, as simulated', tostring(err))
      assert.equal(2, llmpool.now())
    end)
  end)

  it("comes as often as its rate and its weights say", function()
    local counts, n = { server = 0, reset = 0 }, 4000
    with({ failures = { rate = 0.2, kinds = { server = 3, reset = 1 } } },
      function(pool)
        for _ = 1, n do
          local ok, err = pcall(pool.generate, pool, "m", "q")
          if not ok then counts[err.kind] = counts[err.kind] + 1 end
        end
      end)
    assert.is_true(math.abs(counts.server / n - 0.15) < 0.02)
    assert.is_true(math.abs(counts.reset / n - 0.05) < 0.01)
  end)

  it("takes the time that is said", function()
    with({ failures = { rate = 1, after = 3 } }, function(pool)
      failure_of(pool)
      assert.equal(3, llmpool.now())
    end)
  end)

  it("lasts as long as an outage does", function()
    with({ latency = 1, failures = { after = 0,
      outages = { { from = 2, to = 5, kind = "overloaded" } } } },
      function(pool)
        pool:generate("m", "q")
        pool:generate("m", "q")
        assert.equal("overloaded", failure_of(pool).kind)
        llmpool.sleep(2.999)
        assert.equal("overloaded", failure_of(pool).kind)
        llmpool.sleep(0.001)
        pool:generate("m", "q")
      end)
  end)

  it("comes and goes with an outage that flaps", function()
    with({ failures = { after = 0,
      outages = { { from = 10, to = 30, every = 10, down = 4 } } } },
      function(pool)
        local seen = {}
        for second = 0, 39 do
          local ok = pcall(pool.generate, pool, "m", "q")
          seen[second + 1] = ok and "." or "x"
          llmpool.sleep(1)
        end
        assert.equal("..........xxxx......xxxx................",
          table.concat(seen))
      end)
  end)

  it("comes in bursts, shared by the places of one key", function()
    with({ failures = { after = 0, burst = { every = 10, lasts = 5 } } },
      function(pool)
        local bad, changes, was = 0, 0, true
        for _ = 1, 2000 do
          local ok = pcall(pool.generate, pool, "m", "q")
          if ok ~= was then changes = changes + 1 end
          if not ok then bad = bad + 1 end
          was = ok
          llmpool.sleep(0.5)
        end
        assert.is_true(bad > 400 and bad < 950, bad .. " failed")
        assert.is_true(changes > 60 and changes < 260, changes .. " changes")
      end)
  end)

  it("is a 429 when the minute's requests are used up", function()
    with({ failures = { after = 0, limit = { rpm = 6 } } }, function(pool)
      for _ = 1, 6 do pool:generate("m", "q") end
      local err = failure_of(pool)
      assert.equal("rate_limit", err.kind)
      assert.equal(429, err.status)
      assert.is_true(math.abs(err.retry_at - 10) < 1e-5 + FIRST)
      llmpool.sleep(err.retry_at - llmpool.now())
      pool:generate("m", "q")
      assert.equal("rate_limit", failure_of(pool).kind)
    end)
  end)

  it("is a 429 when the minute's tokens are used up", function()
    with({ failures = { after = 0, limit = { tpm = 600,
      retry_after = false } } }, function(pool)
      local request = { prompt_tokens = 200, max_tokens = 100,
        messages = { { role = "user", content = "q" } } }
      pool:generate("m", request)
      pool:generate("m", request)
      local err = failure_of(pool, request)
      assert.equal("rate_limit", err.kind)
      assert.is_nil(err.retry_at)
      llmpool.sleep(30.001)
      pool:generate("m", request)
    end)
  end)

  it("is silence until the time that is allowed", function()
    with({ failures = { silence = { rate = 1 } } }, function(pool)
      local err = failure_of(pool, "q", { timeout = { first = 7 } })
      assert.equal("timeout_first", err.kind)
      assert.equal(7, llmpool.now())
      assert.equal("timeout_first", failure_of(pool, "q", { timeout = 3 }).kind)
      assert.equal(10, llmpool.now())
      failure_of(pool)
      assert.equal(610, llmpool.now())
    end)
  end)

  it("is the end of what a caller allows", function()
    with({ latency = 9 }, function(pool)
      assert.equal("timeout_total", failure_of(pool, "q", { timeout = 4 }).kind)
      assert.equal(4, llmpool.now())
      assert.equal("timeout_first",
        failure_of(pool, "q", { timeout = { first = 2, total = 5 } }).kind)
      assert.equal(6, llmpool.now())
    end)
  end)

  it("cuts a whole answer: another client may be tried", function()
    with({ latency = 4, failures = { cut = { rate = 1 } } }, function(pool)
      local err = failure_of(pool)
      assert.equal("truncated", err.kind)
      assert.is_true(err.retryable)
      assert.is_true(llmpool.now() < 4)
    end)
  end)

  it("delays a first token", function()
    with({ latency = 1, failures = { slow_first = { rate = 1, delay = 20 } } },
      function(pool)
        pool:generate("m", "q")
        assert.equal(21, llmpool.now())
      end)
  end)
end)

describe("a simulated stream that fails", function()
  local function cut(fields, options)
    return with(fields, function(pool)
      local texts, err = {}, nil
      pool:get_client("m", function(client)
        local ok
        ok, err = pcall(function()
          for piece in client:stream("q", options) do
            texts[#texts + 1] = piece.text
          end
        end)
        assert.is_false(ok)
      end)
      return #texts, err, llmpool.now()
    end)
  end

  it("is cut at the token that is said, committed", function()
    local n, err, at = cut { tokens = 10, per_token = 1,
      failures = { cut = { at = 4 } } }
    assert.equal(4, n)
    assert.equal("truncated", err.kind)
    assert.is_true(err.committed)
    assert.is_false(err.retryable)
    assert.equal(3, at)
  end)

  it("is not committed before its first token", function()
    local n, err = cut { tokens = 10, failures = { cut = { at = 0 } } }
    assert.equal(0, n)
    assert.is_false(err.committed)
    assert.is_true(err.retryable)
  end)

  it("is refused at once when the provider refuses", function()
    local n, err = cut { tokens = 10, failures = { rate = 1, kind = "auth" } }
    assert.equal(0, n)
    assert.equal("auth", err.kind)
    n, err = cut { tokens = 10, failure_rate = 1 }
    assert.equal(0, n)
    assert.equal("provider", err.kind)
  end)

  it("waits for a token no longer than is allowed", function()
    local slow = { tokens = 3, first_token = 5, per_token = 2 }
    local n, err, at = cut(slow, { timeout = { first = 4 } })
    assert.same({ 0, "timeout_first", false, 4 }, { n, err.kind,
      err.committed, at })
    n, err, at = cut(slow, { timeout = { idle = 1 } })
    assert.same({ 1, "timeout_idle", true, 6 }, { n, err.kind, err.committed,
      at })
    n, err, at = cut(slow, { timeout = { total = 8 } })
    assert.same({ 2, "timeout_total", true, 8 }, { n, err.kind, err.committed,
      at })
  end)
end)
