-- lanes.lua: the ways of one request through its plan, side by side. One idea:
-- lanes share the plan's cursor and the list of clients that failed, so that
-- none repeats what another has tried. The first lane to commit wins; the
-- others are cancelled at once and their clients are back before the caller
-- has its answer. How an attempt is made is run.lua's.

local native = require "llmpool.native"
local plan = require "llmpool.router.plan"

local lanes = {}

-- ---- who is not asked again -------------------------------------------------

--- This client failed: others come first from now on. They lie in one list, a
-- model and an id and so on.
function lanes.exclude(r, record)
  local bad = r.bad
  if not bad then
    r.bad = { record.model, record.client }
    return
  end
  bad[#bad + 1] = record.model
  bad[#bad + 1] = record.client
end

local function is_asked(attempt, model)
  local wanted = attempt.model
  if type(wanted) ~= "table" then return wanted == model end
  for _, name in ipairs(wanted) do
    if name == model then return true end
  end
  return false
end

--- The attempt's clients may be asked again.
function lanes.forgive(r, attempt)
  local bad, left = r.bad, {}
  if not bad then return end
  for i = 1, #bad, 2 do
    if not is_asked(attempt, bad[i]) then
      left[#left + 1] = bad[i]
      left[#left + 1] = bad[i + 1]
    end
  end
  r.bad = left
end

local function has(list, id)
  for _, entry in ipairs(list or {}) do
    if entry == id then return true end
  end
end

local function is_bad(bad, model, id)
  for i = 1, #bad, 2 do
    if bad[i] == model and bad[i + 1] == id then return true end
  end
  return false
end

-- Ids are unique within a model only: one that another model of the attempt has
-- as well, and that did not fail there, is not excluded.
local function is_good_elsewhere(r, bad, attempt, model, id)
  if type(attempt.model) ~= "table" then return false end
  for _, name in ipairs(attempt.model) do
    if name ~= model and not is_bad(bad, name, id) then
      local known, there = pcall(r.router.view.model, r.router.view, name)
      if known and there:client(id) then return true end
    end
  end
  return false
end

-- Adds to a list, or begins one, what the attempt would ask of `bad`.
local function add_bad(r, bad, attempt, list)
  for i = 1, #bad, 2 do
    local model, id = bad[i], bad[i + 1]
    if is_asked(attempt, model)
      and not is_good_elsewhere(r, bad, attempt, model, id) then
      list = list or {}
      list[#list + 1] = id
    end
  end
  return list
end

-- What the other lanes have in hand.
local function in_use(r, lane)
  local bad = {}
  for _, other in ipairs(r.lanes) do
    if other ~= lane and other.client then
      bad[#bad + 1] = other.model
      bad[#bad + 1] = other.client
    end
  end
  return bad
end

--- The ids that this attempt does not want, or nil.
function lanes.excluded(r, lane, attempt)
  local list
  if attempt.exclude then
    list = table.move(attempt.exclude, 1, #attempt.exclude, 1, {})
  end
  if r.bad then list = add_bad(r, r.bad, attempt, list) end
  if r.lanes then list = add_bad(r, in_use(r, lane), attempt, list) end
  return list
end

--- Whether the attempt has a client that was not tried and can come.
function lanes.has_other(r, lane, attempt)
  local excluded = lanes.excluded(r, lane, attempt) or {}
  local view, found = r.router.view, false
  native.view_begin(view)
  plan.attempt_models(attempt, function(name)
    local known, model = pcall(view.model, view, name)
    for _, client in ipairs(known and model.clients or {}) do
      found = found or (client.free > 0 or client.lent > 0)
        and not has(excluded, client.id)
    end
  end)
  return found
end

-- ---- where in the plan ------------------------------------------------------

function lanes.has_more(r) return r.plan[r.cursor + 1] ~= nil end

--- The next attempt of the plan, or nil.
function lanes.next(r, lane)
  lane.tries = 0
  r.cursor = r.cursor + 1
  return r.plan[r.cursor]
end

local function context_of(r, attempt)
  if attempt.context then return attempt.context end
  local least
  plan.attempt_models(attempt, function(name)
    local size = r.router.context[name] or 0
    if not least or size < least then least = size end
  end)
  return least
end

--- The next attempt of the plan with a larger context, or nil.
function lanes.larger(r, lane, attempt)
  local size = context_of(r, attempt)
  repeat
    attempt = lanes.next(r, lane)
  until not attempt or context_of(r, attempt) > size
  return attempt
end

-- ---- hedges -----------------------------------------------------------------

--- Whether another lane has ended the request: this one's end is no news.
function lanes.is_loser(r) return r.won ~= nil or r.stopped end

-- A lane as a task of the scope. Its success ends the others.
local function run_lane(r, scope, lane, attempt)
  r.running = r.running + 1
  scope:spawn(function()
    local record, a, b = r.run_lane(r, lane, attempt)
    r.running = r.running - 1
    if record and not r.won then
      r.won, r.result = record, table.pack(a, b)
      scope:cancel()
    elseif record then
      r.discard(a)
    elseif r.stopped or r.running == 0 then
      scope:cancel() -- whoever waits to hedge need not
    end
  end)
end

-- What a hedge tries: the plan's next attempt, else the same on another client.
local function hedge_attempt(r, lane, attempt)
  if lanes.has_more(r) then return lanes.next(r, lane) end
  return lanes.has_other(r, lane, attempt) and attempt or nil
end

local function start_hedge(r, scope, attempt)
  local router = r.router
  local lane = { tries = 0, hedge = true }
  r.lanes[#r.lanes + 1] = lane
  local budget = r.plan.hedge_budget or router.hedge_budget
  if not budget:take() then
    if router.listening then
      router:_emit { event = "budget", request = r.id, budget = "hedge",
                    time = native.now() }
    end
    return
  end
  local second = hedge_attempt(r, lane, attempt)
  if not second then
    budget:give_back()
    return
  end
  if router.listening then
    router:_emit { event = "hedge", request = r.id, time = native.now(),
                  model = second.model }
  end
  run_lane(r, scope, lane, second)
end

-- The second lane starts when the first has not committed in time.
local function hedge_later(r, scope, attempt)
  scope:spawn(function()
    native.sleep(attempt.hedge_after)
    if not r.won and not r.stopped and r.running > 0 then
      start_hedge(r, scope, attempt)
    end
  end)
end

-- If it is the caller that was cancelled.
local function raise_cancellation(r)
  local ok, err = pcall(native.sleep, 0)
  if ok then return end
  if r.state ~= "CANCELLED" then r.enter(r, "CANCELLED") end
  error(err, 0)
end

local function side_by_side(r, lane, attempt)
  r.lanes, r.running = { lane }, 0
  native.scope(function(scope)
    run_lane(r, scope, lane, attempt)
    hedge_later(r, scope, attempt)
  end)
  r.lanes = nil
  if not r.won then
    raise_cancellation(r)
    return nil
  end
  return r.won, table.unpack(r.result, 1, 2)
end

--- Runs the plan: returns the record of the attempt that won and what it
-- brought, or nil.
function lanes.run(r)
  local lane = { tries = 0 }
  local attempt = lanes.next(r, lane)
  if attempt.hedge_after then return side_by_side(r, lane, attempt) end
  return r.run_lane(r, lane, attempt)
end

return lanes
