-- shadow: asks a second policy too, compares, and does what the first says.
--
-- When: a new policy is to be watched on real traffic before it decides
-- anything. Nothing is sent twice: only the decisions are compared. What the
-- second one does wrong - raise, loop, take memory - is counted, not felt.
--   local watch = shadow { fallback { "a", "b" }, latency { "a", "b" },
--     on_difference = function(request, main, other) ... end }
--   shadow.counts(watch)  --> { asked =, same =, different =, failed = }

local fields = require "llmpool.fields"
local native = require "llmpool.native"
local part = require "llmpool.policy.part"

local INSTRUCTIONS, BYTES = 50000, 4 << 20

local counts = setmetatable({}, { __mode = "k" })

local function first_of(list)
  if type(list) == "table" then return list[1] end
  return list
end

-- What the first attempt of a plan would ask.
local function target(plan)
  local attempt = plan[1]
  if not attempt then return "", "" end
  return first_of(attempt.model), first_of(attempt.client) or ""
end

local function is_same(a, b)
  local model, client = target(a)
  local other_model, other_client = target(b)
  return model == other_model
    and (client == other_client or client == "" or other_client == "")
end

local function compare(tally, main, other, request, on_difference)
  if is_same(main, other) then
    tally.same = tally.same + 1
    return
  end
  tally.different = tally.different + 1
  if on_difference then pcall(on_difference, request, main, other) end
end

local function make(t)
  t = part.options(t, "shadow", { on_difference = fields.func }, fields.any)
  local main, other = part.inner(t, "shadow"), part.inner(t, "shadow", 2)
  local tally = { asked = 0, same = 0, different = 0, failed = 0 }
  local function ask(request, view, options)
    return part.plan.of(other(request, view, options))
  end
  local policy = part.named(function(request, view, options)
    local plan = part.plan.of(main(request, view, options))
    if view.probe then return plan end
    tally.asked = tally.asked + 1
    local shadowed, _, why = native.bounded("a shadow policy", INSTRUCTIONS,
      BYTES, ask, request, view, options)
    if why then
      tally.failed = tally.failed + 1
    else
      compare(tally, plan, shadowed, request, t.on_difference)
    end
    return plan
  end, "shadow")
  counts[policy] = tally
  return policy
end

--- What a shadow has counted: asked, same, different, failed.
local function counts_of(policy)
  if not counts[policy] then
    fields.bad(2, "bad argument #1 to 'counts' (a shadow policy expected)")
  end
  return counts[policy]
end

return setmetatable({ counts = counts_of }, {
  __call = function(_, t) return make(t) end,
})
