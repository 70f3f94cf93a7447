-- A provider's answer as it comes: events become pieces.
--
-- One idea: success is decided at the end. A stream that stops without the
-- format's own last word, that brings an error, or an event that cannot be
-- read, raises from the call that meets it, and says whether content had been
-- given out before (committed). It knows no leases.

local answer = require "llmpool.providers.answer"
local failure = require "llmpool.providers.failure"
local request = require "llmpool.providers.request"

local streams = {}

local Stream = {}
Stream.__index = Stream
Stream.__name = "llmpool.provider_stream"

local MOST_ERROR = 1 << 20 -- bytes of a refusal that are read
local MOST_EVENT = 16 << 20 -- bytes of one event: it may have an image in it
local LINGER = 0.05 -- seconds that an answer's last bytes may take to come

local function now() return require "llmpool".now() end

-- ---- what is no stream -----------------------------------------------------

-- What comes of a refusal, the whole of it or not.
local function read_all(reply, most)
  local parts, size = {}, 0
  local ok, err = pcall(function()
    for part in function() return reply:read() end do
      parts[#parts + 1] = part
      size = size + #part
      if size >= most then break end
    end
  end)
  return table.concat(parts), not ok and err or nil
end

-- JSON, or a page of a proxy's.
local function is_whole(reply)
  local kind = (reply.headers["content-type"] or ""):lower()
  return kind:find "^application/[%w.%-]*%+?json" ~= nil
    or kind:find("text/html", 1, true) ~= nil
end

-- As the calls of a piece are.
local function numbered(calls)
  local result = {}
  for i, call in ipairs(calls or {}) do
    result[i] = request.copy(call)
    result[i].index = i - 1
  end
  return result[1] and result or nil
end

-- A server that cannot stream answers at once; Gemini's may send a list.
local function digest_whole(self, text)
  local body = self.client:decode(self.reply, text)
  if body[1] then
    for _, event in ipairs(body) do self:digest(event) end
    return
  end
  local result = self.client:read(body, self.asked)
  self.queue[1] = {
    text = result.text ~= "" and result.text or nil,
    reasoning = result.reasoning, refusal = result.refusal,
    tool_calls = numbered(result.tool_calls), logprobs = result.logprobs,
    finish_reason = result.finish_reason, usage = result.usage,
    id = result.id, model = result.model, raw = body,
    thinking_blocks = result.message.thinking_blocks,
  }
  self.format.read(body, self.answer, self.asked)
  self.last = 1
end

local function open_whole(self)
  local ok, text = pcall(self.reply.read, self.reply, "a")
  if not ok then error(failure.transport(self.client, text), 0) end
  digest_whole(self, text)
  if not self.done and not self.answer:is_finished() then
    self:fail(self:truncated())
  end
  self.done = true
end

local function refuse(client, reply)
  local text, err = read_all(reply, MOST_ERROR)
  reply:close()
  -- the transport's errors have a phase; others end the task
  if err and not (type(err) == "table" and err.phase) then error(err, 0) end
  client:decode(reply, text)
end

--- The stream of a reply whose headers are there.
-- @param times table: started, first (seconds to the first token, or nil)
function streams.open(client, asked, reply, times)
  if reply.status >= 300 then refuse(client, reply) end
  local self = setmetatable({
    client = client, format = client.format, asked = asked, reply = reply,
    state = client.format.reader(asked), answer = answer.new(),
    queue = {}, head = 1, last = 0, times = times, committed = false,
    done = false,
  }, Stream)
  if is_whole(reply) then
    local ok, err = pcall(open_whole, self)
    reply:close()
    if not ok then error(err, 0) end
  else
    self.next_event = reply:events(client.config.max_bytes or MOST_EVENT)
  end
  return self
end

-- ---- pieces ----------------------------------------------------------------

local function has_content(piece)
  return piece.text ~= nil or piece.tool_calls ~= nil or piece.reasoning ~= nil
end

local function tells(piece)
  return has_content(piece) or piece.finish_reason or piece.usage
end

local function take_in(self, event)
  local list = {}
  local ended = self.format.pieces(self.state, event, list)
  for _, piece in ipairs(list) do
    if piece.text == "" then piece.text = nil end
    if piece.reasoning == "" then piece.reasoning = nil end
    self.answer:add(piece)
    if tells(piece) then
      piece.raw = event
      self.last = self.last + 1
      self.queue[self.last] = piece
    end
  end
  if ended then self:ended() end
end

-- What a decoded event brings goes into the queue. The formats read what is
-- there; what is of a type that it cannot be fails in them.
function Stream:digest(event)
  local ok, err = pcall(take_in, self, event)
  if ok then return end
  if err == "not enough memory" or err == self.failed then error(err, 0) end
  self:fail(failure.new(self.client, "malformed",
    "an event of the stream has another form than its format", self.committed))
end

function Stream:fail(err)
  self.failed = err
  self:close()
  error(err, 0)
end

function Stream:truncated()
  return failure.new(self.client, "truncated", self.committed
    and "the stream ended before it was complete"
    or "the stream ended before its first word", self.committed)
end

-- The last word was said; after nothing else it ends no answer.
function Stream:ended()
  if self.answer:is_empty() then self:fail(self:truncated()) end
  self.done = true
end

function Stream:take_event(event)
  local format, data = self.format, event.data
  if not data or data == "" then return end
  if format.is_done and format.is_done(data) then return self:ended() end
  local decoded = failure.decode(data)
  local wrong = self.client:error_in(decoded)
    or event.event == "error" and (decoded or data)
  if wrong then
    self:fail(failure.refused(self.client, { headers = self.reply.headers,
      body = wrong, committed = self.committed }))
  end
  if type(decoded) ~= "table" then
    self:fail(failure.new(self.client, "malformed", "an event of the stream is "
      .. "no JSON: " .. failure.excerpt(self.client, data, 60), self.committed))
  end
  self:digest(decoded)
end

-- ---- waiting ---------------------------------------------------------------

-- The next event; until the first token no longer than the client allows.
local function next_event(self)
  local first = self.times.first
  if self.committed or not first then return self.next_event() end
  local left = self.times.started + first - now()
  local ok, event, rest = pcall(require "llmpool".timeout, math.max(left, 0),
    self.next_event)
  if ok then return event, rest end
  if type(event) == "table" and event.kind == "timeout" then
    event = failure.new(self.client, "timeout_first",
      ("no token came within %g s"):format(first))
  end
  error(event, 0)
end

-- An event whose empty line is missing, at the end of a stream: if it is whole
-- in itself, it is one.
function Stream:take_last(text)
  local is_done = self.format.is_done
  if not (is_done and is_done(text)) and
    type(failure.decode(text)) ~= "table" then return false end
  self:take_event { data = text }
  return true
end

-- Waits for one event; the queue may have pieces then, or the stream be done.
function Stream:advance()
  local ok, event, rest = pcall(next_event, self)
  if not ok then
    self:fail(failure.transport(self.client, event, self.committed))
  elseif event then
    self:take_event(event)
  elseif rest and self:take_last(rest) then
    return
  elseif self.format.ends_quietly(self.answer, self.state,
    self.client.config) then
    self.done = true
  else
    self:fail(self:truncated())
  end
end

-- The connection can be used again if its last bytes are read; they are here
-- already, or on their way, or it is closed.
local function let_go(self)
  if self.next_event then
    pcall(require "llmpool".timeout, LINGER, function()
      while self.reply:read() do end
    end)
  end
  self:close()
end

function Stream:finish()
  local client, times = self.client, self.times
  local timings = {}
  for name, value in pairs(self.reply.timings or {}) do
    timings[name] = value
  end
  timings.first = times.token and times.token - times.started or timings.first
  timings.total = now() - times.started
  self.response = client:sign(self.answer:result(self.format.settle), timings)
  let_go(self)
end

local function take(self)
  local piece = self.queue[self.head]
  if not piece then return nil end
  self.queue[self.head] = nil
  self.head = self.head + 1
  if not self.committed and has_content(piece) then
    self.committed, self.times.token = true, now()
  end
  return piece
end

--- The next piece, or nil at the end; then `response` has the whole.
function Stream:read()
  local piece = take(self)
  while not piece do
    if self.failed then error(self.failed, 0) end
    if self.response then return nil end
    if self.done then
      self:finish()
      return nil
    end
    self:advance()
    piece = take(self)
  end
  return piece
end

Stream.__call = Stream.read

--- Closes the connection; what has not come is never read.
function Stream:close()
  if not self.failed and not self.response then
    self.failed = failure.new(self.client, "closed",
      "this stream was closed", self.committed)
  end
  self.reply:close()
end

Stream.__close = Stream.close

return streams
