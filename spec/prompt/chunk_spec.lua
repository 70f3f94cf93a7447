-- What a typed or pasted text means; and what is said of what people type who
-- come from elsewhere, or from yesterday.

local chunk = require "llmpool.prompt.chunk"
local locals = require "llmpool.prompt.locals"

-- Reads the lines as the prompt would: the first, then more of them if asked.
local function read(...)
  local lines, n = { ... }, 1
  local result = chunk.read(lines[1], function()
    n = n + 1
    return lines[n]
  end)
  return result, n
end

local function value(...)
  local result = read(...)
  return assert(result.run, result.message)()
end

describe("a text at the prompt", function()
  it("is an expression, a statement, or one that goes on", function()
    assert.same(2, value "1 + 1")
    assert.same(2, value "= 1 + 1")
    assert.is_nil(value "local a = 1")
    local result, n = read("for i = 1, 2 do", "f(i)", "end")
    assert.same("for i = 1, 2 do\nf(i)\nend", result.text)
    assert.same(3, n)
    assert.is_nil(read("x = (").run)
    assert.matches("<eof>$", read("x = (").message)
    assert.matches("unexpected symbol", read("x = = 1").message)
  end)

  it("is quiet with a semicolon at its end", function()
    assert.is_true(read("1;").quiet)
    assert.is_true(read("x = 1\nx;").quiet)
    assert.is_false(read("1").quiet)
  end)

  it("of many lines has the value of its last expression", function()
    for text, expected in pairs {
      ["local a = 5\na * 2"] = 10,
      ["local function f(x)\n  return x * 2\nend\n\nf(21)"] = 42,
      ["local t = { 1 }\nt[1]\n"] = 1,
      ["local a = 1\n-- a comment\na -- and one"] = 1,
      ["local a = 5\nmath.max(\n  a,\n  7\n)"] = 7,
      ["local a = 5\n(a)"] = 5, -- 5(a) is no call
      ["local a = 5\n'x' .. a"] = "x5",
      ["(1 +\n2)"] = 3,
    } do
      assert.same(expected, value(text), text)
    end
  end)

  it("of many lines means what it means to Lua", function()
    for _, text in ipairs {
      "local f = tostring\nlocal x = f\n(1 + 2)", -- a call
      "local a, b = 1, 2\nlocal c = a\n- b", -- a difference
      "local s = tostring\nlocal r = s\n'x'", "local x = 1\nreturn",
      "for i = 1, 2 do\n  print = print\nend", "do\n  local x = 1\nend",
      "local function f()\n  tostring(1)\nend",
    } do
      assert.same(0, select("#", value(text)), text)
    end
  end)

  it("may have been copied with its prompts", function()
    assert.same({ "a = 5", "a * 2", "f(\n1)" }, chunk.entries(
      "    > a = 5\n    > a * 2\n    10\n    > f(\n    >> 1)"))
    assert.same({ "1 > 2\n> 3" }, chunk.entries "1 > 2\n> 3")
    assert.same({ "a > b" }, chunk.entries "a > b")
    assert.same({ "" }, chunk.entries ">>")
  end)

  it("is read in time, however long", function()
    local lines = { "local function big()" }
    for i = 1, 20000 do lines[#lines + 1] = "  local _ = " .. i .. " do end" end
    lines[#lines + 1] = "end"
    local begun = os.clock()
    read(table.concat(lines, "\n"))
    assert.is_true(os.clock() - begun < 2)
  end)
end)

describe("a local of an earlier line", function()
  it("is told where it is missed", function()
    locals.note "local lost_a, lost_b <const> = 1, 2"
    locals.note "do\n  local lost_inner = 1\nend"
    locals.note "x = 1\nlocal function lost_f() end"
    local said = "lost_a was local to an earlier line; without 'local' it stays"
    assert.same(said, locals.lost "lost_a")
    assert.same(said, locals.lost_in(
      "stdin:1: attempt to index a nil value (global 'lost_a')"))
    assert.truthy(locals.lost "lost_b" and locals.lost "lost_f")
    for _, name in ipairs { "lost_inner", "const", "print" } do
      assert.is_nil(locals.lost(name), name)
    end
    assert.falsy(locals.lost_in {} or locals.lost_in "another"
                 or locals.lost(nil))
  end)
end)
