-- axis.lua: where the ticks of an axis go, and what they are called. It draws
-- nothing.

local axis = {}

local STEPS = { 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3,
  2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120,
  300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
  604800, 1209600, 2592000 }

local function clock(t)
  local days = t // 86400
  local text = ("%d:%02d"):format(t % 86400 // 3600, t % 3600 // 60)
  return days > 0 and ("%dd %s"):format(days, text) or text
end

local function minutes(t)
  if t >= 3600 then
    return ("%d:%02d:%02d"):format(t // 3600, t % 3600 // 60, t % 60)
  end
  return ("%d:%02d"):format(t // 60, t % 60)
end

local function label(t, step)
  if step >= 600 then return clock(t) end
  if step >= 10 then return minutes(t) end
  if step >= 1 then return ("%d s"):format(t) end
  if step >= 1e-3 then
    return (("%.3f"):format(t):gsub("0+$", ""):gsub("%.$", "")) .. " s"
  end
  return ("%.6g ms"):format(t * 1e3)
end

--- About n ticks of time from `from` to `to`: list of {at, label}.
function axis.times(from, to, n)
  local wanted, step = (to - from) / n, STEPS[#STEPS]
  for _, s in ipairs(STEPS) do
    if s >= wanted then
      step = s
      break
    end
  end
  local ticks = {}
  local first = math.ceil(from / step - 1e-9)
  local last = math.floor(to / step + 1e-9)
  for i = first, last do
    ticks[#ticks + 1] = { at = i * step, label = label(i * step, step) }
  end
  return ticks
end

--- A round number that is not less than `most`, and the half of it.
function axis.counts(most)
  if most <= 1 then return 1, { 1 } end
  local scale = 10 ^ math.floor(math.log(most, 10) + 1e-12)
  for _, m in ipairs { 1, 2, 4, 5, 10 } do
    local top = m * scale
    if top >= most then
      if top < 2 then return top, { top } end
      return top, { top / 2, top }
    end
  end
end

return axis
