-- Signals: Ctrl-C interrupts running Lua code with an error, kills what does
-- not run Lua, and the rest is as for any program. Compared with lua5.4 where
-- that does well; it does not reach into coroutines.

local host = require "spec.host.support"

-- Runs s.lua, sends the signals one by one whenever the script has written
-- another line, and shows all that it wrote and how it ended.
local SEND = [[
lines() { wc -l <seen; }
: >seen
"$LUA" s.lua >seen 2>errors & pid=$!
want=1
for signal in $SIGNALS; do
  while [ $(lines) -lt $want ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
  kill -$signal $pid 2>/dev/null
  want=$((want + 1))
done
wait $pid
status=$?
cat seen errors
echo "status $status"
]]

local function row(title, signals, code)
  return { title, env = "SIGNALS='" .. signals .. "'", sh = SEND,
           files = { ["s.lua"] = "io.stdout:setvbuf 'line'\n" .. code } }
end

local SPIN = "while true do end"

local same = {
  row("a loop", "INT", "print(1)\n" .. SPIN),
  row("a loop in a protected call", "INT", [[
    print(pcall(function() print(1) while true do end end))
    print(42)]]),
  -- nothing else is written in between: each signal finds its loop running
  row("twice, one after the other", "INT INT", [[
    local caught = {}
    for i = 1, 2 do
      caught[i] = select(2, pcall(function() print(i) while true do end end))
    end
    print(caught[1], caught[2])
    os.exit(3)]]),
  row("a loop that calls", "INT", [[
    local function f(x) return x end
    print(1)
    print((pcall(function() while true do f(1) end end)))]]),
  row("a loop with a close", "INT", [[
    local x <close> = setmetatable({}, {__close = function(_, e)
      print("closed", e) end})
    print(1)
    while true do end]]),
  row("a loop of a library's", "INT", [[
    print(1)
    table.sort(setmetatable({}, {__len = function() return 1e6 end,
      __index = function(_, i) return i end, __newindex = print}),
      function(a, b) while true do end end)]]),
  row("terminated", "TERM", "print(1)\n" .. SPIN),
  row("terminated in a protected call", "TERM",
      "pcall(function() print(1)\n" .. SPIN .. " end)"),
  row("hung up", "HUP", "print(1)\n" .. SPIN),
  row("quiet signals", "CONT", "print(1) os.execute 'sleep 0.05' print(2)"),
  { "code of -e", sh = [[
      "$LUA" -e "print(1) io.stdout:flush() while true do end" >seen 2>&1 &
      until [ -s seen ]; do sleep 0.01; done; sleep 0.05 # into the loop
      kill -INT $!; wait $!; echo $?; cat seen]] },
  { "a library of -l", env = "LUA_PATH='?.lua'", files = {
      ["one.lua"] = "print(1) io.stdout:flush() while true do end" }, sh = [[
      "$LUA" -l one >seen 2>&1 &
      until [ -s seen ]; do sleep 0.01; done; sleep 0.05 # into the loop
      kill -INT $!; wait $!; echo $?; cat seen]] },
  { "a session through a pipe", sh = [[
      mkfifo lines; : >seen
      "$LUA" -i <lines >seen 2>&1 & pid=$!
      { echo "print(1) io.stdout:flush() while true do end"
        until grep -q '^1' seen; do sleep 0.01; done
        kill -INT $pid
        until grep -q 'interrupted' seen; do sleep 0.01; done
        echo "'still here'"; } >lines
      wait $pid; echo $?; cat seen]] },
  { "what takes no interrupt dies of the second", sh = [[
      "$LUA" -e "print(15) io.stdout:flush()
        string.find(string.rep('a', 100000), '.*b')" >seen 2>&1 & pid=$!
      ticks() { read -r line </proc/$pid/stat; set -- $line
                echo $((${14} + ${15})); }
      catches() { # whether it has a handler for SIGINT: bit 1 of the last digit
        case $(sed -n 's/^SigCgt:.*\(.\)$/\1/p' /proc/$pid/status) in
          [2367abef]) return 0 ;; *) return 1 ;; esac; }
      until [ -s seen ]; do sleep 0.01; done
      begun=$(ticks) # nothing but string.find takes so long
      while [ $(($(ticks) - begun)) -lt 2 ]; do sleep 0.01; done
      kill -INT $pid
      while catches; do sleep 0.01; done # the handler has run: once is enough
      kill -0 $pid && echo alive
      kill -INT $pid; wait $pid; echo $?; cat seen]] },
}

describe("signals as under lua:", function()
  setup(host.open)
  teardown(host.close)

  for title, test in host.comparisons(same) do it(title, test) end
end)

-- lua5.4 does not notice the first of these at all.
local better = {
  { "a loop in a coroutine", [[
    coroutine.wrap(function() print(1) while true do end end)()]],
    "interrupted!", 1 },
  { "a loop in a coroutine in a coroutine", [[
    local inner = coroutine.wrap(function() print(1) while true do end end)
    local outer = coroutine.create(function() return pcall(inner) end)
    print(select(2, coroutine.resume(outer)))
    print(coroutine.status(outer), "went on")]], "dead\twent on", 0 },
  { "a loop in a coroutine that was resumed before", [[
    local co = coroutine.wrap(function()
      coroutine.yield()
      print(1)
      while true do end
    end)
    co()
    print(pcall(co))
    print "went on"]], "went on", 0 },
  { "a loop behind a coroutine", [[
    coroutine.wrap(function() end)()
    print(1)
    while true do end]], "interrupted!", 1 },
}

describe("Ctrl-C reaches", function()
  setup(host.open)
  teardown(host.close)

  for _, case in ipairs(better) do
    it(case[1], function()
      local run = host.run(host.program, row(case[1], "INT", case[2]))
      assert.matches(case[3], run.out, 1, true)
      assert.matches("status " .. case[4], run.out, 1, true)
    end)
  end
end)
