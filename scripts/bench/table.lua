-- table.lua - from samples to the one Markdown table.
--
--   lua5.4 table.lua SAMPLES...
--
-- One idea: samples of one round were taken one after the other, so it is
-- their ratio that means something on a machine that does other things too.
-- Of the rounds' ratios the table gives the median, and as the spread the
-- quartiles. A case whose samples are not there is left out.

-- A case has a title, the name of its samples, their unit, our subject, and
-- peers: each another subject, or none, with a target or none. at_most, below
-- and at_least are for the ratio ours / peer, faster for peer / ours, added for
-- ours - peer, absolute for our own figure.
local cases = {}

local function case(title, sample, unit, ours, peers)
  cases[#cases + 1] =
    { title = title, sample = sample, unit = unit, ours = ours, peers = peers }
end

case("C: acquire and release, uncontended", "pair", "ns", "llmpool", {
  { "sem_t", at_most = 2 }, { "apr_reslist" },
})
for _, load in ipairs { "8/2 0.1ms", "16/4 0.1ms", "64/4 1ms" } do
  local threads, clients, hold = load:match "(%d+)/(%d+) (%S+)ms"
  local title = ("%s threads, %s clients, %s ms: "):format(threads, clients,
                                                           hold)
  case(title .. "leases a second", "rate " .. load, "/s", "llmpool", {
    { "sem_t", at_least = 0.97 }, { "apr_reslist", at_least = 0.97 },
    { "a bare hand-off" },
  })
  case(title .. "leases a second of a bare hand-off", "rate " .. load, "/s",
       "a bare hand-off", { { "sem_t" } })
  case(title .. "wait, p99", "p99 " .. load, "ns", "llmpool", {
    { "sem_t", at_most = 0.2 }, { "apr_reslist", below = 1 },
  })
end
case("8 threads, 2 clients, no hold: leases a second", "rate 8/2 0ms", "/s",
     "llmpool", { { "sem_t" }, { "apr_reslist" }, { "a bare hand-off" } })
case("a client handed to a thread that sleeps in line", "handover", "ns",
     "llmpool", { { "sem_t" }, { "apr_reslist" }, { "a bare hand-off" } })
for _, where in ipairs { "main", "task" } do
  local place = where == "main" and "on the main chunk" or "in a task"
  case("Lua: get_client, empty callback, " .. place, "lease " .. where, "ns",
       "get_client", { { "pcall", at_most = 5 }, { "asyncio", faster = 10 } })
  case("Lua: acquire with <close>, " .. place, "lease " .. where, "ns",
       "acquire", { { "pcall", at_most = 7 }, { "asyncio", faster = 10 } })
end
case("hand-off between tasks, 10,000 on 10 clients", "handoff", "ns",
     "llmpool", { { absolute = 700 }, { "asyncio", faster = 10 } })
for _, k in ipairs { 1, 100, 250, 1000 } do
  local title = ("%d,000 tasks wait for 2 clients: "):format(k)
  if k == 1000 then title = title:gsub("^1000", "1,000") end
  case(title .. "memory of each", ("waiting memory %dk"):format(k), "B",
       "llmpool", { { absolute = 1536 }, { "asyncio" } })
  case(title .. "time of each", ("waiting time %dk"):format(k), "ns",
       "llmpool", { { absolute = math.huge }, { "asyncio" } })
end
case("1,000,000 tasks wait, beside 100,000: time of each", "waiting growth",
     "ns", "1000k", { { "100k", at_most = 1.25 } })
case("a simulated request, two models, fallback policy", "sim request", "ns",
     "llmpool", { { absolute = 1e9 / 300000 }, { "SimPy", faster = 10 } })
case("a simulated day of 864,000 requests", "sim day", "ns", "llmpool", {
  { absolute = 5e9 },
})
case("HTTP: pool:generate at 64 in flight, CPU of a request", "http generate",
     "ns", "llmpool", { { "curl", at_most = 1.6 } })
case("HTTP: 1,000 streams on one worker, memory of each", "http memory", "B",
     "llmpool", { { absolute = 65536 }, { "curl" } })
case("HTTP: 1,000 streams, first token (median), beyond curl's", "http first",
     "ns", "llmpool", { { "curl", added = 1e6 } })
case("program start, -e \"\"", "start", "ns", "llmpool", {
  { "lua5.4", at_most = 2 },
})

for _, load in ipairs { { 8, 2000 }, { 64, 5000 } } do
  local clients, target = load[1], load[2]
  for _, policy in ipairs { "fallback", "weighted", "round_robin", "least_busy",
                            "latency", "sticky", "cheapest" } do
    case(("a decision, %d clients: %s"):format(clients, policy),
         "decision " .. clients, "ns", policy,
         { { absolute = target }, { "empty call" } })
  end
end

-- ---- samples -------------------------------------------------------------

local samples = {} -- [what][subject][round] = value

local function slot(table, key)
  table[key] = table[key] or {}
  return table[key]
end

local function read(file)
  for line in file:lines() do
    local what, subject, round, value =
      line:match "^sample\t([^\t]+)\t([^\t]+)\t(%d+)\t(%S+)$"
    if what then
      slot(slot(samples, what), subject)[tonumber(round)] = tonumber(value)
    end
  end
  file:close()
end

-- The p-quantile of a sorted list, between its neighbours.
local function quantile(list, p)
  local at = 1 + (#list - 1) * p
  local low = math.floor(at)
  local high = math.min(low + 1, #list)
  return list[low] + (list[high] - list[low]) * (at - low)
end

-- Sorted values of f over the rounds that both have.
local function over(a, b, f)
  local list = {}
  for round, value in pairs(a) do
    if b[round] then list[#list + 1] = f(value, b[round]) end
  end
  table.sort(list)
  return list
end

local function first(value) return value end
local function ratio(ours, peer) return ours / peer end
local function inverse(ours, peer) return peer / ours end
local function difference(ours, peer) return ours - peer end

-- ---- the table -----------------------------------------------------------

local scaled
function scaled(value, unit)
  if unit == "ns" then
    if value < 0 then return "-" .. scaled(-value, unit) end
    if value >= 1e6 then return ("%.2f ms"):format(value / 1e6) end
    if value >= 1e3 then return ("%.2f us"):format(value / 1e3) end
    return ("%.1f ns"):format(value)
  elseif unit == "/s" then
    return ("%.0f /s"):format(value)
  end
  return ("%.0f %s"):format(value, unit)
end

local function bound(peer, unit)
  if peer.at_most then return ("<= %g x"):format(peer.at_most) end
  if peer.at_least then return (">= %g x"):format(peer.at_least) end
  if peer.below then return ("< %g x"):format(peer.below) end
  if peer.faster then return (">= %g x faster"):format(peer.faster) end
  if peer.added then return "<= " .. scaled(peer.added, unit) .. " more" end
  if peer.absolute and peer.absolute < math.huge then
    return "<= " .. scaled(peer.absolute, unit)
  end
  return "-"
end

local function is_met(peer, value)
  if peer.at_most then return value <= peer.at_most end
  if peer.at_least then return value >= peer.at_least end
  if peer.below then return value < peer.below end
  if peer.faster then return value >= peer.faster end
  if peer.added then return value <= peer.added end
  if peer.absolute and peer.absolute < math.huge then
    return value <= peer.absolute
  end
  return nil
end

local function answer(met)
  if met == nil then return "-" end
  return met and "yes" or "**no**"
end

local function row(...)
  print("| " .. table.concat({ ... }, " | ") .. " |")
end

local missed = 0

local function report(c, peer)
  local found = samples[c.sample] or {}
  local ours, theirs = found[c.ours], found[peer[1] or c.ours]
  if not ours or not theirs then return end
  local mine = over(ours, theirs, first)
  if #mine == 0 then return end
  local compare = peer.faster and inverse or peer.added and difference or ratio
  local list = peer[1] and over(ours, theirs, compare) or mine
  local median = quantile(list, 0.5)
  local met = is_met(peer, median)
  if met == false then missed = missed + 1 end
  local function form(x)
    if not peer[1] or peer.added then return scaled(x, c.unit) end
    return ("%.3g"):format(x)
  end
  row(c.title, scaled(quantile(mine, 0.5), c.unit),
      peer[1] and peer[1] .. " " ..
        scaled(quantile(over(theirs, ours, first), 0.5), c.unit) or "-",
      peer[1] and form(median) .. (peer.faster and " faster" or
        peer.added and " more" or "") or "-",
      #list > 1 and form(quantile(list, 0.25)) .. " to " ..
        form(quantile(list, 0.75)) or "-",
      bound(peer, c.unit), answer(met))
end

for _, path in ipairs(arg) do read(assert(io.open(path))) end
row("case", "llmpool", "peer", "ratio", "quartiles", "target", "met")
row("---", "---", "---", "---", "---", "---", "---")
for _, c in ipairs(cases) do
  for _, peer in ipairs(c.peers) do report(c, peer) end
end
os.exit(missed == 0, true)
