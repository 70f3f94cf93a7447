-- Text that a terminal can be shown: what it would obey is told, not done; in
-- values, errors, tables of pools, and names in messages.

local llmpool = require "llmpool"
local plain = require "llmpool.plain"
local poolview = require "llmpool.poolview"
local pretty = require "llmpool.pretty"
local report = require "llmpool.prompt.report"

local MODEL, CLIENT = "m\27[31m", "k\n\7"

describe("plain text", function()
  it("has escapes where a terminal would obey", function()
    for given, shown in pairs {
      ["a\tb\nc"] = "a\tb\nc", ["\27[31m"] = "\\x1b[31m",
      ["\0\r\127"] = "\\x00\\x0d\\x7f", ["äö日本"] = "äö日本",
      ["\xc2\x9b31m"] = "\\u{9b}31m", ["\xff"] = "\\xff",
      ["ä\xffö\xfe"] = "ä\\xffö\\xfe",
    } do
      assert.same(shown, plain.text(given))
    end
    assert.same("a\\tb\\nc\\r", plain.line "a\tb\nc\r")
  end)

  it("is what values, and what they say of themselves, are shown as", function()
    local function named(name)
      return setmetatable({}, { __name = name })
    end
    assert.same("\\x1bN {}", (pretty(named "\27N")))
    assert.same('"\\u{9b}"', (pretty "\xc2\x9b"))
    assert.same("\\x1bX", (pretty(setmetatable({}, {
      __tostring = function() return "\27X" end }))))
  end)

  it("is what an error is shown as", function()
    assert.same("\\x1b[31mred", report.text "\27[31mred")
    assert.same("***", report.text "sk-abcdefghijklmnop")
    assert.same("\\x1bX", report.text(setmetatable({}, {
      __tostring = function() return "\27X" end })))
    assert.same("llmpool: task failed: \\x07\nspawned at a.lua:1",
                report.failure("task failed", "\7", nil, nil, "a.lua:1"))
  end)
end)

describe("names that a terminal would obey", function()
  local pool

  before_each(function()
    pool = llmpool.new()
    pool:register_model(MODEL, { llmpool.simulated { id = CLIENT } })
  end)

  local function message(fn, ...)
    local _, err = pcall(fn, ...)
    return tostring(err)
  end

  it("are told in the table of the pool", function()
    local text = poolview.text(pool)
    assert.is_nil(text:find("[\27\7]"))
    assert.truthy(text:find("\nm\\x1b[31m  1 idle", 1, true))
    assert.truthy(text:find("\n  k\\n\\x07  idle", 1, true))
  end)

  it("are told in messages, and as they are in fields", function()
    local held <close> = pool:acquire(MODEL)
    assert.same("client (m\\x1b[31m/k\\x0a\\x07, lent)", tostring(held))
    local _, err = pool:acquire(MODEL, { timeout = 0 })
    assert.matches('no client of "m\\x1b[31m" is free', err.message, 1, true)
    assert.same(MODEL, err.model)
    for _, text in ipairs {
      message(pool.acquire, pool, "n\27"),
      message(pool.acquire, pool, "m\27[32m"),
      message(pool.register_model, pool, MODEL,
              { llmpool.simulated { id = "a" } }),
      message(pool.cool_down, pool, MODEL, "x\27", 1),
      message(pool.add_client, pool, MODEL,
              llmpool.simulated { id = CLIENT }),
      message(pool.register_model, pool, "n", {
        llmpool.simulated { id = CLIENT }, llmpool.simulated { id = CLIENT } }),
      message(pool.acquire, pool, MODEL, { ["\27"] = 1 }),
    } do
      assert.is_nil(text:find "[\27\7]", text)
      assert.truthy(text:find "\\x", text)
    end
  end)
end)
