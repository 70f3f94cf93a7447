-- least_busy: the client with the fewest requests in hand, for its slots.
--
-- When: answers take different times, and clients have different numbers of
-- slots. What is counted are leases, so that no count can drift; ties go in
-- turn. If nobody is free the request waits for whoever comes free first.
--   least_busy { "gpt-4", "gpt-4-eu" }

local part = require "llmpool.policy.part"

-- The turn is at client `at` of the model number `last`: of equals those behind
-- it come first, then the other models', then those before it. Returns the
-- number of the model, the position of the client in it, and its id.
local function choose(view, models, last, at)
  local n, best, index, id, least = #models, nil, nil, nil, math.huge
  local own, own_busy, own_id = view[models[last]]:least("busy", at)
  if own and own > at then
    best, index, id, least = last, own, own_id, own_busy
  end
  for step = 1, n - 1 do
    local m = (last + step - 1) % n + 1
    local i, busy, its_id = view[models[m]]:least("busy", 0)
    if i and busy < least then
      best, index, id, least = m, i, its_id, busy
    end
  end
  if own and own <= at and own_busy < least then
    return last, own, own_id
  end
  return best, index, id
end

local function explain(view, models)
  for _, name in ipairs(models) do
    for _, client in ipairs(view[name].clients) do
      view:note(name, client.id, client.busy, "lent per slot")
    end
  end
end

return function(t)
  local given = part.options(t, "least_busy", {}, part.model)
  local last, at = 1, 0
  local plan_for = part.cached(function(name, id)
    return part.plan.new { { model = part.one_of(given, name), client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    if last > #models then last, at = 1, 0 end
    local m, i, id = choose(view, models, last, at)
    if view.explaining then explain(view, models) end
    if not m then return { model = models } end
    if not view.probe then last, at = m, i end
    local name = models[m]
    if models == given then return plan_for(name, id) end
    return { { model = part.one_of(models, name), client = id } }
  end, "least_busy")
end
