-- What a bound stops besides Lua instructions: functions of the standard
-- library that take long in one call. Inside they answer as they do outside.

local llmpool = require "llmpool"
local native = require "llmpool.native"

-- busted's own are Lua functions, and so are what it makes of them
local pcall, xpcall = pcall, xpcall

local function bounded(fn, ...)
  return native.bounded("a test", 100000, 16 << 20, fn, ...)
end

local function inside(fn, ...)
  return native.bounded("a test", 1 << 40, 1 << 28, function(...)
    return table.pack(pcall(fn, ...))
  end, ...)
end

describe("inside a bound", function()
  local long = ("a"):rep(5000)

  it("a pathological pattern ends", function()
    local pattern = ("a*"):rep(9) .. "b"
    for _, fn in ipairs {
      function() return long:find(pattern) end,
      function() return long:match(("a-"):rep(9) .. "b") end,
      function() return long:match("(" .. pattern .. ")") end,
      function() return long:gsub(pattern, "") end,
      function() return long:gmatch(pattern)() end,
      function() while true do pcall(string.find, long, pattern) end end,
      function() return (long:rep(1000)):find "a%a-b" end,
    } do
      local _, err, why = bounded(fn)
      assert.equal("instructions", why)
      assert.matches("guarded_spec.lua:%d+: a test ran for too many", err)
    end
    assert.equal(1, (bounded(string.find, long, "a*a*a*")))
    local text = ("some words "):rep(50000) -- half a megabyte is no crime
    assert.equal("Some", bounded(string.gsub, text, "^%a", string.upper)
      :sub(1, 4))
    assert.equal(text, (bounded(string.gsub, text, "%d", "")))
  end)

  it("a long move ends, and a handler that loops", function()
    for _, fn in ipairs {
      function() table.move({}, 1, 1 << 40, 2) end,
      function() table.move({}, math.mininteger, -1, 2) end,
      function()
        xpcall(error, function() while true do end end, "x")
      end,
      function()
        xpcall(function() while true do end end, function()
          while true do end
        end)
      end,
    } do
      local _, _, why = bounded(fn)
      assert.equal("instructions", why)
    end
    assert.same({ 1, 1, 2 }, bounded(table.move, { 1, 2 }, 1, 2, 2))
    assert.same({ false, "<x 1>" }, bounded(function()
      return { xpcall(error, function(m) return "<" .. m .. ">" end, "x 1") }
    end))
  end)

  it("no hook can be set", function()
    local _, err, why = bounded(function() debug.sethook() end)
    assert.equal("raised", why)
    assert.matches("cannot set a hook in a test", err)
  end)

  it("few instructions that take long end by the clock #slow", function()
    local text = ("x"):rep(2 << 20)
    local began = os.clock()
    local _, err, why = bounded(function()
      for _ = 1, 30000 do text:reverse() end
    end)
    assert.equal("instructions", why)
    assert.matches("a test ran for too long", err)
    assert.is_true(os.clock() - began < 20)
  end)

  it("matching is what it is outside, errors too", function()
    local atoms = { "a", "b", ".", "%a", "%d", "%Z", "%z",
      "[ab]", "[^a]", "[a-c]", "[%w_]",
      "(", ")", "()", "%1", "%2", "%b()", "%f[%w]", "%f[^a]", "$", "^", "-",
      "*", "+", "?", "%%", "%.", "[]]", "[^]]", "[a-]", "[%]]", "%", "[", "%f",
      "%b", "\0", "1", " ", "_" }
    local pieces = { "a", "b", "c", "aa", "abc", " ", "1", "(", ")", "_", "\0",
                     ".", "]", "-", "%" }
    local values = { "x", "%0", "%1", "<%1%2>", "%%", "%", 5, { a = "A",
      b = false }, function(...) return (...) end, function() return {} end,
      true }
    local random = native.stream "patterns"
    local function draw(n) return 1 + random() * n // 1 | 0 end
    local function text(list, n)
      local parts = {}
      for i = 1, draw(n) - 1 do parts[i] = list[draw(#list)] end
      return table.concat(parts)
    end
    local function all(s, p, init)
      local found = {}
      for a, b in s:gmatch(p, init) do
        found[#found + 1] = tostring(a) .. tostring(b)
      end
      return table.concat(found, ";")
    end
    local ways = { string.find, string.match, all, string.gsub }
    local function clean(t)
      if not t[1] then t[2] = t[2]:gsub("^.-:%d+: ", "") end
      return t
    end
    for _ = 1, 1500 do
      local s, p, i = text(pieces, 9), text(atoms, 6), draw(4)
      local third = i == 4 and values[draw(#values)]
        or draw(3) == 1 and draw(20) - 10 or nil
      assert.same(clean(table.pack(pcall(ways[i], s, p, third))),
        clean(inside(ways[i], s, p, third)), ("%d %q %q"):format(i, s, p))
    end
  end)
end)

describe("a router", function()
  local function router(policy)
    local pool = llmpool.new()
    pool:register_model("m", { { id = "a", generate = function()
      return "answer"
    end } })
    local events = {}
    return llmpool.router { pool = pool, policy = policy,
      on_event = function(event)
        if event.event == "policy_failed" then events[#events + 1] = event end
      end }, events
  end

  it("answers where its policy's pattern or its error runs away", function()
    local function nasty(tostring_of)
      return setmetatable({}, { __tostring = tostring_of })
    end
    local rows = {
      { "instructions", "too many", function(request)
        return request.prompt:find(("a*"):rep(9) .. "b")
      end },
      { "raised", "a table that cannot be shown", function()
        error(nasty(function() error "in it" end))
      end },
      { "raised", "a table that cannot be shown", function()
        error(nasty(function() while true do end end))
      end },
      { "plan", "too many instructions", function()
        return setmetatable({}, { __index = function() while true do end end })
      end },
    }
    for _, row in ipairs(rows) do
      local r, events = router(row[3])
      assert.equal("answer", (r:generate { prompt = ("a"):rep(5000) }))
      assert.equal(row[1], events[1].reason)
      assert.matches(row[2], events[1].message, 1, true)
    end
  end)
end)
