-- least_busy: the client with the fewest requests in hand, for its slots.
--
-- When: answers take different times, and clients have different numbers of
-- slots. What is counted are leases, so that no count can drift; ties go in
-- turn. If nobody is free the request waits for whoever comes free first.
--   least_busy { "gpt-4", "gpt-4-eu" }

local part = require "llmpool.policy.part"

-- The first of the least after the position `turn` wins, else the first at all.
-- Returns its model, its position there and its position among all.
local function choose(view, models, turn)
  local model, index, at, least = nil, nil, 0, math.huge
  local later_model, later_index, later_at, later = nil, nil, 0, math.huge
  local position = 0
  for _, name in ipairs(models) do
    local here = view[name]
    local free, lent = here:column "free", here:column "lent"
    local slots = here:column "slots"
    for i = 1, #free do
      position = position + 1
      if free[i] > 0 then
        local busy = lent[i] / slots[i]
        if busy < least then model, index, at, least = here, i, position, busy
        end
        if position > turn and busy < later then
          later_model, later_index, later_at, later = here, i, position, busy
        end
      end
    end
  end
  if later_model and later <= least then
    return later_model, later_index, later_at
  end
  return model, index, at
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
    local model, i, position = choose(view, models, turn)
    if view.explaining then explain(view, models) end
    if not model then return { model = models } end
    if not view.probe then turn = position end
    local id = model.clients[i].id
    if models == given then return plan_for(model.name, id) end
    return { { model = part.first(models, model.name), client = id } }
  end, "least_busy")
end
