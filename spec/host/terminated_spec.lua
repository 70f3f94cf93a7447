-- SIGTERM and SIGHUP: what has waited once, or is recorded, ends in order and
-- dies of the signal; and what a recording has then, or when it is killed.

local host = require "spec.host.support"
local json = require "llmpool.json"

local BEGIN = [[
local llmpool = require "llmpool"
local pool = llmpool.new()
pool:register_model("m", { llmpool.simulated { id = "a", latency = 100 },
                           llmpool.simulated { id = "b" } })
io.stdout:setvbuf "line"
local function closer(name)
  return setmetatable({}, { __close = function(_, err)
    print("closed " .. name, err, pool:stats("m").lent)
  end })
end
local function ready() io.stderr:write "ready\n" end
]]

-- Runs $ARGS s.lua, sends $SIGNAL when it is ready, shows how it ended.
local SEND = [[
: >errors
"$LUA" $ARGS s.lua >seen 2>errors & pid=$!
while ! grep -q ready errors && kill -0 $pid; do sleep 0.01; done
sleep ${PAUSE:-0.03}
kill -$SIGNAL $pid
wait $pid 2>/dev/null
echo "status $?" >>seen
grep -v ready errors >&2
cat seen
]]

-- Runs a row: what is sent, the script, and words before it.
local function run(row)
  return host.run(host.program, { sh = (row.sh or "") .. SEND, files = {
    ["s.lua"] = BEGIN .. row[3] }, env = ("SIGNAL=%s ARGS='%s' PAUSE=%s")
    :format(row[2], row.args or "", row.pause or 0.03) })
end

local WAITS = [[
local _ <close> = closer "main"
llmpool.spawn(function()
  local _ <close> = closer "task"
  pool:generate("m", "q")
end)
kept = setmetatable({}, { __gc = function() print "collected" end })
llmpool.sleep(0)
]]

local ENDED = "closed main\tnil\t1\nclosed task\ttask cancelled\t0\n"
  .. "collected\nstatus "

-- title, signal, code, all that is written
local rows = {
  { "a wait of the main chunk", "TERM", WAITS .. [[ready()
    print(pcall(llmpool.sleep, 100))]], ENDED .. "143" },
  { "a wait of the main chunk, hung up", "HUP", WAITS .. [[ready()
    print(pcall(llmpool.sleep, 100))]], ENDED .. "129" },
  { "the wait for all tasks", "TERM", [[
    llmpool.spawn(function()
      local _ <close> = closer "task"
      ready()
      llmpool.sleep(100)
    end)]], "closed task\ttask cancelled\t0\nstatus 143" },
  { "a loop of the main chunk, protected, that has waited before", "TERM",
    WAITS .. [[ready()
    pcall(function() while true do end end)
    print "never"]], ENDED .. "143" },
  { "a loop in a coroutine of a task", "TERM", [[
    llmpool.spawn(function()
      local _ <close> = closer "task"
      ready()
      print(pcall(coroutine.wrap(function() while true do end end)))
      llmpool.sleep(1)
    end)]], "false\ttask cancelled\nclosed task\ttask cancelled\t0\nstatus 143"
  },
  { "a loop in a policy", "TERM", [[
    local router = llmpool.router { pool = pool, instructions = 1 << 40,
      policy = function() ready() while true do end end }
    local _ <close> = closer "main"
    llmpool.sleep(0)
    router:generate "q"]], "closed main\tnil\t0\nstatus 143" },
  { "a simulation", "TERM", [[
    local _ <close> = closer "main"
    llmpool.simulate({}, function()
      local _ <close> = closer "inside"
      llmpool.sleep(1)
      ready()
      while true do end
    end)]],
    "closed inside\ttask cancelled\t0\nclosed main\tnil\t0\nstatus 143" },
  { "a thread", "TERM", [[
    llmpool.thread(function()
      local llmpool = require "llmpool"
      local _ <close> = setmetatable({}, { __close = function()
        print "closed thread"
      end })
      io.stderr:write "ready\n"
      llmpool.sleep(100)
    end)]], "closed thread\nstatus 143" },
  -- what lua does: there is nothing to be put in order
  { "a loop that has never waited", "TERM", [[
    local _ <close> = closer "main"
    ready()
    while true do end]], "status 143" },
  { "one that ignores it", "TERM", WAITS .. [[ready()
    pcall(llmpool.sleep, 0.1)
    os.exit(3)]], "status 3", sh = "trap '' TERM; " },
}

describe("a signal ends in order", function()
  setup(host.open)
  teardown(host.close)

  for _, row in ipairs(rows) do
    it(row[1], function()
      local ran = run(row)
      assert.equal(row[4] .. "\n", ran.out)
      assert.equal("", ran.err)
    end)
  end

  it("and the second kills", function()
    local ran = run { nil, "TERM", [[
      local _ <close> = closer "main"
      llmpool.spawn(function()
        local _ <close> = setmetatable({}, { __close = function()
          io.stderr:write "again\n"
          llmpool.shield(function() llmpool.sleep(100) end)
        end })
        ready()
        llmpool.sleep(100)
      end)
      llmpool.sleep(100)]], sh = [[
      { until grep -q again errors; do sleep 0.01; done
        pkill -P $$ -f s.lua; } 2>/dev/null &
      ]] }
    assert.equal("closed main\tnil\t0\nstatus 143\n", ran.out)
  end)
end)

-- ---- recordings -------------------------------------------------------------

local function recorded(name)
  local counts = {}
  for text in io.lines(host.top .. "/place/" .. (name or "t.jsonl")) do
    local line = json.decode(text)
    local key = line.trace or ("%s %s %s"):format(line.prompt_tokens
      and "router" or "pool", line.model, line.kind)
    counts[key] = (counts[key] or 0) + 1
  end
  return counts
end

local TRAFFIC = [[
pool:register_model("n", { llmpool.simulated { id = "c" } })
local over = llmpool.router { pool = pool, policy = "n" }
local slow = llmpool.router { pool = pool, policy = "m" }
for _ = 1, 3 do over:generate "q" pool:generate("n", "q") end
llmpool.spawn(slow.generate, slow, "q")
llmpool.spawn(pool.get_client, pool, "m", function() llmpool.sleep(100) end)
llmpool.spawn(slow.generate, slow, "q")
llmpool.sleep(0)
ready()
]]

describe("a recording", function()
  setup(host.open)
  teardown(host.close)

  it("is complete after SIGTERM", function()
    for _, rest in ipairs { "llmpool.sleep(100)", "while true do end" } do
      local ran = run { nil, "TERM", TRAFFIC .. rest,
                        args = "--record t.jsonl" }
      assert.equal("status 143\n", ran.out)
      assert.same({ llmpool = 1, ["router n nil"] = 3, ["pool n nil"] = 3,
        ["router nil cancelled"] = 2, ["pool m nil"] = 1 }, recorded())
    end
  end)

  it("is in the file within a second, whatever runs #slow", function()
    local ran = run { nil, "KILL", TRAFFIC .. "while true do end",
                      args = "--record t.jsonl", pause = 0.8 }
    assert.equal("status 137\n", ran.out)
    assert.same({ llmpool = 1, ["router n nil"] = 3, ["pool n nil"] = 3 },
      recorded())
  end)

  -- Enough to be written at once; the traffic goes on, and the status says so.
  local GOES_ON = TRAFFIC .. [[
    for i = 1, 1997 do over:generate "q" end
    print(over.requests)
    os.exit()]]

  it("ends where nobody reads it, and nothing else does", function()
    host.expect { ended = "exit 0", files = { ["s.lua"] = BEGIN .. GOES_ON },
      sh = [[
        mkfifo t.pipe
        head -1 t.pipe >first &
        "$LUA" --record t.pipe s.lua
        echo "status $?"]],
      out = "2000\nstatus 1\n",
      err = "ready\nLUA: cannot write the trace: t.pipe: Broken pipe\n" }
  end)

  it("has whole lines where there is no more room", function()
    host.expect { ended = "exit 0", files = { ["s.lua"] = BEGIN .. GOES_ON },
      sh = [[
        (ulimit -f 2; trap '' XFSZ; "$LUA" --record t.jsonl s.lua
         echo "status $?")]],
      out = "2000\nstatus 1\n",
      err = "ready\nLUA: cannot write the trace: t.jsonl: File too large\n" }
    assert.equal(1, recorded().llmpool)
  end)

  it("of one object is complete as well", function()
    local ran = run { nil, "TERM", [[
      local router = llmpool.router { pool = pool, policy = "m" }
      llmpool.trace("t.jsonl", router)
      llmpool.spawn(function()
        local _ <close> = setmetatable({}, { __close = function()
          collectgarbage()
          collectgarbage()
        end })
        llmpool.sleep(100)
      end)
      llmpool.spawn(router.generate, router, "q")
      llmpool.sleep(0)
      ready()
      llmpool.sleep(100)]] }
    assert.equal("status 143\n", ran.out)
    assert.same({ llmpool = 1, ["router nil cancelled"] = 1 }, recorded())
  end)
end)
