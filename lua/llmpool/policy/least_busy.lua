-- least_busy: the client with the fewest requests in hand, for its slots.
--
-- When: answers take different times, and clients have different numbers of
-- slots. What is counted are leases, so that no count can drift; ties go in
-- turn. If nobody is free the request waits for whoever comes free first.
--   least_busy { "gpt-4", "gpt-4-eu" }

local part = require "llmpool.policy.part"

-- Looks at every client, from `turn` on; the first of the least wins.
local function choose(view, models, turn)
  local best_model, best_index, least = nil, nil, math.huge
  for _, name in ipairs(models) do
    local model = view[name]
    local free, lent = model:column "free", model:column "lent"
    local slots, n = model:column "slots", #free
    for k = 1, n do
      local i = (turn + k - 1) % n + 1
      if free[i] > 0 and lent[i] / slots[i] < least then
        best_model, best_index, least = model, i, lent[i] / slots[i]
      end
    end
  end
  return best_model, best_index
end

local function explain(view, models)
  for _, name in ipairs(models) do
    for _, client in ipairs(view[name].clients) do
      view:note(name, client.id, client.lent / client.slots, "lent per slot")
    end
  end
end

return function(t)
  local given = part.options(t, "least_busy", {}, part.model)
  local turn = 0
  local plan_for = part.cached(function(name, id)
    return part.plan.new { { model = part.first(given, name), client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    local model, i = choose(view, models, turn)
    if view.explaining then explain(view, models) end
    if not model then return { model = models } end
    if not view.probe then turn = i end
    local id = model.clients[i].id
    if models == given then return plan_for(model.name, id) end
    return { { model = part.first(models, model.name), client = id } }
  end, "least_busy")
end
