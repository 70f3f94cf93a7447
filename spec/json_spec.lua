-- llmpool.json: what goes in comes out, and what JSON cannot say is refused.

local llmpool = require "llmpool"
local json = require "llmpool.json"

-- Whether two values are the same, integers and floats and marks kept apart.
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  if json.is_array(a) ~= json.is_array(b) then return false end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function failure(text, options)
  local ok, err = pcall(json.decode, text, options)
  assert.is_false(ok, text)
  assert.equal("malformed", err.kind)
  return err
end

describe("llmpool.json", function()
  it("is one module, however it is required", function()
    assert.equal(json, require "llmpool.json")
    package.loaded["llmpool.json"] = nil
    assert.equal(json, require "llmpool.json")
  end)

  describe("decode", function()
    it("keeps integers exact and floats apart", function()
      for text, value in pairs {
        ["0"] = 0, ["-1"] = -1, ["9007199254740993"] = 9007199254740993,
        ["9223372036854775807"] = math.maxinteger,
        ["-9223372036854775808"] = math.mininteger,
        ["1.0"] = 1.0, ["1e2"] = 100.0, ["-0.5"] = -0.5, ["0.1"] = 0.1,
        ["5e-324"] = 5e-324,
        ["1.7976931348623157e308"] = 0x1.fffffffffffffp1023,
        ["123456789012345.678"] = 123456789012345.678,
        ["0.000001234567890123456789"] = 0.000001234567890123456789,
        ["9223372036854775808"] = 0x1p63, ["1E+2"] = 100.0,
      } do
        local got = json.decode(text)
        assert.equal(value, got, text)
        assert.equal(math.type(value), math.type(got), text)
      end
      assert.equal(-math.huge, 1 / json.decode "-0")
    end)

    it("reads floats as Lua does", function()
      for _ = 1, 1000 do
        local text = string.format("%d.%de%d", math.random(-999, 999),
          math.random(0, 10 ^ math.random(1, 15) // 1 | 0),
          math.random(-30, 30))
        assert.equal(tonumber(text), json.decode(text), text)
      end
    end)

    it("keeps [] apart from {}, and null from nothing", function()
      local v = json.decode '{"a":[],"o":{},"n":null}'
      assert.is_true(json.is_array(v.a))
      assert.is_false(json.is_array(v.o))
      assert.equal(json.null, v.n)
      assert.equal("null", tostring(v.n))
      assert.equal('{"a":[],"n":null,"o":{}}', json.encode(v))
    end)

    it("reads any value at the top, with space around and a mark before",
       function()
      assert.equal(true, json.decode " true\r\n")
      assert.equal(false, json.decode "\tfalse")
      assert.equal("x", json.decode '"x"')
      assert.equal(1, json.decode "\u{feff}1")
    end)

    it("undoes every escape", function()
      assert.equal('"\\/\b\f\n\r\t', json.decode [["\"\\\/\b\f\n\r\t"]])
      assert.equal("A\0é\u{20ac}\u{1f600}",
                   json.decode [["\u0041\u0000\u00e9\u20AC\ud83d\uDE00"]])
      assert.equal(("x\n"):rep(5000),
                   json.decode('"' .. ("x\\n"):rep(5000) .. '"'))
    end)

    it("lets the last of equal keys win", function()
      assert.equal(2, json.decode('{"a":1,"b":0,"a":2}').a)
      local pairs_between = {}
      for i = 1, 40 do pairs_between[i] = ('"k%d":%d'):format(i, i) end
      assert.equal("last", json.decode('{"a":1,' ..
        table.concat(pairs_between, ",") .. ',"a":"last"}').a)
    end)

    it("reads arrays and objects of every length up to 100", function()
      for n = 0, 100 do
        local list, object = {}, {}
        for i = 1, n do
          list[i] = tostring(i)
          object[i] = ('"k%d": %d'):format(i, i)
        end
        local array = json.decode("[" .. table.concat(list, ",") .. "]")
        assert.equal(n, #array)
        assert.equal(n > 0 and n or nil, array[n > 0 and n or 1])
        local count = 0
        for k, v in pairs(json.decode("{" .. table.concat(object, ",") ..
                                      "}")) do
          assert.equal("k" .. v, k)
          count = count + 1
        end
        assert.equal(n, count)
      end
    end)

    it("says where and what is wrong", function()
      for text, message in pairs {
        [""] = "line 1, column 1: expected a value, got the end",
        ["{"] = "column 2: expected a key in quotes, got the end",
        ['{"a" 1}'] = "column 6: expected ':' after the key, got '1'",
        ['{"a":1,}'] = "column 8: expected a key in quotes, got '}'",
        ["[1,]"] = "column 4: expected a value, got ']'",
        ["[1 2]"] = "column 4: expected ',' or ']', got '2'",
        ["nul"] = "column 1: expected a value, got 'n'",
        ["truer"] = "column 5: expected the end, got 'r'",
        ["01"] = "a number with a leading zero",
        ["-"] = "expected a digit, got the end",
        ["+1"] = "expected a value, got '+'",
        ["1."] = "expected a digit after the point, got the end",
        [".5"] = "expected a value, got '.'",
        ["1e"] = "expected a digit in the exponent, got the end",
        ["1e999"] = "a number that is too large",
        ["NaN"] = "expected a value, got 'N'",
        ["[1]\n x"] = "line 2, column 2: expected the end, got 'x'",
        ['"abc'] = "a string without its closing quote",
        ['"abc\\'] = "a string without its closing quote",
        ['"a\nb"'] = "a control character in a string",
        [ [["\x41"]] ] = "an escape that JSON does not have",
        [ [["\u12g4"]] ] = "\\u needs four hexadecimal digits",
        [ [["\u12"]] ] = "\\u needs four hexadecimal digits",
        [ [["\ud83d"]] ] = "half of a surrogate pair",
        [ [["\ud83d\u0041"]] ] = "half of a surrogate pair",
        [ [["\ude00"]] ] = "half of a surrogate pair",
        ["{'a':1}"] = "expected a key in quotes, got '''",
        ["\1"] = "expected a value, got the byte 1",
        ["[1]\0"] = "expected the end, got the byte 0",
      } do
        local err = failure(text)
        assert.truthy(tostring(err):find(message, 1, true),
                      text .. " gave " .. tostring(err))
        assert.truthy(tostring(err):find("^malformed JSON at line"))
      end
      local err = failure '{"a":\n [1,\n  x]}'
      assert.same({ 3, 3, 14 }, { err.line, err.column, err.position })
    end)

    it("refuses bytes that are no UTF-8", function()
      for _, bytes in ipairs { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
        "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5",
        "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xff" } do
        local err = failure('["' .. bytes .. '"]')
        assert.truthy(err.message:find "no UTF%-8", err.message)
      end
      for _, text in ipairs { "é", "\u{800}", "\u{ffff}", "\u{10000}",
        "\u{10ffff}", "\u{d7ff}", "\u{e000}" } do
        assert.equal(text, json.decode('"' .. text .. '"'))
      end
    end)

    it("bounds the depth", function()
      local function nested(n) return ("["):rep(n) .. ("]"):rep(n) end
      assert.truthy(json.decode(nested(1000)))
      assert.truthy(failure(nested(1001)).message
                    :find("nested deeper than 1000; raise max_depth", 1, true))
      assert.truthy(json.decode(nested(5000), { max_depth = 5000 }))
      failure(nested(3), { max_depth = 2 })
      assert.truthy(json.decode('[{},{},[]]', { max_depth = 2 }))
      failure(('{"a":'):rep(200000))
    end)

    it("takes a string and its options, nothing else", function()
      for _, case in ipairs {
        { "bad argument #1 to '[%w.]*decode' %(string expected, got nil%)" },
        { "#1 to '[%w.]*decode' %(string expected, got number%)", 12 },
        { "unknown option 'depth'; there is max_depth", "1", { depth = 1 } },
        { "max_depth must be a whole number from 1 to 5000", "1",
          { max_depth = 0 } },
        { "max_depth must be", "1", { max_depth = "x" } },
      } do
        local ok, err = pcall(json.decode, case[2], case[3])
        assert.is_false(ok)
        assert.truthy(err:find(case[1]), err)
      end
    end)
  end)

  describe("encode", function()
    it("writes equal values as equal bytes, keys in order", function()
      assert.equal('{"a":1,"ab":2,"b":{"x":[1,2.5,"c"]},"é":true}',
        json.encode { ["é"] = true, b = { x = { 1, 2.5, "c" } }, ab = 2,
                      a = 1 })
      local many, names = {}, {}
      for i = 1, 100 do
        many["k" .. i] = i
        names[i] = ('"k%d":%d'):format(i, i)
      end
      table.sort(names, function(a, b)
        return a:match '"(.-)"' < b:match '"(.-)"'
      end)
      assert.equal("{" .. table.concat(names, ",") .. "}", json.encode(many))
    end)

    it("writes numbers in the fewest digits that bring them back", function()
      for text, value in pairs {
        ["0.1"] = 0.1, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["1e+100"] = 1e100,
        ["0.30000000000000004"] = 0.1 + 0.2, ["5e-324"] = 5e-324,
        ["9223372036854775807"] = math.maxinteger,
        ["-9223372036854775808"] = math.mininteger, ["0"] = 0, ["-7"] = -7,
      } do
        assert.equal(text, json.encode(value))
      end
    end)

    it("escapes what must be, and no more", function()
      assert.equal([["\"\\/\b\f\n\r\t\u0000\u001f]] .. "\127é\u{1f600}\"",
                   json.encode '"\\/\b\f\n\r\t\0\31\127é\u{1f600}')
    end)

    it("knows arrays by their mark or their items", function()
      assert.equal("{}", json.encode {})
      assert.equal("[]", json.encode(json.array {}))
      assert.equal("[]", json.encode(json.array()))
      assert.equal("{}", json.encode(json.object {}))
      assert.equal("[1]", json.encode { 1 })
      assert.is_true(json.is_array { 1 })
      assert.is_false(json.is_array {})
      assert.is_false(json.is_array(json.object {}))
      assert.is_false(json.is_array "x")
      local t = json.decode "[1]"
      t[1] = nil
      assert.equal("[]", json.encode(t))
      assert.equal("{}", json.encode(json.object(t)))
      assert.equal(t, json.array(t))
    end)

    it("knows what other libraries have marked", function()
      local function marked(kind)
        return setmetatable({}, { __jsontype = kind })
      end
      assert.equal('{"a":[],"o":{},"x":{}}', json.encode { a = marked "array",
        o = marked "object", x = marked "else" })
      local ok, err = pcall(json.encode, { x = setmetatable({}, {
        __tojson = function() return "null" end }) })
      assert.is_false(ok)
      assert.matches("__tojson of its own; json.null is null %(at x%)", err)
    end)

    it("goes there and back through dkjson and cjson", function()
      local text = '{"a":[],"b":[1,{"c":"x"}],"n":null}'
      local there, dkjson = pcall(require, "dkjson")
      if there then
        assert.equal('{"a":[],"b":[1,{"c":"x"}]}',
          json.encode((dkjson.decode(text))))
        assert.equal(text, dkjson.encode(json.decode(text),
          { keyorder = { "a", "b", "c", "n" } }))
      end
      local cjson
      there, cjson = pcall(require, "cjson")
      if there then
        assert.equal('{"b":[null]}', json.encode(cjson.decode '{"b":[null]}'))
        assert.equal("null", json.encode(cjson.null))
      end
    end)

    it("can be pretty", function()
      assert.equal('{\n  "a": [\n    1,\n    {}\n  ],\n  "b": []\n}',
        json.encode({ a = { 1, {} }, b = json.array() }, { pretty = true }))
    end)

    it("refuses what JSON cannot say, with the path", function()
      local cycle = {}
      cycle.a = { { back = cycle } }
      for _, case in ipairs {
        { nil, "cannot encode nil; use json.null" },
        { { a = { 1, print } }, "cannot encode a function (at a[2])" },
        { { messages = { { ["b c"] = 0 / 0 } } },
          'encode nan, JSON has no such number (at messages[1]["b c"])' },
        { { x = -math.huge }, "cannot encode inf" },
        { { 1, nil, 3 }, "without its item 2; put json.null there" },
        { { [2] = 1 }, "without its item 1" },
        { { 1, 2, nil, [9] = 4 }, "without its item 3" },
        { { [1.5] = 1 }, "cannot encode the key 1.5" },
        { { [0] = 1 }, "cannot encode the key 0" },
        { { [true] = 1 }, "cannot encode the key true" },
        { { 1, x = 2 }, "both items and the key 'x'" },
        { json.array { x = 2 }, "both items and the key 'x'" },
        { json.object { 1 }, "the key 1, a number: keys are strings" },
        { { o = json.object { 1 } }, "keys are strings (at o)" },
        { cycle, "a table that contains itself (at a[1].back)" },
        { { s = "\xff" }, "a string that is no UTF-8 (at s)" },
        { { s = "x\xe2\x82" }, "a string that is no UTF-8 (at s)" },
        { { ["\xff"] = 1 }, "a string that is no UTF-8" },
        { { co = coroutine.create(print) }, "cannot encode a thread (at co)" },
        { { f = io.stdout }, "cannot encode a userdata (at f)" },
      } do
        local ok, err = pcall(json.encode, case[1])
        assert.is_false(ok)
        assert.truthy(err:find("bad argument #1", 1, true), err)
        assert.truthy(err:find(case[2], 1, true), err)
      end
      assert.equal('{"a":1}', json.encode { a = 1 }) -- and works on
    end)

    it("bounds the depth, and does not take a shared table for a cycle",
       function()
      local shared = { 1 }
      assert.equal("[[1],[1]]", json.encode { shared, shared })
      local deep = {}
      for _ = 1, 6000 do deep = { deep } end
      local ok, err = pcall(json.encode, deep)
      assert.is_false(ok)
      assert.truthy(err:find "nested deeper than 5000")
    end)

    it("runs no metamethod", function()
      local called = false
      local t = setmetatable({ a = 1 }, {
        __index = function() called = true end,
        __pairs = function() called = true end,
        __len = function() called = true end,
      })
      assert.equal('{"a":1}', json.encode(t))
      assert.is_false(called)
    end)

    it("says what is wrong with its arguments", function()
      for _, case in ipairs {
        { function() json.encode() end, "value expected" },
        { function() json.encode(1, { prety = true }) end,
          "unknown option 'prety'; there is pretty" },
        { function() json.encode(1, { pretty = 1 }) end,
          "pretty must be true or false" },
        { function() json.encode(1, "x") end, "table expected, got string" },
        { function() json.array(1) end, "table expected, got number" },
        { function() json.array(setmetatable({}, {})) end,
          "a metatable of its own" },
        { function() json.object(setmetatable({}, {})) end,
          "a metatable of its own" },
      } do
        local ok, err = pcall(case[1])
        assert.is_false(ok)
        assert.truthy(err:find(case[2], 1, true), err)
      end
    end)
  end)

  it("takes documents there and back", function()
    local next_seed = math.random(1 << 30)
    math.randomseed(next_seed)
    local function word()
      local parts = {}
      for i = 1, math.random(0, 12) do
        parts[i] = utf8.char(({ math.random(0, 127), math.random(128, 2047),
          math.random(0xe000, 0xffff), math.random(0x10000, 0x10ffff) })
          [math.random(4)])
      end
      return table.concat(parts)
    end
    local function value(depth)
      local kind = math.random(depth > 0 and 8 or 6)
      if kind == 1 then return math.random(0) end
      if kind == 2 then return math.random(-1000, 1000) end
      if kind == 3 then
        return (math.random() - 0.5) * 10 ^ math.random(-20, 20)
      end
      if kind == 4 then return word() end
      if kind == 5 then return math.random(2) == 1 end
      if kind == 6 then return json.null end
      local t = kind == 7 and json.array() or {}
      for i = 1, math.random(0, 40) // 2 ^ math.random(0, 5) | 0 do
        t[kind == 7 and i or word()] = value(depth - 1)
      end
      return t
    end
    for _ = 1, 150 do
      local v = value(5)
      for _, pretty in ipairs { false, true } do
        local text = json.encode(v, { pretty = pretty })
        assert(same(v, json.decode(text)), "seed " .. next_seed .. ": " .. text)
        assert.equal(json.encode(v), json.encode(json.decode(text)))
      end
    end
  end)

  it("survives documents with any byte changed or cut off", function()
    local text = json.encode { a = { 1, -2.5e7, "x\u{e9}\n\u{1f600}" },
      b = { c = json.null, d = true, e = json.array() }, [""] = false }
    for i = 1, #text do
      failure(text:sub(1, i - 1))
      for _ = 1, 8 do
        local other = text:sub(1, i - 1) .. string.char(math.random(0, 255)) ..
                      text:sub(i + 1)
        local ok, v = pcall(json.decode, other)
        if ok then
          assert(same(v, json.decode(json.encode(v))))
        else
          assert.equal("malformed", v.kind)
        end
      end
    end
  end)

  it("finds what is special at every place of a string", function()
    for before = 0, 9 do
      for _, after in ipairs { 0, 1, 8 } do
        local a, b = ("a"):rep(before), ("b"):rep(after)
        for _, special in ipairs { '"', "\\", "\n", "\0", "\31", "é",
                                   "\u{1f600}", "\127", "" } do
          local text = a .. special .. b
          assert.equal(text, json.decode(json.encode(text)))
        end
        for _, wrong in ipairs { "\n", "\0", "\31", "\x80", "\xff", "\xc3" } do
          failure('"' .. a .. wrong .. b .. '"')
          if wrong:byte() >= 0x80 then
            assert.is_false((pcall(json.encode, a .. wrong .. b)))
          end
        end
        assert.equal(a, json.decode('"' .. a .. '"'))
        failure('"' .. a .. '"' .. b .. '"')
      end
    end
  end)

  it("goes to other threads with its marks", function()
    local got = llmpool.thread(function(v)
      local j = require "llmpool.json"
      v[#v + 1] = v[1] == j.null
      return v, j.encode(v)
    end, json.array { json.null, json.array(), json.object() })
    local back, text = got:join()
    assert.equal("[null,[],{},true]", text)
    assert.equal(json.null, back[1])
    assert.equal("[null,[],{},true]", json.encode(back))
  end)

  it("writes objects of any size in order, values with their keys", function()
    for _, count in ipairs { 1, 15, 16, 17, 40 } do
      local object, expected = {}, {}
      for i = 1, count do
        local key = ("k%02d"):format(i)
        object[key] = i % 3 == 0 and { [key] = i, other = { i } } or i
        expected[i] = i % 3 == 0
          and ('"%s":{"%s":%d,"other":[%d]}'):format(key, key, i, i)
          or ('"%s":%d'):format(key, i)
      end
      assert.equal("{" .. table.concat(expected, ",") .. "}",
                   json.encode(object))
    end
  end)

  it("takes null out of what it lies in", function()
    local clean = json.decode '{"a":[1,{"b":{}}],"c":"x","d":[]}'
    assert.equal(clean, json.without_null(clean))
    local some = json.decode '{"a":[{"b":null,"c":[null]}],"d":null,"e":[]}'
    local got = json.without_null(some)
    assert.equal('{"a":[{"c":[]}],"e":[]}', json.encode(got))
    assert.equal(json.null, some.d)
    assert.equal(json.null, some.a[1].c[1])
    assert.is_nil(json.without_null(json.null))
    assert.equal(7, json.without_null(7))
    assert.is_nil(json.without_null(nil))
    assert.has_error(function() return (json.without_null()) end,
      "bad argument #1 to 'without_null' (value expected)")
  end)

  it("says so where a table cannot be looked through", function()
    local loop = { json.null }
    loop.again = loop
    for _, given in ipairs { loop, { loop }, { a = { b = loop } } } do
      local ok, err = pcall(json.without_null, given)
      assert.is_false(ok)
      assert.truthy(err:find "it contains itself", err)
    end
    local deep = json.decode(("["):rep(4999) .. ("]"):rep(4999),
                             { max_depth = 5000 })
    assert.equal(deep, json.without_null(deep))
  end)

  it("leaves no buffer behind when it raises", function()
    for _ = 1, 100 do
      pcall(json.encode, { ("x"):rep(100000), print })
    end
    collectgarbage()
    assert.equal('"x"', json.encode "x")
  end)
end)
