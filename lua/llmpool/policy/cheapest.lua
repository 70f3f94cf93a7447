-- cheapest: the least expensive client that answers in time; of those, one
-- that is free.
--
-- When: prices differ and there is a deadline: batch work to the cheap model,
-- unless it has become too slow. In time is a client whose 95th percentile is
-- within `within` seconds, or of which nothing is known yet; if none is, the
-- quickest is taken. The price is that of this request: its prompt, and as
-- many tokens of answer as it allows.
--   cheapest { "gpt-4", "small", within = 5 }

local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

local function explain(view, models, prompt, answer, within)
  for _, name in ipairs(models) do
    for _, client in ipairs(view[name].clients) do
      local price = client.input_price * prompt + client.output_price * answer
      view:note(name, client.id, price / 1e6, client.p95 <= within and "in time"
        or ("too slow: p95 %.3g s"):format(client.p95))
    end
  end
end

return function(t)
  local given = part.options(t, "cheapest", {
    within = fields.positive_amount, answer_tokens = fields.positive_amount,
  }, part.model)
  local within = given.within or math.huge
  local function plan_of(models, name, id)
    local plan = part.first(models, name)
    plan[1] = { model = name, client = id }
    return plan
  end
  local plan_for = part.cached(function(name, id)
    return part.plan.new(plan_of(given, name, id))
  end)
  return part.named(function(request, view, options)
    local models = part.models(given, view)
    local prompt = part.prompt_tokens(request, options)
    local answer = part.answer_tokens(request, given.answer_tokens or 500)
    local m, id = view:cheapest(models, prompt, answer, within)
    if view.explaining then explain(view, models, prompt, answer, within) end
    if not m then return { model = models } end -- nobody is in service
    local name = models[m]
    if models == given then return plan_for(name, id) end
    return plan_of(models, name, id)
  end, "cheapest")
end
