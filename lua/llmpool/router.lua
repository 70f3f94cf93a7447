-- router.lua: sends requests over a pool as a policy says. One idea: the
-- policy decides, in a microsecond, under a bound, with nothing to wait for;
-- the router does all that takes time. A policy that fails costs a request its
-- plan, never its answer: then the default plan is taken, and an event says so.
-- The parts are in router/: the plan, one request's way, budgets, reloading.

local budget = require "llmpool.router.budget"
local explain = require "llmpool.router.explain"
local failure = require "llmpool.router.failure"
local fields = require "llmpool.fields"
local lanes = require "llmpool.router.lanes"
local native = require "llmpool.native"
local nearest = require "llmpool.nearest"
local plan = require "llmpool.router.plan"
local policies = require "llmpool.policy"
local quick = require "llmpool.router.quick"
local reload = require "llmpool.router.reload"
local Request = require "llmpool.router.request"
local run = require "llmpool.router.run"
local stream = require "llmpool.router.stream"

local attempt_once, decide = native.attempt, native.decide
local now = native.now
local step_by_step, walk = quick.step_by_step, quick.walk

local Router = {}
Router.__index = Router
Router.__name = "llmpool.router"

-- ---- making -----------------------------------------------------------------

local function a_pool(v)
  local ok, name = pcall(function() return getmetatable(v).__name end)
  if not ok or name ~= "llmpool.pool" then return "a pool" end
end

local function bytes(v)
  if math.type(v) ~= "integer" or v < 65536 then
    return "a number of bytes, 65536 or more"
  end
end

local function instructions(v)
  if math.type(v) ~= "integer" or v < 1000 then
    return "a whole number, 1000 or more"
  end
end

local a_table = fields.table

local known = {
  pool = a_pool, policy = fields.any, default = fields.any,
  timeout = fields.seconds, instructions = instructions, memory = bytes,
  retry_budget = a_table, hedge_budget = a_table, backoff = fields.seconds,
  max_backoff = fields.seconds, context = a_table, strict = fields.boolean,
  on_event = fields.func, probes = a_table, probation = fields.count,
}

-- All the models there are: who comes free first answers.
local function any_model(self)
  local names = self.pool:models()
  if #names == 0 then return nil end
  return plan.of { model = names }
end

-- Between the script and Router.new: llmpool.router, and its frame of C.
local SCRIPT = 4

--- @param options table: pool; policy, a function (request, view, options) ->
-- plan, a plan that is always the same, or the name of one of the library's
function Router.new(options)
  if type(options) ~= "table" then
    fields.bad(SCRIPT, "bad argument #1 to 'router' (table expected, got %s)",
      type(options))
  end
  fields.check(options, known, "llmpool.router", SCRIPT)
  if options.pool == nil then
    fields.bad(SCRIPT, "llmpool.router needs a pool")
  end
  local self = setmetatable({
    pool = options.pool, view = native.view(options.pool),
    timeout = options.timeout or false,
    instructions = options.instructions or 100000,
    memory = options.memory or 16 << 20, strict = options.strict or false,
    backoff = options.backoff or 0.5, max_backoff = options.max_backoff or 8,
    context = options.context or {}, requests = 0, listeners = {},
    listening = false, probes = options.probes or {},
    probation = options.probation or 100, defaults = 0,
    retry_budget = budget.new(options.retry_budget or { ratio = 0.2 },
      "retry_budget", SCRIPT),
    hedge_budget = budget.new(options.hedge_budget, "hedge_budget", SCRIPT),
  }, Router)
  if options.default ~= nil then
    local ok, made = pcall(plan.of, options.default)
    if not ok then fields.bad(SCRIPT, "default of llmpool.router: %s", made) end
    self.default = made
  end
  self.policy = policies.of(options.policy, SCRIPT)
  if options.on_event then self:listen(options.on_event) end
  if native.is_recorded() then require "llmpool.trace".join(self) end
  return self
end

-- ---- events -----------------------------------------------------------------

--- Calls fn(event) for everything that happens from now on.
-- @return a function that ends it
function Router:listen(fn)
  if type(fn) ~= "function" then
    fields.bad(2, "bad argument #1 to 'listen' (function expected, got %s)",
      type(fn))
  end
  local listeners = self.listeners
  listeners[#listeners + 1] = fn
  self.listening, self.settled = true, nil
  return function()
    for i, other in ipairs(listeners) do
      if other == fn then
        table.remove(listeners, i)
        break
      end
    end
    self.listening = #listeners > 0
  end
end

function Router:_emit(event)
  for _, listener in ipairs(self.listeners) do
    run.call_hook(listener, event)
  end
end

-- ---- deciding ---------------------------------------------------------------

-- Where the policy's function is, for a plan that is none.
local function place_of(policy)
  if policies.fixed[policy] then return "the policy" end
  local info = debug.getinfo(policy, "S")
  if policies.is_named(policy) then
    return "the policy " .. policies.name(policy)
  end
  if info.what == "C" then return "the policy" end
  return ("the policy at %s:%d"):format(info.short_src, info.linedefined)
end

-- Raises a sentence unless every model of the plan is registered.
local function check_models(self, made)
  if made.checked == self.pool then return end
  local names = self.pool:models()
  local there = {}
  for _, name in ipairs(names) do there[name] = true end
  plan.models(made, function(name)
    if there[name] then return end
    local near = nearest(name, names)
    error(("the plan names the model \"%s\", which is not registered; there "
      .. "%s %s%s"):format(name, #names == 1 and "is" or "are",
      #names == 0 and "none" or '"' .. table.concat(names, '", "') .. '"',
      near and (" (did you mean \"%s\"?)"):format(near) or ""), 0)
  end)
  made.checked = self.pool
end

-- As pcall does. What has a metatable may run code of the script's.
local function compile(self, made)
  if type(made) ~= "table" or not getmetatable(made) then
    return pcall(plan.of, made)
  end
  local result, err, why = native.bounded("a plan", self.instructions,
    self.memory, plan.of, made)
  return not why, why and reload.text(err) or result
end

-- What a policy has returned as a plan: a plan, or nil, a sentence and why.
local function plan_of(self, policy, made)
  local known_plan = made ~= nil and plan.quick(made)
  if known_plan and known_plan.checked == self.pool then return known_plan end
  local ok, result = compile(self, made)
  if ok then
    local there, err = pcall(check_models, self, result)
    if there then return result end
    result = err
  end
  return nil, place_of(policy) .. ": " .. tostring(result), "plan"
end

-- The same of all that `decide` returns; why: raised, instructions, memory or
-- plan.
local function judged(self, policy, made, err, why)
  if not why then return plan_of(self, policy, made) end
  if why == "memory" then
    err = ("%s held more than %d bytes"):format(place_of(policy), self.memory)
  end
  return nil, err, why
end

--- The plan that a policy makes. Returns it, or nil, a sentence and why.
function Router:_ask(policy, request, options, streams)
  return judged(self, policy, decide(self.view, policy, self.instructions,
    self.memory, request, options, streams))
end

-- The plan of last resort.
local function default_plan(self, err, why)
  local made = self.default or any_model(self)
  if made and pcall(check_models, self, made) then
    self.defaults = self.defaults + 1
    return made
  end
  local object = failure.object("policy", reload.text(err))
  object.cause, object.reason = err, why
  error(object, 0)
end

-- What has a kind - a model that is not there - has no line of the script's.
local function text_of(self, err)
  local text = reload.text(err)
  if type(err) == "string" then return text end
  return place_of(self.policy) .. ": " .. text
end

local function policy_failed(self, err, why)
  local text = text_of(self, err)
  if self.listening then
    self:_emit { event = "policy_failed", time = native.now(), reason = why,
                message = text }
  end
  if self.strict then
    local object = failure.object("policy", text)
    object.cause, object.reason = err, why
    error(object, 0)
  end
end

-- From what the policy has returned: its plan, or its predecessor's, or the
-- default.
local function chosen(self, request, options, streams, made, err, why)
  made, err, why = judged(self, self.policy, made, err, why)
  if made then
    if self.trial then reload.passed(self) end
    return made
  end
  policy_failed(self, err, why)
  local before = reload.failed(self, err, why)
  if before then
    made = self:_ask(before, request, options, streams)
    if made then return made end
  end
  return default_plan(self, err, why)
end

-- The plan of a policy that always has the same, if it was looked at before:
-- it need not be asked.
local function fixed_plan(self)
  local made = policies.fixed[self.policy]
  if made and made.checked == self.pool and not (self.watching or self.trial
    or self.listening) then
    return made
  end
end

-- A plan that needs nothing but to be followed is looked up once: `settled` is
-- gone as soon as anybody listens or there is another policy.
local function settle(self, made)
  if made.plain == nil then quick.look(made) end
  if made.plain > 0 and not (made.budgeted or self.timeout) then
    self.settled = made
  end
end

--- The plan for a request.
function Router:_decide(request, options, streams)
  local made = fixed_plan(self)
  if made then
    settle(self, made)
    return made
  end
  if self.watching then reload.look(self) end
  local err, why
  made, err, why = decide(self.view, self.policy, self.instructions,
    self.memory, request, options, streams)
  if not (why or self.trial) then
    local known_plan = made ~= nil and plan.quick(made)
    if known_plan and known_plan.checked == self.pool then return known_plan end
  end
  return chosen(self, request, options, streams, made, err, why)
end

-- ---- requests ---------------------------------------------------------------

local call_known = {
  timeout = fields.seconds, tokens = fields.count, key = fields.any,
  tenant = fields.any, tags = a_table, priority = fields.priority,
}

local NONE = {}

local function check_call(self, name, request, options)
  if getmetatable(self) ~= Router then
    fields.bad(3, "calling '%s' on bad self (router expected, got %s; it is "
      .. "a method: router:%s)", name, type(self), name)
  end
  local kind = type(request)
  if kind ~= "string" and kind ~= "table" then
    fields.bad(3, "bad argument #1 to '%s' (a prompt or a request table "
      .. "expected, got %s)", name, kind)
  end
  if options == nil then return NONE end
  if type(options) ~= "table" then
    fields.bad(3, "bad argument #2 to '%s' (table expected, got %s)", name,
      type(options))
  end
  fields.check(options, call_known, "router:" .. name, 3)
  return options
end

-- Budgets are shares of all requests.
local function earn(self)
  local retries, hedges = self.retry_budget, self.hedge_budget
  if retries.level < retries.burst then retries:earn() end
  if hedges.level < hedges.burst then hedges:earn() end
end

local function earn_for(made)
  if made.hedge_budget then made.hedge_budget:earn() end
  if made.retry_budget then made.retry_budget:earn() end
end

-- A request that goes the long way, with the plan if it is there already.
local function begin(self, request, options, streams, made)
  local notes = self.listening and {} or nil
  if notes then native.view_begin(self.view, false, notes) end
  if not made then
    made = self:_decide(request, options, streams)
    earn_for(made)
  end
  local r = Request.new(self, request, options, made, streams)
  if notes then
    native.view_begin(self.view)
    self:_emit { event = "decision", request = r.id, time = r.started,
                explanation = explain.decision(self, r, notes) }
  end
  return r
end

-- Whatever way it ends, it is finished.
local function guarded(r, fn, ...)
  local ok, a, b = pcall(fn, r, ...)
  if ok then return a, b end
  r:finish(false, a)
  error(a, 0)
end

local function answer(r)
  if r.plan.refuse then error(r:refusal(), 0) end
  r:pass_gate()
  if r.stopped then error(r:failure(), 0) end
  local record, a, b = lanes.run(r)
  if not record then error(r:failure(), 0) end
  return record, a, b
end

local function done(r, record, text, response)
  local enter = r.enter
  enter(r, "COMMITTED", record)
  enter(r, "DONE", record)
  local hooked = r.plan.on_attempt or r.plan.on_done or r.router.listening
  local usage = hooked and type(response) == "table" and response.usage or nil
  r.outcome(r, record, true, usage)
  r:finish(true, nil, usage, record)
  return text, response
end

local function generate(r) return done(r, answer(r)) end

-- On from where the short way has failed.
local function go_on(r, err, lane, attempt, failed)
  local record, text, response = run.after(r, lane, attempt, failed, err)
  if not record then error(r:failure(), 0) end
  return done(r, record, text, response)
end

local function generate_slowly(self, request, options, made)
  return guarded(begin(self, request, options, false, made), generate)
end

-- ---- the short way ----------------------------------------------------------

-- From what quick.lua has returned: ok, text and response; or false, the error
-- and what it takes to go on; or nil.
local function try_on(ok, a, b, ...)
  if ok ~= false then return ok, a, b end
  return pcall(guarded, b, go_on, a, ...)
end

-- One attempt, and the next, without a time.
local function try_plain(self, request, options, made, started)
  local first = made[1]
  local model, ask = first.model, first.ask
  local ok, a, b, c = attempt_once(self.view, model, request, ask)
  if ok == nil then ok, a, b, c = step_by_step(self, model, request, ask) end
  if not ok then
    return try_on(walk(self, request, options, made, started, a, b, c))
  end
  self.requests = self.requests + 1
  return ok, a, b
end

-- By the short way if the plan and the call allow it. Returns true, the text
-- and the response, or false and the error.
local function serve(self, request, options, started, made)
  if made.plain == nil then quick.look(made) end
  if made.budgeted then earn_for(made) end
  if not (options.priority or options.tokens) then
    if not (self.timeout or options.timeout) and made.plain > 0 then
      return try_plain(self, request, options, made, started)
    end
    if made.timed then
      local ok, a, b = try_on(quick.within(self, request, options, made,
        started))
      if ok ~= nil then return ok, a, b end
    end
  end
  return pcall(generate_slowly, self, request, options, made)
end

local function try(self, request, options, started)
  if self.listening then
    return pcall(generate_slowly, self, request, options)
  end
  local ok, made = pcall(self._decide, self, request, options, false)
  if not ok then return ok, made end
  return serve(self, request, options, started, made)
end

--- generate, for callers who have checked what they ask, and know the time: a
-- failure is returned. All that most of them need lies in this one function,
-- since a call more is a twentieth of a simulated request.
-- @return true, the text and the response; or false and the error
function Router:_try(request, options, started)
  local retries, hedges = self.retry_budget, self.hedge_budget
  if retries.level < retries.burst then retries:earn() end
  if hedges.level < hedges.burst then hedges:earn() end
  local made = self.settled
  if not made then return try(self, request, options or NONE, started) end
  if options and (options.timeout or options.priority or options.tokens) then
    return serve(self, request, options, started, made)
  end
  local first = made[1]
  local model, ask = first.model, first.ask
  local ok, a, b, c = attempt_once(self.view, model, request, ask)
  if ok == nil then ok, a, b, c = step_by_step(self, model, request, ask) end
  if not ok then
    return try_on(walk(self, request, options or NONE, made, started, a, b, c))
  end
  self.requests = self.requests + 1
  return ok, a, b
end

--- Answers a request by the policy's plan.
-- @return the text, and the response; raises the first cause, with attempts
function Router:generate(request, options)
  options = check_call(self, "generate", request, options)
  local ok, a, b = self:_try(request, options, now())
  if ok then return a, b end
  error(a, 0)
end

local function open(r)
  local record, source = answer(r)
  r.enter(r, "COMMITTED", record)
  return stream(r, source)
end

--- Answers a request piece by piece. Returns when the answer has committed.
-- @return a stream: called, or read, it gives the next piece or nil
function Router:stream(request, options)
  options = check_call(self, "stream", request, options)
  earn(self)
  return (guarded(begin(self, request, options, true), open))
end

-- ---- explaining -------------------------------------------------------------

--- Why a request would go where it would go now. Nothing is sent, and policies
-- keep their turn.
function Router:explain(request, options)
  options = check_call(self, "explain", request, options)
  local notes = {}
  native.view_begin(self.view, true, notes)
  local made, err, why = self:_ask(self.policy, request, options)
  native.view_begin(self.view)
  if not made then
    return explain.failed(self, request, err, why)
  end
  return explain.plan(self, request, made, notes)
end

--- For the error of a request that failed.
function Router:_explanation(r)
  return explain.plan(self, r.request, r.plan, {}, r.attempts)
end

-- ---- the policy while running -----------------------------------------------

--- Takes another policy from a Lua file that returns it.
-- @return true, or nil and why it was refused: then the old one stays
function Router:reload(path)
  if type(path) ~= "string" then
    fields.bad(2, "bad argument #1 to 'reload' (a file's name expected, got "
      .. "%s)", type(path))
  end
  return reload.from(self, path)
end

--- Takes the policy from a file, now and whenever the file has changed; looked
-- at when a request comes, at most every `every` seconds (1).
function Router:watch(path, every)
  if type(path) ~= "string" then
    fields.bad(2, "bad argument #1 to 'watch' (a file's name expected, got %s)",
      type(path))
  end
  local wanted = every ~= nil and fields.seconds(every)
  if wanted then
    fields.bad(2, "bad argument #2 to 'watch' (%s expected)", wanted)
  end
  return reload.watch(self, path, every or 1)
end

function Router:__tostring()
  return ("router (%s, %d requests)"):format(policies.name(self.policy),
    self.requests)
end

return Router
