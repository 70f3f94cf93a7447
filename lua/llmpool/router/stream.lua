-- stream.lua: what router:stream returns: pieces, one a call, until nil. One
-- idea: it is given to the caller when the answer has committed, so from here
-- on no other client can help: what goes wrong is kind truncated, and a clean
-- end is one that the provider has ended.

local failure = require "llmpool.router.failure"
local native = require "llmpool.native"
local run = require "llmpool.router.run"

local Stream = {}
Stream.__index = Stream
Stream.__name = "llmpool.router.stream"

local function keep(self, piece)
  if piece.text then self.texts[#self.texts + 1] = piece.text end
  self.usage = piece.usage or self.usage
  self.given = self.given + 1
  return piece
end

-- The lease goes back before anybody hears of the end.
local function finish(self, state, err)
  if self.ended then return end
  self.ended = true
  local r, source = self.r, self.source
  if state == "DONE" then
    self.response = source:response(self.texts)
    self.usage = self.response.usage or self.usage
  end
  source:close()
  run.enter(r, state, source.record)
  if err then source.record.kind = "truncated" end
  if state ~= "CANCELLED" then
    run.outcome(r, source.record, state == "DONE", self.usage)
  end
  r:finish(state == "DONE", err, self.usage, source.record)
end

local function cut_off(self, cause)
  local source = self.source
  if native.is_cancelled(cause) then
    finish(self, "CANCELLED")
    error(cause, 0)
  end
  source.record.cause = cause
  self.failure = failure.truncated(self.r, source.record, cause, self.given)
  finish(self, "TRUNCATED", self.failure)
  error(self.failure, 0)
end

--- The next piece, {text, tool_calls, finish_reason, usage, ...}, or nil when
-- the answer is complete; raises kind truncated if it is cut off.
function Stream:read()
  local source = self.source
  local piece = source.pieces[self.at]
  if piece and not self.closed then
    source.pieces[self.at] = false
    self.at = self.at + 1
    return keep(self, piece)
  end
  if self.failure then error(self.failure, 0) end
  if self.ended then return nil end
  if source.ended then
    finish(self, "DONE")
    return nil
  end
  local ok, value = source:pull()
  if not ok then cut_off(self, value) end
  if value == nil then
    finish(self, "DONE")
    return nil
  end
  return keep(self, value)
end

Stream.__call = Stream.read

--- Ends it: the client is back at once, what was not read is dropped.
function Stream:close()
  self.closed = true
  finish(self, "CANCELLED")
end

Stream.__close, Stream.__gc = Stream.close, Stream.close

function Stream:__tostring()
  local record = self.source.record
  return ("stream (%s/%s, %s)"):format(record.model, record.client,
    self.r.state)
end

-- @param r the request, committed; @param source its source, which is owned
return function(r, source)
  return setmetatable({ r = r, source = source, texts = {}, at = 1, given = 0,
                        model = source.record.model,
                        client = source.record.client }, Stream)
end
