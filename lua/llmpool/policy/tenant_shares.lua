-- tenant_shares: when there is more to do than clients, callers are served in
-- proportion to their shares, however many requests each of them sends.
--
-- When: one tenant's rush must not make the others wait. It is weighted fair
-- queueing: every request gets a virtual finish time - its tenant's last one,
-- or the present, plus its cost over the share - and the earliest goes next.
-- Who is alone gets everything; nobody saves up what he did not use.
--   tenant_shares { fallback { "gpt-4" }, shares = { gold = 3, free = 1 } }
-- The tenant is the call's `tenant`, or the request's user. Who has no share of
-- his own has `default` (1). `slots`, how many may be on their way at once, is
-- by default what the plan's models can lend.

local fields = require "llmpool.fields"
local gate = require "llmpool.router.gate"
local part = require "llmpool.policy.part"

local function shares(v)
  if type(v) ~= "table" then return "a table of shares by tenant" end
  for tenant, share in pairs(v) do
    if fields.positive_amount(share) then
      return ("!the share of '%s' must be a number greater than 0, got %s")
        :format(tostring(tenant), tostring(share))
    end
  end
end

local function slots_of(view, plan)
  local n, seen = 0, {}
  part.plan.models(plan, function(name)
    if not seen[name] then n = n + view[name].slots end
    seen[name] = true
  end)
  return n
end

return function(t)
  t = part.options(t, "tenant_shares", {
    shares = shares, default = fields.positive_amount,
    slots = fields.at_least_one, tenant = fields.func,
    by_tokens = fields.boolean,
  }, fields.any)
  local inner = part.inner(t, "tenant_shares")
  local tenant_of = t.tenant or part.tenant
  local queue = gate.new(t.shares or {}, t.default or 1)
  local plan_for = part.cached(function(plan, tenant)
    return part.plan.with(plan, { gate = queue, share = tenant })
  end)
  return part.named(function(request, view, options)
    local plan = part.plan.of(inner(request, view, options))
    if plan.refuse then return plan end
    local tenant = tenant_of(request, options)
    if tenant == nil then tenant = "" end
    queue:resize(t.slots or slots_of(view, plan))
    if view.explaining then
      view:note(nil, nil, queue:finish_time(tenant), "virtual finish time")
    end
    if not t.by_tokens then return plan_for(plan, tenant) end
    return part.plan.with(plan, {
      gate = queue, share = tenant,
      cost = math.max(1, part.prompt_tokens(request, options)),
    })
  end, "tenant_shares")
end
