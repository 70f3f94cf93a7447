-- poolview.lua: a pool as a table of models and clients, as wide as there is
-- room: where it gets narrow, the less important columns go first.
--
-- It shows what pool:stats() says, and who holds a client in this thread.

local fields = require "llmpool.fields"
local inspect = require "llmpool.inspect"
local plain = require "llmpool.plain"
local pretty = require "llmpool.pretty"

local poolview = {}

-- ---- words -----------------------------------------------------------------

--- Seconds as people say them: "210 us", "1.5 s", "2 h 05 min".
function poolview.duration(seconds)
  if not seconds then return "" end
  if seconds < 0.001 then return ("%.0f us"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.3g ms"):format(seconds * 1000) end
  if seconds < 60 then return ("%.1f s"):format(seconds) end
  if seconds < 3600 then
    return ("%d min %02d s"):format(seconds // 60, seconds % 60 // 1)
  end
  return ("%d h %02d min"):format(seconds // 3600, seconds % 3600 // 60)
end

local duration = poolview.duration

local STATE_COLOUR = {
  lent = "\27[33m", idle = "\27[32m", resting = "\27[31m", vacant = "\27[2m",
}

-- ---- tables ----------------------------------------------------------------

local function width_of_column(rows, name, title)
  local width = pretty.width_of(title)
  for _, row in ipairs(rows) do
    width = math.max(width, pretty.width_of(row[name] or ""))
  end
  return width
end

local function total(columns)
  local width = -2
  for _, column in ipairs(columns) do width = width + column.width + 2 end
  return width
end

-- The columns that have something to say and that fit, the dispensable ones
-- (rank) left out first.
local function fitting(columns, rows, room)
  local kept = {}
  for _, column in ipairs(columns) do
    local filled = column.rank == 0
    for _, row in ipairs(rows) do
      filled = filled or (row[column.name] or "") ~= ""
    end
    if filled then
      kept[#kept + 1] = {
        name = column.name, title = column.title, rank = column.rank,
        right = column.right,
        width = width_of_column(rows, column.name, column.title),
      }
    end
  end
  while total(kept) > room and #kept > 1 do
    local worst = 1
    for i, column in ipairs(kept) do
      if column.rank >= kept[worst].rank then worst = i end
    end
    if kept[worst].rank == 0 then break end
    table.remove(kept, worst)
  end
  local excess = total(kept) - room
  if excess > 0 then kept[1].width = math.max(4, kept[1].width - excess) end
  return kept
end

local function cut(text, width)
  if pretty.width_of(text) <= width then return text end
  local last = utf8.len(text) and utf8.offset(text, width) or width
  return text:sub(1, last - 1) .. "~"
end

local function pad(text, column, is_last)
  text = cut(text, column.width)
  local space = (" "):rep(column.width - pretty.width_of(text))
  if column.right then return space .. text end
  return is_last and text or text .. space
end

--- Rows of texts as the lines of a table.
-- @param columns list of {name, title, rank (0: never left out), right}
-- @param rows list of tables by name; `colour` of one colours its state
function poolview.lines(columns, rows, options)
  local kept = fitting(columns, rows, options.width)
  local lines, head = {}, {}
  for i, column in ipairs(kept) do
    head[i] = pad(column.title, column, i == #kept)
  end
  lines[1] = (table.concat(head, "  "):gsub("%s+$", ""))
  if options.colour then lines[1] = "\27[2m" .. lines[1] .. "\27[0m" end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, column in ipairs(kept) do
      local cell = pad(row[column.name] or "", column, i == #kept)
      local colour = options.colour and row.colours
        and row.colours[column.name]
      cells[i] = colour and colour .. cell .. "\27[0m" or cell
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return lines
end

-- ---- a pool ----------------------------------------------------------------

local COLUMNS = {
  { name = "id", title = "client", rank = 0 },
  { name = "state", title = "state", rank = 0 },
  { name = "span", title = "for", rank = 2, right = true },
  { name = "holder", title = "held by", rank = 4 },
  { name = "served", title = "served", rank = 3, right = true },
  { name = "p95", title = "p95", rank = 5, right = true },
  { name = "failed", title = "last error", rank = 6 },
}

local function client_row(client, holder, now)
  local resting = client.state == "resting" and client.rest_until
  return {
    id = "  " .. plain.line(client.id), state = client.state,
    span = resting and duration(math.max(0, client.rest_until - now))
      or duration(client.held),
    holder = client.state == "lent" and (holder or "elsewhere") or "",
    served = tostring(client.returned),
    p95 = client.hold and client.hold.count > 0 and duration(client.hold.p95)
      or "",
    failed = client.last_error
      and plain.line(client.last_error:gsub("%s+", " ")) or "",
    colours = { state = STATE_COLOUR[client.state] },
  }
end

local function model_words(stats)
  local words = {}
  for _, state in ipairs { "lent", "idle", "resting", "vacant" } do
    if (stats[state] or 0) > 0 then
      words[#words + 1] = ("%d %s"):format(stats[state], state)
    end
  end
  if stats.waiting > 0 then
    words[#words + 1] = ("%d waiting%s"):format(stats.waiting, stats.max_wait
      and (" for up to " .. duration(stats.max_wait)) or "")
  end
  if stats.paused then words[#words + 1] = "paused" end
  words[#words + 1] = ("%d served"):format(stats.returned)
  for _, trouble in ipairs { { "timeouts", "timed out" },
                             { "queue_full", "refused" } } do
    local count, what = stats[trouble[1]] or 0, trouble[2]
    if count > 0 then words[#words + 1] = ("%d %s"):format(count, what) end
  end
  if stats.wait and stats.wait.count > 0 and (stats.wait.p95 or 0) > 0 then
    words[#words + 1] = "wait p95 " .. duration(stats.wait.p95)
  end
  return words
end

-- A list of words as lines of that width.
local function wrapped(first, words, width, margin)
  local lines = { first }
  for i, word in ipairs(words) do
    local sep = i == 1 and "  " or ", "
    local line = lines[#lines]
    local comma = i < #words and 1 or 0
    if pretty.width_of(line .. sep .. word) + comma <= width then
      lines[#lines] = line .. sep .. word
    else
      lines[#lines] = i > 1 and line .. "," or line
      lines[#lines + 1] = margin .. word
    end
  end
  return lines
end

local function holders_of(pool)
  local holders = {}
  for _, holder in ipairs(inspect.holders(pool)) do
    local known = holders[holder.model] or {}
    holders[holder.model] = known
    known[holder.client] = holder.site or "here"
  end
  return holders
end

local function add_model(lines, name, stats, holders, now, options)
  name = plain.line(name)
  local bold = options.colour and "\27[1m" .. name .. "\27[0m" or name
  local words = wrapped(name, model_words(stats), options.width, "  ")
  words[1] = bold .. words[1]:sub(#name + 1)
  table.move(words, 1, #words, #lines + 1, lines)
  local rows = {}
  for i, client in ipairs(stats.clients) do
    rows[i] = client_row(client, holders[client.id], now)
  end
  local shown = poolview.lines(COLUMNS, rows, options)
  table.move(shown, 1, #shown, #lines + 1, lines)
end

--- The pool as text, at most `options.width` columns wide.
-- @param options table: width (80), colour (false)
function poolview.text(pool, options)
  local width, colour = options and options.width or 80,
    options and options.colour
  local llmpool = require "llmpool"
  local ok, names = pcall(pool.models, pool)
  local lines = { cut(plain.line(tostring(pool)), width) }
  if not ok then return lines[1] end
  local holders = holders_of(pool)
  for _, name in ipairs(names) do
    local known, stats = pcall(pool.stats, pool, name)
    if known then
      add_model(lines, name, stats, holders[name] or {}, llmpool.now(),
        { width = width, colour = colour })
    end
  end
  return table.concat(lines, "\n")
end

-- ---- watching --------------------------------------------------------------

local function draws_anywhere()
  return (os.getenv "TERM" or "dumb") ~= "dumb"
end

-- As many lines as there is room for; the last says what is missing.
local function lines_of(pool, columns, room)
  local text = poolview.text(pool, {
    width = columns,
    colour = (os.getenv "NO_COLOR" or "") == "" and draws_anywhere(),
  })
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  if #lines > room then
    local more = #lines - room + 1
    lines = table.move(lines, 1, room - 1, 1, {})
    lines[room] = ("... %d lines more"):format(more)
  end
  return lines
end

-- Draws over what was drawn before; what others have written meanwhile comes
-- above it. Returns how many lines it has.
local function draw(pool, terminal, before)
  local columns, rows = terminal.size()
  local lines = lines_of(pool, columns, math.max(1, rows - 2))
  lines[#lines + 1] = "(any key ends this)"
  local up = before > 0 and ("\27[%dA\r"):format(before) or ""
  if terminal.has_held() then
    terminal.write(up .. "\27[J")
    terminal.show_held()
    up = ""
  end
  terminal.write(up .. table.concat(lines, "\27[K\r\n") .. "\27[K\27[J\r\n")
  return #lines
end

-- Where the cursor cannot go back: what has changed, one beneath the other.
local function append(pool, terminal, before)
  local text = table.concat(lines_of(pool, (terminal.size()), math.huge), "\n")
  if text ~= before then
    terminal.write(text .. "\n(any key ends this)\n")
  end
  return text
end

--- Shows the pool until a key is pressed; where there is no terminal, once.
function poolview.watch(pool, interval)
  if interval ~= nil and (type(interval) ~= "number" or interval <= 0) then
    error(("bad argument #1 to 'watch' (a number of seconds greater than 0 "
      .. "expected, got %s)"):format(fields.describe(interval)), 3)
  end
  local found, terminal = pcall(require, "llmpool.terminal")
  if not found or not terminal.is_there() or terminal.is_read() then
    print(poolview.text(pool))
    return
  end
  local _ <close> = terminal.hold()
  local anywhere = draws_anywhere()
  local drawn = anywhere and 0 or ""
  repeat
    drawn = (anywhere and draw or append)(pool, terminal, drawn)
  until terminal.key(interval or 0.5)
end

return poolview
