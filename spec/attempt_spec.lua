-- A router's attempt in one call into C (src/lua/attempt.c): the client comes
-- back whatever the request does, and what is too much for it goes the long
-- way, with the same outcome.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"

-- A client that does `generate` with each request.
local function client(id, generate)
  return { id = id, generate = function(_, request)
    return generate(request)
  end }
end

local function refuses()
  error(llmpool.error("server", "broken"), 0)
end

local function answers(text)
  return function() return text, { text = text } end
end

-- Runs fn(router, pool) over models {name = {clients, options}}, in virtual
-- time; the ledger is closed after it.
local function simulate(models, policy, fn)
  return llmpool.simulate({ seed = 1 }, function()
    local pool = llmpool.new()
    for name, entry in pairs(models) do
      pool:register_model(name, entry[1], entry[2])
    end
    local router = llmpool.router { pool = pool, policy = policy }
    pcall(router.generate, router, "the first looks the models up")
    local results = table.pack(fn(router, pool))
    ledger.settled(pool)
    return table.unpack(results, 1, results.n)
  end)
end

local plan = { { model = "a" }, { model = "b" } }

describe("an attempt in one call", function()
  it("gives text and response, and the client back before", function()
    simulate({ a = { { client("a1", answers "yes") } } }, "a",
      function(router, pool)
      local text, response = router:generate "q"
      assert.same({ "yes", "yes", 0 },
        { text, response.text, pool:stats("a").lent })
      assert.equal(2, pool:stats("a").acquired)
    end)
  end)

  it("goes on after a failure, with what the client's books say of it",
     function()
    simulate({ a = { { client("a1", refuses) } },
               b = { { client("b1", answers "b") } } }, plan,
      function(router, pool)
      assert.equal("b", (router:generate "q"))
      local books = pool:clients("a")[1]
      assert.equal("server", books.last_error)
      assert.is_true(books.error_rate > 0)
    end)
  end)

  it("goes straight through a plan that fails, and keeps every attempt",
     function()
    local failing = {}
    for _, name in ipairs { "a", "b", "c" } do
      failing[name] = { { client(name .. "1", function()
        llmpool.sleep(1)
        error(llmpool.error("server", name .. " is broken"), 0)
      end) } }
    end
    simulate(failing, { "a", "b", "c" }, function(router)
      local started = llmpool.now()
      local ok, err = pcall(router.generate, router, "q")
      assert.same({ false, "server", "a", "a1" },
        { ok, err.kind, err.model, err.client })
      for i, name in ipairs { "a", "b", "c" } do
        local attempt = err.attempts[i]
        assert.same({ i, name, name .. "1", "server", "CONNECTED", 1,
                      name .. " is broken" },
          { attempt.number, attempt.model, attempt.client, attempt.kind,
            attempt.state, attempt.seconds, attempt.message })
        assert.equal(started + i - 1, attempt.started)
      end
      assert.matches("3 attempts failed: a/a1: a is broken; b/b1", err.message)
      assert.matches("attempt 2 failed: b/b1 server", tostring(err.explanation))
    end)
  end)

  it("does not ask the same client again", function()
    simulate({ a = { { client("a1", refuses), client("a2", answers "a2") },
                     { order = "fifo" } } }, { "a", "a" }, function(router)
      assert.equal("a2", (router:generate "q"))
      assert.equal("a2", (router:generate "q"))
      assert.equal("a2", (router:generate "q"))
    end)
  end)

  it("stops where nobody else would answer differently", function()
    local asked = 0
    simulate({ a = { { client("a1", function()
                 error(llmpool.error("bad_request", "no"), 0)
               end) } },
               b = { { client("b1", function() asked = asked + 1 end) } } },
      plan, function(router)
      local ok, err = pcall(router.generate, router, "q")
      assert.same({ false, "bad_request", 0 }, { ok, err.kind, asked })
    end)
  end)

  it("waits in line, in order, and as long as the model says", function()
    local slow = client("a1", function(request)
      llmpool.sleep(1)
      return request
    end)
    simulate({ a = { { slow }, { timeout = 1.5 } } }, "a", function(router)
      local order, late = {}, nil
      local function ask(request)
        local text = router:generate(request)
        order[#order + 1] = text
      end
      llmpool.gather(function() ask "1" end, function() ask "2" end,
        function() late = select(2, pcall(router.generate, router, "3")) end)
      assert.same({ "1", "2" }, order)
      assert.same({ "timeout", "a" }, { late.kind, late.model })
      assert.equal(1, #late.attempts)
    end)
  end)

  it("ends with its task, waiting or served", function()
    local slow = client("a1", function() llmpool.sleep(5) end)
    simulate({ a = { { slow } } }, "a", function(router, pool)
      local first = llmpool.spawn(router.generate, router, "q")
      local second = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(1)
      assert.same({ 1, 1 }, { pool:stats("a").lent, pool:stats("a").waiting })
      second:cancel()
      first:cancel()
      local ok, err = pcall(first.join, first)
      assert.same({ false, "cancelled" }, { ok, err.kind })
      ok, err = pcall(second.join, second)
      assert.same({ false, "cancelled" }, { ok, err.kind })
      assert.equal(0, pool:stats("a").lent)
    end)
  end)

  it("tells of a deadlock as of any attempt that failed", function()
    local pool = llmpool.new()
    pool:register_model("a", { client("a1", answers "yes") })
    local router = llmpool.router { pool = pool, policy = "a" }
    assert.equal("yes", (router:generate "q"))
    local held = pool:acquire "a"
    local ok, err = pcall(router.generate, router, "q")
    assert.same({ false, "deadlock", 1 }, { ok, err.kind, #err.attempts })
    held:release()
    ledger.settled(pool)
  end)

  it("survives a model that goes while it works", function()
    local slow = client("a1", function()
      llmpool.sleep(1)
      return "done"
    end)
    simulate({ a = { { slow } } }, "a", function(router, pool)
      local task = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(0.5)
      pool:unregister_model("a", { wait = false })
      assert.equal("done", (task:join()))
    end)
  end)

  it("keeps a bug apart from a provider's failure", function()
    local function bug() local x = nil; return x.y end
    simulate({ a = { { client("a1", bug) } },
               b = { { client("b1", refuses) } } }, plan, function(router)
      local ok, err = pcall(router.generate, router, "q")
      assert.is_false(ok)
      assert.equal("error", err.kind)
      assert.matches("attempt to index", err.attempts[1].message)
      assert.same({ "a", "a1", "b", "b1" }, {
        err.attempts[1].model, err.attempts[1].client,
        err.attempts[2].model, err.attempts[2].client })
    end)
  end)
end)

describe("an attempt that is too much for it", function()
  local function is_answered(models, policy)
    simulate(models, policy or "a", function(router, pool)
      assert.equal("yes", (router:generate "q"))
      assert.equal("yes", (coroutine.wrap(function()
        return router:generate "q"
      end)()))
      assert.equal(3, pool:stats("a").acquired)
    end)
  end

  it("has a method that is found by a function", function()
    package.preload["attempt.proxy"] = function()
      return { new = function()
        return setmetatable({}, { __index = function(_, key)
          return key == "generate" and answers "yes" or nil
        end })
      end }
    end
    is_answered { a = { { llmpool.client { id = "a1",
                                           module = "attempt.proxy" } } } }
  end)

  it("has hooks", function()
    local told = {}
    local function tell(what)
      return function() told[#told + 1] = what end
    end
    is_answered { a = { { client("a1", answers "yes") },
      { on_lend = tell "lent", on_return = tell "back" } } }
    assert.equal("lent back lent back lent back", table.concat(told, " "))
  end)

  it("has a choice of models, or a client that it prefers", function()
    local models = { a = { { client("a1", answers "no"),
                             client("a2", answers "yes") } } }
    is_answered(models, { model = "a", client = "a2" })
    is_answered(models, { model = { "a" }, client = "a2" })
  end)

  it("has a client without the method: says so, and goes on", function()
    package.preload["attempt.mute"] = function()
      return { new = function() return { x = 1 } end }
    end
    local mute = llmpool.client { id = "a1", module = "attempt.mute" }
    simulate({ a = { { mute } }, b = { { client("b1", refuses) } } }, plan,
      function(router)
      local ok, err = pcall(router.generate, router, "q")
      assert.is_false(ok)
      assert.matches('"a1" has no generate method', err.attempts[1].message)
      assert.same({ "a", "a1" }, { err.attempts[1].model,
                                   err.attempts[1].client })
    end)
  end)
end)

describe("a simulated client's short way", function()
  local scenario = require "llmpool.scenario"

  -- The short way is for clients without a timeout of their own; one that never
  -- ends changes nothing else.
  local function hash_of(fields, timeout)
    local t = { timeout = timeout }
    for key, value in pairs(fields) do t[key] = value end
    local report = scenario {
      name = "ways",
      models = { a = { clients = scenario.clients(3, t) },
                 b = { clients = scenario.clients(2, t) } },
      policy = plan, traffic = { "poisson", rate = 12, count = 300 },
    }:run { seed = 3 }
    assert.equal(300, report.requests)
    return report.hash, report.served
  end

  local cases = {
    ["by chance"] = {
      latency = { "exponential", mean = 0.2 },
      failures = { rate = 0.1, kinds = { "server", "reset" } } },
    ["by the clock"] = { latency = { "lognormal", median = 0.2, sigma = 0.5 },
      failures = { rate = 0.05, outages = { { from = 3, to = 6 } } } },
    ["by a limit"] = { latency = { "uniform", min = 0, max = 0.4 },
                       failures = { limit = { rpm = 200 } } },
    ["never"] = { latency = { "empirical", values = { 0.1, 0.3, 0.5 } } },
    ["at once"] = {},
  }
  for name, fields in pairs(cases) do
    it("fails " .. name .. " as the long way does", function()
      assert.same({ hash_of(fields) }, { hash_of(fields, { total = 1e6 }) })
    end)
  end

  it("answers with a response that is read as any other", function()
    local seen
    scenario {
      name = "read", traffic = { "constant", rate = 1, count = 3 },
      models = { a = { clients = { { id = "a1", latency = 0.5 } } } },
      actions = { { at = 0.7, function(state)
        local text, response = state.router:generate { model = "a",
          messages = { { role = "user", content = "twelve chars" } } }
        seen = { text, response.text, response.model, response.client,
                 response.latency, response.finish_reason,
                 response.usage.prompt_tokens, response.usage.total_tokens,
                 response.timings.total, response.other }
      end } },
    }:run()
    assert.same({ "simulated", "simulated", "a", "a1", 0.5, "stop", 3, 6, 0.5 },
      seen)
  end)
end)
