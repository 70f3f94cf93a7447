-- latency: of two free clients drawn by lot, the one that was quicker lately.
--
-- When: speed counts and providers have good and bad minutes. Latency is peak
-- EWMA: a slow answer is believed at once, quick ones only with time. Two drawn
-- by lot, not the best of all: so that the best is not run over.
--   latency { "gpt-4", "claude" }

local part = require "llmpool.policy.part"
local random = require "llmpool.native".random

-- The k-th free client.
local function pick(view, models, k)
  for _, name in ipairs(models) do
    local model = view[name]
    local free = model:column "free"
    for i = 1, #free do
      if free[i] > 0 then
        k = k - 1
        if k == 0 then return model, model.clients[i] end
      end
    end
  end
end

local function count(view, models)
  local n = 0
  for _, name in ipairs(models) do
    local free = view[name]:column "free"
    for i = 1, #free do if free[i] > 0 then n = n + 1 end end
  end
  return n
end

-- What is expected of it: slower with every request that it has in hand.
local function cost(client) return client.latency * (client.lent + 1) end

local function draw(view, models)
  local n = count(view, models)
  if n == 0 then return nil end
  local first = random() * n // 1 | 0
  local model, client = pick(view, models, first + 1)
  if n == 1 then return model, client end
  local second = random() * (n - 1) // 1 | 0
  if second >= first then second = second + 1 end
  local other_model, other = pick(view, models, second + 1)
  if view.explaining then
    view:note(model.name, client.id, cost(client), "drawn")
    view:note(other_model.name, other.id, cost(other), "drawn")
  end
  if cost(other) < cost(client) then return other_model, other end
  return model, client
end

return function(t)
  local given = part.options(t, "latency", {}, part.model)
  local plan_for = part.cached(function(name, id)
    return part.plan.new { { model = part.first(given, name), client = id } }
  end)
  return part.named(function(_, view)
    local models = part.models(given, view)
    local model, client = draw(view, models)
    if not model then return { model = models } end
    if models == given then return plan_for(model.name, client.id) end
    return { { model = part.first(models, model.name), client = client.id } }
  end, "latency")
end
