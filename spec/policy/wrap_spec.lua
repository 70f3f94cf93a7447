-- The policies that are made of others: what they change of a plan, when, and
-- that they compose.

local llmpool = require "llmpool"
local routed = require "spec.support.routed"
local scripted = require "spec.support.scripted"

local policy, message, simulate, order, count, near, one_each =
  routed.policy, routed.message, routed.simulate, routed.order, routed.count,
  routed.near, routed.one_each

describe("by_request", function()
  local function who(router, request, options)
    return select(2, router:generate(request, options)).client
  end

  it("takes the first rule that fits", function()
    local models = {}
    for i, id in ipairs { "large", "tool", "german", "batch", "vip", "usual" }
    do
      models[i] = { id, scripted(id, {}) }
    end
    simulate(models, policy "by_request" {
      { tokens_over = 100, use = "large" }, { tools = true, use = "tool" },
      { language = "de", use = "german" }, { tag = "batch", use = "batch" },
      { when = function(request) return request.vip end, use = "vip" },
      otherwise = "usual",
    }, function(router)
      local function chat(text)
        return { messages = { { role = "user", content = text } } }
      end
      assert.equal("large", who(router, chat(("word "):rep(100))))
      assert.equal("large", who(router, chat "x", { tokens = 101 }))
      local tools = chat "x"
      tools.tools = { { type = "function" } }
      assert.equal("tool", who(router, tools))
      assert.equal("german", who(router,
        chat "Wie ist das Wetter und was soll ich mit dem Tag machen?"))
      assert.equal("batch", who(router, chat "x", { tags = { "y", "batch" } }))
      local vip = chat "x"
      vip.vip = true
      assert.equal("vip", who(router, vip))
      assert.equal("usual", who(router, chat "What is the time?"))
    end)
  end)

  it("needs all of a rule's conditions", function()
    local models = one_each()
    simulate(models, policy "by_request" {
      { tokens_over = 5, tag = "x", use = "n" }, otherwise = "m",
    }, function(router)
      assert.equal("a", who(router, "q", { tokens = 9 }))
      assert.equal("b", who(router, "q", { tokens = 9, tags = { "x" } }))
    end)
  end)

  it("knows a language by its script or its small words", function()
    local language = require "llmpool.policy.language"
    for text, code in pairs {
      ["What is the answer to this?"] = "en",
      ["Comment est-ce que je dois faire pour les enfants ?"] = "fr",
      ["Как тебя зовут?"] = "ru", ["今日は天気がいい"] = "ja",
      ["今天天气很好"] = "zh", ["안녕하세요 여러분"] = "ko",
      ["¿Cómo se hace el pan y los dulces?"] = "es",
    } do
      assert.equal(code, language.of(text))
    end
    assert.is_nil(language.of "12345 !!")
    assert.is_nil(language.of "\xff\xfe\x00")
    assert.equal("ru", language.of(("Как тебя зовут? "):rep(100)))
  end)

  it("refuses rules that are none", function()
    local by_request = policy "by_request"
    assert.matches("rule 1 of policy 'by_request' must be a table",
      message(by_request, { "x" }))
    assert.matches("did you mean 'tokens_over'",
      message(by_request, { { token_over = 1, use = "m" } }))
    assert.matches("rule 1 of policy 'by_request' needs use",
      message(by_request, { { tools = true } }))
  end)
end)

describe("canary", function()
  it("gives the new one its share, exactly", function()
    simulate(one_each(), policy "canary" { "m", "n", share = 0.05 },
      function(router)
      assert.same({ a = 950, b = 50 }, count(order(router, 1000)))
    end)
  end)

  it("keeps a key on its side", function()
    simulate(one_each(), policy "canary" { "m", "n", share = 0.3 },
      function(router)
      local n = 0
      for i = 1, 2000 do
        local who = order(router, 1, { key = i })
        assert.equal(who, order(router, 1, { key = i }))
        if who == "b" then n = n + 1 end
      end
      near(600, n, 0.1)
    end)
  end)
end)

describe("shadow", function()
  it("compares the decisions, and sends only the first", function()
    local shadow = policy "shadow"
    local models, a, b = one_each()
    local seen = {}
    local turn = 0
    local made = shadow { "m", function()
      turn = turn + 1
      return turn % 4 == 0 and "n" or "m"
    end, on_difference = function(request, main, other)
      seen[#seen + 1] = ("%s %s %s"):format(request, main[1].model,
        other[1].model)
    end }
    simulate(models, made, function(router)
      order(router, 8)
      assert.same({ 8, 0 }, { #a.calls, #b.calls })
      assert.same({ asked = 8, same = 6, different = 2, failed = 0 },
        shadow.counts(made))
      assert.same({ "q4 m n", "q8 m n" }, seen)
    end)
  end)

  it("does not feel what the second does wrong", function()
    local shadow = policy "shadow"
    for _, wrong in ipairs {
      function() error "x" end, function() return 42 end,
      function() while true do end end,
      function() llmpool.sleep(1) end,
      function() return ("x"):rep(1 << 30) end,
    } do
      local made = shadow { "m", wrong }
      simulate(one_each(), made, function(router)
        local failed = 0
        router:listen(function(event)
          if event.event == "policy_failed" then failed = failed + 1 end
        end)
        assert.equal("a a", order(router, 2))
        assert.equal(2, shadow.counts(made).failed)
        assert.equal(0, failed)
      end)
    end
    assert.matches("a shadow policy expected", message(shadow.counts, print))
  end)
end)

describe("retry", function()
  it("tries again, then goes on with the plan", function()
    local models, a, b = one_each()
    a.steps = { { fail = "server" } }
    simulate(models, policy "retry" { { "m", "n" }, retries = 2,
      backoff = 1 }, function(router)
      assert.equal("b", order(router, 1))
      assert.same({ 3, 1 }, { #a.calls, #b.calls })
    end)
  end)

  it("only after the kinds that it is told, within its own budget", function()
    local models, a = one_each { fail = "server" }
    simulate(models, policy "retry" { "m", retries = 1, on = { "reset" } },
      function(router)
      pcall(router.generate, router, "q")
      assert.equal(1, #a.calls)
    end)
    a.calls = {}
    simulate(models, policy "retry" { "m", retries = 1, backoff = 0.01,
      budget = { ratio = 0, burst = 3 } }, function(router)
      for _ = 1, 10 do pcall(router.generate, router, "q") end
      assert.equal(13, #a.calls)
    end)
    assert.matches("did you mean 'overloaded'", message(policy "retry",
      { "m", on = "overload" }))
  end)
end)

describe("breaker", function()
  it("opens and closes at the stated instants", function()
    local models, a, b = one_each { after = 1 }
    a.steps = { { after = 1, fail = "server" } }
    simulate(models, policy "breaker" { { "m", "n" }, failures = 3,
      open = 30 }, function(router)
      order(router, 3) -- fails at 1, 3, 5; opens at 5
      assert.same({ 3, 5.0 }, { #a.calls, a.calls[3].till })
      while llmpool.now() < 34 do order(router, 1) end
      assert.equal(3, #a.calls)
      a.steps = { { after = 1 } }
      assert.equal(34, llmpool.now())
      llmpool.sleep(35 - llmpool.now())
      -- two at once: one of them is the trial, the other goes round it
      local who = {}
      llmpool.scope(function(scope)
        for i = 1, 2 do
          scope:spawn(function() who[i] = order(router, 1) end)
        end
      end)
      assert.same({ "a", "b" }, who)
      assert.equal(35, a.calls[4].at)
      assert.equal("a a", order(router, 2)) -- closed
      assert.is_true(#b.calls > 20)
    end)
  end)

  it("lets one try, however long nobody came", function()
    local models, a = one_each { after = 1 }
    a.steps = { { after = 1, fail = "server" } }
    simulate(models, policy "breaker" { { "m", "n" }, failures = 1,
      open = 10 }, function(router)
      order(router, 1)
      llmpool.sleep(1000)
      a.calls = {}
      llmpool.scope(function(scope)
        for _ = 1, 8 do scope:spawn(order, router, 1) end
      end)
      assert.equal(1, #a.calls)
    end)
  end)

  it("lets another try where a trial never told how it ended", function()
    local models, a = one_each()
    a.steps = { { fail = "server" } }
    simulate(models, policy "breaker" { { "m", "n" }, failures = 1,
      open = 10 }, function(router)
      order(router, 1)
      llmpool.sleep(100)
      a.steps = { { after = 500 } }
      local trial = llmpool.spawn(order, router, 1)
      llmpool.sleep(1)
      trial:cancel()
      assert.is_false((trial:pjoin()))
      a.calls, a.steps = {}, { {} }
      assert.equal("b", order(router, 1))
      llmpool.sleep(10)
      assert.equal("a", order(router, 1))
    end)
  end)

  it("opens again, for twice as long, when the trial fails", function()
    local models, a = one_each()
    a.steps = { { fail = "server" } }
    simulate(models, policy "breaker" { { "m", "n" }, failures = 1, open = 10,
      max_open = 30 }, function(router)
      local at = {}
      for _ = 1, 1000 do
        order(router, 1)
        llmpool.sleep(0.1)
      end
      for i, call in ipairs(a.calls) do at[i] = math.floor(call.at + 0.15) end
      assert.same({ 0, 10, 30, 60, 90 }, at)
    end)
  end)

  it("does not count the caller's mistakes, nor what successes come between",
     function()
    local models, a = one_each()
    a.steps = { { fail = "bad_request" } }
    local made = policy "breaker" { { "m", "n" }, failures = 2 }
    simulate(models, made, function(router)
      for _ = 1, 5 do pcall(router.generate, router, "q") end
      a.steps = { { fail = "server" } }
      a.calls = {}
      order(router, 1)
      a.steps = { {} }
      order(router, 1)
      a.steps = { { fail = "server" } }
      order(router, 1)
      assert.equal(3, #a.calls)
    end)
  end)

  it("leaves a last resort", function()
    local a = scripted("a", { fail = "server" })
    simulate({ { "m", a } }, policy "breaker" { "m", failures = 1 },
      function(router)
      for _ = 1, 3 do pcall(router.generate, router, "q") end
      assert.equal(3, #a.calls)
    end)
  end)
end)

describe("tenant_shares", function()
  -- every tenant always has `each` requests waiting; who is served in `time`
  local function serve(made, tenants, time, slots)
    local a = scripted("a", { after = 1 })
    a.slots = slots
    local served, sequence = {}, {}
    simulate({ { "m", a } }, made, function(router)
      llmpool.scope(function(scope)
        for _, tenant in ipairs(tenants) do
          for _ = 1, tenant.each or 8 do
            scope:spawn(function()
              while llmpool.now() < time do
                router:generate("q", { tenant = tenant[1] })
                if llmpool.now() > time then return end
                served[tenant[1]] = (served[tenant[1]] or 0) + 1
                sequence[#sequence + 1] = tenant[1]
              end
            end)
          end
        end
      end)
    end)
    return served, table.concat(sequence, " ")
  end

  it("serves callers in proportion to their shares", function()
    local served = serve(policy "tenant_shares" { "m",
      shares = { gold = 3, free = 1 } }, { { "gold" }, { "free" } }, 400)
    near(300, served.gold)
    near(100, served.free)
  end)

  it("in a fixed order, by virtual finish time", function()
    local _, sequence = serve(policy "tenant_shares" { "m",
      shares = { a = 2, b = 1 } }, { { "a" }, { "b" } }, 9)
    assert.equal("a a b a a b a a b", sequence:sub(1, 17))
  end)

  it("lets no crowd push the others aside", function()
    local served = serve(policy "tenant_shares" { "m" },
      { { "noisy", each = 200 }, { "quiet", each = 2 } }, 100)
    near(50, served.quiet, 0.06)
  end)

  it("gives everything to who is alone, and no credit for having been away",
     function()
    local a = scripted("a", { after = 1 })
    simulate({ { "m", a } }, policy "tenant_shares" { "m" }, function(router)
      local sequence = {}
      local function ask(tenant, n)
        for _ = 1, n do
          llmpool.spawn(function()
            router:generate("q", { tenant = tenant })
            sequence[#sequence + 1] = tenant
          end)
        end
      end
      ask("x", 10)
      llmpool.sleep(10.5)
      assert.equal(("x "):rep(10):sub(1, -2), table.concat(sequence, " "))
      sequence = {}
      ask("x", 4)
      ask("y", 4)
      llmpool.sleep(10)
      assert.equal("x y x y x y x y", table.concat(sequence, " "))
    end)
  end)

  it("uses all slots there are", function()
    local served = serve(policy "tenant_shares" { "m" }, { { "x" }, { "y" } },
      50, 4)
    near(100, served.x, 0.06)
    near(100, served.y, 0.06)
  end)

  it("weighs by tokens if it is told to", function()
    local a = scripted("a", { after = 1 })
    local served = {}
    simulate({ { "m", a } }, policy "tenant_shares" { "m", by_tokens = true },
      function(router)
      llmpool.scope(function(scope)
        for _, tenant in ipairs { { "long", 300 }, { "short", 100 } } do
          for _ = 1, 8 do
            scope:spawn(function()
              while llmpool.now() < 200 do
                router:generate("q", { tenant = tenant[1],
                                       tokens = tenant[2] })
                served[tenant[1]] = (served[tenant[1]] or 0) + 1
              end
            end)
          end
        end
      end)
    end)
    near(150, served.short, 0.08)
    near(50, served.long, 0.2)
  end)

  it("gives a turn back that is given up, in time or by cancellation",
     function()
    local a = scripted("a", { after = 10 })
    simulate({ { "m", a } }, policy "tenant_shares" { "m" }, function(router)
      local first = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(0)
      local text, err = message(router.generate, router, "q", { timeout = 2 })
      assert.same({ "timeout", "QUEUED" },
        { err.kind, err.attempts[1].state })
      assert.matches("no turn within 2 s", text)
      local second = llmpool.spawn(router.generate, router, "q")
      local third = llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(1)
      second:cancel()
      second:pjoin()
      first:join()
      third:join()
      assert.same({ 20.0, 2 }, { llmpool.now(), #a.calls })
      assert.equal("a: last", (router:generate "last"))
    end)
  end)

  it("refuses shares that are none", function()
    assert.matches("the share of 'x' must be a number greater than 0, got 0",
      message(policy "tenant_shares", { "m", shares = { x = 0 } }))
  end)

  it("forgets callers who are gone", function()
    local function remembered(queue)
      local n = 0
      for _ in pairs(queue.finish) do n = n + 1 end
      return n, next(queue.waiting)
    end
    local queue = require "llmpool.router.gate".new({ x = 2 }, 1)
    queue:resize(2)
    for i = 1, 20000 do
      assert.is_true(queue:enter("t" .. i, 1))
      queue:leave("t" .. i)
    end
    assert.same({ 0 }, { remembered(queue) })
    queue:enter("x", 5) -- who stays, so that it is never empty
    for i = 1, 20000 do
      queue:enter("t" .. i, 1)
      queue:leave("t" .. i)
    end
    local n, waiting = remembered(queue)
    assert.is_true(n < 6000, n)
    assert.is_nil(waiting)
    assert.equal(2.5 + 0.5, queue:finish_time "x")
  end)
end)

describe("spend_budget", function()
  local function priced()
    local a = scripted("a", { after = 1, usage = { prompt_tokens = 500000,
      completion_tokens = 500000 } })
    a.price = { input = 1, output = 3 }
    return a
  end
  local request = { messages = {}, max_tokens = 500000 }
  local options = { tokens = 500000 }

  it("lets through what fits, then says when it may come again", function()
    local a = priced() -- a call costs 2
    simulate({ { "m", a } }, policy "spend_budget" { "m", limit = 5,
      per = 60 }, function(router)
      router:generate(request, options)
      router:generate(request, options)
      local text, err = message(router.generate, router, request, options)
      assert.same({ "refused", 60.0, 0 },
        { err.kind, err.retry_at, #err.attempts })
      assert.matches("4 of 5 is spent or reserved", text)
      llmpool.sleep(60)
      router:generate(request, options)
      assert.equal(3, #a.calls)
    end)
  end)

  it("reserves what is on its way", function()
    local a = priced()
    a.slots = 8
    simulate({ { "m", a } }, policy "spend_budget" { "m", limit = 5 },
      function(router)
      local ok = 0
      llmpool.scope(function(scope)
        for _ = 1, 8 do
          scope:spawn(function()
            if pcall(router.generate, router, request, options) then
              ok = ok + 1
            end
          end)
        end
      end)
      assert.equal(2, ok)
    end)
  end)

  it("gives back what a failure did not spend", function()
    local a = priced()
    a.steps = { { fail = "bad_request" } }
    simulate({ { "m", a } }, policy "spend_budget" { "m", limit = 2 },
      function(router)
      for _ = 1, 5 do pcall(router.generate, router, request, options) end
      assert.equal(5, #a.calls)
    end)
  end)

  it("lets another policy decide when it is spent", function()
    local a, b = priced(), scripted("b", {})
    simulate({ { "m", a }, { "n", b } }, policy "spend_budget" { "m",
      limit = 4, otherwise = "n" }, function(router)
      for _ = 1, 5 do router:generate(request, options) end
      assert.same({ 2, 3 }, { #a.calls, #b.calls })
    end)
  end)

  it("needs a limit", function()
    assert.matches("needs limit", message(policy "spend_budget", { "m" }))
  end)
end)

describe("policies", function()
  it("compose", function()
    local models, a, b = one_each { after = 1 }
    a.steps = { { after = 9 } }
    local made = policy "tenant_shares" { policy "breaker" {
      policy "retry" { policy "hedge" { policy "fallback" { "m", "n" },
        after = 2 }, retries = 1 } } }
    simulate(models, made, function(router)
      assert.equal("b", order(router, 1))
      assert.same({ 3.0, "cancelled" }, { llmpool.now(), a.calls[1].state })
      assert.equal(1, #b.calls)
    end)
  end)

  it("name what is unknown, and say what they need", function()
    for name, wrong in pairs {
      hedge = { "m", aftr = 1 }, retry = { "m", retrys = 1 },
      breaker = { "m", failure = 1 }, canary = { "m", "n", shar = 1 },
      latency = { "m", within = 3 }, cheapest = { "m", whithin = 3 },
      sticky = { "m", kee = 1 }, tenant_shares = { "m", share = {} },
    } do
      assert.matches("unknown option '.*' of policy '" .. name,
        message(policy(name), wrong))
    end
    for _, name in ipairs { "hedge", "retry", "breaker", "canary", "shadow",
                            "tenant_shares", "spend_budget" } do
      assert.matches("policy '" .. name .. "' needs a policy or a plan",
        message(policy(name), {}))
      assert.matches("table expected, got number", message(policy(name), 3))
    end
    for _, name in ipairs { "latency", "least_busy", "round_robin", "sticky" }
    do
      assert.matches("entry 1 of policy '" .. name .. "' must be a model's",
        message(policy(name), { 42 }))
    end
  end)

  it("are all in the library's list, each with its purpose", function()
    local library = require "llmpool.policy"
    for _, name in ipairs(library.names) do
      local made = require("llmpool.policy." .. name)
      assert.is_true(type(made) == "function" or type(made) == "table")
      local file = assert(io.open("lua/llmpool/policy/" .. name .. ".lua"))
      local text = file:read "a"
      file:close()
      assert.matches("^%-%- " .. name .. ": ", text)
      assert.matches("\n%-%- When: ", text)
    end
  end)
end)
