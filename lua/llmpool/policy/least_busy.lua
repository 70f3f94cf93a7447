-- least_busy: the client with the fewest requests in hand, for its slots.
--
-- When: answers take different times, and clients have different numbers of
-- slots. What is counted are leases, so that no count can drift; ties go in
-- turn. If nobody is free the request waits for whoever comes free first.
--   least_busy { "gpt-4", "gpt-4-eu" }

local part = require "llmpool.policy.part"

local function explain(view, models)
  for _, name in ipairs(models) do
    for _, client in ipairs(view[name].clients) do
      view:note(name, client.id, client.busy, "lent per slot")
    end
  end
end

return function(t)
  local given = part.options(t, "least_busy", {}, part.model)
  local last, at = 1, 0 -- whose turn it was: a model's client
  local plan_for = part.cached(function(name, id)
    return part.plan.new { { model = part.one_of(given, name), client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    local m, i, _, id = view:least(models, "busy", last, at)
    if view.explaining then explain(view, models) end
    if not m then return { model = models } end
    if not view.probe then last, at = m, i end
    local name = models[m]
    if models == given then return plan_for(name, id) end
    return { { model = part.one_of(models, name), client = id } }
  end, "least_busy")
end
