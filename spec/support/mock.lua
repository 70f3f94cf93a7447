-- mock: an upstream of the spec's own (mock_provider.py), one a process.
--
--   local mock = require "spec.support.mock"
--   mock.clear()                       -- forget scripts and log
--   mock.next { status = 429 }         -- what the next request is answered
--   mock.by_key("sk-a", { ... })       -- ... the next one with that key
--   mock.log()                         -- the requests, as it received them
--   mock.openai { id = "a" }           -- a client of it; anthropic, gemini too
--   mock.pool "openai"                 -- a pool with such a client
--
-- It ends with the process that started it.

local http = require "llmpool.http"
local json = require "llmpool.json"
local llmpool = require "llmpool"

local shell = require "spec.support.shell"

local mock = {}

local url

-- Starts it the first time it is asked for.
function mock.url()
  url = url or
    shell.serve "python3 spec/support/mock_provider.py --parent $PPID"
  return url
end

local function ask(method, path, body)
  local response <close> = http.request {
    url = mock.url() .. path, method = method, timeout = 10,
    body = body and json.encode(body),
  }
  return json.decode(response.body)
end

function mock.control(order)
  local answer = ask("POST", "/_control", order)
  assert(answer.ok, answer.problem)
  return answer
end

function mock.clear() mock.control { clear = true } end

function mock.next(...) mock.control { next = { ... } } end

function mock.by_key(key, ...) mock.control { keys = { [key] = { ... } } } end

function mock.default(script) mock.control { default = script } end

function mock.state() return ask("GET", "/_log") end

function mock.log() return mock.state().log end

--- The last request, its body decoded.
function mock.last()
  local log = mock.log()
  local entry = log[#log]
  if entry then entry.json = json.decode(entry.body) end
  return entry
end

--- Waits until the mock has seen the end of the last request's connection.
-- @return when that was, on llmpool.now()'s clock
function mock.closed_at()
  for _ = 1, 200 do
    local entry = mock.last()
    if entry and entry.closed_at then return entry.closed_at, entry end
    llmpool.sleep(0.005)
  end
  error("the mock's last connection is still open", 2)
end

for _, name in ipairs { "openai", "anthropic", "gemini" } do
  mock[name] = function(t)
    t.api_key = t.api_key or "sk-mock-0123456789"
    t.base_url = t.base_url or mock.url() .. (name == "openai" and "/v1" or "")
    return llmpool[name](t)
  end
end

--- A pool with one client of that provider, "a", as the model "fast".
function mock.pool(name, options)
  options = options or {}
  options.id = "a"
  local pool = llmpool.new()
  pool:register_model("fast", { mock[name](options) })
  return pool
end

return mock
