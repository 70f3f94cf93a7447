-- nearest.lua: the name that somebody probably meant, for messages such as
-- "no option 'tmeout' (did you mean 'timeout'?)".
--
-- The nearest name is the one that the fewest slips of the hand lead to: a
-- letter too many, one missing, a wrong one, two neighbours swapped. Case
-- counts for nothing. A name too far away is no help: then there is none.
-- It knows no options and makes no messages.

local byte, lower, min = string.byte, string.lower, math.min

-- One row of the table of distances: row[j] is the distance from the first i
-- letters of a to the first j of b; previous and before are the rows above.
local function next_row(a, b, i, previous, before)
  local row = { [0] = i }
  local letter = byte(a, i)
  for j = 1, #b do
    local other = byte(b, j)
    local wrong = letter == other and 0 or 1
    local cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + wrong)
    if i > 1 and j > 1 and letter == byte(b, j - 1)
      and other == byte(a, i - 1) then
      cost = min(cost, before[j - 2] + 1)
    end
    row[j] = cost
  end
  return row
end

local function distance(a, b)
  local row, before = {}, nil
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    row, before = next_row(a, b, i, row, before), row
  end
  return row[#b]
end

-- A third of the letters may be wrong, rounded to the nearest: none of 1, one
-- of 2 to 4, two of 5 to 7.
local function limit(a, b)
  return (math.max(#a, #b) + 1) // 3
end

-- Nobody types more than that by hand, and the work grows with the square.
local LONGEST = 64

-- Returns the name in `list` that is nearest to `word`, or nil. Of equally
-- near ones it is the first in the alphabet, whatever the order of the list.
-- What is no string is never near.
local function nearest(word, list)
  if type(word) ~= "string" or #word > LONGEST then return nil end
  local best, best_distance
  local small = lower(word)
  for _, name in ipairs(list) do
    local most = type(name) == "string" and limit(word, name)
    if most and math.abs(#word - #name) <= most then
      local d = distance(small, lower(name))
      if d <= most and (not best or d < best_distance
        or d == best_distance and name < best) then
        best, best_distance = name, d
      end
    end
  end
  return best
end

return nearest
