-- compare.lua: several policies, or several seeds, side by side. One idea: on
-- one seed every policy has met the same traffic, so what counts is not the
-- difference of two means but the mean of the differences, seed by seed: its
-- confidence interval is a paired one, and narrow. It runs nothing.

local expect = require "llmpool.scenario.expect"
local format = require "llmpool.scenario.format"

local compare = {}

-- path, label, how it is written, which way is better (1: up)
local ROWS = {
  { "served_rate", "served", "share", 1 },
  { "failed.total", "failed", "number", -1 },
  { "throughput", "per second", "number", 1 },
  { "latency.mean", "latency mean", "seconds", -1 },
  { "latency.p50", "latency p50", "seconds", -1 },
  { "latency.p95", "latency p95", "seconds", -1 },
  { "latency.p99", "latency p99", "seconds", -1 },
  { "latency.max", "latency max", "seconds", -1 },
  { "first.p95", "first token p95", "seconds", -1 },
  { "wait.mean", "wait mean", "seconds", -1 },
  { "wait.p95", "wait p95", "seconds", -1 },
  { "queue.max", "queue max", "number", -1 },
  { "attempts", "leases/request", "number", -1 },
  { "cost", "cost", "number", -1 },
  { "fairness.served", "fairness, service", "number", 1 },
  { "fairness.latency", "fairness, speed", "number", 1 },
}

-- Student's t, 97.5 %, for 1 to 30 degrees of freedom.
local T = { 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262,
  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
  2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042 }

--- The quantile of Student's t for a two-sided 95 % interval.
function compare.t_quantile(degrees)
  if degrees <= #T then return T[degrees] end
  local z = 1.959964 -- Cornish and Fisher's expansion about the normal
  return z + (z ^ 3 + z) / (4 * degrees)
    + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / (96 * degrees ^ 2)
end

--- Mean of a list, and half the width of its 95 % interval (nil: one number).
function compare.interval(list)
  local n, sum = #list, 0
  for _, value in ipairs(list) do sum = sum + value end
  local mean = sum / n
  if n < 2 then return mean, nil end
  local squares = 0
  for _, value in ipairs(list) do squares = squares + (value - mean) ^ 2 end
  local deviation = math.sqrt(squares / (n - 1))
  return mean, compare.t_quantile(n - 1) * deviation / math.sqrt(n)
end

local function values(reports, path)
  local list = {}
  for i, report in ipairs(reports) do
    list[i] = expect.lookup(report, path) or 0
  end
  return list
end

local function differences(list, base)
  local result = {}
  for i, value in ipairs(list) do result[i] = value - base[i] end
  return result
end

local function matters(lists)
  for _, list in ipairs(lists) do
    for _, value in ipairs(list) do
      if value ~= 0 then return true end
    end
  end
  return false
end

--- The numbers of a comparison.
-- @param columns list of {name =, reports = list, one a seed}; the first is
-- what the others are compared with
-- @return list of {path, label, kind, better, columns = list of {mean, half,
-- difference, difference_half}}
function compare.rows(columns)
  local rows = {}
  for _, spec in ipairs(ROWS) do
    local lists = {}
    for i, column in ipairs(columns) do
      lists[i] = values(column.reports, spec[1])
    end
    if matters(lists) then
      local row = { path = spec[1], label = spec[2], kind = spec[3],
                    better = spec[4], columns = {} }
      for i, list in ipairs(lists) do
        local cell = {}
        cell.mean, cell.half = compare.interval(list)
        if i > 1 then
          cell.difference, cell.difference_half = compare.interval(
            differences(list, lists[1]))
        end
        row.columns[i] = cell
      end
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- ---- as text ----------------------------------------------------------------

local function write(value, kind)
  if kind == "share" then return format.share(value) end
  if kind == "seconds" then return format.seconds(value) end
  return format.number(value)
end

local function with_half(value, half, kind)
  local text = write(value, kind)
  if half and half > 0 then
    text = text .. (format.unicode() and " ± " or " +- ") .. write(half, kind)
  end
  return text
end

-- "+" better, "-" worse, "=" no difference that the seeds show.
local function verdict(cell, better)
  local d, half = cell.difference, cell.difference_half
  if d == 0 or half and math.abs(d) <= half then return "=" end
  if not half then return " " end
  return d * better > 0 and "+" or "-"
end

local function difference(cell, row)
  local sign = cell.difference > 0 and "+" or ""
  return verdict(cell, row.better) .. " " .. sign
    .. with_half(cell.difference, cell.difference_half, row.kind)
end

local function heading(columns, seeds)
  local names = {}
  for i, column in ipairs(columns) do names[i] = column.name end
  local first = columns[1].reports[1]
  return ("%s: %s, %s"):format(first.scenario, table.concat(names, ", "),
    seeds > 1 and ("%d seeds from %d"):format(seeds, first.seed)
      or "seed " .. first.seed)
end

local function wide(out, columns, rows, left, cell)
  local line = { format.pad("", left) }
  for i, column in ipairs(columns) do
    line[#line + 1] = format.pad(column.name, cell, true)
    if i > 1 then line[#line + 1] = format.pad("difference", cell, true) end
  end
  out[#out + 1] = table.concat(line)
  for _, row in ipairs(rows) do
    line = { format.pad(row.label, left) }
    for i, c in ipairs(row.columns) do
      line[#line + 1] = format.pad(with_half(c.mean, c.half, row.kind), cell,
        true)
      if i > 1 then
        line[#line + 1] = format.pad(difference(c, row), cell, true)
      end
    end
    out[#out + 1] = table.concat(line)
  end
end

local function narrow(out, columns, rows, left)
  for i, column in ipairs(columns) do
    out[#out + 1] = ""
    out[#out + 1] = column.name .. (i > 1 and ", against " .. columns[1].name
      or "")
    for _, row in ipairs(rows) do
      local c = row.columns[i]
      out[#out + 1] = format.pad(row.label, left)
        .. with_half(c.mean, c.half, row.kind)
      if i > 1 then
        out[#out + 1] = (" "):rep(left) .. difference(c, row)
      end
    end
  end
end

--- The comparison as text, for so many columns of the terminal.
function compare.text(columns, width)
  width = math.max(40, math.min(200, width or 80))
  local rows, seeds = compare.rows(columns), #columns[1].reports
  local out = { heading(columns, seeds), "" }
  local left, cells = 19, 2 * #columns - 1
  local cell = (width - left) // cells
  if cell >= (seeds > 1 and 22 or 14) then
    wide(out, columns, rows, left, math.min(cell, 28))
  else
    narrow(out, columns, rows, left)
  end
  if seeds > 1 then
    out[#out + 1] = ""
    out[#out + 1] = "mean over the seeds, with its 95 % interval"
    if #columns > 1 then
      out[#out + 1] = "difference: paired by seed; + better, - worse, = none "
        .. "that they show"
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return compare
