-- An answer that comes piece by piece, from a client that is lent.
--
-- One idea: whatever a client's own stream method returns is wrapped once, and
-- the wrapping knows when it is over: at the last piece, at an error, when it
-- is closed or collected, or when the lease ends. Each of these happens once,
-- closes what is beneath, and tells whoever asked (on_end). A stream of the
-- pool's owns its lease besides. It reads no format.

local health = require "llmpool.health"
local native = require "llmpool.native"

local streams = {}

local Stream = {}
Stream.__index = Stream
Stream.__name = "llmpool.stream"

-- ---- the end ---------------------------------------------------------------

local function close_inner(self)
  local inner = self.inner
  self.inner = nil
  if inner == nil or type(inner) == "function" then return end
  local close = inner.close
  if close then pcall(close, inner) end
end

-- The pool learns how it went, while the lease is still out.
local function tell(self, state, err)
  local client = self.told and self.told[1]
  self.told = nil
  if not client then return end
  local outcome = health.of_stream(state, err, self.response,
    native.now() - self.began)
  if state == "ended" then outcome.first = self.first end
  pcall(client.report, client, outcome)
end

-- state: how it ended; whoever comes second changes nothing.
local function over(self, state, err)
  if self.state ~= "open" then return false end
  self.state, self.err = state, err
  tell(self, state, err)
  close_inner(self)
  local on_end, lease = self.on_end, self.lease
  self.on_end, self.lease = nil, nil
  if on_end then pcall(on_end, err, self.response) end
  if lease then pcall(lease.release, lease) end
  return true
end

--- Timings count from the question: the wait for a client comes before what
-- the client has measured.
function streams.shift(timings, waited)
  if type(timings) ~= "table" then return end
  for name, value in pairs(timings) do timings[name] = value + waited end
end

local function finish(self)
  local inner = self.inner
  local response = type(inner) ~= "function" and inner.response or nil
  if type(response) == "table" then
    if self.waited then streams.shift(response.timings, self.waited) end
    self.response = response
  end
  over(self, "ended")
end

local function lease_error(self)
  local err = native.error("closed", "this stream was closed: the lease of its "
    .. "client has ended (it lasts as long as the callback, or until the "
    .. "client is released)")
  err.client, err.model, err.retryable = self.id, self.model, false
  return err
end

-- Whoever closed it knows that nothing comes any more; who lost the lease may
-- not.
local function at_end(self)
  if self.state == "failed" then error(self.err, 0) end
  if self.state == "lease" then error(lease_error(self), 0) end
  return nil
end

-- ---- reading ---------------------------------------------------------------

local function check_stream(value)
  if getmetatable(value) ~= Stream then
    error(("bad argument #1 to a stream's method (stream expected, got %s)")
      :format(type(value)), 3)
  end
end

--- The next piece, {text, tool_calls, finish_reason, usage, raw}; nil at the
-- end, when `response` has the whole. Calling the stream does the same.
function Stream:read()
  check_stream(self)
  if self.state ~= "open" then return at_end(self) end
  if self.reading then
    error("another task is reading this stream already", 2)
  end
  self.reading = true
  local ok, piece = pcall(self.inner)
  self.reading = false
  if self.state ~= "open" then return at_end(self) end
  if not ok then
    over(self, "failed", piece)
    error(piece, 0)
  end
  if piece == nil then
    finish(self)
  elseif not self.first then
    self.first = native.now() - self.began
  end
  return piece
end

Stream.__call = Stream.read

--- Ends it: the connection is closed, what has not come never comes. A second
-- time it does nothing.
function Stream:close()
  check_stream(self)
  over(self, "closed")
end

function Stream:__close() over(self, "closed") end

function Stream:__gc() over(self, "closed") end

--- The lease that it came from has ended (tie.c).
function Stream:lease_ended() over(self, "lease") end

function Stream:__tostring()
  return ("stream (%s/%s, %s)"):format(self.model, self.id,
    self.state == "lease" and "closed" or self.state)
end

-- ---- from a client ---------------------------------------------------------

local function check_inner(inner, id)
  local meta = getmetatable(inner)
  if type(inner) == "function" or type(meta) == "table" and meta.__call then
    return
  end
  error(("client \"%s\": its stream method returned %s, not a stream (a "
    .. "function, or an object that can be called)"):format(id, type(inner)), 0)
end

local WEAK = { __mode = "v" }

--- client:stream(request, options): the method of every client that is lent.
function streams.of_client(client, request, options)
  local instance, id = native.instance(client), client.id
  if not instance.stream then
    error(("client \"%s\" has no stream method"):format(id), 2)
  end
  local began = native.now()
  local opened, inner = pcall(instance.stream, instance, request, options)
  if not opened then
    pcall(client.report, client, health.of_error(inner, native.now() - began))
    error(inner, 0)
  end
  check_inner(inner, id)
  local self = setmetatable({ inner = inner, id = id, model = client.model,
                              state = "open", began = began,
                              told = setmetatable({ client }, WEAK) }, Stream)
  local ok, err = pcall(native.tie, client, self)
  if not ok then
    over(self, "lease")
    error(err, 0)
  end
  return self
end

-- ---- from a pool -----------------------------------------------------------

-- Gives the lease back unless the stream has taken it over: also where the
-- task is killed while the stream begins.
local Holder = {}

function Holder.__close(holder)
  local lease = holder[1]
  if lease then lease:release() end
end

--- pool:stream(model, request, options): a stream that owns its lease.
function streams.of_pool(pool, model, request, options)
  local asked = native.now()
  local lease, err = native.pool_methods.acquire(pool, model, options)
  if not lease then error(err, 0) end
  local holder <close> = setmetatable({ lease }, Holder)
  local waited = native.now() - asked
  local self = streams.of_client(lease, request)
  self.lease, self.waited = lease, waited
  holder[1] = nil
  return self
end

return streams
