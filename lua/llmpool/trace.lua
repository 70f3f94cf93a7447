-- trace.lua: what a running program was asked and how each request went, as a
-- file of JSON lines, so that `llmpool sim --replay` can ask another policy
-- the same. One idea: a line a request - when it came, what it asked for, each
-- attempt with its client, its time and its end - and nothing of its words:
-- a trace holds no prompt and no answer. A trace of a router has its requests,
-- one of a pool its leases; that of a program (observe.lua) has each request of
-- its routers, and each lease that none of them has asked for.
--
--   {"trace":"llmpool","version":1}
--   {"at":1.5,"model":"m","tenant":"t","prompt_tokens":12,"seconds":0.8,
--    "ok":true,"attempts":[{"model":"m","client":"a","after":0,"seconds":0.8,
--    "ok":true}]}

local json = require "llmpool.json"
local native = require "llmpool.native"
local outfile = require "llmpool.outfile"

local trace = {}

local KEPT = 1 << 22 -- leases' events that a pool's trace keeps

local Trace = {}
Trace.__index = Trace
Trace.__name = "llmpool.trace"

local function open_file(path)
  local file = outfile.open(path, "the trace")
  file:write(json.encode { trace = "llmpool", version = 1 }, "\n")
  return file
end

-- To the nanosecond, which is what the clocks have.
local function round(seconds) return (seconds * 1e9 + 0.5) // 1 / 1e9 end

local function put(self, line)
  line.at, line.seconds = round(line.at), round(line.seconds)
  for _, attempt in ipairs(line.attempts) do
    attempt.seconds = round(attempt.seconds)
    attempt.after = round(attempt.after)
  end
  self.file:write(json.encode(line), "\n")
end

-- ---- requests of a router ---------------------------------------------------

-- What a policy may ask of a request, without its words.
local function describe(line, request, options)
  if type(request) == "table" then
    line.model = type(request.model) == "string" and request.model or nil
    line.max_tokens = math.tointeger(request.max_tokens)
    line.stream = request.stream and true or nil
    line.prompt_tokens = require "llmpool.simulated.requests"
      .prompt_tokens(request)
  else
    line.prompt_tokens = (#request + 3) // 4
  end
  for _, name in ipairs { "tenant", "key", "priority" } do
    local value = options and options[name]
    if type(value) == "string" or math.type(value) == "integer" then
      line[name] = value
    end
  end
end

local function attempts_of(open, id)
  local attempts = open[id]
  if not attempts then
    attempts = {}
    open[id] = attempts
  end
  return attempts
end

-- Counts what each attempt came after from the request's own instant.
local function settle(attempts, at)
  attempts.last, attempts.at = nil, nil
  for _, attempt in ipairs(attempts) do
    attempt.after = math.max(0, attempt.after - at)
  end
end

local function finish(self, open, event)
  local attempts = open[event.request] or {}
  open[event.request] = nil
  local last = attempts.last
  if event.ok and last then
    attempts[#attempts + 1] = { model = event.model, client = event.client,
      ok = true, seconds = event.time - last.time, after = last.time }
  end
  local at = event.time - event.seconds
  settle(attempts, at)
  local line = { at = at, ok = event.ok,
                 kind = event.kind, seconds = event.seconds,
                 attempts = json.array(attempts) }
  describe(line, event.content, event.options)
  line.model = line.model or attempts[1] and attempts[1].model
  if type(event.usage) == "table" then
    line.completion_tokens = math.tointeger(event.usage.completion_tokens)
  end
  put(self, line)
end

-- Requests that the program's end has cut off.
local function cut_off(self, open, now)
  for _, attempts in pairs(open) do
    local at, last = attempts.at, attempts.last
    if last then
      attempts[#attempts + 1] = { model = last.model, client = last.client,
        ok = false, kind = "cancelled", seconds = now - last.time,
        after = last.time }
    end
    settle(attempts, at)
    put(self, { at = at, ok = false, kind = "cancelled", seconds = now - at,
      model = attempts[1] and attempts[1].model,
      attempts = json.array(attempts) })
  end
end

local function listen(self, router)
  local open = {}
  self.open[#self.open + 1] = open
  return router:listen(function(event)
    local kind = event.event
    if kind == "decision" then
      attempts_of(open, event.request).at = event.time
    elseif kind == "state" and event.to == "CONNECTED" then
      attempts_of(open, event.request).last = event
    elseif kind == "attempt_failed" and event.client then
      local attempts = attempts_of(open, event.request)
      local last = attempts.last
      attempts[#attempts + 1] = { model = event.model, client = event.client,
        ok = false, kind = event.kind,
        seconds = last and event.time - last.time or 0,
        after = last and last.time or event.time }
    elseif kind == "done" then
      finish(self, open, event)
    end
  end)
end

-- ---- leases of a pool -------------------------------------------------------

local ends = { timeout = "timeout", cancelled = "cancelled",
               refused = "refused", queue_full = "queue_full" }

-- An ask whose request has failed, by a kind; else it was answered.
local function put_lease(self, lease, time, kind)
  put(self, { at = lease.at, model = lease.model, ok = not kind, kind = kind,
    seconds = time - lease.at, attempts = json.array { {
      model = lease.model, client = lease.client, ok = not kind, kind = kind,
      seconds = time - lease.lent, after = lease.lent - lease.at } } })
end

-- What the pools told, lease by lease. An ask that failed is a router's if
-- routers had one fail of that model and in that way, not earlier: how many
-- there are is exact, and which is which is a matter of microseconds.
local function read_leases(record, read, visit)
  local asked, leases, origin = {}, {}, read.origin
  for i = 1, read.kept do
    local time, kind, model, client, ask, span = record:event(i)
    local name = model and read.models[model].name
    time = time + origin
    if kind == "queued" then
      asked[ask] = time
    elseif kind == "lent" and client then
      leases[ask] = { ask = ask, at = asked[ask] or time - span, lent = time,
                      model = name, client = read.clients[client].id }
      asked[ask] = nil
    elseif kind == "returned" and leases[ask] then
      visit(leases[ask], time)
      leases[ask] = nil
    elseif ends[kind] then
      visit({ at = asked[ask] or time, model = name, failed = ends[kind] },
        time)
      asked[ask] = nil
    end
  end
  local last = origin + read.last
  for _, lease in pairs(leases) do visit(lease, last, "cancelled") end
end

local function key_of(model, kind) return kind .. " " .. model end

-- The ends of asks that are the routers': taken from the last before each.
local function drop_own(failed, own)
  local stacks, order = {}, {}
  for _, list in ipairs { failed, own } do
    for _, entry in ipairs(list) do order[#order + 1] = entry end
  end
  for i, entry in ipairs(order) do entry.position = i end
  table.sort(order, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return a.position < b.position
  end)
  for _, entry in ipairs(order) do
    local key = key_of(entry.model, entry.kind)
    local stack = stacks[key] or {}
    stacks[key] = stack
    if entry.own then
      local last = table.remove(stack)
      if last then last.dropped = true end
    else
      stack[#stack + 1] = entry
    end
  end
end

--- Writes the leases that a record has kept, a request each.
-- @param own table: asks, those of routers, which are written already, and
-- failed, a list of the asks of theirs that failed
function trace.leases(file, record, read, own)
  local self, failed = { file = file }, {}
  local kinds = own and native.failures() or {}
  read_leases(record, read, function(lease, time, cut)
    if lease.failed then
      failed[#failed + 1] = { model = lease.model, kind = lease.failed,
                              at = lease.at, time = time }
    elseif not (own and own.asks[lease.ask]) then
      put_lease(self, lease, time, cut or kinds[lease.ask])
    end
  end)
  if own then drop_own(failed, own.failed) end
  for _, entry in ipairs(failed) do
    if not entry.dropped then
      put(self, { at = entry.at, model = entry.model, ok = false,
        kind = entry.kind, seconds = entry.time - entry.at,
        attempts = json.array {} })
    end
  end
end

-- ---- who asked --------------------------------------------------------------

-- Told however the call ends, also where its task is cancelled.
local Asking = {}

function Asking.__close(asking, err)
  if asking.done then return end
  local kind = err and "cancelled" or asking.kind
  if err and not native.is_cancelled(err) then return end
  local failed = asking.own.failed
  failed[#failed + 1] = { own = true, model = asking.model, time = native.now(),
                          kind = ends[kind] or "refused" }
end

-- Acquires for a router, and keeps which asks were its.
local function taker(own)
  return function(pool, model, ask)
    local asking <close> = setmetatable({ own = own,
      model = type(model) == "table" and model[1] or model }, Asking)
    local client, err = pool:acquire(model, ask)
    if client then
      asking.done, own.asks[native.lease_ask(client)] = true, true
    else
      asking.kind = err.kind
    end
    return client, err
  end
end

-- ---- opening, closing -------------------------------------------------------

local function is_a(value, name)
  local ok, meta = pcall(getmetatable, value)
  return ok and type(meta) == "table" and meta.__name == name
end

local function is_router(value)
  return type(value) == "table" and type(value.listen) == "function"
    and value.pool ~= nil
end

--- Begins to write what a router is asked, or what a pool lends.
-- @param path string: the file, which is written anew
-- @param target a router or a pool
-- @return the trace: close ends it
function trace.open(path, target)
  if type(path) ~= "string" then
    error(("bad argument #1 to 'trace' (a file's name expected, got %s)")
      :format(type(path)), 3)
  end
  local router = is_router(target)
  if not router and not is_a(target, "llmpool.pool") then
    error(("bad argument #2 to 'trace' (a router or a pool expected, got %s)")
      :format(type(target)), 3)
  end
  local self = setmetatable({ file = open_file(path), path = path, open = {} },
    Trace)
  if router then
    self.stop = listen(self, target)
  else
    self.record = native.record(KEPT)
    self.record:watch(target)
  end
  return self
end

--- A trace of everything in one file, for the program's --record: of the
-- routers that it follows, and of what the pools that `record` watches lend to
-- others.
function trace.shared(path, record)
  return setmetatable({ file = open_file(path), path = path, open = {},
    record = record, own = { asks = {}, failed = {} } }, Trace)
end

--- Also the requests of this router, of all its requests from now on.
function Trace:follow(router)
  listen(self, router)
  router.take = taker(self.own)
end

--- Ends the trace: the file is complete.
function Trace:close()
  local file = self.file
  if not file then return end
  if self.stop then self.stop() end
  for _, open in ipairs(self.open) do cut_off(self, open, native.now()) end
  self.file = nil
  if self.record then
    self.record:stop(native.now())
    trace.leases(file, self.record, self.record:read(), self.own)
  end
  file:close()
end

Trace.__close = Trace.close
Trace.__gc = Trace.close

function Trace:__tostring()
  return ("trace (%s, %s)"):format(self.path, self.file and "open" or "closed")
end

return trace
