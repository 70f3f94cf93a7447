-- The simulated provider: a client that waits and answers, without a network.
-- One idea: all its time goes through llmpool.sleep, all its chance through
-- streams seeded by the world, one a purpose, so that in a simulation it costs
-- nothing, repeats, and draws the same whatever other clients do. When it
-- fails is for simulated/faults.lua, how it streams for simulated/stream.lua.

local distribution = require "llmpool.distribution"
local faults = require "llmpool.simulated.faults"
local kinds = require "llmpool.simulated.kinds"
local native = require "llmpool.native"
local requests = require "llmpool.simulated.requests"

local now, sleep = native.now, native.sleep
local failure = kinds.failure

local simulated = {}

local CUT = 40 -- characters of the prompt that the default reply repeats
local AFTER = 0.05 -- seconds until a failure is known
local CONNECT = 5 -- seconds until a connection that does not come fails
local SILENCE = 600 -- seconds that a silent provider is given

local function cut(text)
  local stop = utf8.len(text) and utf8.offset(text, CUT + 1)
  if stop then return text:sub(1, stop - 1) end
  return utf8.len(text) and text or text:sub(1, CUT)
end

local Simulated = {}
Simulated.__index = Simulated

function Simulated:text(request)
  local reply = self.reply
  if type(reply) == "string" then return reply end
  if reply then return reply(request, { id = self.id, model = self.model }) end
  return ("[%s:%s] Response to: %s"):format(self.model, self.id,
    cut(requests.prompt(request)))
end

-- ---- how long, and how much -------------------------------------------------

--- Tokens of the answer, and why it ends there.
function Simulated:length(request, text)
  if not self.tokens then return (#text + 3) // 4, "stop" end
  local n = math.max(1, self.tokens() + 0.5) // 1 | 0
  local most = requests.max_tokens(request)
  if most and n > most then return most, "length" end
  return n, "stop"
end

--- Seconds until the first token.
function Simulated:first(request, streams)
  local seconds = self.latency and not (streams and self.first_token)
    and self.latency(request) or self.first_token and self.first_token() or 0
  local slow = self.slow
  if slow and slow.chance() < slow.rate then seconds = seconds + slow.delay()
  end
  return seconds
end

-- Seconds from the first token to the last.
function Simulated:rest(n)
  local per_token, seconds = self.per_token, 0
  if self.latency or not per_token then return 0 end
  for _ = 2, n do seconds = seconds + per_token() end
  return seconds
end

--- What the caller allows, over what the client does: {first, idle, total}.
function Simulated:limits(options)
  local given = options and options.timeout
  if not given then return self.timeout end
  if type(given) == "number" then given = { total = given } end
  local own = self.timeout
  return { first = given.first or own.first, idle = given.idle or own.idle,
           total = given.total or own.total }
end

-- ---- failing ----------------------------------------------------------------

-- The times that a failure takes when nothing else is said.
local takes = {
  silence = function(limits)
    return math.min(limits.first or SILENCE, limits.total or SILENCE)
  end,
  timeout_connect = function() return CONNECT end,
  timeout_total = function(limits) return limits.total or SILENCE end,
}
takes.timeout_first = takes.silence
takes.timeout_idle = takes.silence

--- Waits as long as it takes to fail, and raises.
function Simulated:fail(kind, retry_at, limits)
  local seconds = self.after and self.after()
    or takes[kind] and takes[kind](limits) or AFTER
  if seconds > 0 then sleep(seconds) end
  error(failure(self, kind, false, retry_at), 0)
end

--- Raises if the provider refuses this request, or never answers it.
function Simulated:admit(request, n, limits)
  local kind, retry_at = self.strike(now(), requests.prompt_tokens(request)
    + (requests.max_tokens(request) or n))
  if kind then self:fail(kind, retry_at, limits) end
end

-- Waits; what lasts longer than is allowed ends at the limit.
local function wait(self, seconds, limit, kind)
  if limit and seconds > limit then
    sleep(limit)
    error(failure(self, kind, false), 0)
  end
  if seconds > 0 then sleep(seconds) end
end

-- The whole answer: its first token, its last, and a cut in between.
function Simulated:wait(first, total, n, limits)
  local cutter = self.cutter
  if limits.first and first > limits.first
    and limits.first < (limits.total or math.huge) then
    wait(self, first, limits.first, "timeout_first")
  elseif cutter and cutter.chance() < cutter.rate then
    local at = cutter.at and math.min(cutter.at(), n) or cutter.chance() * n
    wait(self, first + (total - first) * at / n, limits.total, "timeout_total")
    error(failure(self, "truncated", false), 0)
  end
  wait(self, total, limits.total, "timeout_total")
end

-- ---- answering --------------------------------------------------------------

-- A response of a scenario's, of which hardly anybody reads more than the
-- text: {client, request, tokens, first, total, reason}; what is asked for by
-- name is made then.
local Lean = {}

local lean_fields = {
  text = function(r) return r[1]:text(r[2]) end,
  model = function(r) return r[1].model end,
  client = function(r) return r[1].id end,
  finish_reason = function(r) return r[6] end,
  latency = function(r) return r[5] end,
  usage = function(r)
    local prompt = requests.prompt_tokens(r[2])
    return { prompt_tokens = prompt, completion_tokens = r[3],
             total_tokens = prompt + r[3] }
  end,
  timings = function(r)
    return { queued = 0, connected = 0, first = r[4], total = r[5] }
  end,
}

function Lean.__index(response, key)
  local field = lean_fields[key]
  return field and field(response)
end

--- The response of OpenAI's kind, whole.
function Simulated:response(request, text, n, reason, first, total)
  if self.lean then
    return setmetatable({ self, request, n, first, total, reason }, Lean)
  end
  local prompt = requests.prompt_tokens(request)
  return {
    text = text, model = self.model, client = self.id, finish_reason = reason,
    usage = { prompt_tokens = prompt, completion_tokens = n,
              total_tokens = prompt + n },
    timings = { queued = 0, connected = 0, first = first, total = total },
    latency = total,
  }
end

--- Waits, and answers or raises.
-- @param request a prompt, or a table in OpenAI's form
-- @param options table: timeout, seconds or {first=, idle=, total=}
-- @return the text, and {text, model, client, finish_reason, usage, timings,
-- latency}
function Simulated:generate(request, options)
  local limits = self:limits(options)
  local n, reason = self:length(request, "")
  if self.strike then self:admit(request, n, limits) end
  local first = self:first(request)
  local total = first + self:rest(n)
  self:wait(first, total, n, limits)
  if self.failure_rate > 0 and self.chance() < self.failure_rate then
    error(failure(self, "provider", false), 0)
  end
  local text = self:text(request)
  if not self.tokens then n = self:length(request, text) end
  return text, self:response(request, text, n, reason, first, total)
end

-- How such a client's responses are read: they are only a request and seconds.
local function reader(self)
  local tokens = (#self.reply + 3) // 4
  return function(request, seconds, key)
    return Lean.__index({ self, request, tokens, seconds, seconds, "stop" },
      key)
  end
end

-- The same where there is nothing but a latency, a reply, and failures by
-- chance or by the clock: most of a scenario's clients, and its time.
local function plain_generate(self)
  local odds = self.odds
  return native.answerer {
    text = self.reply, read = reader(self), latency = self.latency,
    strike = odds and odds.choose or self.strike,
    odds = odds and odds.draw, rate = odds and odds.rate,
    fail = function(kind, retry_at, limit)
      self:fail(kind, retry_at, limit and { total = limit } or self.timeout)
    end,
    late = function(limit) wait(self, math.huge, limit, "timeout_total") end,
    whole = function(_, ...) return Simulated.generate(self, ...) end,
  }
end

local function is_plain(self, config)
  local failures = config.failures or {}
  return config.lean and type(self.reply) == "string"
    and type(config.latency) ~= "function" and not (config.tokens
    or config.first_token or config.per_token or config.timeout
    or config.failure_rate or failures.slow_first or failures.cut
    or failures.limit and failures.limit.tpm)
end

--- Answers piece by piece: a stream to be called, or read, until it is nil.
function Simulated:stream(request, options)
  return require "llmpool.simulated.stream".open(self, request,
    self:limits(options))
end

-- ---- making -----------------------------------------------------------------

-- What the places of one key share, in this world.
local function account_of(names)
  local world = native.world_table()
  world.accounts = world.accounts or {}
  local key = names.model .. "\0" .. names.id
  local account = world.accounts[key] or { places = 0 }
  world.accounts[key] = account
  account.places = account.places + 1
  return account
end

-- A function (purpose) -> a stream; the second place of a key gets others.
local function streams_of(names, account)
  local prefix = ("%s/%s/%d/"):format(names.model, names.id, account.places)
  return function(purpose) return native.stream(prefix .. purpose) end
end

local function drawer(value, stream)
  if value == nil or type(value) == "function" then return value end
  return distribution.drawer(value, stream)
end

local function set_failures(self, failures, stream, account)
  self.strike, self.odds = faults.new(failures, stream, account)
  self.after = drawer(failures.after, stream "after")
  local slow, cuts = failures.slow_first, failures.cut
  if slow then
    self.slow = { rate = slow.rate or 1, chance = stream "slow",
                  delay = drawer(slow.delay, stream "slow delay") }
  end
  if cuts then
    self.cutter = { rate = cuts.rate or 1, chance = stream "cut",
                    at = drawer(cuts.at, stream "cut at") }
  end
end

--- This state's instance of a simulated client.
-- @param config table: the checked fields (simulated/fields.lua)
-- @param names table: id, model
function simulated.new(config, names)
  config = config or {}
  local account = account_of(names)
  local stream = streams_of(names, account)
  local self = setmetatable({
    config = config, id = names.id, model = names.model,
    latency = drawer(config.latency, stream "latency"),
    first_token = drawer(config.first_token, stream "first"),
    per_token = drawer(config.per_token, stream "token"),
    tokens = drawer(config.tokens, stream "tokens"),
    failure_rate = config.failure_rate or 0, chance = stream "failure",
    timeout = config.timeout or {}, lean = config.lean,
    reply = config.reply or config.lean and "simulated",
  }, Simulated)
  if config.failures then
    set_failures(self, config.failures, stream, account)
  end
  if is_plain(self, config) then self.generate = plain_generate(self) end
  return self
end

return simulated
