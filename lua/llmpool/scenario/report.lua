-- report.lua: what a run was like, as one table of plain values. One idea:
-- everything that can be asked of a run - by an expectation, by the text, by
-- JSON, by a comparison - is a number at a path of this table, worked out once
-- from the record and the callers' counts. It prints nothing.

local native = require "llmpool.native"
local sorted = require "llmpool.sorted"

local report = {}

-- Jain's index of fairness: 1 when all are alike, 1/n when one has it all.
function report.jain(values)
  local sum, squares, n = 0, 0, 0
  for _, value in ipairs(values) do
    sum, squares, n = sum + value, squares + value * value, n + 1
  end
  if n == 0 or squares == 0 then return 1.0 end
  return sum * sum / (n * squares)
end

--- Whether one client comes before another: by model, then by id, with the
-- number at its end as a number.
function report.by_name(a, b)
  if a.model ~= b.model then return a.model < b.model end
  local left, x = a.id:match "^(.-)(%d+)$"
  local right, y = b.id:match "^(.-)(%d+)$"
  if left and left == right and #x < 16 and #y < 16 and x ~= y then
    return tonumber(x) < tonumber(y)
  end
  return a.id < b.id
end

local function sum_into(total, list)
  for i, value in ipairs(list) do total[i] = (total[i] or 0) + value end
  return total
end

local function averages(areas, width, seconds)
  local result = {}
  for i, area in ipairs(areas) do
    local left = seconds - (i - 1) * width
    result[i] = area / math.max(math.min(width, left), 1e-9)
  end
  return result
end

local function queue_of(areas, area, deepest, read, seconds)
  return { mean = seconds > 0 and area / seconds or 0, max = deepest,
           series = averages(areas, read.width, seconds), width = read.width }
end

local function models_of(read, seconds)
  local models, areas, area = {}, {}, 0
  for _, model in ipairs(read.models) do
    models[model.name] = {
      wait = model.wait, lends = model.wait.count,
      queue = queue_of(model.depth, model.depth_area, model.deepest, read,
        seconds),
    }
    sum_into(areas, model.depth)
    area = area + model.depth_area
  end
  return models, queue_of(areas, area, read.deepest, read, seconds)
end

local function clients_of(read, run, seconds)
  local clients = {}
  local slots = run.slots
  for i, client in ipairs(read.clients) do
    local n = slots[client.model] and slots[client.model][client.id] or 1
    clients[i] = {
      id = client.id, model = client.model, lends = client.lends, slots = n,
      busy = client.busy, utilisation = seconds > 0
        and client.busy / (seconds * n) or 0,
      rest = client.rest, resting = seconds > 0
        and client.rest / (seconds * n) or 0,
      broken = seconds > 0 and client.broken / seconds or 0,
    }
  end
  table.sort(clients, report.by_name)
  return clients
end

local function tenants_of(calls)
  local tenants, names = {}, {}
  for name, tenant in pairs(calls.tenants) do
    names[#names + 1] = name
    local latency = tenant.meter:summary()
    local served, failed = latency.count, tenant.failed
    local requests = served + failed
    tenants[name == "" and "default" or name] = {
      requests = requests, served = served, failed = failed, latency = latency,
      served_rate = requests > 0 and served / requests or 0,
      cost = tenant.cost,
    }
  end
  table.sort(names)
  local served, speed = {}, {}
  for i, name in ipairs(names) do
    local tenant = tenants[name == "" and "default" or name]
    served[i] = tenant.served_rate
    speed[i] = tenant.latency.mean > 0 and 1 / tenant.latency.mean or 0
  end
  return tenants, { served = report.jain(served), latency = report.jain(speed) }
end

local function failures_of(calls)
  local failed = { total = 0 }
  for kind, count in pairs(calls.failed) do
    failed[kind] = count
    failed.total = failed.total + count
  end
  return failed
end

local function latency_of(calls)
  local all = native.meter()
  for _, name in ipairs(sorted(calls.tenants)) do
    all:merge(calls.tenants[name].meter)
  end
  return all:summary()
end

--- The report of a run that has ended.
-- @param run table: scenario, policy (its name), seed, calls, read (of the
-- record), hash, seconds, slots, wall
function report.of(run)
  local calls, read, seconds = run.calls, run.read, run.seconds
  local latency = latency_of(calls)
  local served = latency.count
  local models, queue = models_of(read, seconds)
  local tenants, fairness = tenants_of(calls)
  local requests = calls.requests
  return {
    scenario = run.scenario, policy = run.policy, seed = run.seed,
    mode = run.mode, seconds = seconds, requests = requests, served = served,
    served_rate = requests > 0 and served / requests or 0,
    throughput = seconds > 0 and served / seconds or 0,
    failed = failures_of(calls), wait = read.wait, latency = latency,
    turn = calls.router.turns:summary(),
    first = calls.first:summary(), failed_after = calls.lost:summary(),
    leases = read.counts.lent, attempts = requests > 0
      and read.counts.lent / requests or 0,
    models = models, clients = clients_of(read, run, seconds), queue = queue,
    cost = calls.cost, prompt_tokens = calls.prompt_tokens,
    completion_tokens = calls.completion_tokens, tenants = tenants,
    fairness = fairness, events = read.total, hash = run.hash,
    wall = run.wall, rate = run.wall > 0 and requests / run.wall or 0,
  }
end

return report
