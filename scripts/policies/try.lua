-- try.lua: tries policies on an hour of traffic that takes no time: two models
-- with simulated clients, of which the large one has a bad ten minutes.
--
--   llmpool scripts/policies/try.lua [POLICY.lua...]

local llmpool = require "llmpool"

local REQUESTS, SECONDS = 1800, 3600

local function client(id, median, price, failures)
  return llmpool.simulated {
    id = id, latency = { "lognormal", median = median, sigma = 0.6 },
    price = { input = price, output = price * 3 }, failures = failures,
  }
end

local function make_pool()
  local outage = { outages = { { from = 1200, to = 1800,
                                 kind = "overloaded" } } }
  local pool = llmpool.new()
  pool:register_model("large", { client("key-1", 2, 10, outage),
                                 client("key-2", 2, 10, outage) })
  pool:register_model("small", { client("key-3", 1, 1) })
  return pool
end

local function percentile(list, p)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * p))] or 0
end

local tenants = { "gold", "silver", "free" }

-- A request every two seconds, whoever answers it.
local function traffic(router, seconds, served)
  llmpool.scope(function(scope)
    for i = 1, REQUESTS do
      scope:spawn(function()
        local began = llmpool.now()
        local ok, _, response = pcall(router.generate, router, "question " .. i,
          { tenant = tenants[i % #tenants + 1], timeout = 60 })
        if ok then
          seconds[#seconds + 1] = llmpool.now() - began
          served[response.model] = (served[response.model] or 0) + 1
        end
      end)
      llmpool.sleep(SECONDS / REQUESTS)
    end
  end)
end

local function try(path)
  llmpool.simulate({ seed = 1 }, function()
    local router = llmpool.router { pool = make_pool(), policy = "large" }
    assert(router:reload(path))
    local seconds, served = {}, {}
    traffic(router, seconds, served)
    print(("%-12s %5d served (large %d, small %d), p50 %.2f s, p95 %.2f s")
      :format(path:match "([^/]+)%.lua$", #seconds, served.large or 0,
        served.small or 0, percentile(seconds, 0.5), percentile(seconds, 0.95)))
  end)
end

local here = arg[0]:match "^(.*/)" or ""
local paths = #arg > 0 and arg
  or { here .. "production.lua", here .. "cost.lua", here .. "by_hand.lua" }
for _, path in ipairs(paths) do try(path) end
