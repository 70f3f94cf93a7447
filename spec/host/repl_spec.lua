-- The prompt: sessions through a pipe, compared with lua5.4, whose readline
-- writes each line behind its prompt; and a few on a terminal.

local host = require "spec.host.support"

local rows = {
  { "nothing to read", args = "-i" },
  { "a line without its end", args = "-i", stdin = "a = 1\n= a" },
  { "expressions", args = "-i", stdin = "1, nil, 2\n\n'x'\n;\n(2)\n" },
  { "=", args = "-i", stdin = "= 1, 2\n=\n==3\n" },
  { "statements", args = "-i",
    stdin = "a = 1\nlocal b = 2\nprint(a, b)\nreturn a, 2\nreturn\n" },
  { "a statement in lines", args = "-i",
    stdin = "for i = 1, 2 do\nprint(i)\n\nend\nx = [[a\n\n b]]\nx\n" },
  { "an expression in lines", args = "-i", stdin = "(6*2-6) -- =\na =\n10\n" },
  { "lines after = are continued", args = "-i", stdin = "= (\n1\n)\n" },
  { "results with a close", args = "-i",
    stdin =
      "local x <close> = setmetatable({}, {__close = print}) return 1\n" },
  { "a syntax error", args = "-i", stdin = "x = = 1\n1 1\nx\n" },
  { "an incomplete line at the end", args = "-i", stdin = "x = (\n",
    differs = { err = "stdin:1: unexpected symbol near <eof>\n" } },
  { "errors", args = "-i",
    stdin = "error 'no'\nerror {}\nerror()\nnil + 1\nlocal x <close> = 5\n" },
  { "an error as object", args = "-i",
    stdin = "error(setmetatable({}, {__tostring = function() " ..
            "return 'object' end}))\n" },
  { "_PROMPT", args = [[-e "_PROMPT = 'one ' _PROMPT2 = 'two '" -i]],
    stdin = "a =\n1\n_PROMPT, _PROMPT2 = '', ''\na =\n2\n" },
  { "_PROMPT of any kind", args = "-i", stdin = [[
count = {__tostring = function() n = (n or 0) + 1 return n .. "" end}
_PROMPT = setmetatable({}, count)
a
_PROMPT = 1
a
_PROMPT = nil
a
]] },
  { "_PROMPT that fails", args = "-i",
    stdin = "_PROMPT = setmetatable({}, {__tostring = function() " ..
            "error 'no' end})\nprint(1)\n" },
  { "print is the global one", args = "-i",
    stdin = "function print(...) io.write('<', ..., '>\\n') end\n1, 2\n" },
  { "no print", args = [[-e "print = nil" -i]], stdin = "10\n" },
  { "print that fails", args = [[-e "function print() error({}) end" -i]],
    stdin = "10\n" },
  { "no results, no print", args = [[-e "print = nil" -i]], stdin = "a = 1\n" },
  { "a script first", args = "-i s.lua x", stdin = "a, arg[1]\n",
    files = { ["s.lua"] = "a = ... return 5" } },
  { "a script that fails first", args = "-i s.lua", stdin = "print(1)\n",
    files = { ["s.lua"] = "error 'no'" } },
  { "-e and -l first", args = [[-i -e "x = 1" -l s=string]],
    stdin = "x, s.len'abc'\n" },
  { "LUA_INIT first", args = "-i", env = "LUA_INIT='x = 1'", stdin = "x\n" },
  { "-E", args = "-E -i", env = "LUA_INIT='x = 1'", stdin = "x\n" },
  { "warnings", args = "-i", stdin = "warn 'a'\nwarn '@on'\nwarn 'b'\n" },
  { "no varargs", args = "-i", stdin = "select('#', ...)\n" },
  { "globals stay, locals do not", args = "-i",
    stdin = "local a, b = 1; c = 2\na, c\n" },
  { "many results", args = "-i", stdin = "table.unpack({}, 1, 300)\n" },
  { "too many results", args = "-i",
    stdin = "select('#', table.unpack({}, 1, 2e5))\n" },
  { "deep recursion", args = "-i", stdin = "function f(n) if n == 0 then " ..
    "error 'no' end return f(n - 1) + 1 end\nf(300)\n1\n" },
  { "endless recursion", args = "-i", slow = true,
    stdin = "function f() return f() + 1 end\nf()\n1\n" },
  { "the main chunk is no coroutine", args = "-i",
    stdin = "coroutine.isyieldable()\n" },
  { "os.exit", args = "-i", stdin = "os.exit(3)\nprint(1)\n" },
  { "os.exit that closes", args = "-i",
    stdin = "x = setmetatable({}, {__gc = function() print 'gc' end})\n" ..
            "os.exit(4, true)\n" },
  { "goto continue", args = "-i", stdin = "goto x\n::x::\nprint(1)\n" },
  { "many lines", args = "-i",
    stdin = ("a = (a or 0) + 1\n"):rep(300) .. "a\n" },
}

describe("a session through a pipe as lua's:", function()
  setup(host.open)
  teardown(host.close)

  for title, test in host.comparisons(rows) do it(title, test) end

  it("a long line", function() -- readline would scroll it on its terminal
    local long = "x = '" .. ("a"):rep(5000) .. "'"
    host.expect { args = "-i", stdin = long .. "\n#x\n", err = "",
      out = "Lua 5.4.4  Copyright (C) 1994-2022 Lua.org, PUC-Rio\n> " .. long ..
            "\n> #x\n5000\n> \n" }
  end)

  it("lines that io.read takes", function() -- readline would read past them
    host.expect { args = [[-e "_PROMPT = ''" -i]], err = "",
      stdin = "io.read(), io.read 'n'\nhello\n12\nio.read()\n\n1",
      out = "Lua 5.4.4  Copyright (C) 1994-2022 Lua.org, PUC-Rio\n" ..
            "io.read(), io.read 'n'\nhello\t12\n\nio.read()\n\n1\n1\n\n" }
  end)
end)

-- What a terminal shows. The steps are typed one after the other, each once
-- what came after the one before has `after` in it (a prompt, unless it says
-- something else), however long that takes.
local TERMINAL = [[
mark=0
await() { # TEXT
  until tail -c +$((mark + 1)) shown | sed 's/\x1b\[?*[0-9;]*[a-zA-Z]//g' |
    grep -qF -- "$1"; do
    kill -0 $session 2>/dev/null || return
    sleep 0.02
  done
  mark=$(wc -c <shown)
}
mkfifo keys
: >shown
script -qfe -c '"$LUA" ARGS' /dev/null <keys >shown 2>&1 & session=$!
exec 3>keys
STEPS
wait $session
echo "status $?" >>shown
exec 3>&-
cat shown]]

local function on_terminal(row)
  local steps = {}
  for i, step in ipairs(row) do
    if type(step) == "string" then step = { keys = step } end
    steps[i] = ("await %s; printf %s >&3"):format(
      host.quote(step.after or "> "), host.quote(step.keys))
  end
  local parts = { ARGS = row.args or "", STEPS = table.concat(steps, "\n") }
  local run = host.run(row.program or host.program,
    { env = "TERM=xterm", sh = TERMINAL:gsub("%u+", parts) })
  local shown = run.out:gsub("\27%[%??[%d;]*%a", ""):gsub("\r", "")
  return shown
end

describe("a session on a terminal", function()
  setup(host.open)
  teardown(host.close)

  it("begins with a banner and evaluates lines", function()
    local shown = on_terminal { "6 * 7\n", "\4" }
    assert.matches("^llmpool [^\n]+\nLua 5%.4%.%d  Copyright", shown)
    assert.matches("> 6 %* 7\n42\n> \n", shown)
    assert.matches("status 0", shown)
  end)

  it("shows lua's banner alone under the name lua", function()
    assert.matches("^Lua 5%.4", on_terminal { "\4", program = host.ours })
  end)

  it("drops what is typed at Ctrl-C and goes on", function()
    local shown = on_terminal { "os.exit(5)", { after = "(5)", keys = "\3" },
                                "'al' .. 'ive'\n", "x = (\n",
                                { after = ">> ", keys = "\3" },
                                "1 + 1\n", "\4" }
    assert.matches("\nalive\n", shown)
    assert.matches("\n2\n", shown)
    assert.matches("status 0", shown)
  end)

  it("is not killed by any number of Ctrl-C", function()
    local shown = on_terminal { ("\3"):rep(50), "'al' .. 'ive'\n",
                                { after = "alive", keys = "\4" } }
    assert.matches("\nalive\n", shown)
    assert.matches("status 0", shown)
  end)

  it("interrupts a running line at Ctrl-C and goes on", function()
    local shown = on_terminal { "print('run' .. 'ning') while true do end\n",
                                { after = "running", keys = "\3" },
                                "'al' .. 'ive'\n", "\4" }
    assert.matches("interrupted!\n> ", shown)
    assert.matches("\nalive\n", shown)
  end)

  it("leaves with the status of os.exit", function()
    assert.matches("status 6", on_terminal { "os.exit(6)\n" })
  end)

  it("comes after a script with -i", function()
    local shown = on_terminal { args = [[-i -e "x = 7"]], "x\n", "\4" }
    assert.matches("^Lua 5%.4[^\n]+\n> x\n7\n", shown)
  end)

  it("reads programs from io.read's terminal", function()
    local shown = on_terminal { "print('rea' .. 'dy'); return io.read()\n",
                                { after = "ready", keys = "typed\n" }, "\4" }
    assert.matches("typed\ntyped\n", shown)
  end)
end)
