-- trace.lua: what a running program was asked and how each request went, as a
-- file of JSON lines, so that `llmpool sim --replay` can ask another policy
-- the same. One idea: a line a request - when it came, what it asked for, each
-- attempt with its client, its time and its end - and nothing of its words:
-- a trace holds no prompt and no answer. A trace of a router has its requests,
-- one of a pool its leases; that of a program (observe.lua) has each request of
-- its routers, and each lease that none of them has asked for. The lines of
-- requests are made here, those of leases, and all writing, are the tape's
-- (src/runtime/tape.h).
--
--   {"trace":"llmpool","version":1}
--   {"at":1.5,"model":"m","tenant":"t","prompt_tokens":12,"seconds":0.8,
--    "ok":true,"attempts":[{"model":"m","client":"a","after":0,"seconds":0.8,
--    "ok":true}]}

local json = require "llmpool.json"
local native = require "llmpool.native"

local trace = {}

local Trace = {}
Trace.__index = Trace
Trace.__name = "llmpool.trace"
-- Those that are not closed: one that a script does not keep, or whose
-- variable is gone while the program ends, goes on.
Trace.live = {}

-- @param program whose name is put before a failure, which is told at once
-- @param record what leases are of; or nil
local function open_tape(path, program, record)
  local header = json.encode { trace = "llmpool", version = 1 } .. "\n"
  local tape, message = native.tape(path, header, program, record)
  if not tape then error("cannot write the trace: " .. message, 0) end
  return tape
end

-- To the nanosecond, which is what the clocks have.
local function round(seconds) return (seconds * 1e9 + 0.5) // 1 / 1e9 end

-- @param put function (text): takes a line
local function put_line(put, line)
  line.at, line.seconds = round(line.at), round(line.seconds)
  for _, attempt in ipairs(line.attempts) do
    attempt.seconds = round(attempt.seconds)
    attempt.after = round(attempt.after)
  end
  put(json.encode(line) .. "\n")
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

local function finish(put, open, event)
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
  put_line(put, line)
end

-- Requests that the program's end has cut off.
local function cut_off(put, open, now)
  for _, attempts in pairs(open) do
    local at, last = attempts.at, attempts.last
    if last then
      attempts[#attempts + 1] = { model = last.model, client = last.client,
        ok = false, kind = "cancelled", seconds = now - last.time,
        after = last.time }
    end
    settle(attempts, at)
    put_line(put, { at = at, ok = false, kind = "cancelled", seconds = now - at,
      model = attempts[1] and attempts[1].model,
      attempts = json.array(attempts) })
  end
end

-- Returns a function that ends it, and the requests that are open.
local function listen(put, router)
  local open = {}
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
      finish(put, open, event)
    end
  end), open
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

-- Between the script and trace.open: llmpool.trace, and its frame of C.
local SCRIPT = 4

--- Begins to write what a router is asked, or what a pool lends.
-- @param path string: the file, which is written anew
-- @param target a router or a pool
-- @return the trace: close ends it
function trace.open(path, target)
  if type(path) ~= "string" then
    error(("bad argument #1 to 'trace' (a file's name expected, got %s)")
      :format(type(path)), SCRIPT)
  end
  local router = is_router(target)
  if not router and not is_a(target, "llmpool.pool") then
    error(("bad argument #2 to 'trace' (a router or a pool expected, got %s)")
      :format(type(target)), SCRIPT)
  end
  local record = not router and native.record() or nil
  local self = setmetatable({ path = path,
                              tape = open_tape(path, nil, record) }, Trace)
  if router then
    self.stop, self.requests = listen(self:putter(), target)
  else
    record:watch(target)
  end
  Trace.live[self] = true
  return self
end

--- Ends the trace: the file is complete.
function Trace:close()
  local tape = self.tape
  Trace.live[self] = nil
  if not tape then return end
  if self.stop then
    self.stop()
    cut_off(self:putter(), self.requests, native.now())
  end
  self.tape = nil
  local lost, message = tape:close()
  if not lost then
    error(("cannot write the trace: %s: %s"):format(self.path, message), 0)
  end
  return lost
end

function Trace:putter()
  local tape = self.tape
  return function(text) tape:put(text) end
end

Trace.__close = Trace.close
Trace.__gc = Trace.close

-- ---- the program's ----------------------------------------------------------

-- The open requests of the routers of this state.
local joined = {}

--- Begins the recording of everything: what the pools that `record` watches
-- lend, and the requests of all routers that are made from now on.
function trace.share(path, program, record)
  local tape = open_tape(path, program, record)
  native.share_tape(tape)
  return tape
end

--- For a router that was made while all is recorded.
function trace.join(router)
  local _, open = listen(native.put_recorded, router)
  joined[#joined + 1] = open
  router.take = native.acquire_tagged
end

--- The requests of this state that the end cuts off.
function trace.cut_off()
  for _, open in ipairs(joined) do
    cut_off(native.put_recorded, open, native.now())
  end
  joined = {}
end

function Trace:__tostring()
  return ("trace (%s, %s)"):format(self.path, self.tape and "open" or "closed")
end

return trace
