-- The commands: `llmpool WORD`, what is a word and what a file, help, and the
-- suggestions for what was mistyped.

local host = require "spec.host.support"

local SHOW = { ["s.lua"] = [[
  print(arg[0], arg[-1], select("#", ...), ...)]] }

local function with(files)
  for name, text in pairs(SHOW) do files[name] = text end
  return files
end

local rows = {
  { "run", args = "run s.lua a b", files = SHOW, ended = "exit 0",
    out = "s.lua\trun\t2\ta\tb\n", err = "" },
  { "run takes any name", args = "run run", files = { run = "print(...)" },
    out = "\n", ended = "exit 0" },
  { "run takes a name behind --", args = "run -- -s.lua 1",
    files = { ["-s.lua"] = "print(...)" }, out = "1\n" },
  { "run takes standard input", args = "run - 1 2", stdin = "print(...)",
    out = "1\t2\n" },
  { "run's script has options of its own", args = "run s.lua -x --help",
    files = SHOW, out = "s.lua\trun\t2\t-x\t--help\n" },
  { "options stand before run", args = [[-e "print(0)" -W run s.lua]],
    files = SHOW, out = "0\ns.lua\trun\t0\n" },
  { "run and the prompt", args = "-i run s.lua", files = SHOW,
    out = "Lua 5.4.4  Copyright (C) 1994-2022 Lua.org, PUC-Rio\n" ..
          "s.lua\trun\t0\n> \n" },
  { "run without a script", args = "run", ended = "exit 1", out = "",
    err = "LUA: run which script? (LUA run SCRIPT [ARGS])\n" },
  { "run with an option", args = "run -i s.lua", files = SHOW,
    ended = "exit 1", out = "",
    err = "LUA: run takes no option '-i'; options go before 'run'\n" },
  { "run of a script that is not there", args = "run tset", ended = "exit 1",
    err = "LUA: cannot open tset: No such file or directory\n" },
  { "run of a script that fails", args = "run s.lua", ended = "exit 1",
    files = { ["s.lua"] = "error('no', 0)" },
    err = "LUA: no\nstack traceback:\n\t[C]: in function 'error'\n" ..
          "\ts.lua:1: in main chunk\n\t[C]: in ?\n" },
  { "a file of a command's name", args = "./run 1",
    files = { run = "print(...)" }, out = "1\n" },
  { "a file of a command's name behind --", args = "-- run 1",
    files = { run = "print(...)" }, out = "1\n" },
  { "a command hides a file of its name", args = "version",
    files = { version = "print 'file'" }, ended = "exit 0",
    out = host.version },
  { "version", args = "version", out = host.version, err = "",
    ended = "exit 0" },
  { "--version", args = "--version", out = host.version, err = "",
    ended = "exit 0" },
  { "--version runs nothing", args = [[-e "print(1)" --version s.lua]],
    files = SHOW, env = "LUA_INIT='print(2)'", out = host.version },
  { "version of something", args = "version x", ended = "exit 1", out = "",
    err = "LUA: version: what is 'x'?\n" },
  { "version with an option", args = "version --bogus", ended = "exit 1",
    out = "", err = "LUA: version: unknown option '--bogus'; " ..
                    "see 'LUA help version'\n" },
  { "version's help", args = "version --help", ended = "exit 0", err = "",
    out = function(text)
      return text:find "^usage: LUA %[options%] version\n" end },
  { "help of two commands", args = "help sim new", ended = "exit 1", out = "",
    err = "LUA: help: what is 'new'?\n" },
  { "help with an option", args = "help --bogus", ended = "exit 1", out = "",
    err = "LUA: help: unknown option '--bogus'; see 'LUA help help'\n" },
  { "-v is lua's, behind the program's own", args = "-v", err = "",
    out = host.version },
  { "-v comes first", args = [[-v -e "print'hello'"]], out = function(text)
    return text:find "^llmpool [%d.]+\nLua [^\n]*PUC%-Rio\nhello\n$" end },
  { "-h is an error", args = "-h", ended = "exit 1", out = "" },
  { "help of what is no command", args = "help tst", ended = "exit 1",
    out = "", err = "LUA: no command 'tst' (did you mean 'test'?); " ..
                    "'LUA help' lists them\n" },
  { "help of nothing like a command", args = "help gibberish",
    ended = "exit 1", err = "LUA: no command 'gibberish'; " ..
                            "'LUA help' lists them\n" },
  { "a mistyped command", args = "tset a", ended = "exit 1", out = "",
    err = "LUA: cannot open tset: No such file or directory\n" ..
          "LUA: did you mean the command 'test'?\n" },
  { "half a command", args = "ver", ended = "exit 1",
    err = "LUA: cannot open ver: No such file or directory\n" ..
          "LUA: did you mean the command 'version'?\n" },
  { "a command in capitals", args = "RUN s.lua", files = SHOW,
    ended = "exit 1",
    err = "LUA: cannot open RUN: No such file or directory\n" ..
          "LUA: did you mean the command 'run'?\n" },
  { "a name like no command", args = "script.lua", ended = "exit 1",
    err = "LUA: cannot open script.lua: No such file or directory\n" },
  { "a very long name", args = ("x"):rep(300), ended = "exit 1",
    err = "LUA: cannot open " .. ("x"):rep(300) .. ": File name too long\n" },
  { "a name behind -- is no mistyped command", args = "-- tset",
    ended = "exit 1",
    err = "LUA: cannot open tset: No such file or directory\n" },
  { "a file with a name like a command's", args = "tset", ended = "exit 0",
    files = { tset = "print 'file'" }, out = "file\n", err = "" },
  { "such a file that does not compile", args = "tset", ended = "exit 1",
    files = { tset = "x =" },
    err = "LUA: tset:1: unexpected symbol near <eof>\n" },
  { "a command whose output has no room", ended = "exit 0", out = "1 1 1\n",
    sh = [[for c in help version doctor; do
        "$LUA" $c >/dev/full; s="$s $?"; done; echo $s]],
    err = ("LUA: cannot write: No space left on device\n"):rep(3) },
  { "a command whose output is closed", ended = "exit 0", out = "1\n",
    sh = [["$LUA" help >&-; echo $?]],
    err = "LUA: cannot write: Bad file descriptor\n" },
  { "a script's output is its own affair", ended = "exit 0", err = "",
    sh = [["$LUA" -e "print(1)" >/dev/full]] },
  { "no standard file is open", ended = "exit 0", out = "3\n", err = "",
    sh = [["$LUA" -e "local l = require 'llmpool' l.sleep(0.01)
      print(io.read()) os.exit(3)" <&- >&- 2>&-; echo $?]] },
  { "test without busted", sh = [[PATH=/nowhere exec "$LUA" test]],
    ended = "exit 1", out = "", err = "LUA: test needs busted, which is not " ..
      "in PATH (on Debian: apt-get install lua-busted)\n" },
  { "test with a wrapper of busted", sh = [[
      printf '#!/bin/sh\nexec true\n' >busted; chmod +x busted
      PATH=.:$PATH exec "$LUA" test]], ended = "exit 1", out = "",
    err = "LUA: ./busted is no Lua script; try: ./busted --lua=LUA\n" },
  { "test takes busted's options", ended = "exit 0", err = "",
    args = "test --output=TAP x_spec.lua", files = with {
      ["x_spec.lua"] = [[it("runs here", function()
        assert(arg[-1]:find "llmpool$", arg[-1]) end)]] },
    out = "ok 1 - runs here\n1..1\n" },
  { "test heeds no other Lua that .busted names", ended = "exit 0",
    args = "test -o TAP", files = with {
      [".busted"] = "return { default = { lua = 'false', ROOT = {'.'} } }",
      ["x_spec.lua"] = [[it("runs", function() end)]] },
    out = "ok 1 - runs\n1..1\n" },
  { "test fails with its specs", ended = "exit 1", err = "",
    args = "test -o TAP x_spec.lua", files = with {
      ["x_spec.lua"] = [[it("fails", function() error("no", 0) end)]] } },
  { "busted --lua", ended = "exit 0", sh = [[
      exec busted --lua="$LUA" -o TAP x_spec.lua]], files = with {
      ["x_spec.lua"] = [[it("runs here", function()
        assert(arg[-1]:find "llmpool$", arg[-1]) end)]] },
    out = "ok 1 - runs here\n1..1\n" },
}

describe("the command line with commands:", function()
  setup(host.open)
  teardown(host.close)

  for _, row in ipairs(rows) do
    it(row[1], function() host.expect(row) end)
  end

  it("help lists every command in one screen", function()
    local help = host.run(host.program, { args = "help" })
    local _, lines = help.out:gsub("\n", "")
    assert(lines <= 24, lines)
    for _, name in ipairs { "run", "test", "help,", "version,", "sim", "new",
                            "check", "doctor" } do
      assert.matches("\n  " .. name .. " ", help.out, 1, true)
    end
    assert.same(help, host.run(host.program, { args = "--help" }))
    assert.same("exit 0", help.ended)
    assert.same("", help.err)
  end)

  it("help of a command says how to call it", function()
    for _, name in ipairs { "run", "test", "help", "version" } do
      local help = host.run(host.program, { args = "help " .. name })
      assert.matches("usage: LUA [options] " .. name, help.out, 1, true)
      assert.same("exit 0", help.ended)
    end
    assert.same(host.run(host.program, { args = "help run" }),
                host.run(host.program, { args = "run --help" }))
  end)

  it("a bad option names the nearest", function()
    for word, meant in pairs { ["-h"] = "--help", ["--hlep"] = "--help",
                               ["-help"] = "--help", ["-V"] = "--version",
                               ["--versoin"] = "--version" } do
      assert.matches(
        ("unrecognized option '%s' (did you mean '%s'?)\n"):format(word, meant),
        host.run(host.program, { args = word }).err, 1, true)
    end
    assert.matches("unrecognized option '-x'\nusage: LUA [options]",
                   host.run(host.program, { args = "-x" }).err, 1, true)
  end)

  it("there are none under a name that begins with lua", function()
    for _, word in ipairs { "run", "test", "help", "version", "tset" } do
      host.compare({ args = word }, host.ours)
      host.compare({ args = word, files = { [word] = "print(...)" } },
                   host.ours)
    end
  end)
end)
