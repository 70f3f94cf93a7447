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
  { "fairness.served", "fairness, service", "index", 1 },
  { "fairness.latency", "fairness, speed", "index", 1 },
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

-- Rows of nothing but zeros are left out; not who was served.
local function matters(path, lists)
  if path == "served_rate" then return true end
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
    if matters(spec[1], lists) then
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

-- To four decimals: what is nearer to nothing is none.
local function index(x)
  return (("%.4f"):format(x):gsub("%.?0+$", ""):gsub("^%-0$", "0"))
end

local writers = { share = format.share, seconds = format.seconds,
                  number = format.number, index = index }

local function write(value, kind) return writers[kind](value) end

local function with_half(value, half, kind)
  local text = write(value, kind)
  if not half or write(half, kind) == write(0, kind) then return text end
  if kind == "number" then half = tonumber(("%.3g"):format(half)) end
  return text .. (format.unicode() and " ± " or " +- ") .. write(half, kind)
end

-- "*" better, "!" worse; nothing where the seeds do not show it.
local function mark(cell, better)
  local d, half = cell.difference, cell.difference_half
  if not half or math.abs(d) <= half then return "" end
  return d * better > 0 and " *" or " !"
end

local function difference(cell, row)
  local d, half, none = cell.difference, cell.difference_half,
    write(0, row.kind)
  if write(d, row.kind) == none and write(half or 0, row.kind) == none then
    return "="
  end
  return (d > 0 and "+" or "") .. with_half(d, half, row.kind)
    .. mark(cell, row.better)
end

local function heading(columns, seeds)
  local names = {}
  for i, column in ipairs(columns) do names[i] = column.name end
  local first = columns[1].reports[1]
  return ("%s: %s, %s"):format(first.scenario, table.concat(names, ", "),
    seeds > 1 and ("%d seeds from %d"):format(seeds, first.seed)
      or "seed " .. first.seed)
end

-- The table as texts, a row each, the label first.
local function cells_of(columns, rows)
  local head, out = { "" }, {}
  for i, column in ipairs(columns) do
    head[#head + 1] = column.name
    if i > 1 then head[#head + 1] = "difference" end
  end
  for k, row in ipairs(rows) do
    local line = { row.label }
    for i, c in ipairs(row.columns) do
      line[#line + 1] = with_half(c.mean, c.half, row.kind)
      if i > 1 then line[#line + 1] = difference(c, row) end
    end
    out[k] = line
  end
  return head, out
end

local LEFT, GAP, NAME = 17, 2, 20 -- of the labels; between; of a policy's name

-- How wide each column is; and of all of them.
local function widths_of(head, lines)
  local widths, sum = { LEFT }, LEFT
  for i = 2, #head do
    widths[i] = math.min(format.width(head[i]), NAME)
    for _, line in ipairs(lines) do
      widths[i] = math.max(widths[i], format.width(line[i]))
    end
    sum = sum + GAP + widths[i]
  end
  return widths, sum
end

local function wide(out, head, lines, widths)
  table.insert(lines, 1, head)
  for _, line in ipairs(lines) do
    local parts = { format.pad(line[1], LEFT) }
    for i = 2, #line do
      parts[i] = (" "):rep(GAP) .. format.pad(line[i], widths[i], true)
    end
    out[#out + 1] = table.concat(parts)
  end
end

local function short(name)
  return format.width(name) > NAME and format.pad(name, NAME) or name
end

local function narrow(out, columns, rows)
  for i, column in ipairs(columns) do
    if i > 1 then out[#out + 1] = "" end
    out[#out + 1] = short(column.name) .. (i > 1 and ", against "
      .. short(columns[1].name) or "")
    for _, row in ipairs(rows) do
      local c = row.columns[i]
      out[#out + 1] = format.pad(row.label, LEFT) .. "  "
        .. with_half(c.mean, c.half, row.kind)
      if i > 1 then
        out[#out + 1] = (" "):rep(LEFT + 2) .. difference(c, row)
      end
    end
  end
end

local function legend(out, columns, seeds)
  if seeds == 1 then return end
  out[#out + 1] = ""
  out[#out + 1] = "mean of the seeds, with 95 % interval"
  if #columns == 1 then return end
  out[#out + 1] = "difference, paired by seed:"
  out[#out + 1] = "* better, ! worse, else none is shown"
end

--- The comparison as text, for so many columns of the terminal.
function compare.text(columns, width)
  width = math.max(40, math.min(200, width or 80))
  local rows, seeds = compare.rows(columns), #columns[1].reports
  local out = { heading(columns, seeds), "" }
  local head, lines = cells_of(columns, rows)
  local widths, sum = widths_of(head, lines)
  if sum <= width then
    wide(out, head, lines, widths)
  else
    narrow(out, columns, rows)
  end
  legend(out, columns, seeds)
  return table.concat(out, "\n") .. "\n"
end

-- ---- what did not hold ------------------------------------------------------

local function failures(column)
  local order, by_text = {}, {}
  for _, report in ipairs(column.reports) do
    for _, result in ipairs(report.expected) do
      if not result.ok then
        local entry = by_text[result.text]
        if not entry then
          entry = { text = result.text, seed = report.seed, n = 0,
                    message = result.message }
          by_text[result.text], order[#order + 1] = entry, entry
        end
        entry.n = entry.n + 1
      end
    end
  end
  return order
end

--- Each expectation that failed, once a policy: a list of lines.
function compare.failed(columns)
  local lines = {}
  for _, column in ipairs(columns) do
    for _, entry in ipairs(failures(column)) do
      local seeds = #column.reports
      lines[#lines + 1] = ("FAIL  %s: %s%s"):format(column.name, entry.text,
        seeds > 1 and (", on %d of %d seeds"):format(entry.n, seeds) or "")
      lines[#lines + 1] = ("      %s%s"):format(seeds > 1 and ("seed %d: ")
        :format(entry.seed) or "", entry.message)
    end
  end
  return lines
end

return compare
