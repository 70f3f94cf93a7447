-- latency: of two free clients drawn by lot, the one that was quicker lately.
--
-- When: speed counts and providers have good and bad minutes. Latency is peak
-- EWMA: a slow answer is believed at once, quick ones only with time. Two drawn
-- by lot, not the best of all, so that the best is not run over. What counts is
-- the load: the latency times the requests that the client would have in hand.
--   latency { "gpt-4", "claude" }

local part = require "llmpool.policy.part"
local random = require "llmpool.native".random

local function draw(view, models)
  local n = view:open(models)
  if n == 0 then return nil end
  local first = random() * n // 1 | 0
  local client, name = view:pick(models, first + 1)
  if n == 1 then return name, client end
  local second = random() * (n - 1) // 1 | 0
  if second >= first then second = second + 1 end
  local other, other_name = view:pick(models, second + 1)
  if view.explaining then
    view:note(name, client.id, client.load, "drawn")
    view:note(other_name, other.id, other.load, "drawn")
  end
  if other.load < client.load then return other_name, other end
  return name, client
end

return function(t)
  local given = part.options(t, "latency", {}, part.model)
  local plan_for = part.cached(function(name, id)
    return part.plan.new { { model = part.one_of(given, name), client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    local name, client = draw(view, models)
    if not name then return { model = models } end
    if models == given then return plan_for(name, client.id) end
    return { { model = part.one_of(models, name), client = client.id } }
  end, "latency")
end
