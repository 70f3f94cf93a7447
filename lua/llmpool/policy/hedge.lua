-- hedge: asks a second time if the first answer does not come soon.
--
-- When: a few answers are very slow (a long tail) and being late costs more
-- than a few calls twice. The second call is the plan's next attempt, or the
-- same on another client; who commits first wins, the other is cancelled at
-- once. `after` is a number of seconds, or "p95": as long as 19 of 20 calls
-- took, of a stream as 19 of 20 first tokens. The budget keeps it a few: a
-- tenth of the requests, and ten to start.
--   hedge { fallback { "gpt-4", "claude" }, after = 2,
--           budget = { ratio = 0.05, burst = 5 } }

local budget = require "llmpool.router.budget"
local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

local function after(v)
  if v ~= "p95" and fields.seconds(v) then
    return 'a number of seconds, or "p95"'
  end
end

-- A stream need only begin, unless it is kept back to its end.
local function slowest(model, is_begin)
  local most, whole = 0, model:column "p95"
  local first = is_begin and model:column "first_token_p95" or whole
  for i = 1, #whole do
    local value = first[i] > 0 and first[i] or whole[i]
    if value > most then most = value end
  end
  return most
end

-- Nothing known yet: no hedge.
local function slowest_p95(view, attempt)
  local most, model = 0, attempt.model
  local is_begin = view.streams and attempt.commit ~= "end"
  for _, name in ipairs(type(model) == "table" and model or { model }) do
    most = math.max(most, slowest(view[name], is_begin))
  end
  return most > 0 and most or nil
end

return function(t)
  t = part.options(t, "hedge", { after = after, budget = budget.check },
    fields.any)
  local inner, seconds = part.inner(t, "hedge"), t.after or "p95"
  local bucket = t.budget
    and budget.new(t.budget, "budget of policy 'hedge'", 2)
  local function hedged(from, value)
    local made = part.plan.map(from, function(_, i)
      return i == 1 and { hedge_after = value } or {}
    end)
    made.hedge_budget = bucket
    return made
  end
  local fixed = part.derived(function(from) return hedged(from, seconds) end)
  return part.named(function(request, view, options)
    local plan = part.plan.of(inner(request, view, options))
    if plan.refuse then return plan end
    if seconds ~= "p95" then return fixed(plan) end
    return hedged(plan, slowest_p95(view, plan[1]))
  end, "hedge")
end
