-- help(): anything public, by its name or by itself.

local help = require "llmpool.prompt.help"
local llmpool = require "llmpool"

local function text(...) return help.text(80, ...) end

describe("help", function()
  it("without anything fits a screen", function()
    local overview = text()
    local _, breaks = overview:gsub("\n", "")
    assert.is_true(breaks < 23, breaks)
    for line in overview:gmatch "[^\n]+" do
      assert.is_true(#line <= 80, line)
    end
  end)

  it("finds a function by its name, in any form", function()
    local acquire = text "llmpool.pool:acquire"
    assert.matches("^pool:acquire%(model, %[options%]%)\n  Lends a client",
                   acquire)
    for _, name in ipairs { "pool:acquire", "pool.acquire", "acquire" } do
      assert.same(acquire, text(name))
    end
    assert.matches("^llmpool.spawn%(fn, %.%.%.%)", text "llmpool.spawn")
  end)

  it("finds a function by itself", function()
    assert.same(text "llmpool.spawn", text(llmpool.spawn))
    assert.same(text "llmpool.gather", text(llmpool.gather))
    local pool = llmpool.new()
    assert.same(text "pool:acquire", text(pool.acquire))
    assert.same(text "pool:register_model", text(pool.register_model))
  end)

  it("says what the policies of the library take", function()
    local hedge = text "hedge"
    assert.matches('^hedge%(t%)\n.*= require "llmpool.policy.hedge"', hedge)
    assert.matches('after%? +%(number|"p95"%) seconds', hedge)
    assert.same(hedge, text "llmpool.policy.hedge")
    assert.same(hedge, text(require "llmpool.policy.hedge"))
    assert.matches("on_difference%?", text "shadow")
    assert.matches("^llmpool.breaker\n.*\nbreaker%(t%)\n", text "breaker")
  end)

  it("finds a class by one of its objects", function()
    local pool = text(llmpool.new())
    assert.matches("^llmpool.pool\n", pool)
    assert.matches("pool:generate%(model, request, %[options%]%)", pool)
    local task <const> = llmpool.spawn(function() end)
    assert.matches("task:join%(%)", text(task))
    task:join()
    assert.matches("^llmpool\n", text(llmpool))
  end)

  it("finds the pages of the manual and the commands", function()
    assert.matches("run a Lua script", text "run")
    for _, page in ipairs(help.pages()) do
      assert.truthy(text(page):find "^#", page)
    end
  end)

  it("says what is there instead of nothing", function()
    assert.same({ nil, "no help on 'aquire'; did you mean help \"acquire\"?" },
                { text "aquire" })
    assert.same({ nil, "no help on 'zzzzzzzz'" }, { text "zzzzzzzz" })
    assert.matches("a function of yours, defined at .*help_spec.lua:",
                   select(2, text(function() end)))
    assert.same("a function of C without documentation",
                (select(2, text(io.stdout.write))))
    assert.same("no help on a number", (select(2, text(7))))
    assert.same("no help on a nil", (select(2, text(nil))))
  end)

  it("has names in a column, types and texts beside it", function()
    assert.matches("\n  acquired %+%(integer%) leases that began\n" ..
      "  returned %+%(integer%) leases that ended\n",
      (text "llmpool.stats":gsub("  +%(", " +(")))
    local stats = text "llmpool.stats"
    assert.equal(stats:find "%(integer%) leases that began"
      - stats:find "  acquired ", stats:find "%(integer%) leases that ended"
      - stats:find "  returned ")
    assert.matches("\n  model     %(string.-\n  callback  %(fun",
      text "pool:get_client")
  end)

  it("shows the fields of what a function takes", function()
    assert.matches("\n  timeout%?  +%(number%) seconds to wait",
                   text "pool:acquire")
    assert.matches("\n  latency%?  +", text(llmpool.simulated))
    assert.matches("\n  id  +%(string%) unique.*\n  api_key%?  +",
                   text(llmpool.openai)) -- those of what it builds on, too
    assert.matches("\n  retry_budget%?  +", text(llmpool.router))
  end)

  it("leads to Lua's manual for what is Lua's own", function()
    local expected = "string.rep is Lua's own:\n" ..
      "  https://www.lua.org/manual/5.4/manual.html#pdf-string.rep"
    assert.same(expected, text(string.rep))
    assert.same(expected, text "string.rep")
    assert.matches("#pdf%-print$", text(print))
  end)

  it("shows the comment above a function of one's own", function()
    -- Adds one.
    -- To a number.
    local function add(n) return n + 1 end
    assert.matches("^a function of yours, defined at .*help_spec.lua:%d+\n" ..
                   "Adds one.\nTo a number.$", text(add))
    assert.same(2, add(1))
  end)

  it("has an annotation for every public type and module", function()
    local s = require "llmpool.scenario" {
      name = "s", models = { m = { clients = {
        llmpool.simulated { id = "a" } } } },
      traffic = { "poisson", rate = 1 }, duration = 1,
    }
    local pool = llmpool.new()
    for name, value in pairs {
      ["llmpool.events"] = pool:events(),
      ["llmpool.router"] = llmpool.router { pool = pool, policy = "m" },
      ["llmpool.error"] = llmpool.error("timeout", "late"),
      ["llmpool.json"] = require "llmpool.json",
      ["llmpool.policy"] = require "llmpool.policy",
      ["llmpool.simulated_spec"] = llmpool.simulated { id = "a" },
      ["llmpool.openai_spec"] = llmpool.openai { id = "a", api_key = "k" },
      ["router:generate"] = llmpool.router { pool = pool,
                                             policy = "m" }.generate,
      ["llmpool.scenario"] = s,
      ["hedge(t)"] = require "llmpool.policy.hedge",
    } do
      assert.matches("^" .. name:gsub("%p", "%%%0"), (text(value)), name)
    end
  end)

  it("keeps to the width", function()
    for line in (help.text(40, "pool:get_client") .. "\n"):gmatch "(.-)\n" do
      assert.is_true(#line <= 46, line) -- a type may be one long word
    end
    for line in (help.text(40, llmpool.new()) .. "\n"):gmatch "(.-)\n" do
      assert.is_true(#line <= 46, line)
    end
    for line in (help.text(40) .. "\n"):gmatch "(.-)\n" do
      assert.is_true(#line <= 40 or line:find "^  pool" ~= nil, line)
    end
  end)
end)
