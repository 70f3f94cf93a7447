-- What a policy may return: every form of a plan, and what is said of nonsense.

local llmpool = require "llmpool"
local plan = require "llmpool.router.plan"

local function refusal(value)
  local ok, err = pcall(plan.of, value)
  assert.is_false(ok)
  return err
end

local WHAT = "a plan is a model's name, a list of names, or a list of attempts"

describe("a plan", function()
  it("is a name, a list of names, an attempt, or a list of attempts", function()
    for _, case in ipairs {
      { "a", "plan (a)" }, { { "a", "b" }, "plan (a, then b)" },
      { { model = "a" }, "plan (a)" },
      { { { model = { "a", "b" } }, "c" }, "plan ({a, b}, then c)" },
      { { model = "a", client = "x" }, "plan (a/x)" },
      { { { model = "a", client = { "x", "y" } } }, "plan (a/x,y)" },
      { { refuse = "no" }, "plan (refuse: no)" },
    } do
      assert.equal(case[2], tostring(plan.of(case[1])))
    end
  end)

  it("fills in what is left out, and keeps nothing of the policy's table",
     function()
    local given = { { model = { "a", "b" }, client = "x" }, timeout = 9 }
    local made = plan.of(given)
    given[1].model[1], given[1].client, given[2] = "z", "z", "z"
    assert.same({ "a", "b" }, made[1].model)
    assert.same({ "x" }, made[1].client)
    assert.same({ "first", 0, 9, 1 },
      { made[1].commit, made[1].retries, made.timeout, #made })
  end)

  it("is compiled once", function()
    local made = llmpool.plan { "a", "b" }
    assert.equal(made, plan.of(made))
    assert.is_true(plan.is(made))
    assert.is_false(plan.is { "a" })
    assert.equal(plan.of "a", plan.of "a")
  end)

  it("says what a plan is when it is none", function()
    for _, case in ipairs {
      { nil, "nil is no plan: " .. WHAT }, { true, "a boolean is no plan" },
      { 42, "a number is no plan" }, { "", "an empty string is no plan" },
      { print, "a function is no plan" }, { {}, "the plan is empty; " .. WHAT },
      { { 1 }, "attempt 1 of the plan is a number; " .. WHAT },
      { { "a", false }, "attempt 2 of the plan is a boolean" },
      { { "" }, "attempt 1 of the plan is an empty string" },
      { { {} }, "attempt 1 of the plan has no model; " .. WHAT },
      { { model = {} }, "model of the plan must be a name that is not empty, "
        .. "or a list of names, got table" },
      { { model = { "a", 1 } }, "model of the plan must be a name" },
      { { { model = "a", client = 3 } }, "client of attempt 1 of the plan must"
        .. " be a name that is not empty, or a list of names, got 3" },
    } do
      assert.equal(case[2], refusal(case[1]):sub(1, #case[2]))
    end
  end)

  it("names the nearest of what is unknown", function()
    for _, case in ipairs {
      { { { modle = "a" } }, "has no model" },
      { { { modle = "a" } }, "did you mean 'model'" },
      { { modle = "a" }, "did you mean 'model'" },
      { { { model = "a", time_out = 3 } }, "did you mean 'timeout'" },
      { { model = "a", retrys = 3 }, "did you mean 'retries'" },
      { { "a", timout = 3 }, "did you mean 'timeout'" },
      { { model = "a", retry_on = "overload" },
        "unknown kind of failure 'overload'; did you mean 'overloaded'" },
      { { model = "a", retry_on = { "server", "xyz" } },
        "unknown kind of failure 'xyz'; there are auth, " },
    } do
      assert.matches(case[2], refusal(case[1]))
    end
  end)

  it("refuses values that make no sense", function()
    for field, values in pairs {
      timeout = { -1, "x", 0 / 0 }, wait = { -1, {} }, first = { true },
      retries = { -1, 1.5 }, hedge_after = { -0.1 },
      commit = { 0, 1.5, "last" },
      priority = { 4, -1, 1.5 }, context = { 0, -1 }, backoff = { 0 },
    } do
      for _, value in ipairs(values) do
        assert.matches(field .. " of the plan must be",
          refusal { model = "a", [field] = value })
      end
    end
  end)

  it("raises where llmpool.plan is called", function()
    local ok, err = pcall(function() llmpool.plan { 1 } end)
    assert.is_false(ok)
    assert.matches("plan_spec.lua:%d+: attempt 1", err)
  end)

  it("is known again when it is written anew", function()
    local function same(a, b)
      local first, second = plan.of(a), plan.of(b)
      assert.equal(first, second)
      assert.equal(first, plan.quick(b))
    end
    same({ "a", "b" }, { "a", "b" })
    same({ { model = "a", timeout = 1 }, "b" },
      { { model = "a", timeout = 1 }, "b" })
    same({ model = "a", retries = 2 }, { model = "a", retries = 2 })
    same({ { model = { "a", "b" } }, timeout = 3 },
      { { model = { "a", "b" } }, timeout = 3 })
  end)

  it("is another where anything is other", function()
    local plans = {
      { "a" }, { "a", "b" }, { "b", "a" }, { model = { "a", "b" } },
      { { model = "a" }, "b" }, { { model = "a", timeout = 1 } },
      { { model = "a", timeout = 2 } }, { { model = "a" }, timeout = 1 },
      { { model = "a" }, { model = "b" } }, { { model = { "a" } }, "b" },
      { { model = "a", client = "b" } }, { { model = "a", client = { "b" } } },
      { { model = "a", client = { "b", "c" } } }, { "a", timeout = 1 },
      { { model = "a" }, "timeout", "x" },
    }
    local seen = {}
    for round = 1, 2 do
      for i, value in ipairs(plans) do
        local made = plan.of(value)
        assert.equal(round == 2 and i or false, seen[made] or false)
        seen[made] = i
      end
    end
    -- what differs from these is refused, kept or not
    assert.matches("timeout of attempt 1",
      refusal { { model = "a", timeout = "x" } })
    assert.matches("has no model", refusal { { timeout = 1 } })
    assert.matches("timeout of the plan", refusal { "a", timeout = "x" })
    assert.matches("timeout", refusal { { model = "a", timeout = 0 / 0 } })
  end)

  it("is not kept if there is more to it than names and numbers", function()
    local function hook() end
    for _, make in ipairs {
      function() return { "a", on_done = hook } end,
      function() return { "a", cost = 1 } end,
      function() return { { model = setmetatable({ "a" }, {}) } } end,
      function() return { setmetatable({ model = "a" }, {}) } end,
      function() return setmetatable({ "a" }, {}) end,
    } do
      assert.not_equal(plan.of(make()), plan.of(make()))
    end
    for i = 1, 30000 do plan.of { { model = "a", timeout = i } } end
    assert.equal(30000, plan.of { { model = "a", timeout = 30000 } }[1].timeout)
  end)

  it("can be made of another, which stays as it was", function()
    local hook, other = function() end, function() end
    local from = plan.new { { model = "a", client = "x" }, "b", timeout = 3,
                            on_done = hook }
    local made = plan.with(from, { on_done = other, timeout = 4 })
    assert.same({ hook }, from.on_done)
    assert.same({ hook, other }, made.on_done)
    assert.same({ 3, 4 }, { from.timeout, made.timeout })
    made = plan.map(from, function(attempt)
      return attempt.model == "a" and { retries = 2 } or false
    end)
    assert.same({ 1, 2, 0, 3 },
      { #made, made[1].retries, from[1].retries, made.timeout })
    assert.same({ "x" }, made[1].ask.prefer)
  end)
end)
