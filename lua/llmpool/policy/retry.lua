-- retry: tries an attempt again before it goes on with the next.
--
-- When: failures are short - a reset, a 500, a moment's overload. The pause is
-- full jitter (anything up to twice as long each time), so that those who
-- failed together do not come back together; a provider's own "not before" is
-- honoured if the deadline allows. The budget keeps retries a share of the
-- requests: when everything fails, retries are what would keep it down.
--   retry { fallback { "gpt-4", "claude" }, retries = 2, backoff = 0.5,
--           max_backoff = 8, on = { "server", "overloaded" },
--           budget = { ratio = 0.2, burst = 10 } }

local budget = require "llmpool.router.budget"
local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

return function(t)
  t = part.options(t, "retry", {
    retries = fields.count, backoff = fields.positive_amount,
    max_backoff = fields.positive_amount, on = fields.any,
    budget = budget.check,
  }, fields.any)
  local inner = part.inner(t, "retry")
  local checked = part.own_plan({ { model = "m", retry_on = t.on } }, "retry")
  local bucket = t.budget
    and budget.new(t.budget, "budget of policy 'retry'", 2)
  local changes = {
    retries = t.retries or 2, backoff = t.backoff, max_backoff = t.max_backoff,
    retry_on = checked[1].retry_on,
  }
  local derived = part.derived(function(from)
    local made = part.plan.map(from, function() return changes end)
    made.retry_budget = bucket
    return made
  end)
  return part.named(function(request, view, options)
    return derived(inner(request, view, options))
  end, "retry")
end
