-- Scenarios: what they may say, what a run of one is, that it repeats, that
-- every policy meets the same traffic, and queueing theory as an outside check.

local llmpool = require "llmpool"
local scenario = require "llmpool.scenario"

local files = require "spec.support.files"

local function queue(fields)
  local t = {
    name = "queue", duration = 200,
    models = { m = { clients = scenario.clients(2, {
      latency = { "exponential", mean = 1 } }) } },
    traffic = { "poisson", rate = 1.5 },
  }
  for key, value in pairs(fields or {}) do t[key] = value end
  return scenario(t)
end

describe("a scenario that is declared", function()
  local function refused(t)
    if t and t.models and not t.traffic and not t.bare then
      t.traffic, t.duration = { "poisson", rate = 1 }, 1
    end
    if t then t.bare = nil end
    local ok, message = pcall(scenario, t)
    assert.is_false(ok)
    return message
  end

  local models = { m = { clients = { { id = "a" } } } }
  local traffic = { "poisson", rate = 1 }

  for _, case in ipairs {
    { nil, "bad argument #1 to 'scenario'" },
    { {}, "scenario without clients" },
    { { modles = models }, "did you mean 'models'" },
    { { models = {} }, "without clients: it needs a model" },
    { { models = { m = {} } }, 'model "m" has no clients' },
    { { models = { m = { clients = {} } } }, 'model "m" has no clients' },
    { { models = { m = { client = {} } } }, "did you mean 'clients'" },
    { { models = { m = { clients = { {} } } } }, "client 1 of .*id" },
    { { models = { m = { clients = { { id = "a", latncy = 1 } } } } },
      "did you mean 'latency'" },
    { { models = { { clients = { { id = "a" } } } } }, "needs a name" },
    { { models = { { name = "m", clients = { { id = "a" } } },
                   { name = "m", clients = { { id = "a" } } } } },
      '"m" is there twice' },
    { { models = models, bare = true }, "scenario without traffic" },
    { { models = models, traffic = {} }, "scenario without traffic" },
    { { models = models, traffic = { "poison", rate = 1 } },
      "did you mean 'poisson'" },
    { { models = models, traffic = { "poisson" } }, "needs rate" },
    { { models = models, traffic = { "poisson", rate = -1 } },
      "rate of traffic 1 %(poisson%) must be .* greater than 0, got %-1" },
    { { models = models, traffic = { "poisson", rate = 1, form = 2 } },
      "did you mean 'from'" },
    { { models = models, traffic = { "steps", steps = { { from = 1 } } } },
      "step 1 must be" },
    { { models = models, traffic = { "at", times = { 2, 1 } } }, "instant 2" },
    { { models = models, traffic = { "day", low = 3, peak = 2 },
        duration = 1 }, "low 3 is above peak 2" },
    { { models = models, traffic = { "poisson", rate = 1, model = "n" },
        duration = 1 }, 'asks for the model "n"; there is "m"' },
    { { models = models, traffic = traffic }, "would never end" },
    { { models = models, traffic = traffic, duration = 0 }, "duration" },
    { { models = models, traffic = traffic, duration = 1, seed = 1.5 },
      "seed" },
    { { models = models, traffic = traffic, duration = 1,
        expect = { "served_rate" } }, "expectation 1.*PATH OPERATOR NUMBER" },
    { { models = models, traffic = traffic, duration = 1, expect = { 1 } },
      "expectation 1 is a number" },
    { { models = models, traffic = traffic, duration = 1,
        actions = { { at = 1 } } }, "action 1 must be" },
    { { models = models, traffic = traffic, duration = 1, policy = 1 },
      "policy" },
  } do
    it("is refused with " .. case[2], function()
      assert.matches(case[2], refused(case[1]))
    end)
  end

  it("needs a model in the traffic where there are two", function()
    local two = { a = models.m, b = models.m }
    assert.matches("traffic 1 needs model", refused {
      models = two, traffic = traffic, duration = 1 })
  end)

  it("blames the line of the script", function()
    local chunk = load("local s = ...\nreturn s {\nmodels = {},\n}", "=my.lua")
    local ok, message = pcall(chunk, scenario)
    assert.is_false(ok)
    assert.matches("^my%.lua:%d+: ", message)
  end)
end)

describe("a run of a scenario", function()
  it("repeats with its seed", function()
    local s = queue()
    for seed = 1, 5 do
      local a, b = s:run { seed = seed }, s:run { seed = seed }
      assert.equal(a.hash, b.hash)
      assert.equal(a.requests, b.requests)
      assert.not_equal(a.hash, s:run { seed = seed + 100 }.hash)
    end
  end)

  it("repeats for 1,000 seeds #slow", function()
    local s, seen = queue { duration = 20 }, {}
    for seed = 1, 1000 do
      local hash = s:run { seed = seed }.hash
      assert.equal(hash, s:run { seed = seed }.hash)
      assert.is_nil(seen[hash])
      seen[hash] = true
    end
  end)

  it("has the same traffic whatever the policy", function()
    local s = scenario {
      duration = 300, traffic = {
        { "poisson", rate = 1.5, prompt_tokens = { "exponential", mean = 99 } },
        { "bursts", every = { "exponential", mean = 20 }, size = 5,
          spread = 3 } },
      models = {
        a = { clients = scenario.clients(2, { latency = {
          "exponential", mean = 1 }, failures = { rate = 0.1 } }) },
        b = { clients = { { id = "x", latency = 0.1 } } },
      },
      policy = "a",
    }
    local function arrivals(policy)
      local list = {}
      s:run { policy = policy, seed = 3,
        trace = function(source, started, _, request)
          list[#list + 1] = ("%.9f %d %s"):format(started, source.number,
            request.prompt_tokens)
        end }
      table.sort(list)
      return list
    end
    local first = arrivals()
    assert.is_true(#first > 400)
    assert.same(first, arrivals "b")
    assert.same(first, arrivals(llmpool.plan { { model = "a" },
      { model = "b" } }))
  end)

  it("closes the books", function()
    local r = queue():run()
    assert.equal(r.requests, r.served + r.failed.total)
    assert.equal(r.requests, r.latency.count)
    assert.equal(r.leases, r.wait.count)
    local lends = 0
    for _, client in ipairs(r.clients) do lends = lends + client.lends end
    assert.equal(r.leases, lends)
  end)

  it("agrees with Little's law", function()
    local r = queue { duration = 5000 }:run()
    local served = r.requests / r.seconds
    assert.is_true(math.abs(r.queue.mean / (served * r.wait.mean) - 1) < 1e-6)
    assert.is_true(math.abs(r.clients[1].busy + r.clients[2].busy
      - (r.latency.mean - r.wait.mean) * r.requests) < 1e-3)
  end)

  it("takes a model that is its list of clients", function()
    local clients = { { id = "a", latency = 1 } }
    local function hash(m)
      return scenario { models = { m = m }, traffic = { "constant", rate = 1 },
                        duration = 5 }:run().hash
    end
    assert.equal(hash { clients = clients }, hash(clients))
  end)

  -- Three at once, a second each: the second waits 1 s for its turn, the third
  -- 2 s, and none of them for a client.
  it("has the waits in tenant_shares' own line", function()
    local report = scenario {
      models = { m = { clients = { { id = "a", latency = 1 } } } },
      make_policy = function()
        return require "llmpool.policy.tenant_shares" { "m" }
      end,
      traffic = { "once", callers = 3, at = 0 },
    }:run {}
    assert.same({ 3, 2 }, { report.turn.count, report.turn.max })
    assert.near(1, report.turn.mean, 1e-9)
    assert.equal(0, report.wait.max)
    local text = require "llmpool.scenario.text".report(report, 80)
    assert.matches("\nturn +", text)
  end)

  it("counts a caller in the lines of several models once", function()
    local clients = { { id = "a", latency = { "exponential", mean = 1 } } }
    local r = scenario {
      models = { one = { clients = clients }, two = { clients = clients } },
      traffic = { "poisson", rate = 1.6 }, duration = 2000,
      policy = function() return { { model = { "one", "two" } } } end,
    }:run()
    assert.is_true(r.queue.mean > 1)
    assert.is_true(math.abs(r.queue.mean
      / (r.requests / r.seconds * r.wait.mean) - 1) < 1e-6)
  end)
end)

-- Erlang's C: the mean wait of M/M/c, in service times.
local function erlang_c(c, load)
  local sum, term = 0, 1
  for k = 0, c - 1 do
    sum = sum + term
    term = term * load / (k + 1)
  end
  local waits = term * c / (c - load)
  return waits / (sum + waits) / (c - load)
end

describe("queueing theory", function()
  local function measured(c, load, duration)
    return scenario {
      duration = duration, traffic = { "poisson", rate = load },
      models = { m = { clients = scenario.clients(c, {
        latency = { "exponential", mean = 1 } }) } },
    }:run { seed = 7 }.wait.mean
  end

  it("knows the mean wait of one server", function()
    assert.is_true(math.abs(erlang_c(1, 0.5) - 1) < 1e-9)
  end)

  for _, case in ipairs { { 2, 1.0 }, { 4, 2.8 }, { 8, 6.8 } } do
    local c, load = case[1], case[2]
    it(("agrees for %d servers at %.0f %% load #slow"):format(c,
      load / c * 100), function()
      local wait, expected = measured(c, load, 1000000 / load),
        erlang_c(c, load)
      assert.is_true(math.abs(wait / expected - 1) < 0.03,
        ("%.4f, Erlang C says %.4f"):format(wait, expected))
    end)
  end

  it("agrees for 3 servers at half load", function()
    local wait, expected = measured(3, 1.5, 40000), erlang_c(3, 1.5)
    assert.is_true(math.abs(wait / expected - 1) < 0.06,
      ("%.4f, Erlang C says %.4f"):format(wait, expected))
  end)
end)

describe("an expectation", function()
  local function judged(line, fields)
    local r = queue(fields):run()
    local expect = require "llmpool.scenario.expect"
    return expect.judge(expect.check({ line }, 1), r)[1]
  end

  it("holds, or says what was there", function()
    assert.is_true(judged("served_rate == 1").ok)
    assert.is_true(judged("served_rate >= 100 %").ok)
    assert.is_true(judged("served == requests").ok)
    assert.is_true(judged("failed.timeout == 0").ok)
    assert.is_true(judged("clients.key-1.utilisation > 0.3").ok)
    assert.is_true(judged("clients.m/key-2.lends > 10").ok)
    assert.is_true(judged("models.m.queue.max >= 1").ok)
    local result = judged("latency.p95 < 0.1")
    assert.is_false(result.ok)
    assert.matches("^expected latency.p95 < 0.1, got %d", result.message)
  end)

  it("counts a rest as far as it has come", function()
    local r = scenario { name = "rest", duration = 10, policy = "m",
      models = { m = { clients = { { id = "a", latency = 1 },
                                   { id = "b", latency = 1 } } } },
      traffic = { "constant", rate = 1 },
      actions = { { at = 2, function(run)
        run.pool:cool_down("m", "a", 86400)
        run.pool:cool_down("m", "a", 2 * 86400)
      end } } }:run()
    local a = r.clients[1]
    assert.is_true(a.rest > 7 and a.rest <= r.seconds - 2 + 1e-9, a.rest)
    assert.is_true(a.resting + a.utilisation <= 1)
  end)

  it("knows kinds of failure, and what an expectation is", function()
    local function judge(line)
      local s = scenario { name = "x", duration = 2, policy = "m",
        models = { m = { clients = { { id = "a", latency = 0.1 } } } },
        traffic = { "constant", rate = 1 }, expect = { line } }
      return s:run().expected[1]
    end
    assert.is_true(judge("failed.rate_limit == 0").ok)
    assert.matches("unknown kind of failure 'rate_limt'; did you mean "
      .. "'rate_limit'%?",
      judge("failed.rate_limt == 0").message)
    assert.matches("there is no 'zz' in clients; there are a",
      judge("clients.zz.busy < 1").message)
    for _, line in ipairs { "latency.p95 << 1", "served_rate > 99 percent" } do
      assert.matches('expectation 1, ".*": an expectation is "PATH OPERATOR',
        select(2, pcall(judge, line)))
    end
  end)

  it("names the nearest path", function()
    assert.matches("did you mean 'latency'", judged("latncy.p95 < 1").message)
    assert.matches("did you mean 'p95'", judged("latency.p96 < 1").message)
    assert.matches("is a number", judged("served.p95 < 1").message)
    assert.matches("is no number", judged("latency < 1").message)
  end)

  it("may be a function", function()
    local function run(fn)
      local r = queue { expect = { fn } }:run()
      return r.ok, r.expected[1].message
    end
    assert.is_true((run(function(r) return r.served > 0 end)))
    local ok, message = run(function() return false, "too slow" end)
    assert.is_false(ok)
    assert.equal("too slow", message)
    ok, message = run(function() end)
    assert.is_false(ok)
    assert.matches("returned nothing", message)
  end)

  it("fails the test that verifies it", function()
    queue { expect = { "served_rate == 1" } }:verify()
    local ok, err = pcall(function()
      queue { expect = { "served_rate < 1" } }:verify { seed = 9 }
    end)
    assert.is_false(ok)
    assert.matches("seed 9:.*served_rate < 1: expected served_rate < 1, got 1",
      tostring(err))
  end)
end)

describe("traffic", function()
  local function arrivals(source, duration)
    local times = {}
    scenario {
      duration = duration or 100, traffic = source,
      models = { m = { clients = { { id = "a", slots = 50,
        latency = function()
          times[#times + 1] = llmpool.now()
          return 0
        end } } } },
    }:run()
    return times
  end

  it("is constant", function()
    local times = arrivals({ "constant", rate = 2, from = 1 }, 4)
    assert.same({ 1, 1.5, 2, 2.5, 3, 3.5 }, times)
  end)

  it("is at stated instants, and ends with count or to", function()
    assert.same({ 1, 2 }, arrivals { "at", times = { 1, 2, 3 }, count = 2 })
    assert.same({ 1, 2 }, arrivals { "at", times = { 1, 2, 3 }, to = 3 })
    assert.same({ 5, 5, 5 }, arrivals { "once", at = 5, callers = 3 })
  end)

  it("comes in bursts", function()
    local times = arrivals({ "bursts", every = 10, size = 4 }, 25)
    assert.same({ 0, 0, 0, 0, 10, 10, 10, 10, 20, 20, 20, 20 }, times)
    times = arrivals({ "bursts", every = 10, size = 4, spread = 5 }, 10)
    assert.equal(4, #times)
    assert.is_true(times[1] < times[4] and times[4] < 5)
  end)

  it("has the rate that it says", function()
    local function near(expected, times)
      assert.is_true(math.abs(#times / expected - 1) < 0.1, #times)
    end
    near(1000, arrivals { "poisson", rate = 10 })
    near(550, arrivals { "day", low = 1, peak = 10, period = 100 })
    near(500, arrivals { "steps", steps = { { from = 0, rate = 0 },
      { from = 50, rate = 10 } } })
    local times = arrivals { "day", low = 0, peak = 20, period = 100,
      peak_at = 0.25 }
    local early = 0
    for _, at in ipairs(times) do
      if at < 50 then early = early + 1 end
    end
    assert.is_true(early / #times > 0.75)
  end)

  it("replays the arrivals of a trace, twice as fast", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write('{"trace":"llmpool","version":1}\n')
    for at = 10, 14 do
      file:write(('{"at":%d,"attempts":[],"tenant":"t%d"}\n'):format(at,
        at % 2))
    end
    file:close()
    local function of(given)
      return scenario { name = "x", policy = "m", traffic = given,
        models = { m = { clients = { { id = "a", latency = 0.1 } } } } }
    end
    local r = of({ "replay", file = path, speed = 2 }):run()
    os.remove(path)
    assert.same({ 5, 3, 2.1 }, { r.served, r.tenants.t0.requests,
      (r.seconds * 10 + 0.5) // 1 / 10 })
    assert.matches("scenario_spec.lua:%d+: traffic 1: cannot read the trace",
      select(2, pcall(of, { "replay", file = "/none" })))
  end)

  it("refuses what would never end, or never begin", function()
    local function refused(traffic)
      return select(2, pcall(scenario, { name = "x", policy = "m",
        traffic = traffic, duration = 9,
        models = { m = { clients = { { id = "a", latency = 0.1 } } } } }))
    end
    assert.matches("every of traffic 1 %(bursts%) must be a number greater "
      .. "than 0, got 0", refused { "bursts", every = 0, size = 1 })
    assert.matches("traffic 1 ends %(to = 2%) before it begins %(from = 5%)",
      refused { "poisson", rate = 1, from = 5, to = 2 })
    assert.matches('client 2 of model "m" has the id "a" of client 1',
      select(2, pcall(scenario, { name = "x", policy = "m", duration = 9,
        traffic = { "poisson", rate = 1 },
        models = { m = { clients = { { id = "a" }, { id = "a" } } } } })))
  end)

  it("asks with different keys, tokens and tenants, the same on each run",
    function()
      local function seen()
        local keys, prompts, n = {}, {}, 0
        scenario {
          duration = 50, traffic = { "poisson", rate = 10, keys = 5,
            tenant = "t", prompt_tokens = { "uniform", min = 10, max = 20 } },
          models = { m = { clients = scenario.clients(20, { latency = 1 }) } },
          policy = function(request, _, options)
            n = n + 1
            keys[n], prompts[n] = options.key, request.prompt_tokens
            return "m"
          end,
        }:run()
        return table.concat(keys, " "), table.concat(prompts, " "), n
      end
      local keys, prompts, n = seen()
      local k, p = seen()
      assert.equal(keys, k)
      assert.equal(prompts, p)
      for i = 1, 5 do
        local count = select(2, keys:gsub("key%-" .. i, ""))
        assert.is_true(math.abs(count / n - 0.2) < 0.06, count)
      end
      assert.matches("^key%-%d key%-%d", keys)
      assert.falsy(keys:find "key%-6")
      assert.truthy(prompts:find "19" and prompts:find "10")
    end)

  it("waits for its answers where it is closed", function()
    local r = scenario {
      duration = 100, traffic = { "closed", callers = 3, think = 1 },
      models = { m = { clients = scenario.clients(3, { latency = 1 }) } },
    }:run()
    assert.equal(150, r.requests)
    assert.equal(0, r.wait.max)
  end)

  it("stands still for nobody", function()
    local r = scenario {
      duration = 1, traffic = { "closed", callers = 1 },
      models = { m = { clients = { { id = "a" } } } },
    }:run()
    assert.is_true(r.requests >= 999)
  end)
end)

describe("a scenario's file", function()
  local text = [[
    local scenario = require "llmpool.scenario"
    local set = scenario.settings { rate = 2, wait = true, kind = "poisson" }
    return scenario { name = "f", duration = 10,
      models = { m = { clients = { { id = "a" } } } },
      traffic = { set.kind, rate = set.rate } }
  ]]

  it("is loaded, with settings", function()
    files.with(text, function(name)
      assert.equal(2, scenario.load(name).traffic[1].rate)
      assert.equal(5, scenario.load(name, { rate = "5" }).traffic[1].rate)
      assert.equal(5, scenario.load(name, { rate = 5 }).traffic[1].rate)
    end)
  end)

  it("is refused with what is wrong", function()
    files.with(text, function(name)
      local function refused(settings)
        return select(2, pcall(scenario.load, name, settings))
      end
      assert.matches("unknown setting 'rat'; did you mean 'rate'%?",
        refused { rat = 1 })
      assert.matches("rate must be a number, got 'x'", refused { rate = "x" })
      assert.matches("wait must be true or false", refused { wait = "yes" })
    end)
    files.with("return 1", function(name)
      assert.matches("returns no scenario %(number%)",
        select(2, pcall(scenario.load, name)))
    end)
    files.with("return +", function(name)
      assert.matches(":1: unexpected symbol",
        select(2, pcall(scenario.load, name)))
    end)
    assert.matches("cannot open", select(2, pcall(scenario.load, "/none.lua")))
  end)
end)
