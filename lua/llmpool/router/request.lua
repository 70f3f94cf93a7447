-- request.lua: one request as the router carries it: made, finished, told of.
-- One idea: whatever way it ends - an answer, an error, a cancellation - it
-- passes finish once, which gives back what its plan took (a gate) and tells
-- the plan's hooks. How it is answered is run.lua's.

local failure = require "llmpool.router.failure"
local native = require "llmpool.native"
local run = require "llmpool.router.run"

local Request = {}
Request.__index = Request

Request.run_lane, Request.enter, Request.outcome = run.lane, run.enter,
  run.outcome

--- A second lane's answer, which came too late.
function Request.discard(source)
  if type(source) == "table" and source.close then source:close() end
end

--- The error of an attempt that the request has no time left for.
function Request:too_late()
  return failure.object("timeout", ("the request's time, %g s, is over")
    :format((self.deadline or native.now()) - self.started))
end

local function earliest(a, b)
  if a and b then return a < b and a or b end
  return a or b
end

-- @param plan a compiled plan
function Request.new(router, request, options, plan, streams)
  local started = native.now()
  local timeout = earliest(plan.timeout, options.timeout or router.timeout)
  router.requests = router.requests + 1
  return setmetatable({
    id = router.requests, router = router, request = request,
    options = options, plan = plan, streams = streams, started = started,
    deadline = timeout and started + timeout or nil,
    priority = options.priority, tokens = options.tokens, attempts = {},
    cursor = 0, tried = 0, state = "NEW",
  }, Request)
end

--- It is over, in whatever way: told once.
function Request:finish(ok, err, usage, record)
  if self.finished then return end
  self.finished = true
  if self.entered then
    self.entered = nil
    self.plan.gate:leave(self.plan.share)
  end
  local hooks, router = self.plan.on_done, self.router
  if not (hooks or router.listening) then return end
  local result = {
    event = "done", request = self.id, ok = ok, state = self.state,
    kind = not ok and failure.kind(err) or nil, usage = usage,
    seconds = native.now() - self.started, time = native.now(),
    model = record and record.model, client = record and record.client,
    attempts = #self.attempts + (ok and 1 or 0), content = self.request,
    options = self.options,
  }
  for _, hook in ipairs(hooks or {}) do run.call_hook(hook, result) end
  if router.listening then router:_emit(result) end
end

--- Waits in the plan's gate, if it has one.
function Request:pass_gate()
  local gate = self.plan.gate
  if not gate then return end
  run.enter(self, "QUEUED")
  local left = self.deadline and self.deadline - native.now()
  local since, turns = native.now(), self.router.turns
  local entered = gate:enter(self.plan.share, self.plan.cost or 1, left)
  if turns then turns:add(native.now() - since) end
  if entered then
    self.entered = true
    return
  end
  local err = failure.object("timeout", ("no turn within %g s: the shares "
    .. "of others came first"):format(native.now() - self.started))
  self.attempts[1] = { number = 1, kind = "timeout", cause = err,
                       message = err.message, model = "?", state = "QUEUED",
                       started = self.started }
  self.stopped = true
end

--- The error of a request that nobody could answer.
function Request:failure()
  run.enter(self, "FAILED")
  local err = failure.of(self.attempts, "FAILED")
  err.explanation = self.router:_explanation(self)
  return err
end

--- The error of a request that its policy will not send.
function Request:refusal()
  local plan = self.plan
  run.enter(self, "FAILED")
  local err = failure.object("refused", "the policy refuses this request: "
    .. plan.refuse)
  err.retry_at, err.retryable = plan.retry_at, plan.retry_at ~= nil
  err.attempts, err.committed, err.state = {}, false, "FAILED"
  err.explanation = self.router:_explanation(self)
  return err
end

return Request
