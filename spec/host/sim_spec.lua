-- `llmpool sim` at the command line: reports, comparisons, files, exit codes,
-- and what it says of mistakes.

local host = require "spec.host.support"

local FILES = {
  ["s.lua"] = [[
    local scenario = require "llmpool.scenario"
    local set = scenario.settings { rate = 1.5 }
    return scenario {
      name = "small", duration = 100,
      models = {
        m = { clients = scenario.clients(2, {
          latency = { "exponential", mean = 1 } }) },
        n = { clients = { { id = "x", latency = 2 } } },
      },
      policy = "m",
      traffic = { "poisson", rate = set.rate, tenant = "t" },
      expect = { "served_rate == 1", "failed == 0" },
    }]],
  ["fails.lua"] = [[
    local scenario = require "llmpool.scenario"
    return scenario {
      name = "small", duration = 10, traffic = { "constant", rate = 1 },
      models = { m = { clients = { { id = "a", latency = 1 } } } },
      expect = { "latency.p95 < 0.5", "served_rate == 1" },
    }]],
  ["bad.lua"] = [[
    local scenario = require "llmpool.scenario"
    return scenario {
      models = { m = { clients = { { id = "a" } } } },
      trafic = { "poisson", rate = 1 },
    }]],
  ["p.lua"] = "return function(request, view)\n  return 'n'\nend\n",
  ["raises.lua"] = "return function(request, view)\n  error 'no idea'\nend\n",
  ["wrong.lua"] = "return function(request, view) return 'nn' end\n",
  ["none.lua"] = "local x = 1\n",
}

local function matches(pattern)
  return function(text) return text:find(pattern) ~= nil end
end

local rows = {
  { "reports", args = "sim s.lua", ended = "exit 0", err = "",
    out = matches "^small, policy m, seed 1, .*requests.*latency.*hash %x+" },
  { "fails when an expectation does", args = "sim fails.lua",
    ended = "exit 1", err = "", out = matches
    "FAIL  latency.p95 < 0.5\n      expected latency.p95 < 0.5, got 1\nok" },
  { "takes settings", args = "sim s.lua --set rate=0.01 --json",
    ended = "exit 0", out = matches '"requests": [0-3],' },
  { "compares policies, seed by seed", ended = "exit 0",
    args = "sim s.lua --policy m --policy p.lua --seeds 3 --width 120 "
      .. "--set rate=0.1",
    out = matches "small: m, p, 3 seeds from 1.*latency mean .*%+%- .*paired" },
  { "compares in a narrow window", ended = "exit 0",
    args = "sim s.lua --policy m --policy p.lua --width 40 --set rate=0.1",
    out = matches "\np, against m\n" },
  { "needs a scenario", args = "sim", ended = "exit 1", out = "",
    err = matches "sim: which scenario%?" },
  { "names the nearest option", args = "sim s.lua --sedes 3",
    ended = "exit 1", out = "", err = matches "did you mean '%-%-seeds'" },
  { "wants numbers", args = "sim s.lua --seed x", ended = "exit 1", out = "",
    err = matches "%-%-seed must be a whole number, got 'x'" },
  { "wants names of settings", args = "sim s.lua --set rat=1",
    ended = "exit 1", out = "", err = matches "did you mean 'rate'" },
  { "wants NAME=VALUE", args = "sim s.lua --set rate", ended = "exit 1",
    out = "", err = matches "takes NAME=VALUE" },
  { "tells that a picture has no room", ended = "exit 1", out = "",
    args = "sim s.lua --timeline /dev/full",
    err = matches "sim: cannot write the t%a+: /dev/full: No space left" },
  { "tells that a trace has no room", ended = "exit 1", out = "",
    args = "sim s.lua --trace /dev/full",
    err = matches "sim: cannot write the t%a+: /dev/full: No space left" },
  { "names the policy that is not there", args = "sim s.lua --policy no.lua",
    ended = "exit 1", out = "", err = matches
    "sim: cannot load the policy: cannot open no.lua: No such" },
  { "is either real or live", args = "sim s.lua --real --live",
    ended = "exit 1", out = "", err = matches "exclude each other" },
  { "needs live clients for --live", args = "sim s.lua --live",
    ended = "exit 1", out = "", err = matches "no live clients" },
  { "names the line of a mistake", args = "sim bad.lua", ended = "exit 1",
    out = "", err = matches "sim: bad.lua:2: .*did you mean 'traffic'" },
  { "names a script that is not there", args = "sim x.lua", ended = "exit 1",
    out = "", err = matches "sim: cannot open x.lua" },
  { "names the line of a policy that raises", args =
    "sim s.lua --policy raises.lua", ended = "exit 1", out = "",
    err = matches "raises.lua:2: no idea" },
  { "names a model that does not exist", args =
    "sim s.lua --policy wrong.lua", ended = "exit 1", out = "",
    err = matches 'wrong.lua:1.*model "nn", which is not registered' },
  { "names a policy that does not exist", args = "sim s.lua --policy falback",
    ended = "exit 1", out = "", err = matches "falback" },
  { "names a file without a policy", args = "sim s.lua --policy none.lua",
    ended = "exit 1", out = "", err = matches "none.lua returns nothing" },
  { "has a width that a screen may have", args = "sim s.lua --width 5",
    ended = "exit 1", out = "", err =
    matches "%-%-width must be a whole number from 40 to 200, got '5'" },
  { "is not wider either", args = "sim s.lua --width 201", ended = "exit 1",
    out = "", err = matches "from 40 to 200, got '201'" },
  { "takes an option once", args = "sim s.lua --seed 1 --seed=2",
    ended = "exit 1", out = "", err = matches "%-%-seed is given twice" },
  { "takes a setting once", args = "sim s.lua --set rate=1 --set rate=2",
    ended = "exit 1", out = "", err = matches "%-%-set rate is given twice" },
  { "has nothing to set in a replay", args = "sim --replay s.lua --set a=1",
    ended = "exit 1", out = "", err = matches "no %-%-set and no %-%-live" },
  { "names a trace that is a directory", args = "sim --replay .",
    ended = "exit 1", out = "",
    err = matches "sim: cannot read the trace: %.: Is a directory\n$" },
  { "says what writes traces", args = "sim --replay s.lua", ended = "exit 1",
    out = "", err = matches "s.lua:1: .*%-%-record and llmpool.trace write" },
  { "wants a name of a picture", args = "sim s.lua --timeline=",
    ended = "exit 1", out = "",
    err = matches "%-%-timeline needs the name of a file" },
  { "wants a name of a scenario", args = "sim ''", ended = "exit 1", out = "",
    err = matches "which scenario%?" },
  { "runs in real time", args = "sim r.lua --real", ended = "exit 0",
    files = { ["r.lua"] = [[return require "llmpool.scenario" {
      name = "real", traffic = { "constant", rate = 50, count = 5 },
      models = { m = { clients = { { id = "a", latency = 0.01 } } } },
      expect = { "served == 5", "seconds < 10" } }]] },
    out = matches "^real, .* in real time\n" },
  { "goes against live clients", args = "sim r.lua --live", ended = "exit 0",
    files = { ["r.lua"] = [[return require "llmpool.scenario" {
      name = "live", traffic = { "constant", rate = 50, count = 5 },
      models = { m = { clients = { { id = "a", latency = 99 } }, live = {
        { id = "b", generate = function() return "ok", {} end } } } },
      expect = { "served == 5", "clients.b.lends == 5" } }]] },
    out = matches "against real upstreams\n" },
}

describe("llmpool sim:", function()
  setup(host.open)
  teardown(host.close)

  for _, row in ipairs(rows) do
    it(row[1], function()
      local files = {}
      for name, text in pairs(FILES) do files[name] = text end
      for name, text in pairs(row.files or {}) do files[name] = text end
      row.files = files
      host.expect(row)
    end)
  end

  it("writes pictures and traces", function()
    host.expect { sh = [[
      set -e
      "$LUA" sim s.lua --timeline t.svg --trace t.json >/dev/null
      head -c 4 t.svg; tail -c 7 t.svg; head -c 2 t.json
      "$LUA" sim s.lua --policy m --policy p.lua --timeline u.svg >/dev/null
      ls u*.svg]], files = FILES, ended = "exit 0",
      out = '<svg</svg>\n{"u-p.svg\nu.svg\n', err = "" }
  end)

  it("runs seeds side by side as one by one, in their order #slow", function()
    host.expect { sh = [[
      hashes() { grep '"hash"' | tr -d ' ,'; }
      "$LUA" sim s.lua --seed 3 --seeds 5 --policy m --json | hashes >all
      for seed in 3 4 5 6 7; do "$LUA" sim s.lua --seed $seed --policy m --json
      done | hashes >each
      cmp all each && sort -u all | wc -l | tr -d ' '
      "$LUA" sim s.lua --seeds 9 --policy raises.lua 2>&1 | head -1]],
      files = FILES, ended = "exit 0", err = "",
      out = "5\nLUA: sim: raises.lua:2: no idea\n" }
  end)

  -- Each run tells that it has begun by a line of a file.
  local TOLD = [[
    local scenario = require "llmpool.scenario"
    return scenario {
      name = "told", duration = scenario.settings { duration = 10 }.duration,
      models = { m = { clients = { { id = "a", latency = 0.1 } } } },
      traffic = { "constant", rate = 5 },
      actions = { { at = 0, function()
        local file = io.open("told", "a")
        file:write "begun\n"
        file:close()
      end } },
    }]]

  -- What is done counts from the first seed on: so many that the thread which
  -- has it is through, busy as the machine may be.
  it("ends by Ctrl-C with what is done, as interrupted #slow", function()
    host.expect { sh = [[
      : >told
      "$LUA" sim s.lua $OPTIONS >seen 2>said & pid=$!
      until [ "$(wc -l <told)" -gt 400 ]; do sleep 0.01; done
      kill -INT $pid; wait $pid; echo $?
      sed 's/[0-9][0-9]* seeds.*/N seeds/' seen | head -1
      sed 's/after [0-9]* of/after N of/' said]],
      env = "OPTIONS='--seeds 1000000'", files = { ["s.lua"] = TOLD },
      ended = "exit 0", err = "", out = "130\ntold: none, N seeds\n"
        .. "LUA: sim: interrupted after N of 1000000 seeds\n" }
  end)

  it("ends by Ctrl-C in a run that is long, with nothing", function()
    host.expect { sh = [[
      for seeds in 1 4; do
        : >told
        "$LUA" sim s.lua --set duration=1e9 --seeds $seeds >seen 2>said &
        pid=$!
        until [ -s told ]; do sleep 0.01; done
        kill -INT $pid; wait $pid; echo $?
        cat seen said
      done]], files = { ["s.lua"] = TOLD }, ended = "exit 0", err = "",
      out = ("130\nLUA: sim: interrupted\n"):rep(2) }
  end)

  it("shows the same on every run, at every width #slow", function()
    local function report(width)
      return host.run(host.program, { files = FILES,
        args = "sim s.lua --seed 7 --width " .. width }).out
    end
    local hash
    for width = 40, 200, 20 do
      local text = report(width)
      local found = text:match "hash (%x+)"
      hash = hash or found
      assert.equal(hash, found)
      for line in text:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) <= width, line)
      end
    end
  end)

  it("has its help on one screen", function()
    local help = host.run(host.program, { args = "sim --help" })
    assert.equal("exit 0", help.ended)
    assert.is_true(select(2, help.out:gsub("\n", "")) <= 24)
  end)

  it("takes a scenario as a spec: each expectation is a test", function()
    host.expect { files = { ["x_spec.lua"] = FILES["fails.lua"] },
      args = "test -o TAP x_spec.lua", ended = "exit 1", err = "",
      out = matches("^not ok 1 %- scenario small latency.p95 < 0.5\n.*"
        .. "expected latency.p95 < 0.5, got 1.*"
        .. "ok 2 %- scenario small served_rate == 1\n") }
  end)

  it("stops in order when it is interrupted", function()
    host.expect { files = { ["long.lua"] = [[
      io.open("begun", "w"):close()
      return require "llmpool.scenario" { duration = 1e9,
        models = { m = { clients = { { id = "a", latency = 0.001 } } } },
        traffic = { "poisson", rate = 100 } }]] },
      sh = [["$LUA" sim long.lua >out.txt 2>err.txt &
        until [ -e begun ]; do sleep 0.02; done
        sleep 0.2; kill -INT $!; wait $!; echo $?
        grep -c interrupted err.txt]],
      ended = "exit 0", out = "130\n1\n" }
  end)
end)
