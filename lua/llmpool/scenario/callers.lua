-- callers.lua: the callers of a simulated run: tasks that send what the traffic
-- says, one request after the other. One idea: a caller that has its answer
-- waits for work in a crew, and whoever has just begun calls the next one for
-- the next instant; so there are as many tasks as requests at a time, and a
-- request makes none. It counts how each ended and judges nothing.

local native = require "llmpool.native"

local now, sleep = native.now, native.sleep

local callers = {}

local Callers = {}
Callers.__index = Callers

-- ---- one request ------------------------------------------------------------

local function tenant_of(self, name)
  local tenant = self.tenants[name]
  if not tenant then
    tenant = { name = name, requests = 0, served = 0, cost = 0,
               meter = native.meter() }
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
    or err.kind == "deadlock"
end

local function failed(self, tenant, err, seconds)
  if fatal(err) then error(err, 0) end
  local kind = err.kind
  if not self.codes[kind] then
    self.kinds[#self.kinds + 1] = kind
    self.codes[kind] = #self.kinds
    self.failed[kind] = 0
  end
  self.failed[kind] = self.failed[kind] + 1
  self.record:request(self.lost, seconds, self.codes[kind])
  return tenant
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

local function serve(self, source, make, options_of, arrival)
  local n = self.requests + 1
  self.requests = n
  local request, options = make(n, arrival), options_of(arrival)
  local tenant = source.tally
    or tenant_of(self, options and options.tenant or "")
  local started = now()
  local ok, text, response
  if source.streams then
    ok, text, response = pcall(stream_all, self, self.router, request, options)
  else
    ok, text, response = pcall(self.generate, self.router, request, options)
  end
  local seconds = now() - started
  tenant.requests = tenant.requests + 1
  if not ok then
    failed(self, tenant, text, seconds)
  else
    tenant.served = tenant.served + 1
    self.record:request(tenant.meter, seconds, 0)
    if self.counts_tokens and response then charge(self, tenant, response) end
  end
  if self.trace then
    self.trace(source, started, seconds, request, options, ok, text, response)
  end
end

-- ---- open traffic: arrivals come, whoever waits -----------------------------

local function retire(self)
  self.open = self.open - 1
  if self.open == 0 then self.crew:close() end
end

local caller

-- Sees that somebody is there at the next arrival of the source.
local function launch(self, source)
  local at, arrival = source.next(source.to)
  source.sent = source.sent + 1
  if not at or at >= source.to or source.most and source.sent > source.most
  then
    return retire(self)
  end
  source.arrival = arrival
  local number = self.crew:call(at)
  if number then
    self.jobs[number] = source
    return
  end
  number = #self.jobs + 1
  self.jobs[number] = source
  self.scope:spawn(caller, self, number, at)
end

function caller(self, number, at)
  local crew, jobs = self.crew, self.jobs
  local makes, options = {}, {}
  crew:wait_until(at)
  repeat
    local source = jobs[number]
    local arrival = source.arrival
    source.arrival = nil
    launch(self, source)
    if not makes[source] then
      makes[source], options[source] = source.caller()
    end
    serve(self, source, makes[source], options[source], arrival)
  until not crew:wait(number)
end

-- ---- closed traffic: each caller thinks, asks, and waits for its answer -----

local function regular(self, source, number)
  local make, options_of, think = source.caller(number)
  local from = source.spec.from or 0
  if from > now() then sleep(from - now()) end
  while true do
    if think then sleep(think()) end
    source.sent = source.sent + 1
    if now() >= source.to or source.most and source.sent > source.most then
      break
    end
    local before = now()
    serve(self, source, make, options_of)
    -- nothing has taken time: an endless loop would stand still
    if not think and now() == before then sleep(0.001) end
  end
  retire(self)
end

-- ---- all of them ------------------------------------------------------------

--- @param options table: router, record, prices, scope, trace
function callers.new(options)
  local router = options.router
  return setmetatable({
    router = router, generate = router.generate, record = options.record,
    scope = options.scope, trace = options.trace, prices = options.prices,
    counts_tokens = options.counts_tokens, crew = native.crew(), jobs = {},
    tenants = {}, kinds = {}, codes = {}, failed = {}, requests = 0, open = 0,
    cost = 0, prompt_tokens = 0, completion_tokens = 0, lost = native.meter(),
    first = native.meter(),
  }, Callers)
end

--- Begins to send what the sources say; the scope ends when all is answered.
function Callers:start(sources)
  for _, source in ipairs(sources) do
    if source.kind ~= "replay" then
      source.tally = tenant_of(self, source.tenant or "")
    end
    self.open = self.open + (source.kind == "closed" and source.callers or 1)
  end
  for _, source in ipairs(sources) do
    if source.kind == "closed" then
      for i = 1, source.callers do
        self.scope:spawn(regular, self, source, i)
      end
    else
      launch(self, source)
    end
  end
end

return callers
