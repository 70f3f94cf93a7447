-- latency: of two free clients drawn by lot, the one that was quicker lately.
--
-- When: speed counts and providers have good and bad minutes. Latency is peak
-- EWMA: a slow answer is believed at once, quick ones only with time. Two drawn
-- by lot, not the best of all, so that the best is not run over. What counts is
-- the load: the latency times the requests that the client would have in hand.
-- It fades while nobody asks, so that who was slow once gets another chance.
--   latency { "gpt-4", "claude" }

local part = require "llmpool.policy.part"
local random = require "llmpool.native".random

local function explain(view, models, drawn)
  for _, k in ipairs(drawn) do
    local client, name = view:pick(models, k)
    view:note(name, client.id, client.load, "drawn")
  end
end

-- Returns the number of the better one's model, and its id.
local function draw(view, models)
  local n = view:open(models)
  if n == 0 then return nil end
  local first, second = random() * n // 1 + 1 | 0, 1
  if n > 1 then
    second = random() * (n - 1) // 1 + 1 | 0
    if second >= first then second = second + 1 end
  end
  if view.explaining then explain(view, models, { first, second }) end
  return view:better(models, "load", first, second)
end

return function(t)
  local given = part.options(t, "latency", {}, part.model)
  local plan_for = part.cached(function(name, id)
    return part.plan.new { { model = part.one_of(given, name), client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    local m, id = draw(view, models)
    if not m then return { model = models } end
    local name = models[m]
    if models == given then return plan_for(name, id) end
    return { { model = part.one_of(models, name), client = id } }
  end, "latency")
end
