-- cheapest: the least expensive client that answers in time.
--
-- When: prices differ and there is a deadline: batch work to the cheap model,
-- unless it has become too slow. In time is a client whose 95th percentile is
-- within `within` seconds, or of which nothing is known yet; if none is, the
-- quickest is taken. The price is that of this request: its prompt, and as
-- many tokens of answer as it allows.
--   cheapest { "gpt-4", "small", within = 5 }

local part = require "llmpool.policy.part"

local function price_of(client, prompt, answer)
  return (client.input_price * prompt + client.output_price * answer) / 1e6
end

-- Whether a is better than b: first in time, then free, then cheap, then quick.
local function is_better(a, b)
  if a.in_time ~= b.in_time then return a.in_time end
  if not a.in_time then return a.p95 < b.p95 end
  if a.free ~= b.free then return a.free end
  if a.price ~= b.price then return a.price < b.price end
  return a.p95 < b.p95
end

local function each_client(view, models, visit)
  for _, name in ipairs(models) do
    for _, client in ipairs(view[name].clients) do visit(name, client) end
  end
end

return function(t)
  local given = part.options(t, "cheapest", {
    within = part.positive, answer_tokens = part.positive,
  }, part.model)
  local within = given.within or math.huge
  return part.named(function(request, view, options)
    local models = part.models(given, view)
    local prompt = part.prompt_tokens(request, options)
    local answer = part.answer_tokens(request, given.answer_tokens or 500)
    local best
    each_client(view, models, function(name, client)
      local entry = {
        model = name, id = client.id, p95 = client.p95, free = client.free > 0,
        price = price_of(client, prompt, answer),
      }
      entry.in_time = entry.p95 <= within
      if view.explaining then
        view:note(name, entry.id, entry.price, entry.in_time and "in time"
          or ("too slow: p95 %.3g s"):format(entry.p95))
      end
      if not best or is_better(entry, best) then best = entry end
    end)
    local plan = { { model = best.model, client = best.id } }
    for _, name in ipairs(models) do
      if name ~= best.model then plan[#plan + 1] = name end
    end
    return plan
  end, "cheapest")
end
