-- fallback: the first, and if it fails the second, and so on.
--
-- When: one model is the one you want, and others are better than no answer.
--   fallback { "gpt-4", { model = "claude", timeout = 20 } }
-- Entries are attempts, so each may have a wait of its own: with
-- { model = "gpt-4", wait = 2 } the second is asked after two seconds in line.

local part = require "llmpool.policy.part"
local policy = require "llmpool.policy"

local function attempt(v)
  if type(v) ~= "string" and type(v) ~= "table" then
    return "a model's name or an attempt"
  end
end

return function(t)
  t = part.options(t, "fallback", {}, attempt)
  if #t == 0 then
    return part.named(function(_, view) return view:models() end, "fallback")
  end
  return policy.constant(part.own_plan(t, "fallback"), "fallback")
end
