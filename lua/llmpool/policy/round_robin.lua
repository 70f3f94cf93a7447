-- round_robin: each in its turn.
--
-- When: models (or the clients of one model) are alike, and the load is to be
-- spread without looking at it. Of several models it takes the next model, of
-- one model the next client.
--   round_robin { "gpt-4", "claude" }      round_robin { "gpt-4" }

local part = require "llmpool.policy.part"

return function(t)
  local given = part.options(t, "round_robin", {}, part.model)
  local turn = 0
  local model_plan = part.cached(function(names, i)
    return part.plan.new(part.first(names, names[i]))
  end)
  local client_plan = part.cached(function(model, id)
    return part.plan.new { { model = model, client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    local clients = #models == 1 and view[models[1]].clients or nil
    local i = turn % #(clients or models) + 1
    if not view.probe then turn = i end
    if clients then return client_plan(models[1], clients[i].id) end
    if models == given then return model_plan(given, i) end
    return part.first(models, models[i])
  end, "round_robin")
end
