-- The router under plans, failures and cancellations that are drawn at random
-- (spec/support/random_plans.lua): what must hold of every request, whatever
-- its plan was. And the short ways of a request beside the long one, which a
-- listener makes it go: the same requests end alike, at the same instants.

local ledger = require "spec.support.ledger"
local random_plans = require "spec.support.random_plans"

local GRACE = 0.001 + 1e-6 -- what a client is told before it is cut off

-- What a failing seed says of itself.
local function must(holds, text, ...)
  if not holds then error(text:format(...), 2) end
end

-- ---- what must hold ---------------------------------------------------------

local function each_ends_once(run)
  for i, entry in ipairs(run.begun) do
    must(entry.ends == 1, "request %d has ended %s times", i, entry.ends)
    must(entry.ok or entry.err ~= nil, "request %d has no error", i)
    must(not entry.ok or type(entry.text) == "string", "request %d has no text",
      i)
  end
end

local function times_hold(run)
  for i, entry in ipairs(run.begun) do
    local limit = entry.timeout or run.router.timeout
    local at = entry.committed or entry.at
    must(not limit or at - entry.started <= limit + GRACE,
      "request %d took %s of %s s", i, at - entry.started, limit)
  end
end

local function budgets_hold(run)
  for _, name in ipairs { "retry_budget", "hedge_budget" } do
    local budget = run.router[name]
    local most = budget.burst + budget.ratio * #run.begun
    must(budget.spent <= most + 1e-6, "%s: %s of %s", name, budget.spent, most)
    must(budget.level >= -1e-6 and budget.level <= budget.burst + 1 + 1e-6,
      "%s is at %s", name, budget.level)
  end
end

local function errors_tell(run)
  for i, entry in ipairs(run.begun) do
    local err = entry.err
    if type(err) == "table" and err.kind ~= "cancelled" then
      must(type(err.kind) == "string" and type(err.attempts) == "table",
        "request %d: its error, %s, has no kind or attempts: %s", i, err.kind,
        err)
      must(tostring(err) ~= "", "request %d: its error says nothing", i)
    elseif type(err) == "string" then
      must(false, "request %d: %s", i, err)
    end
  end
end

-- Which states may follow which, and what is never followed; two lanes are in
-- two states.
local follows = {
  NEW = { "QUEUED", "FAILED", "CANCELLED" },
  QUEUED = { "CONNECTED", "QUEUED", "FAILED", "CANCELLED" },
  CONNECTED = { "HEADERS", "COMMITTED", "QUEUED", "FAILED", "CANCELLED",
                "CONNECTED" },
  HEADERS = { "PRE_CONTENT", "COMMITTED", "QUEUED", "FAILED", "CANCELLED",
              "CONNECTED", "HEADERS" },
  PRE_CONTENT = { "COMMITTED", "QUEUED", "FAILED", "CANCELLED", "CONNECTED",
                  "HEADERS", "PRE_CONTENT" },
  COMMITTED = { "DONE", "TRUNCATED", "CANCELLED" },
  DONE = {}, TRUNCATED = {}, FAILED = {}, CANCELLED = {},
}

local before = { QUEUED = true, CONNECTED = true, HEADERS = true,
                 PRE_CONTENT = true }

local function may_follow(from, to, hedged)
  if hedged and before[from] and (before[to] or to == "COMMITTED") then
    return true
  end
  for _, state in ipairs(follows[from]) do
    if state == to then return true end
  end
end

local function states_hold(run)
  local state, committed, hedged = {}, {}, {}
  for _, event in ipairs(run.events) do
    local id = event.request
    if event.event == "state" then
      local from = state[id] or "NEW"
      must(may_follow(from, event.to, hedged[id]),
        "request %d went from %s to %s", id, from, event.to)
      state[id] = event.to
      committed[id] = committed[id] or event.to == "COMMITTED"
    elseif event.event == "retry" or event.event == "hedge" then
      must(not committed[id], "request %d: a %s after it has committed", id,
        event.event)
      hedged[id] = hedged[id] or event.event == "hedge"
    end
  end
end

-- A decision and an end for each; every lease of the pool is one of theirs.
local function counts_hold(run)
  local counts, done = {}, {}
  for _, event in ipairs(run.events) do
    counts[event.event] = (counts[event.event] or 0) + 1
    if event.event == "state" and event.to == "CONNECTED" then
      counts.connected = (counts.connected or 0) + 1
    elseif event.event == "done" then
      must(not done[event.request], "request %d is done twice", event.request)
      done[event.request] = true
    end
  end
  must(counts.decision == counts.done, "%s decisions, %s ends",
    counts.decision, counts.done)
  must(counts.decision == #run.begun, "%s decisions for %d requests",
    counts.decision, #run.begun)
  local acquired = 0
  for _, stats in pairs(run.stats.models) do
    acquired = acquired + stats.acquired
  end
  must((counts.connected or 0) == acquired, "%s connected, %s lent",
    counts.connected, acquired)
end

local function check(seed, options)
  local ok, err = pcall(function()
    local run = random_plans.run(seed, options)
    ledger.settled(run.pool)
    each_ends_once(run)
    times_hold(run)
    budgets_hold(run)
    errors_tell(run)
    if options.listens then
      states_hold(run)
      counts_hold(run)
    end
    return run
  end)
  if not ok then error(("seed %d: %s"):format(seed, tostring(err)), 0) end
  return err
end

-- ---- the short ways ---------------------------------------------------------

local function ends_of(run)
  local lines = {}
  for i, entry in ipairs(run.begun) do
    lines[i] = ("%d %s %s at %.9f by %s"):format(i, entry.ok,
      entry.ok and entry.text or entry.err.kind .. ": " .. tostring(entry.err),
      entry.at, entry.client)
  end
  return lines
end

local function same(seed)
  local quick, slow = check(seed, {}), check(seed, { listens = true })
  local a, b = ends_of(quick), ends_of(slow)
  for i = 1, math.max(#a, #b) do
    must(a[i] == b[i], "seed %d: the short way: %s\nthe long: %s", seed, a[i],
      b[i])
  end
  for name, stats in pairs(quick.stats.models) do
    local other = slow.stats.models[name]
    for _, field in ipairs { "acquired", "returned", "timeouts", "cancelled",
                             "errors", "queue_full" } do
      must(stats[field] == other[field], "seed %d: %s.%s is %s and %s", seed,
        name, field, stats[field], other[field])
    end
  end
end

describe("a router under random plans", function()
  local function over(first, last, test)
    return function() for seed = first, last do test(seed) end end
  end

  it("keeps what it promises, answers and streams",
    over(1, 30, function(seed) check(seed, { listens = true, streams = true })
    end))
  it("keeps it where nobody listens",
    over(31, 45, function(seed) check(seed, { streams = true }) end))
  it("ends alike by the short ways and the long", over(46, 65, same))

  it("keeps it for many seeds #slow", over(1000, 2500, function(seed)
    check(seed, { listens = seed % 2 == 0, streams = true })
  end))
  it("ends alike for many seeds #slow", over(3000, 4000, same))
end)
