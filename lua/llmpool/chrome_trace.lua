-- chrome_trace.lua: a run in the format of Chrome's tracing, which Perfetto
-- (ui.perfetto.dev) opens: a process a model, a track a client and slot, an
-- asynchronous span a request with its wait inside it, a counter of who waits.
-- One idea: it is written event by event, in order of time, so that a large one
-- needs no memory. What it has, it has from the events that the record kept;
-- what is open at their end is closed there.

local json = require "llmpool.json"
local sorted = require "llmpool.sorted"

local chrome_trace = {}

local Writer = {}
Writer.__index = Writer

local function micros(seconds) return ("%.3f"):format(seconds * 1e6) end

function Writer:put(format, ...)
  self.file:write(self.first and "\n" or ",\n", format:format(...))
  self.first = false
end

function Writer:name(what, pid, tid, name)
  self:put('{"ph":"M","name":"%s","pid":%d,"tid":%d,"args":{"name":%s}}', what,
    pid, tid, json.encode(name))
end

-- A client's tracks have the numbers from 1000 times its own on: a slot each.
function Writer:track(client, row)
  local tid = client.number * 1000 + row
  if not client.named[row] then
    client.named[row] = true
    local id = row > 1 and ("%s (slot %d)"):format(client.id, row) or client.id
    self:name("thread_name", client.pid, tid, id)
  end
  return tid
end

local function take_row(client)
  local row = 1
  while client.taken[row] do row = row + 1 end
  client.taken[row] = true
  return row
end

-- ---- what each event is -----------------------------------------------------

function Writer:depth(model, change, time)
  model.depth = model.depth + change
  self:put('{"ph":"C","name":"waiting","pid":%d,"tid":0,"ts":%s,'
    .. '"args":{"callers":%d}}', model.pid, micros(time), model.depth)
end

-- A request's span begins when it is queued, or lent at once.
function Writer:begin(ask, model, time)
  self.asks[ask] = { from = time, model = model }
  self:put('{"ph":"b","cat":"request","name":"request","id":%d,"pid":%d,'
    .. '"tid":0,"ts":%s}', ask, model.pid, micros(time))
end

function Writer:finish(ask, time, how)
  local open = self.asks[ask]
  if not open then return end
  self.asks[ask] = nil
  self:put('{"ph":"e","cat":"request","name":"request","id":%d,"pid":%d,'
    .. '"tid":0,"ts":%s,"args":{"end":"%s"}}', ask, open.model.pid,
    micros(time), how)
end

function Writer:leave_line(ask, time)
  local open = self.asks[ask]
  if not open or not open.waits then return end
  open.waits = false
  self:depth(open.model, -1, time)
  self:put('{"ph":"e","cat":"request","name":"wait","id":%d,"pid":%d,"tid":0,'
    .. '"ts":%s}', ask, open.model.pid, micros(time))
end

local on = {}

function on.queued(w, time, model, _, ask)
  w:begin(ask, model, time)
  w.asks[ask].waits = true
  w:depth(model, 1, time)
  w:put('{"ph":"b","cat":"request","name":"wait","id":%d,"pid":%d,"tid":0,'
    .. '"ts":%s}', ask, model.pid, micros(time))
end

function on.lent(w, time, model, client, ask)
  if not client then return end
  if not w.asks[ask] then w:begin(ask, model, time) end
  w:leave_line(ask, time)
  local row = take_row(client)
  w.leases[ask] = { row = row, client = client }
  w:put('{"ph":"B","cat":"lease","name":"lease","pid":%d,"tid":%d,"ts":%s,'
    .. '"args":{"ask":%d}}', client.pid, w:track(client, row), micros(time),
    ask)
end

function on.returned(w, time, _, _, ask)
  local lease = w.leases[ask]
  if not lease then return end
  w.leases[ask] = nil
  local client = lease.client
  client.taken[lease.row] = nil
  w:put('{"ph":"E","cat":"lease","name":"lease","pid":%d,"tid":%d,"ts":%s}',
    client.pid, w:track(client, lease.row), micros(time))
  w:finish(ask, time, "returned")
end

-- A span of its own beside the leases: other slots may still be lent.
local function rest(w, phase, client, time)
  w:put('{"ph":"%s","cat":"rest","name":"resting","id":%d,"pid":%d,"tid":%d,'
    .. '"ts":%s}', phase, client.number, client.pid, w:track(client, 1),
    micros(time))
end

function on.resting(w, time, _, client)
  if not client or client.rests then return end
  client.rests = true
  rest(w, "b", client, time)
end

function on.rested(w, time, _, client)
  if not client or not client.rests then return end
  client.rests = false
  rest(w, "e", client, time)
end

local function refused(kind)
  return function(w, time, _, _, ask)
    w:leave_line(ask, time)
    w:finish(ask, time, kind)
  end
end

for _, kind in ipairs { "timeout", "cancelled", "refused", "queue_full" } do
  on[kind] = refused(kind)
end

-- Whatever else there is - replaced, opened, disabled, paused - is a mark.
local function mark(w, kind, time, model, client)
  if not model then return end
  w:put('{"ph":"i","s":"%s","cat":"pool","name":"%s","pid":%d,"tid":%d,'
    .. '"ts":%s}', client and "t" or "p", kind, model.pid,
    client and w:track(client, 1) or 0, micros(time))
end

-- ---- the file ---------------------------------------------------------------

local function tables_of(w, read)
  local models, clients, by_name = {}, {}, {}
  for i, model in ipairs(read.models) do
    models[i] = { pid = i, depth = 0 }
    by_name[model.name] = models[i]
    w:name("process_name", i, 0, model.name)
  end
  for i, client in ipairs(read.clients) do
    clients[i] = { id = client.id, pid = by_name[client.model].pid, number = i,
                   taken = {}, named = {} }
  end
  return models, clients
end

-- What the record's end has cut off, in order of asking.
local function close_open(w, clients)
  for _, client in ipairs(clients) do on.rested(w, w.last, nil, client) end
  for _, ask in ipairs(sorted(w.asks)) do
    on.returned(w, w.last, nil, nil, ask)
    w:leave_line(ask, w.last)
    w:finish(ask, w.last, "open")
  end
end

--- Writes the trace to an open file.
-- @param picture table: record, read
function chrome_trace.put(file, picture)
  local w = setmetatable({ file = file, first = true, asks = {}, leases = {},
                           last = picture.read.last }, Writer)
  file:write '{"displayTimeUnit":"ms","traceEvents":['
  local models, clients = tables_of(w, picture.read)
  for i = 1, picture.read.kept do
    local time, kind, m, c, ask = picture.record:event(i)
    local model, client = m and models[m], c and clients[c]
    local handle = on[kind]
    if handle then
      handle(w, time, model, client, ask)
    elseif kind ~= "registered" then
      mark(w, kind, time, model, client)
    end
  end
  close_open(w, clients)
  file:write "\n]}\n"
end

--- Writes a run's trace into a file; raises if it cannot.
-- @param picture table: record, read (as the second value of scenario:run)
function chrome_trace.write(path, picture)
  local file = require "llmpool.outfile".open(path, "the trace")
  chrome_trace.put(file, picture)
  file:close()
end

return chrome_trace
