-- raw: the server of raw_server.py, for clients whose answers are given byte by
-- byte; one a process, it ends with whoever started it.
--
--   local raw = require "spec.support.raw"
--   raw.url()                              -- where it listens
--   raw.plan { "<body", "HTTP/1.1 ..." }   -- the headers that ask for that
--   raw.heads()                            -- of the requests since the last

local http = require "llmpool.http"
local json = require "llmpool.json"

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local raw = {}

local url

-- Starts it the first time it is asked for.
function raw.url()
  url = url or "http://127.0.0.1:"
    .. shell.serve "python3 spec/support/raw_server.py $PPID"
  return url
end

function raw.heads()
  return json.decode(http.request(raw.url() .. "/heads").body)
end

-- Each byte as a character of that number.
local function latin1(value)
  if type(value) == "table" then return { latin1(value[1]), value[2] } end
  if type(value) ~= "string" then return value end
  return (value:gsub("[\x80-\xff]", function(c) return utf8.char(c:byte()) end))
end

--- The headers that ask for an answer.
function raw.plan(steps)
  local list = {}
  for i, step in ipairs(steps) do list[i] = latin1(step) end
  return { ["X-Plan"] = json.encode(list) }
end

--- Steps, and then `text`, n times, some seconds apart.
function raw.every(seconds, steps, text, n)
  for _ = 1, n do
    steps[#steps + 1] = seconds
    steps[#steps + 1] = text
  end
  return steps
end

--- Steps that send each byte on its own, and the last step.
function raw.bytes(text, last)
  local list = {}
  for i = 1, #text do list[i] = text:sub(i, i) end
  list[#list + 1] = last
  return list
end

--- The bytes that hexadecimal digits name.
function raw.bytes_of(digits)
  return (digits:gsub("%x%x", function(two)
    return string.char(tonumber(two, 16))
  end))
end

--- The text as gzip writes it.
function raw.gzip(text)
  return files.with(text, function(path)
    return shell.must("gzip -c < " .. path)
  end)
end

return raw
