-- format.lua: numbers for people: times, counts, shares, and little pictures
-- of a series, at a width. It knows no reports.

local format = {}

--- Seconds, to three figures, with a unit.
function format.seconds(s)
  if s ~= s then return "-" end
  local sign = s < 0 and "-" or ""
  s = math.abs(s)
  if s == 0 then return "0 s" end
  if s < 0.0009995 then return ("%s%.3g us"):format(sign, s * 1e6) end
  if s < 0.9995 then return ("%s%.3g ms"):format(sign, s * 1e3) end
  if s < 999.5 then return ("%s%.3g s"):format(sign, s) end
  if s < 7200 then return ("%s%.0f s"):format(sign, s) end
  return ("%s%.4g h"):format(sign, s / 3600)
end

--- A whole number with commas: 1,234,567.
function format.count(n)
  local text = ("%.0f"):format(n)
  local sign, digits = text:match "^(%-?)(%d+)$"
  if not digits then return text end
  digits = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return sign .. digits
end

--- A share as per cent: 99.7 %, and no 100 % that is not whole.
function format.share(x)
  local text = ("%.1f"):format(x * 100)
  if text == "100.0" and x < 1 then
    text = ("%.4g"):format(math.min(x * 100, 99.9999))
  end
  return text:gsub("%.0$", "") .. " %"
end

--- Any number: whole ones with commas, others to four figures.
function format.number(x)
  if x ~= x then return "-" end
  if x % 1 == 0 and math.abs(x) < 1e15 then return format.count(x) end
  if math.abs(x) >= 10000 then return format.count(x) end
  return ("%.4g"):format(x)
end

--- Columns that a text takes.
function format.width(text) return utf8.len(text) or #text end

--- The text, filled up with blanks (on the left with `right`), or cut.
function format.pad(text, width, right)
  local n = format.width(text)
  if n > width then
    local stop = utf8.len(text) and utf8.offset(text, width) or width
    return text:sub(1, stop - 1) .. (width > 0 and "~" or "")
  end
  local fill = (" "):rep(width - n)
  return right and fill .. text or text .. fill
end

-- ---- pictures ---------------------------------------------------------------

local BARS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }
local PLAIN = { ".", ":", "-", "=", "+", "*", "%", "@" }
local PARTS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" }

local function is_utf8()
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local value = os.getenv(name)
    if value and value ~= "" then
      return value:lower():find "utf%-?8" ~= nil
    end
  end
  return false
end

local utf8_locale

--- Whether pictures may use more than ASCII; `set` decides.
function format.unicode(set)
  if set ~= nil then utf8_locale = set end
  if utf8_locale == nil then utf8_locale = is_utf8() end
  return utf8_locale
end

-- The series, brought to n numbers by averaging.
local function resample(series, n)
  if #series <= n then return series end
  local result = {}
  for i = 1, n do
    local from = 1 + (i - 1) * #series // n
    local to = math.max(from, i * #series // n)
    local sum = 0
    for j = from, to do sum = sum + series[j] end
    result[i] = sum / (to - from + 1)
  end
  return result
end

--- A line of little bars, at most n of them; the tallest is the maximum.
function format.sparkline(series, n)
  local marks = format.unicode() and BARS or PLAIN
  local short, most, parts = resample(series, n), 0, {}
  for _, value in ipairs(short) do most = math.max(most, value) end
  for i, value in ipairs(short) do
    local level = most > 0 and math.ceil(value / most * #marks) or 0
    parts[i] = level == 0 and (format.unicode() and " " or "_")
      or marks[level]
  end
  return table.concat(parts)
end

--- A bar of `width` columns, filled to a share.
function format.bar(share, width)
  share = math.max(0, math.min(1, share))
  if not format.unicode() then
    local full = (share * width + 0.5) // 1 | 0
    return ("#"):rep(full) .. ("."):rep(width - full)
  end
  local eighths = (share * width * 8 + 0.5) // 1 | 0
  local text = PARTS[8]:rep(eighths // 8)
  if eighths % 8 > 0 then text = text .. PARTS[eighths % 8] end
  return text .. ("·"):rep(width - (eighths + 7) // 8)
end

return format
