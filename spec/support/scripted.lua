-- scripted: clients that do what a spec says, call by call, on the clock of
-- wherever they run; and what they were asked, in order.
--
--   local client = scripted("a", { fail = "server", after = 1 }, { text = "" })
--   client.calls  --> { { request =, at =, state = "failed" }, ... }
--
-- A step is { text =, after =, usage = } or { fail = kind, after =, retry_at =,
-- committed = }; a stream gives out `pieces` (or the text, word by word), one
-- every `every` seconds, and with `cut = n` fails after n of them. The last
-- step is repeated.

local llmpool = require "llmpool"

local Client = {}
Client.__index = Client

local function failure(self, step)
  local err = llmpool.error(step.fail, ("%s by %s"):format(step.fail, self.id))
  err.retry_at, err.retryable = step.retry_at, step.retryable
  err.status, err.client = step.status, self.id
  return err
end

local function sleep(seconds)
  if seconds and seconds > 0 then llmpool.sleep(seconds) end
end

local function begin(self, request, options)
  local n = #self.calls + 1
  local call = { request = request, options = options, at = llmpool.now(),
                 state = "running" }
  self.calls[n] = call
  return self.steps[math.min(n, #self.steps)], call
end

-- A call that is left by an error, a cancellation too, is known as ended.
local function ending(call)
  return setmetatable({}, { __close = function()
    call.till = llmpool.now()
    if call.state == "running" then call.state = "cancelled" end
  end })
end

function Client:generate(request, options)
  local step, call = begin(self, request, options)
  local _ <close> = ending(call)
  sleep(step.after)
  if step.fail then
    call.state = "failed"
    error(step.raw or failure(self, step), 0)
  end
  call.state = "done"
  local text = step.text or ("%s: %s"):format(self.id, tostring(request))
  return text, { text = text, usage = step.usage, client = self.id }
end

local function pieces_of(step)
  if step.pieces then return step.pieces end
  local pieces = {}
  for word in (step.text or "one two three"):gmatch "%S+%s*" do
    pieces[#pieces + 1] = { text = word }
  end
  return pieces
end

function Client:stream(request, options)
  local step, call = begin(self, request, options)
  sleep(step.connect)
  if step.refuse then
    call.state = "failed"
    error(failure(self, { fail = step.refuse }), 0)
  end
  local stream = { call = call }
  local i, pieces = 0, pieces_of(step)
  local function read()
    if call.state == "closed" then error("read after close", 0) end
    if i == 0 then sleep(step.after) else sleep(step.every) end
    if step.cut == i then
      call.state, call.till = "failed", llmpool.now()
      error(failure(self, { fail = step.fail or "reset" }), 0)
    end
    i = i + 1
    if pieces[i] then return pieces[i] end
    call.state, call.till = "done", llmpool.now()
    stream.response = { text = step.text, usage = step.usage,
                        finish_reason = "stop" }
  end
  function stream.close()
    if call.state == "running" then
      call.state, call.till = "closed", llmpool.now()
    end
  end
  return setmetatable(stream, { __call = read })
end

return function(id, ...)
  return setmetatable({ id = id, calls = {}, steps = { ... } }, Client)
end
