-- source.lua: the streamed answer of one client, before and after it commits.
-- One idea: pieces are kept back until the plan says that the answer counts -
-- its first content, so many pieces, or its end; until then it can be dropped
-- and asked elsewhere. It chooses no client.

local failure = require "llmpool.router.failure"
local native = require "llmpool.native"

local now = native.now

local source = {}
local run -- run.lua, which binds itself

function source.bind(module) run = module end

-- The lease and the stream of it: given back on any way out, but for one that
-- is handed on.
local Source = {}
Source.__index = Source

local function close_stream(stream)
  if type(stream) ~= "table" and type(stream) ~= "userdata" then return end
  local ok, close = pcall(function() return stream.close end)
  if ok and close then close(stream) end
end

function Source:close()
  local stream, client = self.stream, self.client
  self.stream, self.client = nil, nil
  if stream then pcall(close_stream, stream) end
  if client then client:release() end
end

Source.__gc = Source.close
function Source:__close() if not self.kept then self:close() end end

local function has_content(piece)
  return piece.text and piece.text ~= "" or piece.tool_calls
    and next(piece.tool_calls) ~= nil
end

-- A client without stream answers in one piece.
local function whole(client, request, options)
  local text, response = client:generate(request, options)
  local given = false
  local stream = { response = type(response) == "table" and response
    or { text = text } }
  return setmetatable(stream, { __call = function()
    if given then return nil end
    given = true
    return { text = text, tool_calls = stream.response.tool_calls,
             finish_reason = stream.response.finish_reason,
             usage = stream.response.usage }
  end })
end

local function open_stream(client, request, options)
  if native.instance(client).stream then
    return client:stream(request, options)
  end
  return whole(client, request, options)
end

-- Seconds until the next piece must be there, and what it is if it is not.
local function limit(self)
  local attempt = self.attempt
  local left = run.time_left(self.r, attempt, self.record.started)
  local kind, own = "timeout_total", nil
  if self.content == 0 and attempt.first then
    kind, own = "timeout_first", attempt.first - (now() - self.since)
  elseif self.content > 0 and attempt.idle then
    kind, own = "timeout_idle", attempt.idle
  end
  if own and (not left or own < left) then return math.max(own, 0), kind end
  return left, "timeout_total"
end

local function too_slow(self, kind, seconds)
  local record = self.record
  local err = failure.object(kind, ("client \"%s\" of \"%s\": no %s within "
    .. "%g s"):format(record.client, record.model,
    self.content == 0 and "content" or "end", seconds))
  err.client, err.model, err.retryable = record.client, record.model, true
  if self.client then run.blame(self.client, err, self.since) end
  return err
end

-- Calls fn within what is left. Returns as pcall does.
local function timely(self, fn, ...)
  local seconds, kind = limit(self)
  local since = now()
  local ok, value = run.within(seconds, fn, ...)
  if not ok and seconds and failure.kind(value) == "timeout"
    and now() - since >= seconds then
    return false, too_slow(self, kind, kind == "timeout_first"
      and self.attempt.first or seconds)
  end
  return ok, value
end

local function next_piece(stream) return stream() end

--- The next piece, from the client. Returns true and a piece or nil, or false
-- and the error.
function Source:pull()
  local ok, piece = timely(self, next_piece, self.stream)
  if not ok then return false, piece end
  if type(piece) == "string" then piece = { text = piece } end
  if piece and has_content(piece) then
    self.content = self.content + 1
    if self.content == 1 then self.record.latency = now() - self.since end
  end
  return true, piece
end

local function counts(self, piece)
  local commit = self.attempt.commit
  if commit == "end" then return false end
  return has_content(piece) and (commit == "first" or self.content >= commit)
end

-- Reads until the answer counts. Returns true, or false and the error.
local function fill(self)
  local pieces = self.pieces
  repeat
    local ok, piece = self:pull()
    if not ok then return false, piece end
    if piece == nil then
      self.ended = true
      return true
    end
    if #pieces == 0 then run.enter(self.r, "PRE_CONTENT", self.record) end
    pieces[#pieces + 1] = piece
  until counts(self, piece)
  return true
end

local function begin(r, attempt, record, client)
  record.model, record.client = client.model, client.id
  return setmetatable({ r = r, attempt = attempt, record = record,
                        client = client, pieces = {}, content = 0,
                        since = now() }, Source)
end

--- Asks for a stream and reads it until it commits. Returns true and the
-- source, which then owns the lease, or false, the record and the error.
function source.open(r, lane, attempt, record)
  local left = run.time_left(r, attempt, record.started)
  if left == 0 then return run.no_client(attempt, record, r:too_late()) end
  local client, err = run.acquire(r, attempt.model,
    run.ask_for(r, lane, attempt, left))
  if not client then return run.no_client(attempt, record, err) end
  local self <close> = begin(r, attempt, record, client)
  lane.model, lane.client = record.model, record.client
  run.enter(r, "CONNECTED", record)
  left = run.time_left(r, attempt, record.started)
  local ok, stream = timely(self, open_stream, client, r.request,
    run.call_options(attempt, left))
  if not ok then return false, record, stream end
  self.stream = stream
  run.enter(r, "HEADERS", record)
  ok, err = fill(self)
  if not ok then return false, record, err end
  self.kept = true
  return true, self
end

--- What the whole answer was, as generate returns it.
function Source:response(texts)
  local stream = self.stream
  local response = type(stream) ~= "function" and stream.response
  if response then return response end
  return { text = table.concat(texts), model = self.record.model,
           client = self.record.client }
end

return source
