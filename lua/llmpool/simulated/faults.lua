-- faults.lua: when a simulated client fails, and how. One idea: every cause -
-- an outage by the clock, a limit by real accounting, a burst, plain chance -
-- is asked in turn, each with a stream of chance of its own, so that changing
-- one does not move the others. It raises nothing and waits for nothing.

local distribution = require "llmpool.distribution"
local kinds = require "llmpool.simulated.kinds"

local faults = {}

-- ---- outages: by the clock --------------------------------------------------

local function is_down(outage, now)
  local from = outage.from or 0
  if now < from or now >= (outage.to or math.huge) then return false end
  return not outage.every or (now - from) % outage.every < outage.down
end

local function outages(list, stream)
  local windows = {}
  for i, outage in ipairs(list) do
    windows[i] = { outage, kinds.chooser(outage.kinds or outage.kind
      or "overloaded"), outage.rate or 1 }
  end
  return function(now)
    for _, window in ipairs(windows) do
      if is_down(window[1], now)
        and (window[3] == 1 or stream() < window[3]) then
        return window[2](stream())
      end
    end
  end
end

-- ---- limits: 429 by real accounting -----------------------------------------

-- A bucket as providers keep them: filled evenly, at most a minute's worth.
local function bucket(per_minute)
  return { level = per_minute, size = per_minute, at = 0,
           rate = per_minute / 60 }
end

local function fill(b, now)
  b.level = math.min(b.size, b.level + (now - b.at) * b.rate)
  b.at = now
end

-- How long until `amount` is there; 0: now. More than fits is let through
-- when the bucket is full, as providers do.
local function lacks(b, amount)
  local need = math.min(amount, b.size) - b.level
  return need > 1e-9 and need / b.rate or 0
end

local function limit(t)
  local requests = t.rpm and bucket(t.rpm)
  local tokens = t.tpm and bucket(t.tpm)
  return function(now, amount)
    local wait = 0
    if requests then
      fill(requests, now)
      wait = lacks(requests, 1)
    end
    if tokens then
      fill(tokens, now)
      wait = math.max(wait, lacks(tokens, amount))
    end
    if wait > 0 then
      -- rounded up: whoever comes back then is served
      local retry_at = t.retry_after ~= false and now + wait + 1e-6 or nil
      return "rate_limit", retry_at
    end
    if requests then requests.level = requests.level - 1 end
    if tokens then tokens.level = tokens.level - math.min(amount, tokens.size)
    end
  end
end

-- ---- bursts: bad times that come and go -------------------------------------

local function burst(t, stream)
  local choose = kinds.chooser(t.kinds or t.kind or "server")
  local quiet = distribution.drawer({ "exponential", mean = t.every }, stream)
  local bad = distribution.drawer({ "exponential", mean = t.lasts }, stream)
  local is_bad, until_when = false, quiet()
  return function(now, chance)
    while until_when <= now do
      is_bad = not is_bad
      until_when = until_when + (is_bad and bad() or quiet())
    end
    if is_bad and chance() < (t.rate or 1) then return choose(chance()) end
  end
end

-- ---- all together -----------------------------------------------------------

local function chooser_of(t)
  return kinds.chooser(t.kinds or t.kind or "server")
end

-- By chance alone, as most are: also as odds, for whoever draws by itself and
-- asks `choose` only when it has struck.
local function by_chance(rate, choose, chance)
  return function()
    if chance() < rate then return choose(chance()) end
  end, { draw = chance, rate = rate,
         choose = function() return choose(chance()) end }
end

--- What a client's failures say, as a function
-- (now, tokens) -> nil, or the kind and retry_at; and its odds, where there is
-- nothing but plain chance: draw, rate, choose
-- @param t table: the checked field `failures`
-- @param stream function (purpose) -> a stream of chance
-- @param account table: what the places of one key share
function faults.new(t, stream, account)
  local even = { "uniform", min = 0, max = 1 }
  local chance = distribution.drawer(even, stream "failures")
  local luck = distribution.drawer(even, stream "burst chance")
  local down = t.outages and #t.outages > 0
    and outages(t.outages, stream "outages")
  if t.limit and not account.limit then account.limit = limit(t.limit) end
  if t.burst and not account.burst then
    account.burst = burst(t.burst, stream "bursts")
  end
  local limited, bursting = t.limit and account.limit, t.burst and account.burst
  local silence = t.silence and t.silence.rate or 0
  local rate, choose = t.rate or 0, chooser_of(t)
  if not (down or limited or bursting) and silence == 0 then
    return by_chance(rate, choose, chance)
  end
  return function(now, tokens)
    local kind, retry_at = down and down(now)
    if kind then return kind end
    if limited then
      kind, retry_at = limited(now, tokens)
      if kind then return kind, retry_at end
    end
    kind = bursting and bursting(now, luck)
    if kind then return kind end
    if silence > 0 and chance() < silence then return "silence" end
    if rate > 0 and chance() < rate then return choose(chance()) end
  end
end

return faults
