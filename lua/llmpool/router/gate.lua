-- gate.lua: a queue before the pool that serves callers by their shares:
-- weighted fair queueing. One idea: a request's virtual finish time is its
-- tenant's last one, or the virtual time of now, plus cost / share; the
-- smallest goes next. Virtual time is the start of what was let in last, so
-- that a tenant who was away has neither credit nor debt: who has none is
-- forgotten, or every caller there ever was would be remembered. It knows no
-- models and no policies.

local native = require "llmpool.native"

local gate = {}

-- Requests between two looks at who can be forgotten; debtors that are many.
local LOOK, MANY = 1024, 4096

local Gate = {}
Gate.__index = Gate

--- @param shares table: by tenant; @param default the share of all others
function gate.new(shares, default)
  return setmetatable({
    shares = shares, default = default, slots = 1, inside = 0, time = 0,
    seq = 0, heap = {}, finish = {}, waiting = {},
  }, Gate)
end

-- ---- a heap of waiters, by finish time, then by arrival ---------------------

local function is_before(a, b)
  if a.finish ~= b.finish then return a.finish < b.finish end
  return a.seq < b.seq
end

local function push(heap, entry)
  local i = #heap + 1
  while i > 1 and is_before(entry, heap[i // 2]) do
    heap[i] = heap[i // 2]
    i = i // 2
  end
  heap[i] = entry
end

local function pop(heap)
  local top, last = heap[1], table.remove(heap)
  local n = #heap
  if n == 0 then return top end
  local i = 1
  while 2 * i <= n do
    local child = 2 * i
    if child < n and is_before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if not is_before(heap[child], last) then break end
    heap[i] = heap[child]
    i = child
  end
  heap[i] = last
  return top
end

-- ---- shares -----------------------------------------------------------------

function Gate:share(tenant) return self.shares[tenant] or self.default end

--- When the tenant's next request of cost 1 would finish, in virtual time.
function Gate:finish_time(tenant)
  return math.max(self.time, self.finish[tenant] or 0) + 1 / self:share(tenant)
end

-- Those whose time has passed, and if there are very many those who are ahead
-- by one request too.
local function sweep(self)
  local n = 0
  for tenant, finish in pairs(self.finish) do
    if finish <= self.time and not self.waiting[tenant] then
      self.finish[tenant] = nil
    else
      n = n + 1
    end
  end
  if n <= MANY then return end
  for tenant, finish in pairs(self.finish) do
    if not self.waiting[tenant]
      and finish <= self.time + 1 / self:share(tenant) then
      self.finish[tenant] = nil
    end
  end
end

local function stamp(self, tenant, cost)
  local start = math.max(self.time, self.finish[tenant] or 0)
  local finish = start + cost / self:share(tenant)
  self.finish[tenant] = finish
  self.seq = self.seq + 1
  if self.seq % LOOK == 0 then sweep(self) end
  return { start = start, finish = finish, seq = self.seq, tenant = tenant }
end

local function count_waiting(self, tenant, change)
  local n = (self.waiting[tenant] or 0) + change
  self.waiting[tenant] = n > 0 and n or nil
end

-- A tenant whose time has passed has nothing to be remembered by; nobody has
-- when nobody is there.
local function forget(self, tenant)
  if self.inside == 0 and not self.heap[1] then
    self.finish, self.time = {}, 0
  elseif not self.waiting[tenant] and self.finish[tenant]
    and self.finish[tenant] <= self.time then
    self.finish[tenant] = nil
  end
end

local function admit(self, entry)
  self.inside = self.inside + 1
  self.time = math.max(self.time, entry.start)
  entry.admitted = true
end

local function grant(self)
  while self.inside < self.slots and self.heap[1] do
    local entry = pop(self.heap)
    if not entry.gone then
      count_waiting(self, entry.tenant, -1)
      admit(self, entry)
      entry.signal:set()
    end
  end
end

--- How many may be inside at once, from now on.
function Gate:resize(slots)
  self.slots = math.max(1, slots)
  if self.heap[1] then grant(self) end
end

-- Given up: by a timeout or a cancellation, perhaps just after it was let in.
local function give_up(self, entry)
  if entry.admitted then
    self:leave(entry.tenant)
  else
    entry.gone = true
    count_waiting(self, entry.tenant, -1)
    forget(self, entry.tenant)
  end
end

local function wait(self, entry, seconds)
  entry.signal = native.signal()
  count_waiting(self, entry.tenant, 1)
  push(self.heap, entry)
  local ok, came = pcall(entry.signal.wait, entry.signal, seconds)
  if ok and came then return true end
  if ok and entry.admitted then return true end
  give_up(self, entry)
  if not ok then error(came, 0) end
  return false
end

--- Waits for a turn. Returns whether it came within `seconds` (nil: any time).
function Gate:enter(tenant, cost, seconds)
  local entry = stamp(self, tenant, cost)
  if self.inside < self.slots and not self.heap[1] then
    admit(self, entry)
    return true
  end
  return wait(self, entry, seconds and math.max(seconds, 0))
end

--- One that was let in is done.
function Gate:leave(tenant)
  self.inside = self.inside - 1
  forget(self, tenant)
  grant(self)
end

return gate
