-- Errors as the prompt shows them: the caret, the user's frames.

local llmpool = require "llmpool"
local report = require "llmpool.prompt.report"

local function caret(text)
  local _, message = load(text, "=stdin", "t")
  return report.caret(text, message)
end

describe("a syntax error", function()
  it("has a caret under the place", function()
    assert.same("x = = 3\n    ^", caret "x = = 3")
    assert.same("x = 3 3\n      ^", caret "x = 3 3")
    assert.same("print(1))\n        ^", caret "print(1))")
    assert.same("a = (1 + )\n         ^", caret "a = (1 + )")
    assert.same("local x = 1 end\n            ^", caret "local x = 1 end")
  end)

  it("of a string without an end is under its beginning", function()
    assert.same('print("abc\n      ^', caret 'print("abc\nx')
  end)

  it("is looked for in its own line", function()
    assert.same("  y = = 2\n      ^", caret "x = 1\n  y = = 2\nz = 3")
    assert.same("x = 'ä' = 1\n        ^", caret "x = 'ä' = 1")
  end)

  it("at the end of the text is behind it", function()
    assert.same("x = (\n     ^", caret "x = (")
  end)

  it("without a place has no caret", function()
    assert.is_nil(report.caret("goto x", "stdin:1: no visible label 'x' for " ..
                               "goto at line 1"))
  end)
end)

describe("the report of an error", function()
  -- The error and its traceback as a task leaves them.
  local function failed(code)
    local task = llmpool.spawn(assert(load(code, "=stdin")))
    local ok, err = task:pjoin()
    assert(not ok)
    return report.text(err)
  end

  it("is the message alone where the line itself raised", function()
    assert.same("stdin:1: no", failed "error 'no'")
  end)

  it("has the user's frames and nobody else's", function()
    local text = failed [[local function f() error "no" end
      local function g() f() end
      g()]]
    assert.same("stdin:1: no\n  stdin:1: in upvalue 'f'\n" ..
                "  stdin:2: in local 'g'\n  stdin:3: in main chunk", text)
    text = failed [[local llmpool = require "llmpool"
      local function bad() error "no" end
      llmpool.gather(function() bad() end)]]
    assert.is_nil(text:find("llmpool/", 1, true))
    assert.truthy(text:find("stdin:2: in", 1, true))
  end)

  it("shows objects and other values", function()
    assert.same("too late", failed [[
      error(require "llmpool".error("timeout", "too late"))]])
    assert.same("(error object is { code = 7 })", failed "error { code = 7 }")
    assert.same("(error object is nil)", failed "error(nil)")
  end)

  it("is coloured where asked to", function()
    assert.same("\27[31mno\27[0m", report.text("no", { colour = true }))
  end)
end)
