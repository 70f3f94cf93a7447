-- by_hand.lua: a policy written out: the free client with the best promise -
-- quick, seldom wrong, not dear - and what it says of itself when it is asked
-- why (router:explain).
--
--   llmpool scripts/policies/try.lua scripts/policies/by_hand.lua

local models = { "large", "small" }

-- Seconds that a call would cost us: what an error costs is a second call.
local function score(latency, errors, cost)
  return latency * (1 + 2 * errors) + cost / 100
end

return function(_, view)
  local best, best_id, least = nil, nil, math.huge
  for _, name in ipairs(models) do
    local model = view[name]
    local free, latency = model:column "free", model:column "latency"
    local errors, cost = model:column "error_rate", model:column "cost"
    for i = 1, #free do
      local value = score(latency[i], errors[i], cost[i])
      if view.explaining then
        view:note(name, model.clients[i].id, value, "expected seconds")
      end
      if free[i] > 0 and value < least then
        best, best_id, least = name, model.clients[i].id, value
      end
    end
  end
  if not best then return { model = models } end -- whoever comes free first
  return { { model = best, client = best_id }, best == "large" and "small"
    or "large" }
end
