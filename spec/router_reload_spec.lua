-- What a policy may do wrong, while serving and when it is replaced: no request
-- is lost, an event says so. And why a request goes where it goes.

local files = require "spec.support.files"
local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local scripted = require "spec.support.scripted"

local function simulate(options, fn)
  return llmpool.simulate({ seed = 1 }, function()
    local pool = llmpool.new()
    for _, id in ipairs { "a", "b", "c" } do
      pool:register_model(id, { scripted(id, { after = 1 }) })
    end
    options.pool = pool
    local router = llmpool.router(options)
    local events = {}
    router:listen(function(event)
      if event.event ~= "state" and event.event ~= "decision"
        and event.event ~= "done" then
        events[#events + 1] = event
      end
    end)
    fn(router, events, pool)
    ledger.settled(pool)
  end)
end

local function who(router, options)
  return select(2, router:generate("q", options)).client
end

local wrong = {
  raised = function() error "oops" end,
  instructions = function() while true do end end,
  memory = function() return ("x"):rep(1 << 30) end,
  plan = function() return 42 end,
}

describe("a policy that fails", function()
  for reason, fn in pairs(wrong) do
    it("(" .. reason .. ") costs a request its plan, not its answer",
       function()
      simulate({ policy = fn, default = "b" }, function(router, events)
        assert.equal("b", who(router))
        assert.same({ 1, "policy_failed", reason },
          { #events, events[1].event, events[1].reason })
        if reason ~= "memory" then
          assert.matches("router_reload_spec.lua:%d+", events[1].message)
        end
      end)
      simulate({ policy = fn }, function(router)
        assert.equal("a", who(router)) -- any model
      end)
    end)

    it("(" .. reason .. ") is the request's error where that is wanted",
       function()
      simulate({ policy = fn, strict = true }, function(router)
        local ok, err = pcall(router.generate, router, "q")
        assert.is_false(ok)
        assert.same({ "policy", reason }, { err.kind, err.reason })
      end)
    end)
  end

  it("names a model that is not registered, and the nearest", function()
    simulate({ policy = function() return { "b", "aa" } end, default = "c" },
      function(router, events, pool)
      pool:register_model("gpt-4", { scripted("x", {}) })
      assert.equal("c", who(router))
      assert.matches("router_reload_spec.lua:%d+: the plan names the model "
        .. '"aa", which is not registered; there are "a", "b", "c", "gpt%-4"',
        events[1].message)
    end)
  end)

  it("may not wait, and is told so", function()
    simulate({ policy = function() llmpool.sleep(1) end, default = "b" },
      function(router, events)
      assert.equal("b", who(router))
      assert.matches("cannot wait in a policy", events[1].message)
    end)
  end)

  it("has a budget that can be chosen", function()
    local function work() for _ = 1, 3000 do end return "b" end
    simulate({ policy = work, instructions = 1000, default = "c" },
      function(router) assert.equal("c", who(router)) end)
    simulate({ policy = work, instructions = 100000, default = "c" },
      function(router) assert.equal("b", who(router)) end)
  end)
end)

-- Files in a directory of their own.
local function with_file(fn)
  files.with("", function(path)
    fn(path, function(text) files.write(path, text) end)
  end)
end

describe("a policy that is reloaded", function()
  it("takes over at once; requests on their way keep their plan", function()
    with_file(function(path, write)
      write 'return require "llmpool.policy.fallback" { "b" }'
      simulate({ policy = "a" }, function(router, events)
        local old
        local task = llmpool.spawn(function() old = who(router) end)
        llmpool.sleep(0)
        assert.is_true(router:reload(path))
        assert.equal("b", who(router))
        task:join()
        assert.equal("a", old)
        assert.same({ "reloaded", "fallback" },
          { events[1].event, events[1].policy })
      end)
    end)
  end)

  local refused = {
    { "syntax error", "return function(", ":1: .* expected near <eof>" },
    { "nothing", "local x = 1", "returned nothing" },
    { "nonsense", "return 42", "a policy is a function" },
    { "runtime error", 'error "broken"', ":1: broken" },
    { "endless loop", "while true do end", "too many instructions" },
    { "memory bomb", 'local s = "x" while true do s = s .. s end',
      "held more than" },
    { "wait", 'require "llmpool".sleep(1)', "cannot wait in loading" },
    { "error in a decision", 'return function() error "later" end',
      ":1: later" },
    { "loop in a decision", "return function() while true do end end",
      "too many instructions" },
    { "bomb in a decision", 'return function() return ("x"):rep(1 << 30) end',
      "held more than" },
    { "plan that is none", "return function() return true end",
      "a boolean is no plan" },
    { "model that is not there", 'return function() return "d" end',
      'names the model "d"' },
  }
  for _, case in ipairs(refused) do
    it("is refused for a " .. case[1], function()
      with_file(function(path, write)
        write(case[2])
        simulate({ policy = "a" }, function(router, events)
          local ok, err = router:reload(path)
          assert.is_nil(ok)
          assert.matches(case[3], err)
          assert.same({ "reload_refused", path },
            { events[1].event, events[1].path })
          assert.equal("a", who(router))
        end)
      end)
    end)
  end

  it("is refused if there is no file, and checks its argument", function()
    simulate({ policy = "a" }, function(router)
      local ok, err = router:reload "/no/such/file.lua"
      assert.is_nil(ok)
      assert.matches("/no/such/file.lua: No such file", err)
      assert.matches("file's name expected, got nil",
        select(2, pcall(router.reload, router)))
      assert.equal("a", who(router))
    end)
  end)

  it("sets no globals", function()
    with_file(function(path, write)
      write 'x_of_the_policy = 1 return function() return "b" end'
      simulate({ policy = "a" }, function(router)
        assert.is_true(router:reload(path))
        assert.is_nil(rawget(_G, "x_of_the_policy"))
      end)
    end)
  end)

  it("goes back when it fails in service; the request is answered", function()
    with_file(function(path, write)
      write [[
        local n = 0
        return function(_, view)
          if not view.probe then n = n + 1 end
          if n > 3 then error "the fourth" end
          return "b"
        end]]
      simulate({ policy = "a" }, function(router, events)
        router:reload(path)
        local served = {}
        for i = 1, 6 do served[i] = who(router) end
        assert.equal("b b b a a a", table.concat(served, " "))
        local kinds = {}
        for i, event in ipairs(events) do kinds[i] = event.event end
        assert.same({ "reloaded", "policy_failed", "rolled_back" }, kinds)
        assert.matches(":4: the fourth", events[3].message)
      end)
    end)
  end)

  it("stays when it has stood its probation; the old one helps out", function()
    with_file(function(path, write)
      write [[
        local n = 0
        return function(_, view)
          if not view.probe then n = n + 1 end
          if n == 8 then error "once" end
          return "b"
        end]]
      simulate({ policy = "a", probation = 5 }, function(router, events)
        router:reload(path)
        local served = {}
        for i = 1, 10 do served[i] = who(router) end
        assert.equal("b b b b b b b a b b", table.concat(served, " "))
        assert.same({ "reloaded", "policy_failed" },
          { events[1].event, events[2].event })
        assert.equal(2, #events)
      end)
    end)
  end)

  it("on trial leaves the last good one in reserve, not another on trial",
     function()
    with_file(function(path, write)
      simulate({ policy = "a" }, function(router)
        write 'return "b"'
        router:reload(path)
        write [[return function(_, view)
          if not view.probe then error "x" end
          return "c" end]]
        router:reload(path)
        assert.equal("a", who(router))
        assert.equal("a", who(router))
      end)
    end)
  end)

  it("follows its file, as requests come", function()
    with_file(function(path, write)
      write 'return "b"'
      simulate({ policy = "a" }, function(router, events)
        assert.is_true(router:watch(path, 10))
        assert.equal("b", who(router)) -- at 1
        write 'return "c"'
        assert.equal("b", who(router)) -- too soon
        llmpool.sleep(10)
        assert.equal("c", who(router))
        write "return ("
        llmpool.sleep(10)
        assert.equal("c", who(router))
        assert.equal("reload_refused", events[#events].event)
        llmpool.sleep(10)
        who(router)
        local refusals = 0
        for _, event in ipairs(events) do
          if event.event == "reload_refused" then refusals = refusals + 1 end
        end
        assert.equal(1, refusals) -- told once
        os.remove(path)
        llmpool.sleep(10)
        assert.equal("c", who(router))
        write 'return "a"'
        llmpool.sleep(10)
        assert.equal("a", who(router))
      end)
    end)
  end)
end)

describe("a policy that fails says where it stands", function()
  local function refusal(policy)
    return llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { llmpool.simulated { id = "a" } })
      local router = llmpool.router { pool = pool, policy = policy,
                                      strict = true }
      return tostring(select(2, pcall(router.generate, router, "q")))
    end)
  end

  it("also by a model that is not there, and by memory", function()
    assert.matches('the policy at .*_spec%.lua:%d+: no model "n"',
      refusal(function(_, view) return view.n.free > 0 and "n" end))
    assert.matches("the policy at .*:%d+ held more than", refusal(function()
      return ("x"):rep(1 << 30)
    end))
    assert.matches('the policy least_busy: no model "n"',
      refusal(require "llmpool.policy.least_busy" { "n" }))
  end)
end)

describe("an explanation", function()
  it("prints as a table, and sends nothing", function()
    simulate({ policy = { { model = "a" }, "b" } }, function(router, _, pool)
      pool:cool_down("b", "b", 30)
      local text = tostring(router:explain "What is the time?")
      assert.equal([[
"What is the time?" by plan (a, then b)
  plan (a, then b)
  client  state            latency  errors  score  why
  a/a     free             -        0 %     -      first
  b/b     rests 30 s more  -        0 %     -      attempt 2, but it rests
  c/c     free             -        0 %     -      not in the plan]], text)
      assert.equal(0, pool:stats("a").acquired)
      pool:renew()
    end)
  end)

  it("has first tokens where somebody has streamed", function()
    local client = { id = "s", first_token = 0.2, per_token = 0.1,
                     reply = "a b c" }
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { llmpool.simulated(client) })
      local router = llmpool.router { pool = pool, policy = "m" }
      for _ in router:stream "q" do end -- luacheck: ignore
      local explained = router:explain "q"
      assert.near(0.2, explained.candidates[1].first_token, 1e-6)
      assert.matches("latency  first  errors.*0.2 s", tostring(explained))
    end)
  end)

  it("is data: the plan, the candidates, who is chosen", function()
    simulate({ policy = require "llmpool.policy.least_busy" { "a", "b" } },
      function(router, _, pool)
      local held <close> = pool:acquire "a" -- luacheck: ignore
      local explained = router:explain "q"
      assert.same({ "b", "b", 1 }, { explained.chosen.model,
        explained.chosen.client, explained.chosen.rank })
      assert.equal("least_busy", explained.policy)
      local first = explained.candidates[2]
      assert.same({ "a", "busy, 1 of 1 lent", "first, once it is free", 1 },
        { first.model, first.state, first.why, first.score })
      assert.is_nil(explained.candidates[3].rank)
    end)
  end)

  it("moves no policy on", function()
    for _, name in ipairs(require "llmpool.policy".names) do
      local library = require("llmpool.policy." .. name)
      local made
      if name == "weighted" then made = library { a = 2, b = 1 }
      elseif name == "by_request" then made = library { otherwise = "a" }
      elseif name == "canary" or name == "shadow" then
        made = library { "a", "b" }
      elseif name == "spend_budget" then made = library { "a", limit = 1 }
      elseif name == "hedge" or name == "retry" or name == "breaker"
        or name == "tenant_shares" then
        made = library { { "a", "b" } }
      else
        made = library { "a", "b" }
      end
      if name ~= "latency" then -- which draws by lot
        simulate({ policy = made }, function(router)
          local before = tostring(router:explain("q", { key = 1 }))
          for _ = 1, 3 do
            assert.equal(before, tostring(router:explain("q", { key = 1 })))
          end
        end)
      end
    end
  end)

  it("is an event of every decision, and part of a failure", function()
    local a = scripted("x", { fail = "bad_request" })
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { a })
      local seen
      local router = llmpool.router { pool = pool, policy = "m",
        on_event = function(event)
          if event.event == "decision" then seen = event.explanation end
        end }
      local _, err = pcall(router.generate, router, "q")
      assert.equal("x", seen.chosen.client)
      assert.matches("attempt 1 failed: m/x bad_request",
        tostring(err.explanation))
    end)
  end)

  it("of a policy that fails says how", function()
    simulate({ policy = wrong.raised }, function(router)
      assert.matches("the policy made no plan: .*router_reload_spec.lua:%d+: "
        .. "oops", tostring(router:explain "q"))
    end)
  end)
end)

describe("a listener", function()
  it("hears until it is ended, and does no harm when it fails", function()
    simulate({ policy = "a" }, function(router)
      local heard = 0
      local stop = router:listen(function() heard = heard + 1 end)
      who(router)
      assert.is_true(heard > 3)
      local before = heard
      stop()
      who(router)
      assert.equal(before, heard)
      local ended = router:listen(function() error "deaf" end)
      assert.equal("a", who(router))
      ended()
      local found, warnings = pcall(require, "warnings")
      if found then
        assert.matches("a hook of the router failed", warnings.take())
      end
      assert.matches("function expected, got nil",
        select(2, pcall(router.listen, router)))
    end)
  end)
end)
