-- sticky: requests with the same key go to the same client.
--
-- When: a provider caches prompts per key or region, and a conversation should
-- find its cache again. The key is the call's `key`, or the request's user; a
-- request without one goes anywhere. Its home is the client whose hash together
-- with the key's is the largest, so that a client that comes or goes moves only
-- its own keys. If home is busy the request goes to another client, this once:
-- home stays home.
--   sticky { "gpt-4", key = function(request, options) return ... end }

local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"

local function hashes_of(clients)
  local list = {}
  for i, client in ipairs(clients) do list[i] = part.hash(client.id) end
  return list
end

-- The largest of the mixed hashes, and the second.
local function homes(hashes, key)
  local first, second, most, next_most = 1, nil, -1, -1
  for i = 1, #hashes do
    local h = (hashes[i] ~ key) * 0x9e3779b97f4a7c15
    h = (h ~ h >> 29) * 0xbf58476d1ce4e5b9 >> 11
    if h > most then
      second, next_most = first, most
      first, most = i, h
    elseif h > next_most then
      second, next_most = i, h
    end
  end
  return first, next_most >= 0 and second or nil
end

return function(t)
  local given = part.options(t, "sticky", { key = fields.func }, part.model)
  local key_of = given.key or part.key
  local known = setmetatable({}, { __mode = "k" })
  local plan_for = part.cached(function(clients, pair)
    local home, other = clients[pair >> 32], clients[pair & 0xffffffff]
    return part.plan.new { { model = home.model,
      client = { home.id, other and other.id } } }
  end, "k")
  return part.named(function(request, view, options)
    local models = part.models(given, view)
    local key = key_of(request, options)
    if key == nil then return { model = models } end
    local hash = part.hash(tostring(key))
    local clients = view[models[hash % #models + 1]].clients
    local hashes = known[clients] -- the same list until clients change
    if not hashes then
      hashes = hashes_of(clients)
      known[clients] = hashes
    end
    local home, other = homes(hashes, hash)
    if view.explaining then
      view:note(clients[home].model, clients[home].id, nil, "home of its key")
    end
    return plan_for(clients, home << 32 | (other or 0))
  end, "sticky")
end
