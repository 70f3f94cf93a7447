-- lanes.lua: who held which client from when to when, from a record. One idea:
-- where the record has every event and there are few enough, each lease is a
-- span of its own, in a lane of its client; else a client is one band that
-- says how busy it was, so that a picture is as readable, and as large, for
-- 100,000 requests as for ten. It draws nothing.

local by_name = require "llmpool.scenario.report".by_name

local lanes = {}

local MOST_SPANS = 6000 -- leases that are drawn one by one
local MOST_PER_LANE = 600 -- in one lane: beyond that they are a blur
local MOST_LANES = 120 -- rows of the picture

-- ---- spans: every lease by itself -------------------------------------------

local function new_client(entry)
  return { model = entry.model, id = entry.id, entry = entry, rows = {},
           resting = {}, broken = {} }
end

-- The lowest lane of the client that is free: its slots take turns.
local function take_row(client)
  for i, row in ipairs(client.rows) do
    if not row.taken then return row, i end
  end
  local row = { spans = {} }
  client.rows[#client.rows + 1] = row
  return row, #client.rows
end

local function lend(clients, open, client, ask, time, waited)
  local row = take_row(clients[client])
  row.taken = true
  open[ask] = { row = row, client = client, from = time, waited = waited }
end

local function give_back(open, ask, time)
  local span = open[ask]
  if not span then return end
  open[ask] = nil
  span.row.taken = false
  span.to = time
  local spans = span.row.spans
  spans[#spans + 1] = span
end

local function begin(list, from, kind)
  if list.open then return end
  list.open = { from = from, kind = kind }
end

local function finish(list, to)
  local span = list.open
  if not span then return end
  list.open = nil
  span.to = to
  if to > span.from then list[#list + 1] = span end
end

local starts = { disabled = "out of service", opened = "breaker open" }
local ends = { enabled = true, half_open = true, replaced = true,
               retired = true }

local function note(client, kind, time, span)
  if kind == "resting" then
    finish(client.resting, time)
    begin(client.resting, time, "resting")
    client.resting.open.until_when = time + span
  elseif kind == "rested" then
    finish(client.resting, time)
  elseif starts[kind] then
    finish(client.resting, time)
    begin(client.broken, time, starts[kind])
  elseif ends[kind] then
    finish(client.broken, time)
  end
end

-- What has not ended by the end of the record lasts until it, or as long as
-- was said.
local function close(clients, open, last)
  for ask, span in pairs(open) do
    span.unfinished = true
    give_back(open, ask, last)
  end
  for _, client in ipairs(clients) do
    local rest = client.resting.open
    if rest then finish(client.resting, math.min(last, rest.until_when)) end
    finish(client.broken, last)
  end
end

local function spans_of(record, read)
  local clients, open = {}, {}
  for i, entry in ipairs(read.clients) do clients[i] = new_client(entry) end
  for i = 1, read.kept do
    local time, kind, _, client, ask, span = record:event(i)
    if kind == "lent" and client then
      lend(clients, open, client, ask, time, span)
    elseif kind == "returned" then
      give_back(open, ask, time)
    elseif client then
      note(clients[client], kind, time, span)
    end
  end
  close(clients, open, read.last)
  return clients
end

local function is_crowded(read)
  if read.kept < read.total then return true end
  local leases = 0
  for _, client in ipairs(read.clients) do
    leases = leases + client.lends
    if client.lends > MOST_PER_LANE then return true end
  end
  return leases > MOST_SPANS
end

-- ---- bands: how busy it was -------------------------------------------------

local function shares(areas, width, n, read)
  local result = {}
  for i, area in ipairs(areas) do
    local left = read.last - read.start - (i - 1) * width
    result[i] = math.min(1, area / (n * math.max(1e-9, math.min(width, left))))
  end
  return result
end

local function band_of(entry, read, slots)
  local n = slots[entry.model] and slots[entry.model][entry.id] or 1
  return { model = entry.model, id = entry.id, entry = entry,
           band = shares(entry.busy_in, read.width, n, read),
           rest = shares(entry.rest_in, read.width, n, read),
           broken = shares(entry.broken_in or {}, read.width, n, read) }
end

-- ---- both -------------------------------------------------------------------

local function rows_of(clients)
  local count = 0
  for _, client in ipairs(clients) do
    count = count + (client.rows and math.max(1, #client.rows) or 1)
  end
  return count
end

--- The lanes of a record.
-- @param slots table: model -> client's id -> number of slots, or nil
-- @return list of clients, each with rows of spans, or with a band; whether
-- they are bands; how many clients were left out
function lanes.of(record, read, slots)
  local clients, crowded = nil, is_crowded(read)
  if not crowded then
    clients = spans_of(record, read)
    crowded = rows_of(clients) > MOST_LANES
  end
  if crowded then
    clients = {}
    for i, entry in ipairs(read.clients) do
      clients[i] = band_of(entry, read, slots or {})
    end
  end
  table.sort(clients, by_name)
  local left_out = math.max(0, #clients - MOST_LANES)
  for _ = 1, left_out do clients[#clients] = nil end
  return clients, crowded, left_out
end

return lanes
