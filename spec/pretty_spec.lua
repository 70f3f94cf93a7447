-- Values as text: exactly what is shown, and that nothing of the value's runs.

local pretty = require "llmpool.pretty"

local function lines(...) return table.concat({ ... }, "\n") end

describe("pretty", function()
  it("shows single values", function()
    for text, value in pairs {
      ["1"] = 1, ["1.0"] = 1.0, ["-0.5"] = -0.5, ["true"] = true,
      ['"a"'] = "a", ['"a\\nb\\t\\"c\\" \\\\"'] = 'a\nb\t"c" \\',
      ['"\\x00\\x1b"'] = "\0\27", ['"äö"'] = "äö", ['"\\xff"'] = "\255",
    } do
      assert.same(text, pretty(value))
    end
    assert.same("nil", (pretty(nil)))
    assert.equal("function: print", (pretty(print)))
    local hedge = require "llmpool.policy.hedge"
    _G._ = hedge -- the prompt's last value is no name
    assert.equal("function: llmpool.policy.hedge", pretty(hedge))
    _G._ = nil
  end)

  it("shows tables on a line where they fit", function()
    assert.same("{}", (pretty {}))
    assert.same("{ 1, 2, x = { y = {} } }", (pretty { 1, 2, x = { y = {} } }))
  end)

  it("has the keys in order", function()
    assert.same('{ 1, 2, [-1] = 0, [2.5] = 4, a = 2, b = 1, ["b c"] = 3, ' ..
                '["end"] = 6, [true] = 5 }',
      (pretty({ 1, 2, b = 1, a = 2, ["b c"] = 3, [2.5] = 4, [true] = 5,
                ["end"] = 6, [-1] = 0 }, { width = 100 })))
    assert.same("{ [2] = 1, [4] = 1 }", (pretty { [4] = 1, [2] = 1 }))
  end)

  it("has the first keys of very many, and soon", function()
    local t = {}
    for i = 1, 200000 do t["k" .. i] = i end
    t[print], t[{}] = 1, 2
    local begun = os.clock()
    local text = pretty(t, { items = 3 })
    assert.same("{ k1 = 1, k10 = 10, k100 = 100, ... 199999 more }", text)
    assert.is_true(os.clock() - begun < 1)
    assert.matches("^{ %[1%.5%] = 1, ", (pretty({ [1.5] = 1, [print] = 2,
      [setmetatable({}, { __tostring = error })] = 3 })))
  end)

  it("breaks what does not fit", function()
    assert.same(lines("{", "  a = 1,", "  b = {", '    c = "xxxxxxxxxx",',
                      "    d = 2", "  }", "}"),
      (pretty({ a = 1, b = { c = "xxxxxxxxxx", d = 2 } }, { width = 20 })))
  end)

  it("fills lines with the short items of a list", function()
    local list = {}
    for i = 1, 12 do list[i] = i * 111 end
    assert.same(lines("{", "  111, 222, 333,", "  444, 555, 666,",
                      "  777, 888, 999,", "  1110, 1221,", "  1332", "}"),
      (pretty(list, { width = 18 })))
  end)

  it("says where a table contains itself", function()
    local t = { name = "x", list = { {} } }
    t.self = t
    t.list[1].up = t.list
    assert.same('{ list = { { up = <cycle: it.list> } }, name = "x", ' ..
                "self = <cycle: it> }", (pretty(t)))
    local shared = { 1 }
    assert.same("{ { 1 }, { 1 } }", (pretty { shared, shared }))
  end)

  it("ends, and says so", function()
    local text, cut = pretty({ { { {} } } }, { depth = 2 })
    assert.same("{ { {...} } }", text)
    assert.is_true(cut)
    text, cut = pretty({ 1, 2, 3, 4, a = 5 }, { items = 3 })
    assert.same("{ 1, 2, 3, ... 2 more }", text)
    assert.is_true(cut)
    text, cut = pretty({ 1, 2, 3 }, { items = 3 })
    assert.same("{ 1, 2, 3 }", text)
    assert.is_false(cut)
    assert.same('"aaaaa"... (9 bytes)', (pretty(("a"):rep(9), { length = 5 })))
    assert.same('"ä"... (4 bytes)', (pretty("ää", { length = 3 })))
  end)

  it("asks __tostring and __name, and runs nothing else", function()
    local function never() error "ran" end
    local trap = { __index = never, __pairs = never, __len = never,
                   __eq = never, __lt = never, __newindex = never }
    assert.same("{ 1, a = 2 }", (pretty(setmetatable({ 1, a = 2 }, trap))))
    trap.__name = "thing"
    assert.same("thing { 1 }", (pretty(setmetatable({ 1 }, trap))))
    trap.__tostring = function() return "I\27am" end
    assert.same("I\\x1bam", (pretty(setmetatable({ 1 }, trap))))
    trap.__tostring = never
    assert.same("<table: its __tostring fails>",
                (pretty(setmetatable({ 1 }, trap))))
    trap.__metatable = "hidden"
    assert.same("<table: its __tostring fails>",
                (pretty(setmetatable({ 1 }, trap))))
  end)

  it("shows an error object's fields", function()
    local err = require "llmpool".error("timeout", "too late")
    err.waited = 2
    assert.same('llmpool.error { kind = "timeout", message = "too late", ' ..
                "waited = 2 }", (pretty(err)))
  end)

  it("hides secrets", function()
    assert.same('{ api_key = "***", id = "key-1", text = "with *** in it" }',
      (pretty { api_key = "abc", id = "key-1",
                text = "with sk-abcdefghijkl in it" }))
  end)

  it("counts columns, not bytes", function()
    assert.same(5, pretty.width_of "abäöü")
    assert.same(4, pretty.width_of "日本")
    assert.same(1, pretty.width_of "e\u{301}")
    assert.same(2, pretty.width_of "\255\254")
    assert.same(lines("{", '  "日本日本",', '  "日本日本"', "}"),
      (pretty({ "日本日本", "日本日本" }, { width = 22 })))
  end)

  it("colours only where asked to", function()
    local plain = pretty { a = "x", 1, nil, true }
    local text = pretty({ a = "x", 1, nil, true }, { colour = true })
    assert.is_nil(plain:find "\27")
    assert.truthy(text:find '\27%[32m"x"\27%[0m')
    assert.same(plain, (text:gsub("\27%[%d*m", "")))
  end)
end)
