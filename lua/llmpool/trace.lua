-- trace.lua: what a running program was asked and how each request went, as a
-- file of JSON lines, so that `llmpool sim --replay` can ask another policy
-- the same. One idea: a line a request - when it came, what it asked for, each
-- attempt with its client, its time and its end - and nothing of its words:
-- a trace holds no prompt and no answer.
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

local function finish(self, open, event)
  local attempts = open[event.request] or {}
  open[event.request] = nil
  local last = attempts.last
  if event.ok and last then
    attempts[#attempts + 1] = { model = event.model, client = event.client,
      ok = true, seconds = event.time - last.time, after = last.time }
  end
  attempts.last = nil
  local at = event.time - event.seconds
  for _, attempt in ipairs(attempts) do
    attempt.after = math.max(0, attempt.after - at)
  end
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

local function listen(self, router)
  local open = {}
  return router:listen(function(event)
    local kind = event.event
    if kind == "state" and event.to == "CONNECTED" then
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

--- Writes the leases that a record has kept, a request each.
function trace.leases(file, record, read)
  local asked, leases = {}, {}
  local self = { file = file }
  for i = 1, read.kept do
    local time, kind, model, client, ask, span = record:event(i)
    local name = model and read.models[model].name
    if kind == "queued" then
      asked[ask] = time
    elseif kind == "lent" and client then
      leases[ask] = { at = asked[ask] or time - span, lent = time,
                      model = name, client = read.clients[client].id }
      asked[ask] = nil
    elseif kind == "returned" and leases[ask] then
      local lease = leases[ask]
      leases[ask] = nil
      put(self, { at = lease.at, model = lease.model, ok = true,
        seconds = time - lease.at, attempts = json.array { {
          model = lease.model, client = lease.client, ok = true,
          seconds = time - lease.lent, after = lease.lent - lease.at } } })
    elseif ends[kind] then
      local at = asked[ask] or time
      asked[ask] = nil
      put(self, { at = at, model = name, ok = false, kind = ends[kind],
        seconds = time - at, attempts = json.array {} })
    end
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
  local self = setmetatable({ file = open_file(path), path = path }, Trace)
  if router then
    self.stop = listen(self, target)
  else
    self.record = native.record(KEPT)
    self.record:watch(target)
  end
  return self
end

--- A trace of several routers in one file, for the program's --record.
function trace.shared(path)
  return setmetatable({ file = open_file(path), path = path }, Trace)
end

function Trace:follow(router) listen(self, router) end

--- Ends the trace: the file is complete.
function Trace:close()
  local file = self.file
  if not file then return end
  self.file = nil
  if self.stop then self.stop() end
  if self.record then
    self.record:stop(native.now())
    trace.leases(file, self.record, self.record:read())
  end
  file:close()
end

Trace.__close = Trace.close
Trace.__gc = Trace.close

function Trace:__tostring()
  return ("trace (%s, %s)"):format(self.path, self.file and "open" or "closed")
end

return trace
