-- waiting.lua - many tasks wait in line for two clients: what each costs in
-- memory and time, and whether all are served in order of arrival; if not, it
-- fails. Time is that of the processor, from the first spawn to the last end.
--
--   llmpool waiting.lua [TASKS [ROUND]]

local llmpool = require "llmpool"

local tasks = tonumber(arg[1]) or 100000
local round = tonumber(arg[2]) or 0
local name = ("%dk"):format(tasks // 1000)

-- What the process has of the machine's memory, in bytes.
local function resident()
  local file = assert(io.open "/proc/self/statm")
  local _, pages = file:read("n", "n")
  file:close()
  return pages * 4096
end

local function tell(what, value)
  print(("sample\t%s %s\tllmpool\t%d\t%.9g"):format(what, name, round, value))
end

local pool = llmpool.new()
local function generate() return "" end
pool:register_model("model", {
  { id = "key-1", generate = generate },
  { id = "key-2", generate = generate },
})
local first, second = pool:acquire "model", pool:acquire "model"

local served = 0
local function serve() served = served + 1 end
local function wait_in_line(number)
  pool:get_client("model", serve)
  assert(served == number, "served out of order")
end

collectgarbage()
local before, start = resident(), os.clock()
for i = 1, tasks do llmpool.spawn(wait_in_line, i) end
llmpool.sleep(0)
assert(pool:stats("model").waiting == tasks, "everybody is in line")
tell("waiting memory", (resident() - before) / tasks)
first:release()
second:release()
llmpool.wait()
local each = (os.clock() - start) / tasks * 1e9
tell("waiting time", each)
print(("sample\twaiting growth\t%s\t%d\t%.9g"):format(name, round, each))
assert(served == tasks, "everybody was served")
