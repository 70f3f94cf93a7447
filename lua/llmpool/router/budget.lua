-- budget.lua: how many extra calls there may be, as a share of the requests:
-- a bucket that every request fills by `ratio` and every hedge or retry empties
-- by one. One idea: the share holds in good times and in bad, when every
-- request would like to be tried again. It counts; it decides nothing else.

local fields = require "llmpool.fields"

local budget = {}

local Budget = {}
Budget.__index = Budget

local function share(v)
  if not fields.is_number(v) or v < 0 then return "a number, 0 or more" end
end

local known = { ratio = share, burst = share }

--- A check, as fields.lua has them: whether it is a table.
function budget.check(v)
  if type(v) ~= "table" then return "a table {ratio =, burst =}" end
end

--- @param t table: ratio, of the requests (0.1); burst, how many more (10)
function budget.new(t, what, level)
  if t == nil then t = {} end
  local wanted = budget.check(t)
  if wanted then
    fields.bad(level + 1, "%s", fields.complaint(what, wanted, t))
  end
  fields.check(t, known, what, level + 1)
  local burst = t.burst or 10
  return setmetatable({ ratio = t.ratio or 0.1, burst = burst, level = burst,
                        spent = 0, refused = 0 }, Budget)
end

--- A request came.
function Budget:earn()
  local level = self.level
  if level >= self.burst then return end
  level = level + self.ratio
  self.level = level > self.burst and self.burst or level
end

budget.earn = Budget.earn

-- @return whether there is one left, which is then spent
function Budget:take()
  -- ratios are sums of fractions: ten tenths are one
  if self.level < 1 - 1e-9 then
    self.refused = self.refused + 1
    return false
  end
  self.level = self.level - 1
  self.spent = self.spent + 1
  return true
end

--- One that was taken was not needed.
function Budget:give_back()
  self.level = self.level + 1
  self.spent = self.spent - 1
end

return budget
