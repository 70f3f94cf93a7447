-- traffic.lua: when requests come, and what each asks. One idea: a source is a
-- function that gives the instant of the next arrival, and draws from streams
-- of its own, so that on one seed every policy sees the same traffic. It sends
-- nothing.

local distribution = require "llmpool.distribution"
local fields = require "llmpool.fields"
local native = require "llmpool.native"

local traffic = {}

-- ---- checks -----------------------------------------------------------------

local text, a_table = fields.text, fields.table
local positive = fields.positive_amount

-- Time passes from one to the next, or they would never end.
local function passing(v)
  if fields.is_number(v) then return positive(v) end
  return distribution.check(v)
end

local function models(v)
  if type(v) == "string" and v ~= "" then return end
  if type(v) == "table" and #v > 0 then return end
  return "a model's name or a list of names"
end

local function request(v)
  if type(v) ~= "table" and type(v) ~= "function" and type(v) ~= "string" then
    return "a prompt, a request table, or a function (number) -> request"
  end
end

local function instants(v)
  if type(v) ~= "table" or #v == 0 then return "a list of instants" end
  for i, at in ipairs(v) do
    if fields.seconds(at) or i > 1 and at < v[i - 1] then
      return ("!instant %d must be a number, not before the one before it, "
        .. "got %s"):format(i, tostring(at))
    end
  end
end

local function steps(v)
  if type(v) ~= "table" or #v == 0 then
    return "a list of {from = seconds, rate = a second}"
  end
  for i, step in ipairs(v) do
    if type(step) ~= "table" or fields.seconds(step.from)
      or fields.seconds(step.rate) or i > 1 and step.from <= v[i - 1].from then
      return ("!step %d must be {from = seconds, rate = a second}, later than "
        .. "the step before it"):format(i)
    end
  end
end

-- What every source may have.
local common = {
  model = models, tenant = text, stream = fields.boolean,
  prompt_tokens = distribution.check, max_tokens = distribution.check,
  request = request, tags = a_table, keys = fields.at_least_one,
  timeout = fields.seconds, priority = fields.count, from = fields.seconds,
  to = fields.seconds, count = fields.at_least_one,
}

-- kind -> fields of its own, and which of them are needed
local known = {
  poisson = { { rate = positive }, { "rate" } },
  constant = { { rate = positive }, { "rate" } },
  bursts = { { every = passing, size = distribution.check,
               spread = fields.seconds }, { "every", "size" } },
  day = { { low = fields.seconds, peak = positive, period = positive,
            peak_at = fields.rate }, { "peak" } },
  steps = { { steps = steps }, { "steps" } },
  at = { { times = instants }, { "times" } },
  once = { { at = fields.seconds, callers = fields.at_least_one },
           { "callers" } },
  closed = { { callers = fields.at_least_one, think = distribution.check },
             { "callers" } },
  replay = { { file = text, arrivals = a_table, speed = positive }, {} },
}

-- path -> the requests of a trace
local traces = {}

local function check_replay(source, where, level)
  if source.arrivals then return end
  if not source.file then
    fields.bad(level + 1, "%s: traffic of kind 'replay' needs file", where)
  end
  local ok, lines = pcall(require "llmpool.scenario.replay".read, source.file)
  if not ok then fields.bad(level + 1, "%s: %s", where, lines) end
  traces[source.file] = lines
end

local function check_one(source, where, level)
  local kind = source[1]
  if type(kind) ~= "string" or not known[kind] then
    fields.bad(level + 1, "%s: unknown kind of traffic '%s'%s", where,
      tostring(kind), fields.suggestion(kind, known))
  end
  local all, named = {}, {}
  for name, check in pairs(common) do all[name] = check end
  for name, check in pairs(known[kind][1]) do all[name] = check end
  for name, value in pairs(source) do
    if name ~= 1 then named[name] = value end
  end
  fields.check(named, all, where .. " (" .. kind .. ")", level + 1)
  for _, name in ipairs(known[kind][2]) do
    if source[name] == nil then
      fields.bad(level + 1, "%s: traffic of kind '%s' needs %s", where, kind,
        name)
    end
  end
  if source.to and source.to <= (source.from or 0) then
    fields.bad(level + 1, "%s ends (to = %s) before it begins (from = %s)",
      where, source.to, source.from or 0)
  end
  if kind == "replay" then check_replay(source, where, level + 1) end
  if kind == "day" and (source.low or 0) > source.peak then
    fields.bad(level + 1, "%s: low %s is above peak %s", where, source.low,
      source.peak)
  end
end

--- A list of sources, from one or a list; raises on what is wrong.
function traffic.check(list, level)
  if type(list) ~= "table" then
    fields.bad(level + 1, "traffic must be a source {kind, ...} or a list of "
      .. "sources, got %s", type(list))
  end
  if type(list[1]) == "string" then list = { list } end
  if #list == 0 then
    fields.bad(level + 1, "a scenario without traffic: give it a source, as in "
      .. "traffic = {\"poisson\", rate = 10}")
  end
  for i, source in ipairs(list) do
    if type(source) ~= "table" then
      fields.bad(level + 1, "traffic %d must be a table, got %s", i,
        type(source))
    end
    check_one(source, "traffic " .. i, level + 1)
  end
  return list
end

-- ---- when: kind -> function (source, stream) -> function () -> instant or nil

local when = {}

function when.poisson(source, stream)
  local gap = native.draw(stream "arrivals", "exponential", 1 / source.rate)
  return native.sums(gap, source.from or 0)
end

function when.constant(source)
  local start, n = source.from or 0, -1
  return function()
    n = n + 1
    return start + n / source.rate
  end
end

-- Several at once, or spread over a while, in order.
function when.bursts(source, stream)
  local every = distribution.drawer(source.every, stream "arrivals")
  local size = distribution.drawer(source.size, stream "sizes")
  local within, spread = stream "spread", source.spread or 0
  local start, queue, next_one = source.from or 0, {}, 1
  return function()
    while not queue[next_one] do
      queue, next_one = {}, 1
      for i = 1, (size() + 0.5) // 1 | 0 do
        queue[i] = start + (spread > 0 and within() * spread or 0)
      end
      table.sort(queue)
      start = start + math.max(every(), 1e-9)
    end
    next_one = next_one + 1
    return queue[next_one - 1]
  end
end

-- A rate that changes with time, by thinning: candidates come at the highest
-- rate, and each is taken with the share that its instant has of it.
local function thinned(source, stream, highest, rate_at)
  local gap = native.draw(stream "arrivals", "exponential", 1 / highest)
  local chance, at = stream "thinning", source.from or 0
  return function(horizon)
    repeat
      at = at + gap()
      if at > horizon then return nil end
    until chance() * highest < rate_at(at)
    return at
  end
end

function when.day(source, stream)
  local low, period = source.low or 0, source.period or 86400
  local swing, peak_at = source.peak - low, source.peak_at or 0.5
  local turn = 2 * math.pi
  return thinned(source, stream, source.peak, function(at)
    return low + swing * (0.5 + 0.5 * math.cos(turn * (at / period - peak_at)))
  end)
end

function when.steps(source, stream)
  local list, highest, i = source.steps, 0, 1
  for _, step in ipairs(list) do highest = math.max(highest, step.rate) end
  if highest == 0 then return function() return nil end end
  return thinned(source, stream, highest, function(at)
    while list[i + 1] and list[i + 1].from <= at do i = i + 1 end
    return at >= list[i].from and list[i].rate or 0
  end)
end

function when.at(source)
  local i = 0
  return function()
    i = i + 1
    return source.times[i]
  end
end

function when.once(source)
  local left, at = source.callers, source.at or source.from or 0
  return function()
    left = left - 1
    return left >= 0 and at or nil
  end
end

function when.replay(source)
  local arrivals = source.arrivals or traces[source.file]
  local i, speed = 0, source.speed or 1
  return function()
    i = i + 1
    local arrival = arrivals[i]
    if not arrival then return nil end
    return arrival.at / speed, arrival
  end
end

-- ---- what -------------------------------------------------------------------

local MESSAGES = { { role = "user", content = "simulated" } }

-- A function (request) that fills in what varies, or nil if nothing does.
local function filler(source, stream)
  local prompt = source.prompt_tokens
    and distribution.drawer(source.prompt_tokens, stream "prompt")
  local most = source.max_tokens
    and distribution.drawer(source.max_tokens, stream "answer")
  if not (prompt or most) then return nil end
  return function(made)
    if prompt then made.prompt_tokens = prompt() // 1 | 0 end
    if most then made.max_tokens = math.max(1, most() // 1 | 0) end
  end
end

-- The request that is always the same, or a function (number, arrival) -> it.
-- Each caller has one of its own, whose table it uses again, since one caller
-- has one request at a time.
local function maker(source, fill)
  local given = source.request
  if type(given) == "function" then return given end
  if type(given) == "string" and not fill then return given end
  local made = { model = type(source.model) == "string" and source.model or nil,
                 messages = MESSAGES, stream = source.stream or nil }
  for key, value in pairs(type(given) == "table" and given or {}) do
    made[key] = value
  end
  if type(given) == "string" then
    made.messages = { { role = "user", content = given } }
  end
  if not fill and source[1] ~= "replay" then return made end
  return function(_, arrival)
    if fill then fill(made) end
    if arrival then
      made.prompt_tokens, made.max_tokens = arrival.prompt_tokens,
        arrival.max_tokens
      made.model = arrival.model or made.model
    end
    return made
  end
end

-- The options of a call of the router's, or a function (arrival) -> them.
local function options_maker(source, keys)
  local fixed = { tenant = source.tenant, tags = source.tags,
                  timeout = source.timeout, priority = source.priority }
  if source[1] == "replay" then
    return function(arrival)
      fixed.tenant = arrival.tenant or source.tenant
      return fixed
    end
  end
  if not keys then
    return next(fixed) and fixed or nil
  end
  return function()
    fixed.key = "key-" .. (1 + keys() * source.keys // 1 | 0)
    return fixed
  end
end

--- A source, ready to run: next(horizon) -> instant, arrival; for "closed"
-- callers; and caller([number]) -> what a caller sends, its options, and a
-- function that draws how long it thinks.
-- @param number integer: which of the scenario's it is
function traffic.source(source, number)
  local prefix = ("traffic/%d/"):format(number)
  local function stream(purpose) return native.stream(prefix .. purpose) end
  local self = { spec = source, number = number, kind = source[1], sent = 0,
                 tenant = source.tenant, streams = source.stream,
                 to = source.to or math.huge, most = source.count }
  if source[1] == "closed" then
    -- a caller's requests follow its answers: each draws from its own streams
    self.callers = source.callers
    function self.caller(caller)
      local function own(purpose)
        return native.stream(("%s%s/%d"):format(prefix, purpose, caller))
      end
      return maker(source, filler(source, own)),
        options_maker(source, source.keys and own "keys"),
        source.think and distribution.drawer(source.think, own "think")
    end
    return self
  end
  self.next = when[source[1]](source, stream)
  local fill = filler(source, stream)
  local keys = source.keys and stream "keys"
  local same, options = maker(source, fill), options_maker(source, keys)
  local varies = type(same) == "function" or type(options) == "function"
  function self.caller()
    if not varies then return same, options end
    return maker(source, fill), options_maker(source, keys)
  end
  return self
end

return traffic
