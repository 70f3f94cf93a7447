-- policy.lua - what a decision costs: the library's policies over 8 and over 64
-- clients, half of them lent, beside an empty Lua function in the same run. A
-- decision is all that the router does until it has a checked plan: the view's
-- copy of the pool's numbers, the call under its bound, the plan.
--
--   llmpool policy.lua [ROUNDS [CALLS [FIRST_ROUND]]]

local llmpool = require "llmpool"

local rounds = tonumber(arg[1]) or 21
local calls = tonumber(arg[2]) or 5000
local first = tonumber(arg[3]) or 0

local function policy(name) return require("llmpool.policy." .. name) end

local function pool_of(n)
  local pool = llmpool.new()
  for _, model in ipairs { "m", "n" } do
    local clients = {}
    for i = 1, n // 2 do
      clients[i] = { id = ("%s-%d"):format(model, i), price = { input = i },
                     generate = function() return "" end }
    end
    pool:register_model(model, clients)
  end
  for _ = 1, n // 4 do
    pool:acquire("m", { timeout = 0 })
    pool:acquire("n", { timeout = 0 })
  end
  return pool
end

local names = { "m", "n" }
local made = {
  { "function", function() return "m" end },
  { "fallback", policy "fallback" { "m", "n" } },
  { "weighted", policy "weighted" { m = 3, n = 1 } },
  { "round_robin", policy "round_robin" { "m", "n" } },
  { "least_busy", policy "least_busy" { "m", "n" } },
  { "latency", policy "latency" { "m", "n" } },
  { "sticky", policy "sticky" { "m", "n" } },
  { "cheapest", policy "cheapest" { "m", "n" } },
  { "hedge", policy "hedge" { { "m", "n" }, after = 1 } },
  { "breaker", policy "breaker" { { "m", "n" } } },
  { "list of names", function() return names end },
  { "own scan", function(_, view)
    local best, least = nil, math.huge
    for _, name in ipairs(names) do
      local model = view[name]
      local latency, free = model:column "latency", model:column "free"
      for i = 1, #free do
        if free[i] > 0 and latency[i] < least then
          best, least = name, latency[i]
        end
      end
    end
    return best
  end },
  { "own scan, free", function(_, view)
    local best, least = nil, math.huge
    for _, name in ipairs(names) do
      local latency = view[name]:column("latency", "free")
      for i = 1, #latency do
        if latency[i] < least then best, least = name, latency[i] end
      end
    end
    return best
  end },
}

local clock = os.clock
local function empty() end

local function measure(n)
  local pool = pool_of(n)
  local options = { key = "user-1" }
  for round = first, first + rounds - 1 do
    local start = clock()
    for _ = 1, calls do empty("q", pool, options) end
    print(("sample\tdecision %d\tempty call\t%d\t%.9g"):format(n, round,
      (clock() - start) / calls * 1e9))
    for _, entry in ipairs(made) do
      local router = llmpool.router { pool = pool, policy = entry[2] }
      start = clock()
      for _ = 1, calls do router:_decide("q", options) end
      print(("sample\tdecision %d\t%s\t%d\t%.9g"):format(n, entry[1], round,
        (clock() - start) / calls * 1e9))
    end
  end
end

measure(8)
measure(64)
