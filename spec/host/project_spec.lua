-- The commands that are Lua: new, check, doctor, doc, as a user calls them.

local lfs = require "lfs"

local host = require "spec.host.support"

local function run(row) return host.run(host.program, row) end

local MAIN = [[
local llmpool = require "llmpool"
local pool = llmpool.new()
pool:register_model("fast", {
  llmpool.simulated { id = "a", slots = 2, rpm = 60, tags = { "eu" } },
  { id = "b", generate = function(_, q) return "b:" .. q end },
})
pool:register_model("slow", { llmpool.simulated { id = "c" } })
]]

describe("llmpool new", function()
  setup(host.open)
  teardown(host.close)

  it("makes a project that runs and passes at once", function()
    local got = run { sh = [[
      "$LUA" new demo && cd demo &&
      "$LUA" main.lua && "$LUA" check main.lua && "$LUA" check scenario.lua &&
      "$LUA" sim scenario.lua >report && grep -c '^ok ' report &&
      "$LUA" test -o TAP | grep -v '^#' && cd .. && "$LUA" demo/main.lua |
      tail -1]] }
    assert.same("exit 0", got.ended)
    assert.same("", got.err)
    assert.matches("^demo/main.lua\n.*demo/.luarc.json\n", got.out)
    assert.matches("%[fast:fast%-1%] Response to: Question 1\n", got.out)
    assert.matches("\n2\nok 1 %- the policy asks the fast model first\n",
                   got.out)
    assert.matches("1..3\n%[fast:fast%-1%] Response to: Question 3\n$", got.out)
    assert.is_nil(got.out:find("not ok", 1, true))
  end)

  it("has sources that the linter likes", function()
    if not os.execute "command -v luacheck >/dev/null" then
      pending "luacheck is not installed"
      return
    end
    host.expect { ended = "exit 0", sh = [[
      "$LUA" new demo >/dev/null && rm -rf demo/meta &&
      luacheck -q --std lua54+busted demo >&2]] }
  end)

  it("tells editors where the annotations are", function()
    local got = run { sh = [["$LUA" new demo >/dev/null && cat demo/.luarc.json
      cmp demo/meta/pool.lua ]] .. lfs.currentdir() ..
      "/lua/llmpool/meta/pool.lua" }
    assert.same("exit 0", got.ended)
    assert.matches('"workspace.library": %[%s+"meta",', got.out)
    assert.truthy(require "llmpool.json".decode(got.out))
  end)

  it("has a spec that runs from anywhere", function()
    for _, where in ipairs { ".", "demo/spec", "/" } do
      local got = run { sh = ([[
        "$LUA" new demo >/dev/null; spec=$PWD/demo/spec; cd %s
        "$LUA" test -o TAP $spec | tail -n 1]]):format(where) }
      assert.same("1..3\n", got.out, where)
    end
  end)

  it("is made whole or not at all", function()
    local got = run { sh = [[
      mkdir bin; printf '#!/bin/sh\ncase $* in *spec) echo "mkdir: no: %s" %s
        exit 1;; esac; exec /bin/mkdir "$@"\n' "No space left" \; >bin/mkdir
      chmod +x bin/mkdir; PATH=$PWD/bin:$PATH "$LUA" new demo; echo $?
      ls -d demo; mkdir -m 300 hidden; "$LUA" new hidden; ls -d hidden]] }
    assert.same("1\nhidden\n", got.out)
    assert.matches("^LUA: new: cannot make the directory demo/spec: No space "
      .. "left\n", got.err)
  end)

  for _, case in ipairs {
    { "", "a project of which name%? %(new NAME%)" },
    { "a b", "one name; what is 'b'%?" },
    { "../x", "is a path; say where by cd, and give a name" },
    { "/tmp", "is a path" },
    { "3d", "is no name for a project: a letter, then" },
    { "'a b'", "is no name for a project" },
    { "'$(touch x)'", "is no name for a project" },
    { "''", "is no name for a project" },
    { ("x"):rep(61), "longer than 60" },
    { "there", "there is there already" },
    { "--nane x", "unknown option '%-%-nane'" },
  } do
    it("refuses: new " .. case[1], function()
      local got = run { sh = 'mkdir there; "$LUA" new ' .. case[1] ..
                             "; echo $? $(ls | grep -v '^in$\\|^out$\\|" ..
                             "^err$\\|^run.sh$')" }
      assert.same("1 there\n", got.out)
      assert.matches("^LUA: new: [^\n]*" .. case[2], got.err)
    end)
  end
end)

describe("llmpool check", function()
  setup(host.open)
  teardown(host.close)

  it("names models and clients, and sends nothing", function()
    host.expect { args = "check main.lua", ended = "exit 0", err = "",
      files = { ["main.lua"] = MAIN .. [[
        print(pcall(function() print(pool:generate("fast", "q")) end))
        print "never"]] },
      out = "model  client  provider     slots  rpm  tags\n" ..
            "fast   a       simulated        2   60  eu\n" ..
            "       b       plain table      1\n" ..
            "slow   c       simulated        1\n" ..
            "main.lua:8: stopped before pool:generate; what comes after it " ..
            "was not run\n" }
  end)

  it("stops before whatever would wait or send", function()
    for code, name in pairs {
      ['pool:get_client("fast", print)'] = "pool:get_client",
      ['local c <close> = pool:acquire "fast"'] = "pool:acquire",
      ["llmpool.sleep(1)"] = "llmpool.sleep",
      ["llmpool.gather(error)"] = "llmpool.gather",
      ["llmpool.simulate({}, error)"] = "llmpool.simulate",
      ["llmpool.spawn(error):join()"] = "task:join",
      ["llmpool.router { pool = pool }:generate 'q'"] = "router:generate",
      ["os.exit(3)"] = "os.exit",
      ["table.sort({1, 2}, function() llmpool.sleep(1) end)"] =
        "llmpool.sleep",
    } do
      local got = run { args = "check main.lua",
                        files = { ["main.lua"] = MAIN .. code } }
      assert.same("exit 0", got.ended)
      assert.matches("main.lua:8: stopped before " .. name, got.out, 1, true)
      assert.same("", got.err)
    end
  end)

  it("leaves alone a policy that knows its requests", function()
    host.expect { args = "check main.lua", ended = "exit 0", err = "",
      files = { ["main.lua"] = MAIN .. [[
        llmpool.router { pool = pool, policy = function(request)
          return #request.messages > 9 and "slow" or "fast" end }
        llmpool.router { pool = llmpool.new(), policy = "later" }]] } }
  end)

  it("gives the script its arguments", function()
    local got = run { args = "check main.lua x y",
      files = { ["main.lua"] = MAIN .. "print(..., arg[0], arg[2])" } }
    assert.matches("^x\tmain.lua\ty\n", got.out)
  end)

  for _, case in ipairs {
    { "x = = 1", "main.lua:8: unexpected symbol near '='" },
    { "error 'no'", "main.lua:8: no" },
    { "local t = nil; t.x = 1", "main.lua:8: attempt to index a nil value" },
    { 'pool:register_model("n", { llmpool.simulated { id = "a", ' ..
      "latncy = 1 } })", "main.lua:8: .*did you mean 'latency'" },
    { 'pool:register_model("fast", { llmpool.simulated { id = "x" } })',
      "main.lua:8: .*fast" },
    { "error(llmpool.error('auth', 'no key'))", "main.lua:8: no key" },
    { 'llmpool.openai { id = "x", api_key_env = "NO_SUCH_KEY", ' ..
      'model = "m" }', "main.lua:8: .*NO_SUCH_KEY" },
    { "return llmpool.router { pool = pool, polcy = 1 }",
      "main.lua:8: .*did you mean 'policy'" },
    { 'llmpool.router { pool = pool, policy = { "fast", "slwo" } }',
      'the policy: the plan names the model "slwo".*did you mean "slow"' },
    { 'llmpool.router { pool = pool, policy = function() return nil + 1 end }',
      "main.lua:8: attempt to perform arithmetic" },
    { "llmpool.router { pool = pool, policy = function() return { x = 1 } " ..
      "end }",
      "the policy at main.lua:8: .*unknown option 'x'" },
  } do
    it("says which line is wrong: " .. case[1], function()
      local got = run { args = "check main.lua",
                        files = { ["main.lua"] = MAIN .. case[1] } }
      assert.same("exit 1", got.ended)
      assert.matches("^LUA: check: " .. case[2], got.err)
      assert.same("", got.out)
    end)
  end

  it("runs what is spawned, too, until it would send", function()
    local got = run { args = "check main.lua", files = { ["main.lua"] = [[
      local llmpool = require "llmpool"
      llmpool.spawn(function(name)
        local pool = llmpool.new()
        pool:register_model(name, { llmpool.simulated { id = "a" } })
        llmpool.spawn(function() pool:add_client(name,
          llmpool.simulated { id = "b" }) end)
        pool:generate(name, "q")
        pool:register_model("never", { llmpool.simulated { id = "c" } })
      end, "m")]] } }
    assert.same("exit 0", got.ended)
    assert.matches("m +a +simulated +1\n +b +simulated", got.out)
    assert.matches("main.lua:7: stopped before pool:generate", got.out, 1, true)
    assert.is_nil(got.out:find "never")
    got = run { args = "check main.lua", files = { ["main.lua"] = [[
      require "llmpool".spawn(function() error "in a task" end)]] } }
    assert.same("exit 1", got.ended)
    assert.matches("^LUA: check: main.lua:1: in a task\n$", got.err)
  end)

  it("tells at Ctrl-C what has answered by then", function()
    local got = run { files = { ["main.lua"] = [[
      local llmpool = require "llmpool"
      llmpool.new():register_model("m", {
        llmpool.simulated { id = "quick" },
        llmpool.simulated { id = "slow", latency = 60 } })]] },
      sh = [[timeout --preserve-status -s INT 0.5 "$LUA" check main.lua --live
        echo $?]] }
    assert.matches("m/quick: ok.*\nm/slow: interrupted\n130\n$", got.out)
    assert.same("", got.err)
  end)

  it("refuses what it cannot check", function()
    host.expect { args = "check", ended = "exit 1",
      err = "LUA: check: check which script? (check SCRIPT [--live])\n" }
    host.expect { args = "check none.lua", ended = "exit 1",
      err = "LUA: check: cannot open none.lua: No such file or directory\n" }
    host.expect { args = "check --liev x", ended = "exit 1", err =
      "LUA: check: unknown option '--liev' (did you mean '--live'?); " ..
      "see 'LUA help check'\n" }
    host.expect { args = "check x --timeout 0", ended = "exit 1", err =
      "LUA: check: --timeout must be a number of seconds greater than 0, " ..
      "got '0'\n" }
    host.expect { args = "check e.lua", files = { ["e.lua"] = "" },
      ended = "exit 0", out = "no model is registered\n" }
  end)

  it("asks every client once with --live", function()
    local got = run { args = "check main.lua --live",
                      files = { ["main.lua"] = MAIN } }
    assert.same("exit 0", got.ended)
    assert.matches("\nfast/a: ok, [^\n]+\nfast/b: ok, [^\n]+\nslow/c: ok",
                   got.out)
    got = run { args = "check main.lua --live", files = { ["main.lua"] =
      MAIN .. [[
        pool:add_client("slow", { id = "d", generate = function()
          error(llmpool.error("auth", "the key is not valid")) end })]] } }
    assert.same("exit 1", got.ended)
    assert.matches("slow/c: ok, .*slow/d: auth: the key is not valid\n",
                   got.out)
    got = run { args = "check main.lua --live --timeout 0.05",
      files = { ["main.lua"] = MAIN .. [[
        pool:add_client("slow", llmpool.simulated { id = "e", latency = 9 })
      ]] } }
    assert.same("exit 1", got.ended)
    assert.matches("slow/e: timeout: no answer within 0.05 s (--timeout)\n",
                   got.out, 1, true)
  end)

  it("asks a scenario for what it has", function()
    local got = run { args = "check s.lua", files = { ["s.lua"] = [[
      return require "llmpool.scenario" { name = "n", duration = 1,
        models = { m = { clients = { { id = "a" } } } },
        traffic = { "poisson", rate = 1 } }]] } }
    assert.same("exit 0", got.ended)
    assert.matches("^scenario n\nmodel  client  provider\nm      a", got.out)
  end)
end)

describe("llmpool doctor", function()
  setup(host.open)
  teardown(host.close)

  it("says what there is, and no secret", function()
    local got = run { args = "doctor", env =
      "OPENAI_API_KEY=sk-abcdefghijklmnop ANTHROPIC_API_KEY= " ..
      "https_proxy=http://user:password@proxy:1" }
    assert.same("exit 0", got.ended)
    assert.matches("program +llmpool [%d.]+, Lua 5.4\n", got.out)
    assert.matches("libuv +[%d.]+\n", got.out)
    assert.matches("OPENAI_API_KEY +set\n", got.out)
    assert.matches("ANTHROPIC_API_KEY +set, but empty\n", got.out)
    assert.matches("https_proxy +http://%*%*%*@proxy:1\n", got.out)
    assert.matches("providers +not asked; doctor %-%-live does\n", got.out)
    assert.is_nil(got.out:find("sk-abc", 1, true))
    assert.is_nil(got.out:find("password", 1, true))
  end)

  it("shows no password, wherever it stands", function()
    local got = run { args = "doctor --live", env =
      "http_proxy=user:SECRET@127.0.0.1:1 ALL_PROXY=socks5://u:SE/CRET@x:1 " ..
      "OPENAI_BASE_URL='http://u:SECR@ET@127.0.0.1:1/v1?key=SECRET' " ..
      "ANTHROPIC_BASE_URL=http://127.0.0.1:1/v1#SECRET " ..
      "GEMINI_BASE_URL=http://127.0.0.1:1 LUA_INIT='SECRET=1'" }
    assert.same("exit 1", got.ended)
    assert.matches("http_proxy +%*%*%*@127.0.0.1:1\n", got.out)
    assert.matches("ALL_PROXY +socks5://%*%*%*@x:1\n", got.out)
    assert.matches("\nhttp://%*%*%*@127.0.0.1:1/v1%?%*%*%* ", got.out)
    assert.matches("LUA_INIT +set", got.out)
    for _, piece in ipairs { "SECR", "CRET" } do
      assert.is_nil((got.out .. got.err):find(piece, 1, true))
    end
  end)

  it("tells what is wrong with Lua's paths", function()
    local got = run { args = "doctor", env = "LUA_PATH=/none/?.lua " ..
                                             "LUA_CPATH='/none/?.so;;'" }
    assert.matches("LUA_PATH +/none/%?.lua %(no ;; in it: Lua's own places " ..
                   "are not looked at%)\n", got.out)
    assert.matches("LUA_CPATH +/none/%?.so;;\n", got.out)
    assert.matches("busted +[^\n]+ does not run: see", got.out)
  end)

  it("tells at Ctrl-C who has answered by then", function()
    local got = run { sh = [[
      : >port # there before the server that runs beside us has opened it
      python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9)
print(s.getsockname()[1], flush=True); time.sleep(9)' >port & server=$!
      while ! read port <port; do sleep 0.02; done
      OPENAI_BASE_URL=http://127.0.0.1:$port/v1 http_proxy= \
        ANTHROPIC_BASE_URL=http://127.0.0.1:1 no_proxy=127.0.0.1 \
        GEMINI_BASE_URL=http://127.0.0.1:1 \
        timeout --preserve-status -s INT 0.3 "$LUA" doctor --live | tail -n 3
      kill $server]] }
    assert.matches("^http://127.0.0.1:%d+/v1 +interrupted\n" ..
                   "http://127.0.0.1:1 +reset: ", got.out)
    assert.same("", got.err)
  end)

  it("tells with --live who cannot be reached", function()
    local got = run { args = "doctor --live", env =
      "http_proxy= OPENAI_BASE_URL=http://127.0.0.1:1/v1 " ..
      "ANTHROPIC_BASE_URL=http://127.0.0.1:1 " ..
      "GEMINI_BASE_URL=http://127.0.0.1:1" }
    assert.same("exit 1", got.ended)
    assert.matches("http://127.0.0.1:1/v1 +[%w_.]+: ", got.out)
  end)

  it("takes nothing else", function()
    host.expect { args = "doctor x", ended = "exit 1",
                  err = "LUA: doctor: what is 'x'?\n" }
  end)
end)

describe("llmpool doc", function()
  setup(host.open)
  teardown(host.close)

  local function has(command)
    return os.execute("command -v " .. command .. " >/dev/null") or
           pending(command .. " is not installed")
  end

  it("writes the manual and the reference", function()
    local got = run { sh = [[
      mkdir d && "$LUA" doc d && ls d && grep -c '^### ' d/reference-pool.md]] }
    assert.same("exit 0", got.ended)
    assert.matches("reference%-pool.md\n", got.out)
    assert.matches("reference.md\n", got.out)
    assert.is_true(tonumber(got.out:match "(%d+)\n$") > 20)
    got = run { args = "doc nowhere" }
    assert.same("exit 1", got.ended)
    assert.matches("^LUA: doc: nowhere/[%w_]+.md: No such file", got.err)
    for _, args in ipairs { "d --man", "d d", "--man --completion zsh" } do
      host.expect { args = "doc " .. args, ended = "exit 1", out = "",
        err = "LUA: doc: one at a time: a directory, --man or --completion " ..
              "SHELL\n" }
    end
    host.expect { args = "doc", ended = "exit 1",
                  err = "LUA: doc: into which directory? (doc DIRECTORY)\n" }
  end)

  it("writes a man page that groff and mandoc read", function()
    if has "groff" then
      host.expect { ended = "exit 0", err = "", sh = [[
        "$LUA" doc --man >page && groff -man -ww -z page]] }
    end
    if has "mandoc" then
      host.expect { ended = "exit 0", out = "", sh = [[
        "$LUA" doc --man >page && mandoc -T lint -W warning page]] }
    end
  end)

  it("has every option and every command in the man page", function()
    local page = run { args = "doc --man" }.out:gsub("\\", "")
    local help = run { args = "--help" }.out
    local seen = 0
    for line in help:gmatch "[^\n]+" do
      local word = line:match "^  (%-%-?%w+)" or line:match "^  (%l+)[ ,]"
      if word then
        seen = seen + 1
        assert.truthy(page:find("\n.B " .. word, 1, true), word)
      end
    end
    assert.is_true(seen > 15, seen)
  end)

  it("completes in bash", function()
    if not has "bash" then return end
    local function offers(words)
      local got = run { sh = ([[
        "$LUA" doc --completion bash >words
        mkdir dir; touch a.lua b.txt
        bash -c '. ./words; COMP_WORDS=(llmpool %s)
          COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _llmpool
          printf "%%s\n" "${COMPREPLY[@]}"' | sort | tr '\n' ' ']]):format(
          words) }
      assert.same("", got.err)
      return got.out
    end
    assert.same("run ", offers "ru")
    assert.same("doctor ", offers "-W doc")
    assert.same("--help ", offers "--he")
    assert.same("--live --timeout ", offers "check --")
    assert.same("dir ", offers "check d")
    assert.same("a.lua ", offers "check a")
    assert.same("sim ", offers "help si")
    assert.same("a.lua dir ", offers [[-e x run ""]])
  end)

  it("is read by zsh and fish", function()
    for _, shell in ipairs { "zsh", "fish" } do
      if has(shell) then
        host.expect { ended = "exit 0", err = "", sh = (
          [["$LUA" doc --completion %s >words && %s -n words]]):format(shell,
          shell) }
      end
    end
  end)

  it("names the shells that there are", function()
    host.expect { args = "doc --completion csh", ended = "exit 1", err =
      "LUA: doc: no completions for 'csh'; there are bash, fish and zsh\n" }
  end)
end)
