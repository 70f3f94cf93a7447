-- lease.lua - what a lease costs in Lua: get_client with an empty callback, and
-- acquire with <close>, beside a bare pcall of the same empty function.
--
--   llmpool lease.lua [ROUNDS [BLOCK [FIRST_ROUND]]]
--
-- The three take turns, a block of calls each, on the main chunk and in a task.
-- Times are CPU times; statistics are on, as always.

local llmpool = require "llmpool"

local rounds = tonumber(arg[1]) or 101
local block = tonumber(arg[2]) or 20000
local first = tonumber(arg[3]) or 0

local pool = llmpool.new()
local function generate() return "" end
pool:register_model("model", {
  { id = "key-1", generate = generate },
  { id = "key-2", generate = generate },
})

local pcall, clock = pcall, os.clock
local function empty() end

local subjects = {
  { "pcall", function(n)
    for _ = 1, n do pcall(empty) end
  end },
  { "get_client", function(n)
    for _ = 1, n do pool:get_client("model", empty) end
  end },
  { "acquire", function(n)
    for _ = 1, n do
      local _ <close> = pool:acquire("model")
    end
  end },
}

local function measure(where)
  for _, subject in ipairs(subjects) do subject[2](block) end -- warm
  for round = first, first + rounds - 1 do
    for _, subject in ipairs(subjects) do
      local start = clock()
      subject[2](block)
      print(("sample\tlease %s\t%s\t%d\t%.9g"):format(
        where, subject[1], round, (clock() - start) / block * 1e9))
    end
  end
end

measure "main"
llmpool.spawn(measure, "task"):join()
local stats = pool:stats("model")
assert(stats.lent == 0 and stats.acquired == stats.returned)
