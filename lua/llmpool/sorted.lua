-- sorted.lua: the keys of a table, in order. What is shown, registered or added
-- up comes in the same order in every run, and pairs has none.

local function comes_first(a, b)
  if type(a) == type(b) then return a < b end
  return type(a) < type(b)
end

--- @param t table: its keys are numbers and strings
-- @return list
return function(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, comes_first)
  return keys
end
