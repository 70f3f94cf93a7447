-- text.lua: a report for the terminal, 40 to 200 columns wide. One idea: what
-- somebody wants to know first comes first - how many were served and how
-- long it took - and each line stands by itself, so that grep finds it. It
-- works nothing out.

local format = require "llmpool.scenario.format"
local sorted = require "llmpool.sorted"

local text = {}

local MOST_CLIENTS = 24 -- that have a line each

local pad = format.pad

local function joined(parts, gap) return table.concat(parts, gap or "  ") end

-- The parts on as many lines as they need, each with the margin.
local function flow(out, label, parts, width)
  local margin = (" "):rep(12)
  local line = pad(label, 12)
  for i, part in ipairs(parts) do
    local is_first = line == margin or i == 1
    if not is_first and format.width(line) + 3 + format.width(part) > width
    then
      out[#out + 1] = line:gsub("%s+$", "")
      line = margin .. part
    else
      line = line .. (is_first and "" or "   ") .. part
    end
  end
  out[#out + 1] = (line:gsub("%s+$", ""))
end

-- ---- parts ------------------------------------------------------------------

local function heading(out, report, width)
  local how = report.mode == "virtual"
    and ("%s simulated in %.2f s"):format(format.seconds(report.seconds),
      report.wall)
    or format.seconds(report.seconds) .. (report.mode == "live"
      and " against real upstreams" or " in real time")
  local line = joined({ report.scenario, "policy " .. report.policy,
    "seed " .. report.seed, how }, ", ")
  if format.width(line) <= width then
    out[#out + 1] = line
  else
    out[#out + 1] = report.scenario .. ", policy " .. report.policy
    out[#out + 1] = "seed " .. report.seed .. ", " .. how
  end
end

local function requests(out, report, width)
  flow(out, "requests", {
    format.count(report.requests),
    ("served %s (%s)"):format(format.count(report.served),
      format.share(report.served_rate)),
    ("failed %s"):format(format.count(report.failed.total)),
    ("%s/s"):format(format.number(report.throughput)),
  }, width)
  local kinds = {}
  for kind, count in pairs(report.failed) do
    if kind ~= "total" then kinds[#kinds + 1] = { kind, count } end
  end
  if #kinds == 0 then return end
  table.sort(kinds, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  local parts = {}
  for i, kind in ipairs(kinds) do
    parts[i] = kind[1] .. " " .. format.count(kind[2])
  end
  flow(out, "failed", parts, width)
end

local COLUMNS = { "p50", "p95", "p99", "max", "mean" }

local function times(out, report, width)
  local n = math.max(2, math.min(#COLUMNS, (width - 12) // 10))
  local header = { pad("", 12) }
  for i = 1, n do header[#header + 1] = pad(COLUMNS[i], 10, true) end
  out[#out + 1] = table.concat(header)
  local function row(label, summary)
    local cells, none = { pad(label, 12) }, summary.count == 0
    for i = 1, n do
      cells[#cells + 1] = pad(none and "-" or format.seconds(
        summary[COLUMNS[i]]), 10, true)
    end
    out[#out + 1] = table.concat(cells)
  end
  row("latency", report.latency)
  if report.first.count > 0 then row("first token", report.first) end
  row("wait", report.wait)
  if report.turn.count > 0 then row("turn", report.turn) end
end

local function name_width(list, most)
  local longest = 6
  for _, name in ipairs(list) do
    longest = math.max(longest, format.width(name))
  end
  return math.min(longest, most)
end

-- Columns beside the name and the bar of a client.
local function extra(report, width)
  local rests, breaks = 0, 0
  for _, client in ipairs(report.clients) do
    if client.resting > 0 and width >= 60 then rests = 16 end
    if client.broken > 0 and width >= 80 then breaks = 15 end
  end
  return 16 + rests + breaks
end

local function clients(out, report, width)
  local names = {}
  for i, client in ipairs(report.clients) do
    names[i] = client.model .. "/" .. client.id
  end
  local left = name_width(names, width // 3)
  local bar = math.max(6, math.min(40, width - left - extra(report, width)))
  out[#out + 1] = ""
  for i, client in ipairs(report.clients) do
    if i > MOST_CLIENTS then
      out[#out + 1] = ("... and %d clients more"):format(#names - MOST_CLIENTS)
      break
    end
    local line = pad(names[i], left) .. "  "
      .. format.bar(client.utilisation, bar)
      .. pad(format.share(client.utilisation), 8, true) .. " busy"
    if client.resting > 0 and width >= 60 then
      line = line .. pad(format.share(client.resting), 8, true) .. " resting"
    end
    if client.broken > 0 and width >= 80 then
      line = line .. pad(format.share(client.broken), 8, true) .. " broken"
    end
    out[#out + 1] = line
  end
end

local function queue(out, report, width)
  local numbers = ("max %s, mean %s"):format(format.count(report.queue.max),
    format.number(report.queue.mean))
  local room = width - 12 - 2 - format.width(numbers)
  out[#out + 1] = ""
  if report.queue.max == 0 then
    out[#out + 1] = pad("queue", 12) .. "nobody waited"
  elseif room < 10 then
    out[#out + 1] = pad("queue", 12) .. format.sparkline(report.queue.series,
      width - 12)
    out[#out + 1] = pad("", 12) .. numbers
  else
    out[#out + 1] = pad("queue", 12) .. format.sparkline(report.queue.series,
      math.min(room, 100)) .. "  " .. numbers
  end
end

local function cost(out, report, width)
  local parts = {}
  if report.cost > 0 then
    parts[#parts + 1] = format.number(report.cost)
    parts[#parts + 1] = ("%s per 1,000 served"):format(format.number(
      report.served > 0 and report.cost / report.served * 1000 or 0))
  end
  if #parts > 0 then flow(out, "cost", parts, width) end
  if report.attempts > 1.0005 then
    flow(out, "leases", { format.count(report.leases),
      ("%.3f per request"):format(report.attempts) }, width)
  end
end

local function tenants(out, report, width)
  local names = sorted(report.tenants)
  if #names < 2 then return end
  local left = name_width(names, width // 3)
  out[#out + 1] = ""
  for i = 1, math.min(#names, 20) do
    local tenant = report.tenants[names[i]]
    local line = pad(names[i], left)
      .. pad(format.share(tenant.served_rate), 9, true) .. " served"
    if width >= 50 then
      line = line .. pad("p95 " .. format.seconds(tenant.latency.p95), 16, true)
    end
    if width >= 70 then
      line = line .. pad(format.count(tenant.requests), 12, true)
        .. " requests"
    end
    out[#out + 1] = line
  end
  if #names > 20 then
    out[#out + 1] = ("... and %d tenants more"):format(#names - 20)
  end
  flow(out, "fairness", {
    ("of service %.3f"):format(report.fairness.served),
    ("of speed %.3f"):format(report.fairness.latency),
  }, width)
end

local function expected(out, report, width)
  if not report.expected or #report.expected == 0 then return end
  out[#out + 1] = ""
  for _, result in ipairs(report.expected) do
    local line = (result.ok and "ok    " or "FAIL  ") .. result.text
    if result.ok and result.actual then
      local actual = "  (" .. format.number(result.actual) .. ")"
      if format.width(line) + format.width(actual) <= width then
        line = line .. actual
      end
    end
    out[#out + 1] = line
    if not result.ok then
      for part in (result.message .. "\n"):gmatch "(.-)\n" do
        out[#out + 1] = "      " .. part
      end
    end
  end
end

--- The report as text, for so many columns.
function text.report(report, width)
  width = math.max(40, math.min(200, width or 80))
  local out = {}
  heading(out, report, width)
  out[#out + 1] = ""
  requests(out, report, width)
  times(out, report, width)
  clients(out, report, width)
  queue(out, report, width)
  cost(out, report, width)
  tenants(out, report, width)
  expected(out, report, width)
  out[#out + 1] = ""
  out[#out + 1] = ("hash %s of %s events"):format(report.hash,
    format.count(report.events))
  return table.concat(out, "\n") .. "\n"
end

return text
