-- replies: what a client makes of an answer's or a stream's text, without a
-- server.
--
--   local replies = require "spec.support.replies"
--   local ok, response = replies.whole("openai", '{"choices": ...}')
--   local ok, response, pieces = replies.stream("openai", { "{}", "[DONE]" })
--
-- ok is false where it raised; response is the error then.

local llmpool = require "llmpool"
local streams = require "llmpool.providers.stream"
local upstream = require "llmpool.providers.upstream"

local replies = {}

local function client_of(name, config)
  config = config or {}
  config.base_url = config.base_url or "http://x"
  return upstream.new(require("llmpool.providers." .. name), config,
    { id = "a", model = "m" })
end

function replies.whole(name, text, asked, config)
  local client = client_of(name, config)
  return pcall(function()
    local body = client:decode({ status = 200, headers = {} }, text)
    return client:sign(client:read(body, asked or {}), {})
  end)
end

local function reply_of(events, kind)
  local i = 0
  return {
    status = 200, headers = { ["content-type"] = kind },
    close = function() end,
    read = function(_, what) return what and table.concat(events) end,
    events = function()
      return function()
        i = i + 1
        return events[i] and { data = events[i] }
      end
    end,
  }
end

--- @param kind string or nil: the content type, where it is no event stream's
function replies.stream(name, events, asked, config, kind)
  local pieces, stream = {}
  local ok, err = pcall(function()
    stream = streams.open(client_of(name, config), asked or {},
      reply_of(events, kind), { started = llmpool.now() })
    for piece in function() return stream:read() end do
      pieces[#pieces + 1] = piece
    end
  end)
  if not ok then return false, err, pieces end
  return true, stream.response, pieces
end

return replies
