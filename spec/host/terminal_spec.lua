-- The prompt in a real terminal: what one types, what one sees, in tmux.

local host = require "spec.host.support"
local tmux = require "spec.support.tmux"

local read, write = host.read, host.write

local POOL = [[pool = llmpool.new() pool:register_model("m", { ]] ..
  [[llmpool.simulated { id = "key-1", latency = 1000 } })]]

describe("the prompt on a terminal", function()
  local terminal = tmux.around(setup, teardown, before_each)

  local function answer(line) return terminal:answer(line) end

  it("evaluates as lua does", function()
    assert.same("2", answer "1 + 1")
    assert.same("1       x       nil", answer "1, 'x', nil") -- with tabs
    assert.same("3", answer "= 3")
    assert.same("", answer "a = 1")
    assert.same("", answer "1;")
    assert.same("nil", answer "nil")
  end)

  it("keeps the last values", function()
    answer "6 * 7"
    assert.same("42", answer "_")
    answer "'x'"
    assert.same("42", answer "__")
  end)

  it("shows tables, and more of them on demand", function()
    assert.same('{ 1, b = "x" }', answer "{1, b = 'x'}")
    answer "t = {} for i = 1, 45 do t[i] = i end"
    assert.matches("%.%.%. 5 more\n}\n%-%- more%(%) shows all of it",
                   answer "t")
    assert.matches("44, 45\n}$", answer "more()")
  end)

  it("shows what an object says of itself, line by line", function()
    answer("o = setmetatable({}, {__tostring = function() " ..
           "return 'two\\nlines' end})")
    assert.same("two\nlines", answer "o")
    assert.same("{ two\\nlines }", answer "{o}")
  end)

  it("shows an error, its place and the user's frames", function()
    assert.same("stdin:1: unexpected symbol near '='\nx = = 1\n    ^",
                answer "x = = 1")
    assert.same("stdin:1: no", answer "error 'no'")
    answer "function f() error 'deep' end"
    assert.same("stdin:1: deep\n  stdin:1: in function 'f'\n" ..
                "  stdin:1: in main chunk", answer "f() return 1")
  end)

  it("obeys nothing that an error or a name says", function()
    assert.same("stdin:1: \\x1b[31mred \\x07",
                answer [[error "\27[31mred \7"]])
    answer([[pool = llmpool.new() pool:register_model("m\27[32m", {]] ..
           [[ llmpool.simulated { id = "k\n" } })]])
    assert.matches("\nm\\x1b%[32m  1 idle.*\n  k\\n +idle", answer "pool")
  end)

  it("names what was meant", function()
    answer(POOL)
    local function meant(line)
      return answer(line):gsub("\n", ""):match "did you mean '(.-)'%?$"
    end
    assert.same("generate", meant "pool:genrate('m', 'q')")
    assert.same("print", meant "prnt(1)")
    assert.same("string.format", meant "string.fomat('x')")
  end)

  it("trims the failure of a task", function()
    answer "function f() error { code = 1 } end"
    assert.same("llmpool: task failed: (error object is { code = 1 })\n" ..
                "  stdin:1: in function 'f'\n  stdin:1: in function " ..
                "<stdin:1>\nspawned at stdin:1",
                answer "llmpool.spawn(function() f() end);")
  end)

  it("clears a line that is being typed at Ctrl-C", function()
    terminal:type "os.exit(5)"
    terminal:await_last "> os.exit(5)"
    terminal:press "C-c"
    terminal:prompt()
    terminal:line "x = ("
    terminal:await_last ">>"
    terminal:press "C-c"
    terminal:prompt()
    assert.same("2", answer "1 + 1")
    terminal:press "C-c"
    terminal:prompt()
    terminal:press "C-c"
    terminal:await "(Ctrl-D or os.exit() leaves)"
    terminal:prompt()
    terminal:press("C-r")
    terminal:await "reverse-i-search"
    terminal:press "C-c"
    terminal:prompt()
  end)

  it("begins a line where what was written has no end", function()
    assert.same("abc", answer "io.write 'abc';")
    assert.same("abc\n7", answer "io.write 'abc' return 7")
    assert.same("abc", answer "io.write 'abc' io.flush()")
    assert.same("abc", answer "io.stdout:write('abc'):flush();")
    assert.same("abc", answer "io.write 'abc' io.flush() io.write '\\n'")
    assert.same("abc", answer "io.write 'abc\\n' io.flush()")
    assert.same("abc\nstdin:1: no", answer "io.write 'abc' error 'no'")
    terminal:line "io.write 'who? ' return io.read()"
    terminal:await "who?"
    terminal:line "me"
    terminal:await "who? me\nme\n>"
  end)

  it("gives a statement up at Ctrl-D, and goes on", function()
    terminal:line "x = ("
    terminal:await_last ">>"
    terminal:press "C-d"
    terminal:await "near <eof>"
    terminal:prompt()
    assert.same("2", answer "1 + 1")
  end)

  it("has what is typed right behind a Ctrl-C in the next line", function()
    for i = 1, 3 do
      terminal:run(([[send-keys -l abc \; send-keys C-c \; send-keys -l ]] ..
        [['%d + 1' \; send-keys Enter]]):format(i))
      terminal:await(("> %d + 1\n%d\n>"):format(i, i + 1))
    end
  end)

  it("cancels a line that waits, and says what it did", function()
    terminal:line "llmpool.sleep(1000)"
    terminal:await_last "> llmpool.sleep(1000)"
    terminal:press "C-c"
    terminal:await "cancelled: the line slept"
    terminal:prompt()
    answer(POOL)
    terminal:line "pool:generate('m', 'q')"
    terminal:await_last "> pool:generate('m', 'q')"
    terminal:press "C-c"
    terminal:await "cancelled: the line slept"
    terminal:prompt()
    assert.same("0       1",
                answer "pool:stats('m').lent, pool:stats('m').returned")
    answer "held = pool:acquire 'm'" -- and somebody who may return it:
    answer "bg = llmpool.spawn(llmpool.sleep, 1000);"
    terminal:line "pool:generate('m', 'q') -- in line"
    terminal:await_last "> pool:generate('m', 'q') -- in line"
    terminal:press "C-c"
    terminal:await "cancelled: the line waited for a client of m"
    terminal:prompt()
    answer "held:release() bg:cancel()"
    assert.same("0       0",
                answer "pool:stats('m').lent, pool:stats('m').waiting")
  end)

  it("interrupts what computes, however it resists", function()
    terminal:line "print 'computes' while true do end"
    terminal:await_last "computes"
    terminal:press "C-c"
    terminal:await "interrupted!"
    terminal:prompt()
    -- each Ctrl-C is seen to have come before the next is pressed
    answer("n = 0 function spin() n = n + 1 print('runs ' .. n) " ..
           "while true do end end")
    terminal:line "while n < 9 do pcall(spin) end -- resists"
    terminal:await_last "runs 1"
    terminal:press "C-c"
    terminal:await "runs 2"
    terminal:press "C-c" -- nobody swallows the second
    terminal:await "interrupted!"
    terminal:prompt()
    assert.same("2", answer "n")
    terminal:line "coroutine.wrap(function() print 'c' while true do end end)()"
    terminal:await_last "c"
    terminal:press "C-c"
    terminal:await "interrupted!"
    terminal:prompt()
    assert.same("2", answer "1 + 1")
  end)

  it("leaves other tasks alone at Ctrl-C", function()
    answer "n = 0 bg = llmpool.spawn(function() llmpool.sleep(1000) end)"
    terminal:line "llmpool.sleep(1000)"
    terminal:await_last "> llmpool.sleep(1000)"
    terminal:press "C-c"
    terminal:await "cancelled"
    terminal:prompt()
    assert.same("waiting", answer "bg:status()")
    assert.matches("task, spawned at  state +age\nstdin:1 +sleeps +%d",
                   answer "tasks()")
    answer "bg:cancel()"
    assert.same("no tasks", answer "tasks()")
  end)

  it("completes", function()
    terminal:type "llmpool.simul"
    terminal:press "Tab"
    terminal:await "llmpool.simulate"
    terminal:press "C-u"
    answer(POOL)
    terminal:type "pool:gen"
    terminal:press "Tab"
    terminal:await "pool:generate"
    terminal:type "('"
    terminal:press "Tab"
    terminal:await "pool:generate('m'"
    terminal:type "x"
    terminal:await_last "> pool:generate('m'x"
    terminal:press "C-u"
    write(host.top .. "/one of them.lua", "return 11")
    terminal:type 'dofile "one'
    terminal:press "Tab"
    terminal:await_last '> dofile "one of them.lua"'
    terminal:press "Enter"
    terminal:await "\n11\n"
    terminal:type "x = string.re"
    terminal:press("Tab", "Tab")
    terminal:await "rep      reverse"
    terminal:press "C-u"
  end)

  it("takes many lines at once", function()
    terminal:paste("function pasted(n)\n  local sum = 0\n" ..
                   "  for i = 1, n do sum = sum + i end\n" ..
                   "  return sum\nend\n", true)
    terminal:await "return sum"
    terminal:press "Enter"
    terminal:prompt()
    assert.same("55", answer "pasted(10)")
    local lines = {}
    for i = 1, 30 do lines[i] = ("v%d = %d"):format(i, i) end
    terminal:paste(table.concat(lines, "\n") .. "\n", false)
    terminal:await "v30 = 30"
    terminal:prompt()
    answer "sum = 0 for i = 1, 30 do sum = sum + _G['v' .. i] end"
    assert.same("465", answer "sum")
  end)

  it("knows characters of many bytes", function()
    terminal:type "'äö日本x"
    terminal:await "'äö日本x"
    terminal:press("BSpace", "BSpace")
    terminal:await_last "> 'äö日"
    terminal:line "'"
    terminal:await "\näö日\n"
    assert.same("8", answer "#'äö日本' - 2")
  end)

  it("follows the size of the terminal", function()
    terminal:type(("a"):rep(70) .. " = 1")
    terminal:resize(40, 20)
    terminal:await(("a"):rep(38) .. "\n" .. ("a"):rep(32) .. " = 1")
    terminal:press "C-u"
    terminal:prompt()
    answer(POOL)
    for line in answer("pool"):gmatch "[^\n]+" do
      assert.is_true(#line <= 40, line)
    end
    assert.matches("client +state +served\n  key%-1 +idle", answer "pool")
    terminal:resize(80, 24) -- tmux tells the program after a while
    terminal:type(("b"):rep(60))
    terminal:await("\n> " .. ("b"):rep(60))
    terminal:press "C-u"
    terminal:prompt()
  end)

  it("follows the size that it gets while a line runs #slow", function()
    terminal:line "print 'runs' llmpool.sleep(0.4)"
    terminal:await "runs"
    terminal:resize(40, 20)
    terminal:prompt()
    terminal:type(("a"):rep(70) .. " = 1")
    terminal:await(("a"):rep(38) .. "\n" .. ("a"):rep(32) .. " = 1")
    terminal:press("C-a", "b") -- where readline thinks that the line begins
    terminal:await(("b" .. ("a"):rep(37)) .. "\n" .. ("a"):rep(33) .. " = 1")
    terminal:press "C-u"
    terminal:line "found = 'by a search' print 'again' llmpool.sleep(0.4)"
    terminal:await "\nagain"
    terminal:resize(80, 24)
    terminal:prompt()
    terminal:clear()
    terminal:press "C-r" -- which is drawn by what readline knows
    terminal:await "reverse-i-search"
    terminal:type "found"
    terminal:await "found = 'by a search'"
    terminal:press "Enter" -- which ends the line, too
    terminal:await_last "again"
    terminal:prompt()
    assert.same("by a search", answer "found")
  end)

  it("watches a pool until a key is pressed", function()
    answer(POOL)
    terminal:line "pool:watch(0.05)"
    terminal:await "(any key ends this)"
    local first = terminal:screen()
    assert.matches("key%-1 +idle", first)
    terminal:press "q"
    local screen = terminal:prompt()
    assert.matches("%(any key ends this%)\n>$", screen)
    local _, tables = screen:gsub("1 model, open", "")
    assert.same(1, tables)
    assert.same("2", answer "1 + 1") -- the key is not typed
    terminal:line "pool:watch(0.05) -- again"
    terminal:await "(any key ends this)"
    terminal:press "C-c"
    terminal:await "cancelled"
    terminal:prompt()
    terminal:line "print 'reads'; return io.read()"
    terminal:await_last "reads"
    terminal:line "typed"
    assert.matches("\ntyped\ntyped\n>$", terminal:prompt())
  end)

  it("hands what is typed ahead to who reads it", function()
    terminal:paste("io.read(), io.read()\nahead\nof it\n'then ' .. 1\n", false)
    terminal:await "then 1"
    assert.matches("\nahead +of it\n", terminal:prompt())
  end)

  it("helps", function()
    assert.matches("pool:acquire%(model", answer "help 'acquire'")
    assert.matches("A first pool:", answer "help()")
    assert.matches("^[%d.]+ [mu]?s %([%d.]+ [mu]?s of the processor%)\n7$",
                   answer "time(function() return 7 end)")
  end)

  it("runs scripts and loads modules anew", function()
    write(host.top .. "/script.lua", "return 'ran', ...")
    assert.same("ran     1", answer "run('script.lua', 1)")
    write(host.top .. "/mymodule.lua", "return { a = 1, b = 2, f = print }")
    answer "m = require 'mymodule'"
    write(host.top .. "/mymodule.lua", "return { a = 1, b = 3, c = 4 }")
    assert.same("mymodule: *b +c -f (now in m)", answer "reload 'mymodule';")
    assert.same("4", answer "m.c")
    write(host.top .. "/mymodule.lua", "return {")
    assert.matches("mymodule.lua:1: ", answer "reload 'mymodule'")
    assert.same("4", answer "require 'mymodule'.c")
  end)
end)

describe("a session without a locale", function()
  setup(host.open)
  teardown(host.close)

  it("knows characters of many bytes, too", function()
    local terminal <close> = tmux.open { env = "LC_ALL= LC_CTYPE= LANG=" }
    terminal:prompt()
    terminal:type "'日本"
    terminal:await "'日本"
    terminal:press "BSpace"
    terminal:line "'"
    terminal:await "> '日'\n日\n>"
  end)
end)

describe("a session on a terminal", function()
  setup(host.open)
  teardown(host.close)

  local function home()
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkdir " .. path))
    return path
  end

  it("finds what was typed in the one before", function()
    local where = home()
    local file = where .. "/.local/state/llmpool/history"
    do
      local terminal <close> = tmux.open { home = where }
      terminal:prompt()
      terminal:line "x = 41"
      terminal:line "for i = 1, 2 do"
      terminal:line "  x = x + 1"
      terminal:line "end"
      terminal:line "c = { api_key = 'sk-abcdefghijklmnop' }"
      terminal:line " private = 1"
      terminal:line "x"
      terminal:await "43"
      terminal:press "C-d"
      terminal:await "status 0"
    end
    assert.same("x = 41\nfor i = 1, 2 do\\n  x = x + 1\\nend\nx\n", read(file))
    assert.same("600", io.popen("stat -c %a " .. file):read())
    local terminal <close> = tmux.open { home = where }
    terminal:prompt()
    terminal:press("Up", "Up")
    terminal:await_last "end"
    assert.matches("> for i = 1, 2 do\n  x = x %+ 1\nend$", terminal:screen())
    terminal:press("Up")
    terminal:await_last "> x = 41"
    terminal:press("Enter", "Down")
    os.execute("rm -rf " .. where)
  end)

  it("draws what tasks print above the line", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:line("bg = llmpool.spawn(function() for i = 1, 50 do " ..
                  "print('tick ' .. i) llmpool.sleep(0.02) end end)")
    terminal:type "x = 'half typed'"
    terminal:press("Left", "Left")
    local screen = terminal:await "tick 25"
    assert.matches("\n> x = 'half typed'$", screen)
    for i = 15, 24 do
      assert.matches("\ntick " .. i .. "\n", screen)
    end
    screen = terminal:await "tick 50"
    assert.matches("tick 49\ntick 50\n> x = 'half typed'$", screen)
    terminal:press("X", "Enter") -- the cursor is where it was
    terminal:prompt()
    assert.same("half typeXd", terminal:answer "x")
  end)

  it("draws errors of tasks and words of children above the line", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:line("llmpool.spawn(function() llmpool.sleep(0.2) " ..
      [[io.stderr:write "to stderr\n" os.execute "echo from a child" ]] ..
      "llmpool.spawn(error, 'its own') end);")
    terminal:type "half"
    local screen = terminal:await "spawned at stdin:1"
    assert.matches("to stderr\nfrom a child\nllmpool: task failed: its own",
                   screen)
    terminal:await_last "> half"
  end)

  it("ends in order at Ctrl-D", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:line [[llmpool.spawn(function()
      local c <close> = setmetatable({}, {__close = function()
        print 'closed in order' end})
      llmpool.sleep(1000) end)]]
    terminal:prompt()
    terminal:press "C-d"
    local screen = terminal:await "status 0"
    assert.matches("1 task cancelled\nclosed in order\nstatus 0", screen)
  end)

  it("loses nothing and leaves the terminal as it was at os.exit", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:line [[llmpool.spawn(function() llmpool.sleep(0.2)
      io.write 'last words' os.exit(7) end)]]
    terminal:await "last words"
    terminal:await "status 7"
    terminal:type "echoed" -- by the terminal
    terminal:await "echoed"
  end)

  it("goes on with the line after Ctrl-Z and fg", function()
    local terminal <close> = tmux.open { program = "bash --norc -i",
                                         env = "PS1=sh:" }
    terminal:await_last "sh:"
    terminal:line(host.program)
    terminal:prompt()
    terminal:type "1 + "
    terminal:await_last "> 1 +"
    terminal:press "C-z"
    terminal:await "Stopped"
    terminal:line "echo the sh''ell"
    terminal:await "the shell"
    terminal:line "fg"
    terminal:await_last "> 1 +"
    terminal:type "1" -- shown by readline, not by the terminal
    terminal:await_last "> 1 + 1"
    terminal:press("Left", "BSpace", "Enter")
    terminal:await "\n> 1 +1\n2\n>"
  end)

  it("takes no notice of Ctrl-Z where no shell waits", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:type "1 +"
    terminal:await_last "> 1 +"
    terminal:press "C-z"
    terminal:type " 2"
    terminal:await_last "> 1 + 2"
    terminal:press("Left", "BSpace", "Enter")
    terminal:await "\n> 1 +2\n3\n>"
  end)

  it("stays whole where globals must be declared", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:line("setmetatable(_G, { __index = function(_, k) error(k) end, "
      .. "__newindex = function(_, k) error(k) end });")
    assert.same("2", terminal:answer "1 + 1")
    assert.same("2", terminal:answer "_")
    assert.matches("stdin:1: unknown", terminal:answer "unknown")
  end)

  it("waits for whoever has the terminal", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    terminal:line("pool = llmpool.new() "
      .. "bg = llmpool.spawn(pool.watch, pool, 0.05) llmpool.sleep(0.2)")
    terminal:await "(any key ends this)"
    terminal:press "q"
    terminal:prompt()
    assert.same("2", terminal:answer "1 + 1")
  end)

  it("runs the rc file, and nothing of it with --norc", function()
    local where = home()
    assert(os.execute("mkdir -p " .. where .. "/.config/llmpool"))
    write(where .. "/.config/llmpool/init.lua", "rc = 'from a file'")
    local rows = {
      { "from a file" }, { "nil", args = "--norc" },
      { "from code", env = [["LLMPOOL_INIT=rc = 'from code'"]] },
      { "nil", env = "LLMPOOL_INIT=" },
      { "from a file", env = "LLMPOOL_INIT=@.config/llmpool/init.lua" },
    }
    for _, row in ipairs(rows) do
      local terminal <close> = tmux.open { home = where, args = row.args,
                                           env = row.env }
      terminal:prompt()
      terminal:line "rc"
      assert.matches("\n" .. row[1] .. "\n>$", terminal:until_screen(
        function(screen) return screen:find "> rc\n.+\n>$" end, "rc"))
    end
    local run = host.run(host.program, { args = [[-e "print(rc)"]],
                                         env = "HOME=" .. where })
    assert.same("nil\n", run.out)
    os.execute("rm -rf " .. where)
  end)

  it("is coloured unless NO_COLOR is set", function()
    for _, row in ipairs { { "", '\27%[32m"x"' },
                           { "NO_COLOR=1", '{ "x" }' } } do
      local terminal <close> = tmux.open { env = row[1] }
      terminal:prompt()
      terminal:line "{'x'}"
      terminal:await '{ "x" }'
      assert.matches(row[2], terminal:screen "-e")
    end
  end)
end)
