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
                (select(2, text(print))))
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

  it("keeps to the width", function()
    for line in (help.text(40, "pool:get_client") .. "\n"):gmatch "(.-)\n" do
      assert.is_true(#line <= 46, line) -- a type may be one long word
    end
  end)
end)
