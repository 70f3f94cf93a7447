-- weighted: each model gets its share of the requests, exactly.
--
-- When: two contracts are to be used 3 to 1, or a new model gets a tenth.
--   weighted { ["gpt-4"] = 3, claude = 1 }
-- The order is smooth (a b a a, not a a a b) and no chance is in it. The others
-- follow as fallbacks; fallback = false leaves them out.

local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

local function read(t)
  local names, weights, total = {}, {}, 0
  for name, weight in pairs(t) do
    if name ~= "fallback" then names[#names + 1] = name end
    if name ~= "fallback" and fields.amount(weight) then
      fields.bad(3, "weight of '%s' in policy 'weighted' must be a number, 0 "
        .. "or more, got %s", tostring(name),
        fields.describe(weight))
    end
    total = total + (name == "fallback" and 0 or weight)
  end
  table.sort(names)
  for i, name in ipairs(names) do weights[i] = t[name] end
  return names, weights, total
end

return function(t)
  if type(t) ~= "table" or next(t) == nil or #t > 0 then
    fields.bad(2, "policy 'weighted' needs weights by model: weighted "
      .. "{ [\"gpt-4\"] = 3, claude = 1 }")
  end
  local names, weights, total = read(t)
  if total <= 0 then
    fields.bad(2, "policy 'weighted' needs a weight greater than 0")
  end
  local plan_for = part.cached(function(name)
    return part.plan.new(t.fallback == false and name
      or part.first(names, name))
  end)
  local credit = {}
  for i in ipairs(names) do credit[i] = 0 end
  return part.named(function(_, view)
    local best, most = nil, -math.huge
    for i = 1, #names do
      local value = credit[i] + weights[i]
      if value > most and weights[i] > 0 then best, most = i, value end
    end
    if view.explaining then
      for i = 1, #names do
        view:note(names[i], nil, credit[i] + weights[i], "credit")
      end
    end
    if not view.probe then
      for i = 1, #names do credit[i] = credit[i] + weights[i] end
      credit[best] = credit[best] - total
    end
    return plan_for(names[best])
  end, "weighted")
end
