-- canary: a share of the requests takes the new policy, the rest the old one.
--
-- When: a new model or policy is to be tried on 5 % of the users first. With a
-- key - the call's `key`, or the request's user - somebody is always on the
-- same side; without one the share is exact, with no chance in it.
--   canary { "gpt-4", "gpt-5", share = 0.05 }

local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

return function(t)
  t = part.options(t, "canary", { share = fields.rate, key = fields.func },
    fields.any)
  local stable, new = part.inner(t, "canary"), part.inner(t, "canary", 2)
  local share, key_of, credit = t.share or 0.05, t.key or part.key, 0
  local function takes_new(request, view, options)
    local key = key_of(request, options)
    if key ~= nil then return part.hash(tostring(key)) < share * 2 ^ 32 end
    local next_credit = credit + share
    local takes = next_credit >= 1 - 1e-9
    if not view.probe then credit = takes and next_credit - 1 or next_credit end
    return takes
  end
  return part.named(function(request, view, options)
    local takes = takes_new(request, view, options)
    if view.explaining then
      view:note(nil, nil, share, takes and "the new policy" or "the old policy")
    end
    return (takes and new or stable)(request, view, options)
  end, "canary")
end
