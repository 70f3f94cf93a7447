-- sticky: requests with the same key go to the same client.
--
-- When: a provider caches prompts per key or region, and a conversation should
-- find its cache again. The key is the call's `key`, or the request's user; a
-- request without one goes anywhere. Its home is found on a ring of hashes, so
-- that a client that comes or goes moves only its own keys. If home is busy the
-- request goes to another client, this once: home stays home.
--   sticky { "gpt-4", key = function(request, options) return ... end }

local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

local POINTS = 64 -- on the ring, for each client: shares within some 10 %

local function make_ring(clients)
  local ring = {}
  for i, client in ipairs(clients) do
    for k = 1, POINTS do
      ring[#ring + 1] = { part.hash(client.id .. "#" .. k), i }
    end
  end
  table.sort(ring, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  return ring
end

-- The first point at or after the hash, round the ring.
local function find(ring, hash)
  local low, high = 1, #ring + 1
  while low < high do
    local middle = (low + high) // 2
    if ring[middle][1] < hash then low = middle + 1 else high = middle end
  end
  return low > #ring and 1 or low
end

-- Home, and who is next on the ring.
local function homes(ring, clients, hash)
  local at = find(ring, hash)
  local home = ring[at][2]
  for step = 1, #ring - 1 do
    local other = ring[(at + step - 1) % #ring + 1][2]
    if other ~= home then return clients[home].id, clients[other].id end
  end
  return clients[home].id
end

return function(t)
  local given = part.options(t, "sticky", { key = fields.func }, part.model)
  local key_of = given.key or part.key
  local rings = setmetatable({}, { __mode = "k" })
  local plan_for = part.cached(function(model, ids)
    local list = {}
    for id in ids:gmatch "[^\0]+" do list[#list + 1] = id end
    return part.plan.new { { model = model, client = list } }
  end)
  return part.named(function(request, view, options)
    local models = part.models(given, view)
    local key = key_of(request, options)
    if key == nil then return { model = models } end
    local hash = part.hash(tostring(key))
    local model = models[hash % #models + 1]
    local clients = view[model].clients -- the same list until they change
    local ring = rings[clients]
    if not ring then
      ring = make_ring(clients)
      rings[clients] = ring
    end
    local home, other = homes(ring, clients, part.hash(key .. "\0"))
    if view.explaining then view:note(model, home, nil, "home of its key") end
    return plan_for(model, home .. "\0" .. (other or ""))
  end, "sticky")
end
