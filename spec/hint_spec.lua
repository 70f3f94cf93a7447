-- A name that stands for nothing is answered with the one that was meant, where
-- an object or a module of ours was asked.

local inspect = require "llmpool.inspect"
local llmpool = require "llmpool"

-- What is said of the error that the function, run as a task, ends with.
local function hint_of(fn)
  local ok, err = llmpool.spawn(fn):pjoin()
  assert.is_false(ok)
  return inspect.hint(err), err
end

describe("the hint", function()
  local pool

  before_each(function()
    pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a" } })
  end)

  it("names the method that was meant", function()
    assert.same("did you mean 'generate'?",
                hint_of(function() pool:genrate("m", "q") end))
    assert.same("did you mean 'generate'?", hint_of(function()
      pool:get_client("m", function(client) client:genrat(nil, pool, 1) end)
    end))
    assert.same("did you mean 'pjoin'?", hint_of(function()
      llmpool.spawn(print):pjion()
    end))
    assert.same("did you mean 'spawn'?", hint_of(function()
      llmpool.scope(function(s) s:spwan(print) end)
    end))
  end)

  it("names the function of the module that was meant", function()
    assert.same("did you mean 'llmpool.gather'?",
                hint_of(function() return llmpool.gathr(print) end))
    assert.same("did you mean 'pool:register_model'?",
                hint_of(function() llmpool.register_model("m", {}) end))
    assert.same('did you mean require "llmpool.scenario"?',
                hint_of(function() return llmpool.scenario {} end))
    assert.same('did you mean require "llmpool.policy"?',
                hint_of(function() return llmpool.policy.hedge {} end))
  end)

  it("says nothing of what is not ours, or not near", function()
    local mine = { generate = print }
    assert.is_nil(hint_of(function() mine:genrate() end))
    assert.is_nil(hint_of(function()
      return string.fomat "x" -- luacheck: ignore
    end))
    assert.is_nil(hint_of(function() return prnt(1) end)) -- luacheck: ignore
    assert.is_nil(hint_of(function() pool:zzzzzz() end))
    assert.is_nil(hint_of(function() error "another" end))
    assert.is_nil(hint_of(function() error { "(method 'genrate')" } end))
  end)

  it("speaks of anything where it is told to", function()
    inspect.hints_at_everything = true
    local mine, string = { generate = print, data = 1 }, string
    local method = hint_of(function() mine:genrate() end)
    local field = hint_of(function()
      return string.fomat "x" -- luacheck: ignore
    end)
    local global = hint_of(function() return prnt(1) end) -- luacheck: ignore
    inspect.hints_at_everything = false
    assert.same("did you mean 'generate'?", method)
    assert.same("did you mean 'string.format'?", field)
    assert.same("did you mean 'print'?", global)
  end)

  it("leaves the error and its traceback as they are", function()
    local _, err = hint_of(function() pool:genrate() end)
    assert.matches("attempt to call a nil value %(method 'genrate'%)$", err)
    assert.matches("^stack traceback:\n[^\n]*hint_spec",
                   llmpool.traceback(err))
    assert.is_nil((hint_of(function() error("again", 0) end)))
    assert.is_nil(inspect.hint(err)) -- it is of the last error
  end)

  it("runs nothing of the object's", function()
    inspect.hints_at_everything = true
    local function never() error "ran" end
    local odd = setmetatable({ generate = print },
      { __index = function() return nil end, __pairs = never, __len = never })
    local said = hint_of(function() odd:genrate() end)
    inspect.hints_at_everything = false
    assert.same("did you mean 'generate'?", said)
  end)
end)
