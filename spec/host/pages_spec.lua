-- What is longer than the terminal, and what others write while it is shown:
-- help, more() and pool:watch() in tmux.

local host = require "spec.host.support"
local tmux = require "spec.support.tmux"

local MORE = "-- space: a page, Enter: a line, b: back, q: end --"
local BUSY = [[llmpool.spawn(function() for i = 1, 3 do llmpool.sleep(0.05)]] ..
  [[ print('from a task ' .. i) end end) ]]

describe("pages on a terminal", function()
  local terminal = tmux.around(setup, teardown, before_each, function(first)
    first:line("pool = llmpool.new() pool:register_model('m', { " ..
               "llmpool.simulated { id = 'key' } })")
    first:prompt()
    first:line("o = {} for i = 1, 60 do o[i] = { ('x'):rep(60) .. i } end")
    first:prompt()
  end)

  it("are turned by keys", function()
    terminal:line "more(o)"
    local screen = terminal:await_last(MORE)
    assert.matches('x22" },\n' .. MORE:gsub("%p", "%%%0") .. "$", screen)
    terminal:press "Space"
    terminal:await('x45" },\n' .. MORE)
    terminal:press "Enter"
    terminal:await('x46" },\n' .. MORE)
    terminal:press "b"
    terminal:await('x23" },\n' .. MORE)
    terminal:press("z", "q") -- z is nothing
    terminal:prompt()
    assert.same("2", terminal:answer "1 + 1")
    terminal:line "help 'tutorial'"
    terminal:await_last(MORE)
    terminal:press("Space", "Space", "Space", "Space", "Space", "Space",
                   "Space", "Space", "Space", "q")
    terminal:await "> " -- what was too much is typed
    terminal:press "C-u"
    terminal:prompt()
  end)

  it("are not there for what fits", function()
    assert.matches("A first pool:", terminal:answer "help()")
  end)

  it("end at Ctrl-C, with the terminal as it was", function()
    terminal:line "more(o)"
    terminal:await_last(MORE)
    terminal:press "C-c"
    terminal:await "cancelled: the line waited for a key"
    terminal:prompt()
    assert.same("2", terminal:answer "1 + 1")
  end)

  it("fit a narrow terminal", function()
    local narrow <close> = tmux.open { width = 40, height = 20 }
    narrow:prompt()
    narrow:line "help()"
    local screen = narrow:await_last "-- space, Enter, b, q --"
    assert.matches("^At the prompt a line is a task:\n", screen)
    narrow:press "q"
    narrow:prompt()
  end)

  it("turn within a line that is longer than they are", function()
    terminal:line "s = ('long '):rep(20000)"
    terminal:prompt()
    terminal:clear()
    terminal:line "more(s)"
    local screen = terminal:await_last(MORE)
    assert.same(24, select(2, screen:gsub("[^\n]+", "")))
    terminal:press "q"
    terminal:prompt()
    assert.matches("long\n%.%.%. %(100000 bytes%)\n%-%- more%(%) shows all",
                   terminal:answer "s")
    assert.matches("long l%.%.%. %(100000 bytes%)",
                   (terminal:answer("error(s, 0)"):gsub("\n", "")))
  end)

  it("are not torn by what tasks write", function()
    terminal:line(BUSY .. "more(o)")
    terminal:await_last(MORE)
    terminal:line "" -- Enter
    terminal:await('x23" },\n' .. MORE)
    terminal:press "q"
    terminal:await "from a task 3\n>"
    assert.matches('x23" },\nfrom a task 1\nfrom a task 2\nfrom a task 3\n>$',
                   terminal:screen())
  end)

  it("have what tasks write above the pool that is watched", function()
    terminal:line(BUSY .. "pool:watch(0.02)")
    local screen = terminal:await "from a task 3\npool ("
    assert.matches("from a task 1\nfrom a task 2\nfrom a task 3\n"
      .. "pool %([^\n]+\nm  1 idle[^\n]+\n[^\n]+\n  key +idle[^\n]+\n"
      .. "%(any key ends this%)$", screen)
    terminal:press "q"
    terminal:prompt()
  end)

  it("go down where the cursor cannot go up", function()
    local dumb <close> = tmux.open { env = "TERM=dumb" }
    dumb:prompt()
    dumb:line("pool = llmpool.new() pool:watch(0.02)")
    dumb:await "(any key ends this)"
    dumb:press "q"
    dumb:prompt()
    assert.is_nil(dumb:screen("-e"):find("\27[", 1, true))
  end)
end)

describe("what one types who comes from elsewhere", function()
  setup(host.open)
  teardown(host.close)

  it("is understood", function()
    local terminal <close> = tmux.open {}
    terminal:prompt()
    assert.same("(Ctrl-D or os.exit() leaves)", terminal:answer "exit")
    assert.same("(Ctrl-D or os.exit() leaves)", terminal:answer "quit()")
    assert.matches("^llmpool.spawn%(fn", terminal:answer "llmpool.spawn?")
    assert.matches("^string.rep is Lua's own", terminal:answer "?string.rep")
    assert.matches("^At the prompt a line", terminal:answer "help")
    assert.same("", terminal:answer "local gone = 1")
    assert.matches("nil\n%(gone was local", terminal:answer "gone")
    terminal:paste("function f(x)\n  return 2 * x\nend\n\nf(21)\n", true)
    terminal:press "Enter"
    terminal:await "\n42\n>"
  end)
end)
