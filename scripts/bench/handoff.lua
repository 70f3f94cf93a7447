-- handoff.lua - a client handed from task to task on one worker: every lease
-- goes to somebody who waits for it, in order of arrival.
--
--   llmpool handoff.lua [TASKS [LEASES_OF_EACH [ROUND]]]

local llmpool = require "llmpool"

local tasks = tonumber(arg[1]) or 10000
local leases = tonumber(arg[2]) or 20
local round = tonumber(arg[3]) or 0

local pool = llmpool.new()
local clients, held = {}, {}
for i = 1, 10 do
  clients[i] = { id = "key-" .. i, generate = function() return "" end }
end
pool:register_model("model", clients)
for i = 1, #clients do held[i] = pool:acquire("model") end

local function empty() end
local function work()
  for _ = 1, leases do pool:get_client("model", empty) end
end
for _ = 1, tasks do llmpool.spawn(work) end
llmpool.sleep(0)
assert(pool:stats("model").waiting == tasks, "everybody is in line")

local start = os.clock()
for i = 1, #held do held[i]:release() end
llmpool.wait()
print(("sample\thandoff\tllmpool\t%d\t%.9g"):format(
  round, (os.clock() - start) / (tasks * leases) * 1e9))
assert(pool:stats("model").acquired == #held + tasks * leases)
