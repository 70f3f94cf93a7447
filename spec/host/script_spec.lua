-- Scripts: where they come from, how they end, what is printed when they
-- fail, and that the state they run in is lua's, compared with lua5.4.

local host = require "spec.host.support"

local function script(title, code, row)
  row = row or {}
  row[1] = title
  row.args = row.args or "s.lua"
  row.files = row.files or {}
  row.files["s.lua"] = code
  return row
end

local SORTED = [[
local function sorted(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return table.concat(names, " ")
end
]]

-- A function that calls itself with many locals: the stack is as large, and has
-- few frames.
local OVERFLOWS = "(function() local function f() local " .. ("x, "):rep(190) ..
  "x return f() + 1 end return f end)()"

local rows = {
  -- where a script comes from
  { "standard input", args = "", stdin = "print(10)\nprint(2)\n" },
  { "standard input, empty", args = "" },
  { "standard input by -", args = "- a", stdin = "print(...)" },
  { "standard input closed", sh = [["$LUA" <&-; echo $?]] },
  { "an error on standard input is forgotten", args = "",
    stdin = "print(1)\nerror('x')" },
  { "an error on standard input by - is not", args = "-",
    stdin = "print(1)\nerror('x')" },
  { "a syntax error on standard input", args = "-", stdin = "print(1" },
  { "standard input that begins with #", args = "-",
    stdin = "#!/usr/bin/lua\nprint(debug.getinfo(1).currentline)" },
  { "a file that is not there", args = "nothing.lua", as_lua = true },
  { "a directory", args = "." },
  { "a file without a name", args = "''" },
  { "a file that may not be read", sh = [["$LUA" /proc/self/mem]] },
  script("a script", "print(...)", { args = "s.lua a b" }),
  script("an empty script", ""),
  script("a script with a syntax error", "x = = 2"),
  script("a script of one comment", "#no end of line"),
  script("a first line with #", "#!/usr/bin/env llmpool\n" ..
         "print(debug.getinfo(1).currentline)"),
  script("a byte order mark and #", "\xEF\xBB\xBF# x\nprint(1)"),
  script("a second line with #", "print(1)\n# no"),
  { "a script by its first line", sh = [[
      { echo "#!$LUA"; echo "print(arg[0], ...)"; } >x; chmod +x x; ./x a b]] },
  { "a binary script", sh = [[
      "$LUA" -e "io.write(string.dump(load'print(1, ...)'))" >x; "$LUA" x 2]] },
  { "a broken binary script", sh = [[printf '\033Lua' >x; "$LUA" x]] },
  script("a script's results are nobody's", "return false, 1"),
  -- how it ends
  script("os.exit()", "os.exit()"),
  script("os.exit(true)", "os.exit(true)"),
  script("os.exit(false)", "os.exit(false)"),
  script("os.exit(7)", "os.exit(7)"),
  script("os.exit(256 + 3)", "os.exit(259)"),
  script("os.exit('x')", "os.exit('x')"),
  script("os.exit(nil, true)", "os.exit(nil, true)"),
  script("os.exit(7, true)", "os.exit(7, true)"),
  script("os.exit(false, true)", "os.exit(false, true)"),
  script("os.exit in a protected call", "pcall(os.exit, 3) print(1)"),
  script("os.exit in a coroutine",
         "coroutine.wrap(function() os.exit(4) end)() print(1)"),
  script("os.exit flushes", "io.write('no end of line') os.exit(0)"),
  script("os.exit(true, true) closes", [[
    local x <close> = setmetatable({}, {__close = function(_, e)
      print("closed", e) end})
    local y <close> = setmetatable({}, {__close = function() print(120) end})
    setmetatable({}, {__gc = function() print "collected" end})
    os.exit(true, true)]]),
  script("os.exit(true) does not", [[
    local x <close> = setmetatable({}, {__close = function() print(1) end})
    setmetatable({}, {__gc = function() print(2) end})
    os.exit(true)]]),
  script("an end closes and collects", [[
    local x <close> = setmetatable({}, {__close = function() print(1) end})
    setmetatable({}, {__gc = function() print(2) end})]]),
  script("an error closes and collects", [[
    local x <close> = setmetatable({}, {__close = function(_, e)
      print(e) end})
    setmetatable({}, {__gc = function() print(2) end})
    error "no"]]),
  script("an error while closing", [[
    local x <close> = setmetatable({}, {__close = function(_, e)
      error("again", 0) end})
    error "no"]]),
  script("errors in finalizers are warnings", [[
    u1 = setmetatable({}, {__gc = function () error("XYZ") end})
    u2 = setmetatable({}, {__gc = function () error("ZYX") end})]],
    { args = "-W s.lua" }),
  script("finalizers that make more of them", [[
    setmetatable({}, {__gc = function () print(1) end})
    setmetatable({}, {__gc = function ()
      print "2"
      setmetatable({}, {__gc = function () print(3) end})
      print(collectgarbage())
      os.exit(0, true)
    end})]], { args = "-W s.lua" }),
  script("a coroutine left behind", [[
    local co = coroutine.wrap(function()
      local x <close> = setmetatable({}, {__close = function() print(1) end})
      coroutine.yield()
    end)
    co()]]),
  script("an open file", "io.output('x') io.write('alo')", {
    sh = [["$LUA" s.lua; cat x]] }),
  -- what is printed when it fails
  script("an error", "local function f() error('no') end\nf()"),
  script("an error without a place", "error('no', 0)"),
  script("an error of the caller's", [[
    local function f() error('no', 2) end
    local function g() f() end
    g()]]),
  script("a number as error", "error(42)"),
  script("nil as error", "error()"),
  script("a table as error", "error {}"),
  script("an object as error", [[
    error(setmetatable({}, {__tostring = function() return "object" end}))]]),
  script("an object as error that is no string", [[
    error(setmetatable({}, {__tostring = function() return {} end}))]]),
  script("an object as error that cannot be one", [[
    error(setmetatable({}, {__tostring = function() error "no" end}))]]),
  script("an object as error that has a name", [[
    error(setmetatable({}, {__name = "Mine"}))]]),
  script("an object as error that looks around", [[
    m = {x=0}
    setmetatable(m, {__tostring = function(x)
      return tostring(debug.getinfo(4).currentline + x.x)
    end})
    error(m)]]),
  script("an error with a zero in it", "error('a\\0b')"),
  script("an error in a coroutine", [[
    local co = coroutine.create(function() local x = nil + 1 end)
    print(coroutine.resume(co))
    print(debug.traceback(co))
    coroutine.wrap(function() error "wrapped" end)()]]),
  script("an error in a message handler", [[
    print(xpcall(error, function() error "again" end, "no"))
    print(xpcall(error, function(e) return e .. "!" end, "no"))]]),
  script("an error far down", [[
    local function f(n) if n == 0 then error "no" end return f(n - 1) + 1 end
    f(300)]]),
  script("a stack overflow that is caught", [[
    local ok, message = pcall(]] .. OVERFLOWS .. [[)
    print(ok, #message)]]),
  script("a stack overflow", "(" .. OVERFLOWS .. ")()"),
  script("a stack overflow in C", [[
    local s = string.rep("(", 300) .. "1" .. string.rep(")", 300)
    print(load("return " .. s))
    local t = setmetatable({}, {})
    getmetatable(t).__index = function(_, k) return t[k] end
    return t.x]]),
  script("a memory error", "string.rep('x', 1 << 40)"),
  script("an error in a library", "require 'one'", {
    env = "LUA_PATH='?.lua'", files = { ["one.lua"] = "error('no')" } }),
  -- warnings
  script("warnings are off", "warn 'x' print(1)"),
  script("warnings, on and off", [[
    warn("@allow") warn("@off", "XXX", "@off") warn("@off") warn("@on", "YYY")
    warn("@off") warn("@on") warn("", "@on") warn("@on") warn("Z", "Z", "Z")]],
    { args = "-W s.lua" }),
  script("a warning of no string", "warn({})"),
  -- the state
  script("the globals", SORTED .. [[
    print(sorted(_G)) print(sorted(package.loaded)) print(sorted(coroutine))
    for _, name in ipairs { "os", "io", "debug", "table", "string" } do
      print(sorted(_G[name]))
    end]]),
  script("the collector's mode", "print(collectgarbage 'incremental')"),
  script("the stack under a chunk", [[
    print(debug.traceback "here")
    print(debug.getinfo(2).what, debug.getinfo(2).short_src,
      debug.getinfo(3))]]),
  script("the main chunk is no coroutine",
         "print(coroutine.isyieldable(), select(2, coroutine.running()))"),
  script("no yield from the main chunk", "coroutine.yield(1)"),
  script("debug.debug", "debug.debug()", { args = "s.lua",
    stdin = "io.stderr:write(1000)\nerror 'no'\ncont\n" }),
  script("Debian's C modules", [[
    print(type(require "lfs".currentdir()), require "term".isatty(io.stdin))]]),
  script("the locale", "print(os.setlocale())"),
  -- its surroundings
  script("standard output closed", "print(1) print(io.write(2))",
         { sh = [["$LUA" s.lua >&-; echo $? >&2]] }),
  script("standard output full", "print(1) print(io.stdout:flush())",
         { sh = [["$LUA" s.lua >/dev/full; echo $? >&2]] }),
  script("standard error closed", "warn 'x' error 'no'",
         { sh = [["$LUA" -W s.lua 2>&-; echo $?]] }),
  script("a pipe that nobody reads",
         "while true do io.write(('x'):rep(1000)) end",
         { sh = [[{ "$LUA" s.lua; echo $? >&2; } | head -c 1]] }),
  script("a child's input goes on", "print(io.read()) os.execute 'cat'",
         { stdin = ("x"):rep(8191) .. "\nchild\n" }),
}

describe("scripts as under lua:", function()
  setup(host.open)
  teardown(host.close)
  for title, test in host.comparisons(rows) do it(title, test) end
end)
