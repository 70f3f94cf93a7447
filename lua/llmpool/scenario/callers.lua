-- callers.lua: the callers of a simulated run: tasks that send what the traffic
-- says, one request after the other. One idea: a caller that has its answer
-- waits for work in the crew of its source, and whoever has just begun calls
-- the next one for the next instant; so there are as many tasks as requests at
-- a time, and a request makes none. It counts how each ended and judges
-- nothing.

local native = require "llmpool.native"

local now, sleep = native.now, native.sleep

local callers = {}

local Callers = {}
Callers.__index = Callers

-- ---- one request ------------------------------------------------------------

local function tenant_of(self, name)
  local tenant = self.tenants[name]
  if not tenant then
    tenant = { name = name, failed = 0, cost = 0, meter = native.meter() }
    self.tenants[name] = tenant
  end
  return tenant
end

-- What the answer has cost by its client's price, and how many tokens it had.
local function charge(self, tenant, response)
  local usage = response.usage
  if not usage then return end
  local prompt, completion = usage.prompt_tokens or 0,
    usage.completion_tokens or 0
  self.prompt_tokens = self.prompt_tokens + prompt
  self.completion_tokens = self.completion_tokens + completion
  local price = self.prices[response.model]
  price = price and price[response.client]
  if price then
    local cost = (prompt * (price.input or 0)
      + completion * (price.output or 0)) / 1e6
    self.cost = self.cost + cost
    tenant.cost = tenant.cost + cost
  end
end

-- A failure that nobody foresaw is the run's: a policy that raises, a bug.
local function fatal(err)
  return type(err) ~= "table" or err.kind == nil or err.kind == "policy"
    or err.kind == "unknown_model" or err.kind == "cancelled"
    or err.kind == "deadlock" or err.kind == "error"
end

local function failed(self, tenant, err, seconds)
  if fatal(err) then error(err, 0) end
  tenant.failed = tenant.failed + 1
  local kind = err.kind
  if not self.codes[kind] then
    self.kinds[#self.kinds + 1] = kind
    self.codes[kind] = #self.kinds
    self.failed[kind] = 0
  end
  self.failed[kind] = self.failed[kind] + 1
  self.record:lost(self.lost, seconds, self.codes[kind])
end

local function stream_all(self, router, request, options)
  local started = now()
  local stream = router:stream(request, options)
  local first
  for piece in stream do
    if not first and piece.text then
      first = now() - started
      self.first:add(first)
    end
  end
  return nil, stream.response
end

-- A function (router, request, options, started) -> whether it went well, and
-- what came.
local function sender(self, source)
  local router = self.router
  if not source.streams then return router._try end
  return function(_, request, options)
    return pcall(stream_all, self, router, request, options)
  end
end

-- A function (make, options_of, started, arrival) that sends one request of the
-- source. It is made once and called for every request: what does not change
-- lies in its upvalues, and what does not vary - make, options_of - is no
-- function.
local function server(self, source, make_of, options_of_it)
  local router, send, trace = self.router, sender(self, source), self.trace
  local record, served = self.record, self.record.served
  local tally, counts_tokens = source.tally, self.counts_tokens
  local makes = type(make_of) == "function"
  local chooses = type(options_of_it) == "function"
  return function(make, options_of, started, arrival)
    local n = self.requests + 1
    self.requests = n
    local request, options = make, options_of
    if makes then request = make(n, arrival) end
    if chooses then options = options_of(arrival) end
    local tenant = tally or tenant_of(self, options and options.tenant or "")
    local ok, text, response = send(router, request, options, started)
    if ok then
      served(record, tenant.meter, started)
      if counts_tokens and response then charge(self, tenant, response) end
    else
      failed(self, tenant, text, now() - started)
    end
    if trace then
      trace(source, started, now() - started, request, options, ok, text,
        response)
    end
  end
end

-- What a caller sends, and how: the source's server knows its first caller.
local function kit_of(self, source, number)
  local make, options, think = source.caller(number)
  source.serve = source.serve or server(self, source, make, options)
  return source.serve, make, options, think
end

-- ---- open traffic: arrivals come, whoever waits -----------------------------

local caller

-- Serves its first request at the instant `at`, and then whatever it is called
-- for. Its own begins with a call for the next: `more` is a time at which
-- nobody is idle.
function caller(self, source, at)
  local serve, make, options = kit_of(self, source)
  local crew, wait = source.crew, source.crew.wait
  local started, more, arrival = crew:wait_until(at)
  while started do
    if more then self.scope:spawn(caller, self, source, more) end
    serve(make, options, started, arrival)
    started, more, arrival = wait(crew)
  end
end

-- ---- closed traffic: each caller thinks, asks, and waits for its answer -----

local function regular(self, source, number)
  local serve, make, options_of, think = kit_of(self, source, number)
  local from = source.spec.from or 0
  if from > now() then sleep(from - now()) end
  while true do
    if think then sleep(think()) end
    source.sent = source.sent + 1
    local started = now()
    if started >= source.to or source.most and source.sent > source.most then
      break
    end
    serve(make, options_of, started)
    -- nothing has taken time: an endless loop would stand still
    if not think and now() == started then sleep(0.001) end
  end
end

-- ---- all of them ------------------------------------------------------------

--- @param options table: router, record, prices, scope, trace
function callers.new(options)
  return setmetatable({
    router = options.router, record = options.record, scope = options.scope,
    trace = options.trace, prices = options.prices,
    counts_tokens = options.counts_tokens, tenants = {}, kinds = {},
    codes = {}, failed = {}, requests = 0, cost = 0, prompt_tokens = 0,
    completion_tokens = 0, lost = native.meter(), first = native.meter(),
  }, Callers)
end

local function start(self, source)
  if source.kind == "closed" then
    for i = 1, source.callers do
      self.scope:spawn(regular, self, source, i)
    end
    return
  end
  source.crew = native.crew(source.next, source.to, source.most)
  local first = source.crew:call()
  if first then self.scope:spawn(caller, self, source, first) end
end

--- Begins to send what the sources say; the scope ends when all is answered.
function Callers:start(sources)
  for _, source in ipairs(sources) do
    if source.kind ~= "replay" then
      source.tally = tenant_of(self, source.tenant or "")
    end
  end
  for _, source in ipairs(sources) do start(self, source) end
end

return callers
