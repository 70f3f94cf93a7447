-- The library of policies. A policy is a function (request, view, options) ->
-- plan; each file here makes one from a table, and most take policies in that
-- table, so that they compose: hedge { fallback { "gpt-4", "claude" } }.
-- Here are the names of all, and what a policy may be given as.

local fields = require "llmpool.fields"
local nearest = require "llmpool.nearest"
local plan = require "llmpool.router.plan"

local policy = {}

policy.names = {
  "breaker", "by_request", "canary", "cheapest", "fallback", "hedge",
  "latency", "least_busy", "retry", "round_robin", "shadow", "spend_budget",
  "sticky", "tenant_shares", "weighted",
}

local names = setmetatable({}, { __mode = "k" })

--- Gives a policy a name, for explanations.
function policy.named(fn, name)
  names[fn] = name
  return fn
end

--- Whether it has one, or is known by its place alone.
function policy.is_named(fn) return names[fn] ~= nil end

--- What to call a policy: its name, or where it was written.
function policy.name(fn)
  if names[fn] then return names[fn] end
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return "a policy in C" end
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

--- Policies whose plan is always the same, by function: the router need not
-- ask them.
policy.fixed = setmetatable({}, { __mode = "k" })

--- A policy that always returns this plan, under a name.
function policy.constant(value, name)
  local made = plan.of(value)
  local function always() return made end
  policy.fixed[always] = made
  return policy.named(always, name or tostring(made))
end

local constant = policy.constant

local function in_library(name)
  for _, known in ipairs(policy.names) do
    if known == name then return true end
  end
end

-- A name of the library's, or else of a model.
local function from_name(name)
  if in_library(name) then return require("llmpool.policy." .. name) {} end
  local near = nearest(name, policy.names)
  if near then
    error(("unknown policy '%s'; did you mean '%s'?"):format(name, near), 0)
  end
  return constant(name)
end

local function is_callable(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and type(meta.__call) == "function"
end

local function any_model(_, view)
  local models = view:models()
  if #models == 0 then return { refuse = "the pool has no model" } end
  return { model = models }
end
policy.named(any_model, "any model")

local function of(value)
  if value == nil then return any_model end
  if type(value) == "function" then return value end
  if type(value) == "string" and value ~= "" then return from_name(value) end
  if is_callable(value) then
    return policy.named(function(...) return value(...) end, tostring(value))
  end
  return constant(value)
end

--- A policy, from a function, a table that can be called, a plan that is always
-- the same, or a name of the library's; nil: any model, who comes free first.
function policy.of(value, level)
  local ok, result = pcall(of, value)
  if not ok then
    fields.bad((level or 1) + 1, "not a policy: %s; a policy is a function "
      .. "(request, view) that returns a plan", tostring(result))
  end
  return result
end

return policy
