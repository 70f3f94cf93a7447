-- replay.lua: a scenario from a recorded trace: the same requests at the same
-- times, and clients that take as long and fail as often as they did then. One
-- idea: what a client did is drawn anew from what it has done - its times as
-- an empirical distribution, its failures by the windows in which they came -
-- so that a policy which sends it other requests gets an honest answer. It
-- cannot know what a client would have done that was never asked.

local fields = require "llmpool.fields"
local json = require "llmpool.json"
local kinds = require "llmpool.simulated.kinds"
local sorted = require "llmpool.sorted"

local replay = {}

local WINDOWS, SHORTEST = 200, 5 -- of failures: so many, none shorter

-- ---- reading ----------------------------------------------------------------

local function check_line(line, where)
  if type(line) ~= "table" or not fields.is_number(line.at) or line.at < 0 then
    error(where .. ": a request has an instant, at, in seconds", 0)
  end
  if type(line.attempts) ~= "table" then
    error(where .. ": a request has a list of attempts", 0)
  end
  for _, attempt in ipairs(line.attempts) do
    if type(attempt) ~= "table" or type(attempt.model) ~= "string"
      or type(attempt.client) ~= "string"
      or fields.seconds(attempt.seconds) or fields.seconds(attempt.after) then
      error(where .. ": an attempt has model, client, after and seconds", 0)
    end
  end
  return line
end

local NO_TRACE = "; no trace of llmpool's (--record and llmpool.trace write "
  .. "them)"

local HEADER = json.encode { trace = "llmpool", version = 1 }

local function check_header(line, where)
  if type(line) ~= "table" or line.trace ~= "llmpool" then
    error(where .. ":" .. NO_TRACE:sub(2), 0)
  elseif line.version ~= 1 then
    error(("%s: a trace of version %s, which this program does not know")
      :format(where, tostring(line.version)), 0)
  end
end

-- A program that was killed, or a full disk, leaves half a line at the end.
local function is_torn(text) return text:sub(-1) ~= "\n" end

-- Returns the line, or nil if it is the torn last one.
local function parse(text, number, where, path)
  local ok, line = pcall(json.decode, text)
  if ok then
    if number == 1 then check_header(line, where) end
    return number > 1 and check_line(line, where) or line
  end
  if number > 1 and is_torn(text) then return nil end
  if number == 1 and HEADER:sub(1, #text) == text then
    error(path .. ": its first line is cut off: there is nothing to replay", 0)
  end
  error(("%s: %s%s"):format(where, tostring(line), number == 1 and NO_TRACE
    or ""), 0)
end

-- Returns the requests, and whether half a line was left out.
local function read_lines(file, path)
  local lines, number = {}, 0
  for text in file:lines "L" do
    number = number + 1
    local line = parse(text, number, ("%s:%d"):format(path, number), path)
    if not line then return lines, true end
    if number > 1 then lines[#lines + 1] = line end
  end
  return lines, false
end

--- The requests of a trace file, in order of their instants from 0 on.
-- @return the requests; and a sentence, if the file is cut off within a line
function replay.read(path)
  local file <close>, message = io.open(path)
  if not file then error("cannot read the trace: " .. message, 0) end
  local _, why = file:read(0)
  if why then -- a directory can be opened
    error(("cannot read the trace: %s: %s"):format(path, why), 0)
  end
  local lines, torn = read_lines(file, path)
  if #lines == 0 then error(path .. ": the trace has no requests", 0) end
  table.sort(lines, function(a, b) return a.at < b.at end)
  local start = lines[1].at
  for _, line in ipairs(lines) do line.at = line.at - start end
  return lines, torn and ("%s: its last line is cut off and left out: %d "
    .. "requests are replayed"):format(path, #lines) or nil
end

-- ---- what each client did ---------------------------------------------------

local function client_of(models, attempt)
  local model = models[attempt.model]
  if not model then
    model = { names = {}, clients = {} }
    models[attempt.model] = model
  end
  local client = model.clients[attempt.client]
  if not client then
    client = { id = attempt.client, latency = {}, after = {}, windows = {},
               edges = {} }
    model.clients[attempt.client] = client
    model.names[#model.names + 1] = attempt.client
  end
  return client
end

local function window_of(client, at, width)
  local i = at // width | 0
  local window = client.windows[i]
  if not window then
    window = { n = 0, failed = 0, kinds = {} }
    client.windows[i] = window
  end
  return window
end

-- A failure that a simulated client does not know is the provider's own.
local function kind_of(attempt)
  return kinds.is_known(attempt.kind) and attempt.kind or "server"
end

local function learn(client, attempt, at, width)
  local window = window_of(client, at, width)
  window.n = window.n + 1
  client.edges[#client.edges + 1] = { at, 1 }
  client.edges[#client.edges + 1] = { at + attempt.seconds, -1 }
  if attempt.ok then
    client.latency[#client.latency + 1] = attempt.seconds
    return
  end
  local kind = kind_of(attempt)
  client.after[#client.after + 1] = attempt.seconds
  window.failed = window.failed + 1
  window.kinds[kind] = (window.kinds[kind] or 0) + 1
end

-- The most leases that it had at once: as many slots had it at least.
local function slots_of(client)
  table.sort(client.edges, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  local now, most = 0, 1
  for _, edge in ipairs(client.edges) do
    now = now + edge[2]
    most = math.max(most, now)
  end
  return most
end

local function outages_of(client, width)
  local numbers, list = {}, {}
  for i, window in pairs(client.windows) do
    if window.failed > 0 then numbers[#numbers + 1] = i end
  end
  table.sort(numbers)
  for _, i in ipairs(numbers) do
    local window = client.windows[i]
    list[#list + 1] = { from = i * width, to = (i + 1) * width,
                        rate = window.failed / window.n, kinds = window.kinds }
  end
  return list
end

local function spec_of(client, width)
  local failed = #client.after > 0
  return {
    id = client.id, slots = slots_of(client),
    latency = #client.latency > 0
      and { "empirical", values = client.latency } or 0,
    failures = failed and {
      outages = outages_of(client, width),
      after = { "empirical", values = client.after },
    } or nil,
  }
end

-- ---- the scenario -----------------------------------------------------------

local function learn_all(lines, width)
  local models = {}
  for _, line in ipairs(lines) do
    for _, attempt in ipairs(line.attempts) do
      learn(client_of(models, attempt), attempt, line.at + attempt.after,
        width)
    end
  end
  return models
end

local function models_of(models, width)
  local result = {}
  for name, model in pairs(models) do
    table.sort(model.names)
    local clients = {}
    for i, id in ipairs(model.names) do
      clients[i] = spec_of(model.clients[id], width)
    end
    result[name] = { clients = clients }
  end
  return result
end

-- Without a policy a request goes where it went: to the model that it asked
-- for, or else to any.
local function as_it_was(models)
  local names = sorted(models)
  return function(request)
    if models[request.model] then return request.model end
    return { model = names }
  end
end

--- The scenario of a trace.
-- @param path string: the file
-- @return the scenario; and a sentence, if the file is cut off within a line
function replay.scenario(path)
  local lines, torn = replay.read(path)
  local last = lines[#lines].at
  local width = math.max(SHORTEST, last / WINDOWS)
  local models = models_of(learn_all(lines, width), width)
  if next(models) == nil then
    error(path .. ": no request of the trace has reached a client", 0)
  end
  return require "llmpool.scenario".new {
    name = "replay of " .. (path:match "([^/\\]+)$"), models = models,
    policy = as_it_was(models),
    traffic = { "replay", arrivals = lines },
  }, torn
end

return replay
