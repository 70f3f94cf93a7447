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
    or err.kind == "deadlock" or err.kind == "error"
end

local function failed(self, err, seconds)
  if fatal(err) then error(err, 0) end
  local kind = err.kind
  if not self.codes[kind] then
    self.kinds[#self.kinds + 1] = kind
    self.codes[kind] = #self.kinds
    self.failed[kind] = 0
  end
  self.failed[kind] = self.failed[kind] + 1
  self.record:request(self.lost, seconds, self.codes[kind])
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

-- A function (make, options_of, arrival) that sends one request of the source.
-- It is made once and called for every request: what does not change lies in
-- its upvalues, and what does not vary - make, options_of - is no function.
local function server(self, source)
  local router, generate = self.router, self.generate
  local record, record_request = self.record, self.record.request
  local tally, streams, trace = source.tally, source.streams, self.trace
  local counts_tokens = self.counts_tokens
  if streams then
    generate = function(r, request, options)
      return stream_all(self, r, request, options)
    end
  end
  return function(make, options_of, arrival)
    local n = self.requests + 1
    self.requests = n
    local request, options = make, options_of
    if type(make) == "function" then request = make(n, arrival) end
    if type(options) == "function" then options = options_of(arrival) end
    local tenant = tally or tenant_of(self, options and options.tenant or "")
    local started = now()
    local ok, text, response = pcall(generate, router, request, options)
    local seconds = now() - started
    tenant.requests = tenant.requests + 1
    if ok then
      tenant.served = tenant.served + 1
      record_request(record, tenant.meter, seconds, 0)
      if counts_tokens and response then charge(self, tenant, response) end
    else
      failed(self, text, seconds)
    end
    if trace then
      trace(source, started, seconds, request, options, ok, text, response)
    end
  end
end

-- ---- open traffic: arrivals come, whoever waits -----------------------------

local function retire(self)
  self.open = self.open - 1
  if self.open == 0 then self.crew:close() end
end

local caller

-- A function that sees that somebody is there at the next arrival.
local function launcher(self, source)
  local next_arrival, to, most = source.next, source.to, source.most
  local crew, call, jobs = self.crew, self.crew.call, self.jobs
  local sent = 0
  return function()
    local at, arrival = next_arrival(to)
    sent = sent + 1
    if not at or at >= to or most and sent > most then return retire(self) end
    source.arrival = arrival
    local number = call(crew, at)
    if number then
      jobs[number] = source
      return
    end
    number = #jobs + 1
    jobs[number] = source
    self.scope:spawn(caller, self, number, at)
  end
end

-- What this caller sends for a source: mostly the same as for the last one.
local function kit_of(kits, source)
  local kit = kits[source]
  if not kit then
    kit = table.pack(source.caller())
    kits[source] = kit
  end
  return kit[1], kit[2]
end

function caller(self, number, at)
  local crew, jobs, wait = self.crew, self.jobs, self.crew.wait
  local kits, last, make, options
  crew:wait_until(at)
  repeat
    local source = jobs[number]
    local arrival = source.arrival
    if arrival then source.arrival = nil end
    source.launch()
    if source ~= last then
      if not last then
        make, options = source.caller()
      else
        kits = kits or {}
        make, options = kit_of(kits, source)
      end
      last = source
    end
    source.serve(make, options, arrival)
  until not wait(crew, number)
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
    source.serve(make, options_of)
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
    source.serve = server(self, source)
    source.launch = launcher(self, source)
  end
  for _, source in ipairs(sources) do
    if source.kind == "closed" then
      for i = 1, source.callers do
        self.scope:spawn(regular, self, source, i)
      end
    else
      source.launch()
    end
  end
end

return callers
