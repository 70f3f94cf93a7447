-- breaker: leaves out a model that has failed several times in a row, for a
-- while; then one request tries it, and its answer says whether it is back.
--
-- When: a provider is down and every request would wait for its timeout first.
-- (Each client can have a breaker of its own in the pool; this one is for a
-- model as a whole, and for what a plan would do without it.) If all models of
-- a plan are out, the plan is left as it is: a last resort beats no answer.
--   breaker { fallback { "gpt-4", "claude" }, failures = 5, open = 30 }

local fields = require "llmpool.fields"
local kinds = require "llmpool.router.kinds"
local part = require "llmpool.policy.part"

-- The pool's own refusals say nothing of a model's health.
local mute = { timeout = true, queue_full = true, closed = true,
               unknown_model = true, refused = true }

-- `trying`: since when a trial is under way, or false.
local function new_state()
  return { failures = 0, until_when = -math.huge, span = nil, trying = false }
end

-- What the outcome of a call makes of a model's state.
local function learn(states, t, result)
  local state = states[result.model]
  if not state then
    state = new_state()
    states[result.model] = state
  end
  if result.ok then
    states[result.model] = new_state()
    return
  end
  if kinds.innocent[result.kind] or mute[result.kind] then
    state.trying = false
    return
  end
  state.failures = state.failures + 1
  if state.trying or state.failures >= t.failures then
    local longer = state.trying and state.span and state.span * 2 or t.open
    state.span = math.min(longer, t.max_open)
    state.until_when = result.time + state.span
    state.trying, state.failures = false, 0
  end
end

local function is_open(state, now)
  if not state or not state.span then return false end
  return now < state.until_when or state.trying
end

-- The names that may be asked.
local function filter(states, now, model)
  if type(model) ~= "table" then
    return not is_open(states[model], now) and model or nil
  end
  local left = {}
  for _, name in ipairs(model) do
    if not is_open(states[name], now) then left[#left + 1] = name end
  end
  return #left > 0 and left or nil
end

-- The first to be asked of a model that was out is its trial.
local function mark_trial(states, plan, now)
  part.plan.models({ plan[1] }, function(name)
    local state = states[name]
    if state and state.span then state.trying = now end
  end)
end

local function any_tripped(states)
  for _, state in pairs(states) do
    if state.span then return true end
  end
end

-- A trial that never told how it ended must not keep the model out.
local function end_trials(states, now, t)
  for _, state in pairs(states) do
    if state.trying and now >= state.trying + t.open then
      state.trying = false
    end
  end
end

local function without_open(states, plan, view)
  local now = view.now
  local made = part.plan.map(plan, function(attempt)
    local model = filter(states, now, attempt.model)
    if view.explaining and not model then
      view:note(type(attempt.model) == "string" and attempt.model or nil, nil,
        nil, "left out: its breaker is open")
    end
    return model and { model = model } or false
  end)
  return #made > 0 and made or plan
end

return function(t)
  t = part.options(t, "breaker", {
    failures = fields.at_least_one, open = fields.positive_amount,
    max_open = fields.positive_amount,
  }, fields.any)
  local inner = part.inner(t, "breaker")
  t.failures, t.open = t.failures or 5, t.open or 30
  t.max_open = math.max(t.max_open or 300, t.open)
  local states = {}
  local watched = part.derived(function(from)
    return part.plan.with(from, {
      on_attempt = function(result) learn(states, t, result) end,
    })
  end)
  return part.named(function(request, view, options)
    local plan = watched(inner(request, view, options))
    if not any_tripped(states) or plan.refuse then return plan end
    end_trials(states, view.now, t)
    plan = without_open(states, plan, view)
    if not view.probe then mark_trial(states, plan, view.now) end
    return plan
  end, "breaker")
end
