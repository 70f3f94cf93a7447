-- random_plans: a world that is drawn from a seed - models, clients that fail
-- in all ways, a policy whose plans are drawn anew for every request, callers
-- who give up - run in virtual time. One idea: what must hold of any router
-- holds of this one, whatever was drawn; what was drawn depends on the seed and
-- the request alone, so that two runs of one seed meet the same.
--
--   local run = random_plans.run(seed, { listens = true, streams = true })
--
-- run: router, pool, ended (by request: ok, kind, at, client), events, and what
-- the callers saw. It asserts nothing itself.

local llmpool = require "llmpool"

local random_plans = {}

-- A stream of numbers of its own for everything that is drawn.
local function dice(seed)
  local state = (seed * 2654435761 + 12345) & 0xffffffff
  local function draw()
    state = (state * 1664525 + 1013904223) & 0xffffffff
    local x = state ~ state >> 15
    x = x * 0x2c1b3c6d & 0xffffffff
    return (x ~ x >> 12) / 4294967296
  end
  local self = {}
  function self.chance(p) return draw() < p end
  function self.whole(a, b) return a + (draw() * (b - a + 1)) // 1 | 0 end
  function self.number(a, b) return a + draw() * (b - a) end
  function self.one(list) return list[self.whole(1, #list)] end
  return self
end

-- ---- the world --------------------------------------------------------------

local KINDS = { "server", "overloaded", "auth", "bad_request", "rate_limit",
                "reset", "timeout_connect", "content_filter", "malformed",
                "context_length", "timeout_first" }

local function failures_of(d)
  if d.chance(0.3) then return nil end
  local failures = { rate = d.number(0, 0.6),
                     kind = d.chance(0.1) and "silence" or d.one(KINDS),
                     after = d.number(0.001, 0.5) }
  if d.chance(0.3) then
    local from = d.number(0, 10)
    failures.outages = { { from = from, to = from + d.number(0.5, 10),
                           kind = d.one(KINDS) } }
  end
  if d.chance(0.3) then
    failures.slow_first = { rate = d.number(0, 0.5),
                            delay = d.number(0.1, 3) }
  end
  if d.chance(0.3) then failures.cut = { rate = d.number(0, 0.7) } end
  return failures
end

local function client_of(d, id)
  local fields = { id = id, slots = d.whole(1, 3), failures = failures_of(d),
                   reply = "one two three four five six seven" }
  if d.chance(0.5) then
    fields.latency = { "exponential", mean = d.number(0.01, 1) }
  else
    fields.first_token = d.number(0.01, 0.6)
    fields.per_token = d.number(0, 0.2)
  end
  if d.chance(0.2) then fields.breaker = { failures = d.whole(1, 4) } end
  if d.chance(0.1) then fields.rpm = d.whole(5, 60) end
  return llmpool.simulated(fields)
end

local function register(pool, d)
  local names = {}
  for i = 1, d.whole(1, 3) do
    local clients = {}
    for k = 1, d.whole(1, 3) do clients[k] = client_of(d, "c" .. k) end
    names[i] = "m" .. i
    pool:register_model(names[i], clients, {
      order = d.one { "fifo", "lifo" }, timeout = d.chance(0.2)
        and d.number(0, 3) or nil,
      max_waiting = d.chance(0.2) and d.whole(0, 4) or nil,
    })
  end
  return names
end

-- ---- plans ------------------------------------------------------------------

local function some_kinds(d)
  local list = {}
  for i = 1, d.whole(1, 4) do list[i] = d.one(KINDS) end
  return list
end

local function attempt_of(d, names)
  local attempt = { model = d.chance(0.8) and d.one(names)
    or table.move(names, 1, #names, 1, {}) }
  local function maybe(p, name, value) if d.chance(p) then
    attempt[name] = value
  end end
  maybe(0.3, "timeout", d.number(0.01, 2))
  maybe(0.3, "wait", d.one { 0, 0.1, 1, 5 })
  maybe(0.2, "deadline", d.number(0.05, 4))
  maybe(0.2, "first", d.number(0.01, 1))
  maybe(0.2, "idle", d.number(0.01, 0.3))
  maybe(0.3, "retries", d.whole(0, 3))
  maybe(0.15, "hedge_after", d.number(0, 0.5))
  maybe(0.2, "client", "c" .. d.whole(1, 4))
  maybe(0.1, "exclude", { "c" .. d.whole(1, 3) })
  maybe(0.2, "priority", d.whole(0, 3))
  maybe(0.2, "commit", d.one { "first", "end", 2, 5 })
  maybe(0.15, "retry_on", some_kinds(d))
  maybe(0.15, "fallback_on", some_kinds(d))
  maybe(0.2, "backoff", d.number(0.01, 1))
  return attempt
end

local function plan_of(d, names)
  if d.chance(0.1) then return d.one(names) end
  if d.chance(0.05) then return { refuse = "no" } end
  local plan = {}
  for i = 1, d.whole(1, 4) do
    plan[i] = d.chance(0.2) and d.one(names) or attempt_of(d, names)
  end
  if d.chance(0.25) then plan.timeout = d.number(0.05, 5) end
  return plan
end

-- The request says which plan it gets: its number is its prompt.
local function policy_of(seed, names, plain)
  local fixed = dice(seed + 1)
  if fixed.chance(0.2) then return plan_of(fixed, names) end
  local compiled, compiles = {}, fixed.chance(0.3)
  return function(request)
    local number = tonumber(request) % (plain and 5 or 1000)
    local made = plan_of(dice(seed * 1000 + number), names)
    if not compiles then return made end
    compiled[number] = compiled[number] or llmpool.plan(made)
    return compiled[number]
  end
end

-- ---- callers ----------------------------------------------------------------

local function read_all(stream, d)
  local most = d.chance(0.2) and d.whole(0, 3) or math.huge
  local texts = {}
  for piece in stream do
    texts[#texts + 1] = piece.text
    if #texts >= most then break end
  end
  stream:close()
  return table.concat(texts), stream.response
end

-- What a caller of number i does, and how it ends.
local function serve(run, i, d, streams)
  local options = { tenant = "t" .. i % 3 }
  if d.chance(0.3) then options.timeout = d.number(0.05, 4) end
  if d.chance(0.1) then options.priority = d.whole(0, 3) end
  local entry = { started = llmpool.now(), timeout = options.timeout,
                  streams = streams and d.chance(0.4) }
  run.begun[i] = entry
  local router = run.router
  local ok, a, b = pcall(function()
    if not entry.streams then return router:generate(tostring(i), options) end
    local stream = router:stream(tostring(i), options)
    entry.committed = llmpool.now()
    return read_all(stream, d)
  end)
  entry.ends = (entry.ends or 0) + 1
  entry.ok, entry.at = ok, llmpool.now()
  entry.text, entry.err = ok and a or nil, not ok and a or nil
  entry.client = ok and type(b) == "table" and b.client or nil
  if not ok and llmpool.is_cancelled(a) then error(a, 0) end
end

local function callers(run, seed, options)
  local d = dice(seed + 2)
  local n, at = options.requests or 40, 0
  llmpool.scope(function(scope)
    for i = 1, n do
      at = at + d.number(0, 0.5)
      local own, start = dice(seed * 77 + i), at
      local gives_up = d.chance(0.2) and d.number(0, 2)
      local task = scope:spawn(function()
        llmpool.sleep(start)
        serve(run, i, own, options.streams)
      end)
      if gives_up then
        scope:spawn(function()
          llmpool.sleep(start + gives_up)
          task:cancel()
        end)
      end
    end
  end)
end

--- Runs the world of a seed. options: listens, streams, requests
function random_plans.run(seed, options)
  local run = { begun = {}, events = {} }
  llmpool.simulate({ seed = seed }, function()
    local d = dice(seed)
    local pool = llmpool.new()
    local names = register(pool, d)
    run.pool = pool
    run.router = llmpool.router { pool = pool,
      policy = policy_of(seed, names, d.chance(0.3)), strict = true,
      timeout = d.chance(0.2) and d.number(0.5, 6) or nil,
      retry_budget = { ratio = d.number(0, 0.5), burst = d.whole(0, 10) },
      hedge_budget = { ratio = d.number(0, 0.5), burst = d.whole(0, 10) },
      on_event = options.listens and function(event)
        run.events[#run.events + 1] = event
      end or nil }
    callers(run, seed, options)
    llmpool.sleep(100) -- what rests comes back
    run.stats = pool:stats()
    run.ended_at = llmpool.now()
  end)
  return run
end

return random_plans
