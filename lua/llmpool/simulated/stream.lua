-- stream.lua: a simulated answer that comes piece by piece. One idea: the
-- whole answer is planned when it begins - when each token comes, where it is
-- cut - and read waits for the next. The first token commits: what fails after
-- it says so. It has no words of its own: the pieces are the reply's.

local kinds = require "llmpool.simulated.kinds"
local native = require "llmpool.native"

local sleep = native.sleep

local streams = {}

local Stream = {}
Stream.__index = Stream

-- The reply as pieces: its words, each with the blanks before it. With a
-- number of tokens wanted, they begin again, or end early.
local function words_of(text)
  local words = {}
  for word in text:gmatch "%s*%S+" do words[#words + 1] = word end
  local tail = text:match "%s+$"
  if tail and words[1] then words[#words] = words[#words] .. tail end
  if not words[1] then words[1] = text end
  return words
end

local function word(words, i)
  if i <= #words then return words[i] end
  local again = words[(i - 1) % #words + 1]
  return again:find "^%s" and again or " " .. again
end

local function fail(self, kind, seconds)
  self.ended = true
  if seconds > 0 then sleep(seconds) end
  error(kinds.failure(self.client, kind, self.i > 0), 0)
end

-- Waits for the next token, but not beyond what is allowed.
local function wait(self, seconds)
  local limits = self.limits
  local most = self.i == 0 and limits.first or self.i > 0 and limits.idle
  local left = limits.total and limits.total - (native.now() - self.began)
  if left and seconds > left and left <= (most or math.huge) then
    fail(self, "timeout_total", math.max(left, 0))
  elseif most and seconds > most then
    fail(self, self.i == 0 and "timeout_first" or "timeout_idle", most)
  end
  if seconds > 0 then sleep(seconds) end
end

local function finish(self)
  local client, total = self.client, native.now() - self.began
  self.ended = true
  self.response = client:response(self.request, table.concat(self.texts),
    self.n, self.reason, self.first, total)
  return { finish_reason = self.reason, usage = self.response.usage }
end

--- The next piece: {text} or, as the last, {finish_reason, usage}; nil after
-- the end. Raises what the provider fails with.
function Stream:read()
  if self.ended then return nil end
  if self.i == self.n then return finish(self) end
  local client = self.client
  if self.cut_at and self.i >= self.cut_at then fail(self, "truncated", 0) end
  if self.i == 0 then
    wait(self, client:first(self.request, true))
    self.first = native.now() - self.began
  else
    wait(self, client.per_token and client.per_token() or 0)
  end
  self.i = self.i + 1
  local text = word(self.words, self.i)
  self.texts[self.i] = text
  return { text = text }
end

Stream.__call = Stream.read

--- Ends the stream; what has not been read never comes.
function Stream:close() self.ended = true end

Stream.__close = Stream.close
Stream.__gc = Stream.close

function Stream:__tostring()
  return ("stream (%s/%s, %d of %d tokens%s)"):format(self.client.model,
    self.client.id, self.i, self.n, self.ended and ", ended" or "")
end

local function cut_of(client, n)
  local cutter = client.cutter
  if not cutter or cutter.chance() >= cutter.rate then return nil end
  local at = cutter.at and cutter.at() or cutter.chance() * n
  return at < n and at // 1 | 0 or nil
end

--- Asks the client: raises at once what comes instead of an answer.
-- @param limits table: first, idle, total, in seconds; each may be nil
function streams.open(client, request, limits)
  local text = client:text(request)
  local words = words_of(text)
  local n, reason = #words, "stop"
  if client.tokens then n, reason = client:length(request, text) end
  local began = native.now()
  if client.strike then client:admit(request, n, limits) end
  if client.failure_rate > 0 and client.chance() < client.failure_rate then
    client:fail("provider", nil, limits)
  end
  return setmetatable({
    client = client, request = request, limits = limits, words = words, n = n,
    reason = reason, began = began, i = 0, texts = {},
    cut_at = cut_of(client, n),
  }, Stream)
end

return streams
