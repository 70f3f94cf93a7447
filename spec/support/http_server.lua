-- http_server: spec/support/http_server.py, started and stopped by a spec.
--
--   local server = require("spec.support.http_server").start()
--   server.url                       -- "http://127.0.0.1:PORT"
--   server.raw(bytes, { then_ = "close" })   -- the options of a request
--   server.connections()             -- what it knows of its connections
--   server.stop()
--
--   local server = http_server.around(setup, teardown)  -- for a whole block

local http = require "llmpool.http"
local json = require "llmpool.json"

local http_server = {}

local function query(options)
  local parts = {}
  for name, value in pairs(options or {}) do
    parts[#parts + 1] = name:gsub("_$", "") .. "=" .. tostring(value)
  end
  return "?" .. table.concat(parts, "&")
end

-- arguments: of the program; scheme: "https" for a server with a certificate
function http_server.start(arguments, scheme)
  local pipe = assert(io.popen(
    "exec python3 spec/support/http_server.py " .. (arguments or ""), "r"))
  local port = assert(tonumber(pipe:read "l"), "the test server did not start")
  local server = { port = port,
                   url = ("%s://127.0.0.1:%d"):format(scheme or "http", port) }

  -- A request whose answer is `bytes`; `more` are options of http.request.
  function server.raw(bytes, options, more)
    local request = { url = server.url .. "/raw" .. query(options),
                      method = "POST", body = bytes }
    for name, value in pairs(more or {}) do request[name] = value end
    return request
  end

  function server.connections(more)
    local request = { url = server.url .. "/connections" }
    for name, value in pairs(more or {}) do request[name] = value end
    return json.decode(http.request(request).body)
  end

  function server.stop(more)
    local request = { url = server.url .. "/quit" }
    for name, value in pairs(more or {}) do request[name] = value end
    pcall(http.request, request)
    pipe:close()
  end

  return server
end

-- It is there between busted's setup and teardown.
function http_server.around(setup, teardown)
  local server = {}
  setup(function()
    for name, value in pairs(http_server.start()) do server[name] = value end
  end)
  teardown(function() server.stop() end)
  return server
end

return http_server
