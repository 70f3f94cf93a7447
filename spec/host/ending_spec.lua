-- How a script with tasks ends: all tasks are waited for, failures are told
-- and make the exit status 1, and whatever ends it early - an error in main,
-- os.exit(code, true), SIGINT - ends it in order: tasks cancelled, close
-- handlers run, every client back.

local host = require "spec.host.support"

local BEGIN = [[
local llmpool = require "llmpool"
io.stdout:setvbuf "line"
local pool = llmpool.new()
pool:register_model("m", { { id = "a", generate = function(_, q)
  return "a" .. q
end } })
local function closer(name)
  return setmetatable({}, { __close = function(_, err)
    print("closed " .. name, err)
  end })
end
LEDGER = setmetatable({}, { __gc = function()
  local s = pool:stats "m"
  print("ledger", s.acquired - s.returned, s.lent)
end })
]]

-- { title, code, out, status, err (a pattern, "" for nothing) }
local rows = {
  { "main ends, its tasks go on", [[
    llmpool.spawn(function() llmpool.sleep(0.01) print "task" end)
    print "main"]], "main\ntask\n", 0, "^$" },
  { "a task that fails is told, with its traceback and place", [[
    local function deep() llmpool.sleep(0) error "boom" end
    llmpool.spawn(function() deep() end)]], "", 1,
    "^llmpool: task failed: s%.lua:16: boom\nstack traceback:\n" ..
    ".*in upvalue 'deep'\n.*spawned at s%.lua:17\n$" },
  { "a task that fails with an object", [[
    llmpool.spawn(pool.generate, pool, "n", "q")]], "", 1,
    "task failed: no model \"n\"; there is \"m\"\n" },
  { "a task that fails with what has no text", [[
    llmpool.spawn(error, setmetatable({}, { __tostring = error }))]], "", 1,
    "task failed: %(error object is a table value without a text%)\n" },
  { "a task that fails with a table", [[
    llmpool.spawn(error, { code = 7 })]], "", 1,
    "task failed: %(error object is { code = 7 }%)\n" },
  { "a task's traceback has nothing of what is beneath it", [[
    local function deep() llmpool.sleep(0) error "boom" end
    llmpool.spawn(function() llmpool.gather(deep) end)]], "", 1,
    "\n\t%[C%]: in function 'error'\n\ts%.lua:16: in field '%?'\n" ..
    "spawned at s%.lua:17\n$" },
  { "a method that was meant", [[
    llmpool.spawn(function() pool:genrate("m", "q") end)]], "", 1,
    "method 'genrate'%); did you mean 'generate'%?\nstack traceback:\n" },
  { "a method that was meant, in main", [[
    pool:get_client("m", function(client) client:genrate "q" end)]], "", 1,
    "method 'genrate'%); did you mean 'generate'%?\nstack traceback:\n" },
  { "a finalizer that uses the pool while the state closes", [[
    LAST = setmetatable({}, { __gc = function()
      local client <close> = pool:acquire "m"
      print((client:generate "q"), client.id)
      pool:register_model("n", { { id = "b", generate = print } })
      pool:close()
    end })
    os.exit(0, true)]], "aq\ta\n", 0, "^$" },
  { "a failure that is joined is nobody else's", [[
    print(llmpool.spawn(error, "x", 0):pjoin())]], "false\tx\n", 0, "^$" },
  { "a cancelled task is no failure", [[
    llmpool.spawn(llmpool.sleep, 100):cancel()]], "", 0, "^$" },
  { "a failure in a simulation", [[
    llmpool.simulate({}, function()
      llmpool.spawn(error, "inside", 0)
      llmpool.sleep(1)
    end)]], "", 1, "task failed: inside\n" },
  { "an error in main cancels the tasks", [[
    llmpool.spawn(function()
      local _ <close> = closer "task"
      pool:get_client("m", function() llmpool.sleep(100) end)
    end)
    local _ <close> = closer "main"
    llmpool.sleep(0)
    error("main", 0)]],
    "closed main\tmain\nstack traceback:\n\t[C]: in function 'error'\n" ..
    "\ts.lua:22: in main chunk\n\t[C]: in ?\n" ..
    "closed task\ttask cancelled\n", 1, ": main\n" },
  { "an error object in main", [[pool:generate("n", "q")]], "", 1,
    "^[^\n]+: no model \"n\"; there is \"m\"\nstack traceback:\n.*" ..
    "\n\ts%.lua:16: in main chunk\n\t%[C%]: in %?\n$" },
  { "the traceback of main's error goes into the callback", [[
    local function deep() error "here" end
    pool:get_client("m", function() deep() end)]], "", 1,
    "s%.lua:16: here\nstack traceback:\n.*in upvalue 'deep'" },
  { "os.exit(code, true) on the main chunk", [[
    llmpool.spawn(function()
      local _ <close> = closer "task"
      llmpool.sleep(100)
    end)
    llmpool.sleep(0)
    pool:get_client("m", function()
      local _ <close> = closer "callback"
      os.exit(5, true)
    end)]], "closed callback\tnil\nclosed task\ttask cancelled\n", 5, "^$" },
  { "os.exit(code, true) in a task", [[
    local _ <close> = closer "main"
    llmpool.spawn(function()
      local _ <close> = closer "other"
      llmpool.sleep(100)
    end)
    llmpool.spawn(function()
      local client <close> = pool:acquire "m"
      local _ <close> = closer "task"
      os.exit(7, true)
    end)
    llmpool.sleep(100)]],
    "closed task\ttask cancelled\nclosed main\tnil\n" ..
    "closed other\ttask cancelled\n", 7, "^$" },
  { "os.exit(true, true) in a task behind main's end", [[
    llmpool.spawn(function() llmpool.sleep(0.01) os.exit(true, true) end)]],
    "", 0, "^$" },
  { "os.exit(false, true) in a coroutine of a task", [[
    llmpool.spawn(function()
      coroutine.wrap(function() os.exit(false, true) end)()
    end)]], "", 1, "^$" },
  { "a task that swallows its cancellation still ends", [[
    llmpool.spawn(function()
      for i = 1, 3 do print(i, (pcall(llmpool.sleep, 100))) end
      llmpool.shield(function() llmpool.sleep(0.01) print "cleaned" end)
    end)
    llmpool.sleep(0)
    error("x", 0)]], "1\tfalse\n2\tfalse\n3\tfalse\ncleaned\n", 1, ": x\n" },
  { "a deadlock at the end is told, not waited for", [[
    held = pool:acquire "m"
    llmpool.spawn(function() local c = assert(pool:acquire "m") end)]],
    "", 1, "task failed: no task, timer, I/O or thread is left" },
  { "a thread is waited for", [[
    llmpool.thread(function()
      require "llmpool".sleep(0.02)
      print "thread"
    end)]], "thread\n", 0, "^$" },
  { "a thread's failure, with its own traceback", [[
    llmpool.thread(function() error "in there" end)]], "", 1,
    "task failed: s%.lua:16: in there\nstack traceback:\n.*s%.lua:16: in" },
  { "a main chunk that fails ends its threads", [[
    llmpool.thread(function()
      local _ <close> = setmetatable({}, { __close = function()
        print "thread closed"
      end })
      require "llmpool".sleep(100)
    end)
    llmpool.sleep(0.1)
    error("x", 0)]], "thread closed\n", 1, ": x\n" },
  { "a spawn in a close handler is waited for", [[
    local _ <close> = setmetatable({}, { __close = function()
      llmpool.spawn(function() llmpool.sleep(0.01) print "late" end)
    end })]], "late\n", 0, "^$" },
  { "a leak is told with -W", [[
    warn "@on"
    do local _ = pool:acquire "m" end
    collectgarbage() collectgarbage()]], "", 0,
    "^Lua warning: llmpool: client a of \"m\" was never returned and has " ..
    "been collected; it was taken at s.lua:17\n$" },
  { "a client held to the end is no leak", [[
    warn "@on"
    held = pool:acquire "m"]], "", 0, "^$" },
  { "a callback of events that raises is a task that failed", [[
    pool:events { callback = function(event)
      print(event.kind)
      if event.kind == "lent" then error("heard", 0) end
    end }
    pool:generate("m", 1)]], "lent\nreturned\n", 1,
    "task failed: heard\nstack traceback:\n.*spawned at s%.lua:16\n" },
  { "warnings of hooks go to stderr with -W", [[
    warn "@on"
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a" } },
      { on_return = function() error("oh", 0) end })
    print((pool:generate("m", "q")))]], "[m:a] Response to: q\n", 0,
    "^Lua warning: llmpool: on_return failed, the client is replaced: oh\n$" },
}

describe("a script with tasks:", function()
  setup(host.open)
  teardown(host.close)

  for _, row in ipairs(rows) do
    it(row[1], function()
      local run = host.run(host.program,
        { args = "s.lua", files = { ["s.lua"] = BEGIN .. row[2] } })
      local out = run.out:gsub("ledger\t0\t0\n$", "")
      assert.equal(row[3], (out:gsub("ledger\t1\t1\n$", "")))
      assert.equal("exit " .. row[4], run.ended)
      assert.matches(row[5], run.err)
      if not row[2]:find "held" then
        assert.matches("ledger\t0\t0\n$", run.out)
      end
    end)
  end
end)

-- Sends SIGINT once the script has written "ready", `times` times.
local SEND = [[
: >seen
"$LUA" s.lua >seen 2>errors & pid=$!
for i in 1 $MORE; do
  while [ "$(grep -c ready seen)" -lt $i ] && kill -0 $pid 2>/dev/null; do
    sleep 0.01
  done
  kill -INT $pid 2>/dev/null
done
wait $pid
echo "status $?" >>seen
cat seen]]

local interrupts = {
  { "a main chunk that waits for a client", [[
    local held = pool:acquire "m"
    local task = llmpool.spawn(function() print "ready" llmpool.sleep(100) end)
    print(pcall(pool.acquire, pool, "m"))
    task:cancel()
    held:release()]], "ready\nfalse\tinterrupted!\nledger\t0\t0\nstatus 0\n" },
  { "a main chunk that sleeps, uncaught", [[
    local _ <close> = closer "main"
    llmpool.spawn(function()
      local _ <close> = closer "task"
      print "ready"
      llmpool.sleep(100)
    end)
    llmpool.sleep(100)]],
    "ready\nclosed main\ts.lua:22: interrupted!\nstack traceback:\n" ..
    "\t[C]: in function 'llmpool.sleep'\n\ts.lua:22: in main chunk\n" ..
    "\t[C]: in ?\n" ..
    "closed task\ttask cancelled\nledger\t0\t0\nstatus 1\n" },
  { "tasks that are waited for at the end", [[
    llmpool.spawn(function()
      local _ <close> = closer "task"
      pool:get_client("m", function() print "ready" llmpool.sleep(100) end)
    end)]], "ready\nclosed task\ttask cancelled\nledger\t0\t0\nstatus 1\n" },
  { "a task that computes", [[
    llmpool.spawn(function()
      local _ <close> = closer "task"
      pool:get_client("m", function() print "ready" while true do end end)
    end)]], "ready\nclosed task\tinterrupted!\n" ..
    "ledger\t0\t0\nstatus 1\n" },
  { "a coroutine in a coroutine in a task", [[
    llmpool.spawn(function()
      coroutine.wrap(function()
        coroutine.wrap(function() print "ready" while true do end end)()
      end)()
    end)]], "ready\nledger\t0\t0\nstatus 1\n" },
  { "a second one kills what takes no heed", [[
    llmpool.spawn(function()
      while true do
        pcall(function() print "ready" while true do end end)
      end
    end)]], "ready\nready\nstatus 130\n", "2" },
}

describe("Ctrl-C reaches", function()
  setup(host.open)
  teardown(host.close)

  for _, row in ipairs(interrupts) do
    it(row[1], function()
      local run = host.run(host.program, { sh = SEND,
        env = "MORE=" .. (row[4] or ""),
        files = { ["s.lua"] = BEGIN .. row[2] } })
      -- a function may be found under either name
      assert.equal(row[3], (run.out:gsub("llmpool%.native%.", "llmpool.")))
    end)
  end
end)
