-- timeline.lua: a picture of a run: who held which client from when to when,
-- what rested or was broken, and how many waited. One idea: a single SVG file
-- that any browser opens, without a script and without anything from outside,
-- light or dark as the reader's system is; its hover texts are SVG's own
-- titles. What is in a lane is timeline/lanes.lua's.

local axis = require "llmpool.timeline.axis"
local format = require "llmpool.scenario.format"
local lanes = require "llmpool.timeline.lanes"

local timeline = {}

local WIDTH, RIGHT, TOP = 1200, 24, 74
local QUEUE = 90 -- the height of the chart of who waits

local STYLE = [[
svg { background: #fff; font: 12px system-ui, "Segoe UI", Helvetica, Arial,
  sans-serif; }
text { fill: #1f2933; }
.title { font-size: 16px; font-weight: 600; }
.muted { fill: #5c6b7a; }
.model { font-weight: 600; }
.small { font-size: 10.5px; }
.grid { stroke: #dfe4ea; stroke-width: 1; }
.lane { fill: #f3f5f8; }
.held { fill: #3b78c3; }
.held.b { fill: #5f97d8; }
.unfinished { fill: #9bbbe0; }
.band { fill: #3b78c3; }
.rest { fill: #e9a63a; }
.broken { fill: #cf4a55; }
.queue { fill: #8d74c9; fill-opacity: .55; }
.most { fill: none; stroke: #6a4fb0; stroke-width: 1; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181d; }
  text { fill: #e4e9ef; }
  .muted { fill: #97a4b3; }
  .grid { stroke: #2b333d; }
  .lane { fill: #1c222a; }
  .held { fill: #5b9be6; }
  .held.b { fill: #3f78bd; }
  .unfinished { fill: #38506c; }
  .band { fill: #5b9be6; }
  .rest { fill: #d9962e; }
  .broken { fill: #e0636d; }
  .queue { fill: #a08be0; fill-opacity: .5; }
  .most { stroke: #c0b0f0; }
}
]]

-- ---- writing ----------------------------------------------------------------

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
                   ['"'] = "&quot;" }

local function escape(text)
  if not utf8.len(text) then text = text:gsub("[\128-\255]", "?") end
  return (text:gsub('[&<>"]', ENTITIES):gsub("%c", " "))
end

local function number(x)
  return (("%.2f"):format(x):gsub("%.?0+$", ""))
end

local function put(page, ...)
  page[#page + 1] = string.format(...)
end

local function text(page, class, x, y, content, anchor)
  put(page, '<text class="%s" x="%s" y="%s"%s>%s</text>', class, number(x),
    number(y), anchor and (' text-anchor="%s"'):format(anchor) or "",
    escape(content))
end

-- A rectangle with a hover text.
local function block(page, class, x, y, width, height, title)
  put(page, '<rect class="%s" x="%s" y="%s" width="%s" height="%s">'
    .. '<title>%s</title></rect>', class, number(x), number(y),
    number(math.max(width, 0.6)), number(height), escape(title))
end

local function grid_line(page, x1, y1, x2, y2)
  put(page, '<line class="grid" x1="%s" y1="%s" x2="%s" y2="%s"/>', number(x1),
    number(y1), number(x2), number(y2))
end

-- Nothing to be seen but its hover text.
local function hover(page, x, y, width, height, title)
  put(page, '<rect x="%s" y="%s" width="%s" height="%s" fill-opacity="0">'
    .. '<title>%s</title></rect>', number(x), number(y), number(width),
    number(height), escape(title))
end

-- ---- one lane ---------------------------------------------------------------

local function interval(span)
  return ("%s to %s"):format(format.seconds(span.from),
    format.seconds(span.to))
end

local function lease_title(client, span)
  local lines = ("%s/%s\n%s: held %s"):format(client.model, client.id,
    interval(span), format.seconds(span.to - span.from))
  if span.unfinished then lines = lines .. ", not returned yet" end
  if span.waited > 0 then
    lines = lines .. "\nafter a wait of " .. format.seconds(span.waited)
  end
  return lines
end

-- A span with a thin gap behind it, where it is wide enough for one.
local function draw_span(view, class, span, y, height, title)
  local x, to = view.x(span.from), view.x(span.to)
  local width = to - x
  block(view.page, class, x, y, width > 2.5 and width - 1 or width, height,
    title)
end

local function draw_row(view, client, row, y, height)
  for i, span in ipairs(row and row.spans or {}) do
    local class = span.unfinished and "unfinished"
      or i % 2 == 0 and "held b" or "held"
    draw_span(view, class, span, y, height, lease_title(client, span))
  end
  for _, kind in ipairs { "rest", "broken" } do
    for _, span in ipairs(kind == "rest" and client.resting or client.broken)
    do
      draw_span(view, kind, span, y + height * 0.2, height * 0.6,
        ("%s/%s\n%s\n%s, %s"):format(client.model, client.id, span.kind,
        interval(span), format.seconds(span.to - span.from)))
    end
  end
end

-- A stepped area over the buckets: shares of the height from the bottom, over
-- what lies beneath. Runs of equal value are one step.
local function area_path(view, values, y, height, base)
  local parts, n = {}, #values
  local function level(i)
    return math.min(1, (base and base[i] or 0) + values[i])
  end
  local start = view.bucket(1)
  parts[1] = ("M%s %s"):format(number(start), number(y + height))
  local before
  for i = 1, n do
    local top = number(y + height * (1 - level(i)))
    if top ~= before then
      parts[#parts + 1] = ("H%s V%s"):format(number(view.bucket(i)), top)
      before = top
    end
  end
  parts[#parts + 1] = ("H%s V%s Z"):format(number(view.bucket(n + 1)),
    number(y + height))
  return table.concat(parts, " ")
end

local function any(values)
  for _, value in ipairs(values) do
    if value > 0.0005 then return true end
  end
  return false
end

local function sums(a, b)
  local result = {}
  for i, value in ipairs(a) do result[i] = value + (b[i] or 0) end
  return result
end

-- What is busy lies at the bottom, what rests on it, what is broken on top.
-- The largest is drawn first.
local function draw_band(view, client, y, height)
  local page = view.page
  local resting = sums(client.band, client.rest)
  local broken = sums(resting, client.broken)
  if any(client.broken) then
    put(page, '<path class="broken" d="%s"/>', area_path(view, broken, y,
      height))
  end
  if any(client.rest) then
    put(page, '<path class="rest" d="%s"/>', area_path(view, resting, y,
      height))
  end
  if any(client.band) then
    put(page, '<path class="band" d="%s"/>', area_path(view, client.band, y,
      height))
  end
end

-- Invisible columns that carry the numbers of a band as hover texts.
local HOVERS = 48

local function band_titles(view, client, y, height)
  local n = #client.band
  local each = math.max(1, math.ceil(n / HOVERS))
  for first = 1, n, each do
    local last, busy, rest = math.min(n, first + each - 1), 0, 0
    for i = first, last do
      busy, rest = busy + client.band[i], rest + client.rest[i]
    end
    local count, x = last - first + 1, view.bucket(first)
    hover(view.page, x, y, view.bucket(last + 1) - x, height,
      ("%s/%s\n%s to %s\nbusy %s%s"):format(client.model, client.id,
        format.seconds(view.time(first)), format.seconds(view.time(last + 1)),
        format.share(busy / count), rest > 0.001 and ", resting "
        .. format.share(rest / count) or ""))
  end
end

local function lane_label(view, client, y, height)
  local share = view.seconds > 0
    and client.entry.busy / view.seconds / view.slots(client) or 0
  text(view.page, "small", view.left - 46, y + height / 2 + 4,
    format.pad(client.id, 18):gsub("%s+$", ""), "end")
  text(view.page, "small muted", view.left - 6, y + height / 2 + 4,
    ("%.0f %%"):format(share * 100), "end")
end

-- ---- the lanes --------------------------------------------------------------

local function heights(clients, crowded)
  local rows = 0
  for _, client in ipairs(clients) do
    rows = rows + math.max(1, client.rows and #client.rows or 1)
  end
  if crowded then return rows > 60 and 14 or rows > 24 and 20 or 28 end
  return rows > 60 and 9 or rows > 24 and 13 or 18
end

local function draw_client(view, client, y, height)
  local page = view.page
  local rows = math.max(1, client.rows and #client.rows or 1)
  for i = 1, rows do
    put(page, '<rect class="lane" x="%s" y="%s" width="%s" height="%s"/>',
      number(view.left), number(y), number(view.right - view.left),
      number(height - 2))
    if i == 1 and height >= 12 then lane_label(view, client, y, height - 2) end
    if client.rows then
      draw_row(view, client, client.rows[i], y, height - 2)
    else
      draw_band(view, client, y, height - 2)
      band_titles(view, client, y, height - 2)
    end
    y = y + height
  end
  return y
end

local function draw_lanes(view, clients, height, y)
  local model
  for _, client in ipairs(clients) do
    if client.model ~= model then
      model = client.model
      y = y + 22
      text(view.page, "model", 16, y - 6, model)
    end
    y = draw_client(view, client, y, height)
  end
  return y
end

local function lanes_height(clients, height)
  local total, model = 0, nil
  for _, client in ipairs(clients) do
    if client.model ~= model then
      model = client.model
      total = total + 22
    end
    total = total + height * math.max(1, client.rows and #client.rows or 1)
  end
  return total
end

-- ---- who waits --------------------------------------------------------------

-- Mean and maximum of all lines together, a bucket each. The maxima of several
-- models need not have been at one moment: their sum is a bound.
local function depth_of(read)
  local mean, most = {}, {}
  for _, model in ipairs(read.models) do
    for i, area in ipairs(model.depth) do
      local left = read.last - read.start - (i - 1) * read.width
      mean[i] = (mean[i] or 0)
        + area / math.max(1e-9, math.min(read.width, left))
      most[i] = math.min(read.deepest, (most[i] or 0) + model.depth_max[i])
    end
  end
  return mean, most
end

local function scaled(values, top)
  local result = {}
  for i, value in ipairs(values) do result[i] = value / top end
  return result
end

local function draw_depth(view, read, y, top)
  local page, mean, most = view.page, depth_of(read)
  put(page, '<path class="queue" d="%s"/>', area_path(view, scaled(mean, top),
    y, QUEUE))
  put(page, '<path class="most" d="%s"/>', area_path(view, scaled(most, top), y,
    QUEUE))
  for i = 1, #mean do
    local x = view.bucket(i)
    if most[i] > 0 then
      hover(page, x, y, view.bucket(i + 1) - x, QUEUE,
        ("%s: at most %s, mean %s"):format(format.seconds(view.time(i)),
          format.count(most[i]), format.number(mean[i])))
    end
  end
end

local function draw_queue(view, read, y)
  local page = view.page
  text(page, "model", 16, y + 14, "waiting")
  text(page, "small muted", 16, y + 30, "callers in line")
  local top, ticks = axis.counts(math.max(1, read.deepest))
  for _, tick in ipairs(ticks) do
    local at = y + QUEUE * (1 - tick / top)
    grid_line(page, view.left, at, view.right, at)
    text(page, "small muted", view.left - 6, at + 4, format.number(tick), "end")
  end
  if read.deepest == 0 then
    text(page, "small muted", view.left + 8, y + QUEUE - 8, "nobody waited")
  else
    draw_depth(view, read, y, top)
  end
  grid_line(page, view.left, y + QUEUE, view.right, y + QUEUE)
end

-- ---- frame ------------------------------------------------------------------

local function draw_axis(view, read, top, bottom)
  for _, tick in ipairs(axis.times(read.start, read.last, 10)) do
    local x = view.x(tick.at)
    grid_line(view.page, x, top, x, bottom)
    text(view.page, "small muted", x, bottom + 15, tick.label, "middle")
  end
end

local function draw_legend(view, clients, crowded, y)
  local items = { { crowded and "band" or "held", crowded
    and "busy (height: share of the time)" or "held, a lease each" } }
  local rests, breaks = false, false
  for _, client in ipairs(clients) do
    rests = rests or (client.entry.rest or 0) > 0
    breaks = breaks or (client.entry.broken or 0) > 0
      or client.rows and #client.broken > 0
  end
  if rests then items[#items + 1] = { "rest", "resting" } end
  if breaks then
    items[#items + 1] = { "broken", "broken or out of service" }
  end
  items[#items + 1] = { "queue", "callers in line (line: the most)" }
  local x = view.left
  for _, item in ipairs(items) do
    put(view.page, '<rect class="%s" x="%s" y="%s" width="12" height="12"/>',
      item[1], number(x), number(y - 10))
    text(view.page, "small", x + 17, y, item[2])
    x = x + 34 + 6.1 * #item[2]
  end
end

local function make_view(page, picture, left)
  local read = picture.read
  local seconds = math.max(read.last - read.start, 1e-9)
  local right = WIDTH - RIGHT
  local scale = (right - left) / seconds
  local view = { page = page, left = left, right = right, seconds = seconds }
  function view.x(time)
    return left + math.max(0, math.min(seconds, time - read.start)) * scale
  end
  function view.time(i)
    return math.min(read.last, read.start + (i - 1) * read.width)
  end
  function view.bucket(i) return view.x(view.time(i)) end
  function view.slots(client)
    local model = picture.slots and picture.slots[client.model]
    return model and model[client.id]
      or client.rows and math.max(1, #client.rows) or 1
  end
  return view
end

local function summary(picture, crowded, left_out)
  local read = picture.read
  local parts = { ("%s to %s"):format(format.seconds(read.start),
    format.seconds(read.last)),
    format.count(read.counts.lent) .. " leases",
    format.count(#read.clients) .. " clients" }
  if picture.note then table.insert(parts, 1, picture.note) end
  if crowded then
    parts[#parts + 1] = ("each step is %s"):format(format.seconds(read.width))
  end
  if left_out > 0 then
    parts[#parts + 1] = format.count(left_out) .. " clients not shown"
  end
  return table.concat(parts, ", ")
end

local function label_space(clients)
  local longest = 8
  for _, client in ipairs(clients) do
    longest = math.max(longest, math.min(18, format.width(client.id)))
  end
  return 72 + 6.2 * longest
end

--- Draws a picture.
-- @param picture table: record, read (what record:read gives), title, note,
-- slots
-- @return the SVG file's text
function timeline.draw(picture)
  local read = picture.read
  local clients, crowded, left_out = lanes.of(picture.record, read,
    picture.slots)
  local page = {}
  local view = make_view(page, picture, label_space(clients))
  local height = heights(clients, crowded)
  local queue_top = TOP + lanes_height(clients, height) + 24
  local bottom = queue_top + QUEUE
  local total = bottom + 56
  put(page, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %s" '
    .. 'width="100%%" role="img" preserveAspectRatio="xMinYMin meet">', WIDTH,
    number(total))
  put(page, "<title>%s</title>", escape(picture.title))
  put(page, "<desc>%s</desc>", escape(summary(picture, crowded, left_out)))
  put(page, "<style>%s</style>", STYLE)
  text(page, "title", 16, 28, picture.title)
  text(page, "muted", 16, 48, summary(picture, crowded, left_out))
  draw_axis(view, read, TOP + 4, bottom)
  draw_lanes(view, clients, height, TOP)
  draw_queue(view, read, queue_top)
  draw_legend(view, clients, crowded, total - 14)
  put(page, "</svg>\n")
  return table.concat(page, "\n")
end

--- Draws a scenario's run into a file.
-- @param ran table: the second value of scenario:run
function timeline.write(path, ran)
  require "llmpool.outfile".write(path, "the timeline", timeline.draw {
    record = ran.record, read = ran.read, slots = ran.slots,
    title = ran.scenario, note = ran.policy
      and ("policy %s, seed %d"):format(ran.policy, ran.seed),
  })
end

return timeline
