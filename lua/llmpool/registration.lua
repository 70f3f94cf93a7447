-- What a user may register: checked, with the mistake named and the nearest
-- name offered, and brought into one form for C. A client is an item
--   {id, module, config, public, live, common}   made from plain values in any
--                                                state
--   {id, bound = true, value, live, common}      a table of this state only
-- where common has the fields that every client may have (client_fields.lua).
-- It holds no clients and makes none.

local client_fields = require "llmpool.client_fields"
local fields = require "llmpool.fields"
local lifecycle = require "llmpool.lifecycle"

local registration = {}

local native

function registration.bind(functions) native = functions end

-- ---- clients ---------------------------------------------------------------

local MARK = client_fields.MARK
local bad, check_id = fields.bad, client_fields.check_id
local check_fields, seconds, count = fields.check, fields.seconds, fields.count
local some_time = fields.positive_seconds
local at_least_one, func = fields.at_least_one, fields.func

local function module_name(v)
  if type(v) ~= "string" or v == "" then return "the name of a Lua module" end
end

local own_fields = { module = module_name, config = fields.any }

--- A client made by a Lua module, in every thread that uses it.
-- @param t table: id, module (its name; a function or a table with new, called
-- with the config and {id, model}), config (plain values), and the fields that
-- every client may have
function registration.client(t)
  local spec = client_fields.spec("client", nil, t, own_fields, 3)
  if t.module == nil then
    bad(3, "llmpool.client needs module, the name of a Lua module")
  end
  spec[MARK] = t.module
  spec.config = t.config
  return spec
end

--- A client that only pretends: waits, then answers, streams or fails.
-- @param t table: id and the fields that every client may have; latency,
-- first_token, per_token (seconds: a number or a distribution; latency also a
-- function, request -> seconds), tokens, failure_rate from 0 to 1, failures (a
-- table of failure models), timeout, reply (a string or a function (request,
-- {id, model}) -> text); see the page simulation
function registration.simulated(t)
  local spec = client_fields.spec("simulated", "llmpool.providers.simulated", t,
    require "llmpool.simulated.fields", 3)
  spec.live = true
  return spec
end

local function is_sendable(value, seen)
  if type(value) == "function" then return native.is_sendable(value) end
  if type(value) ~= "table" or seen[value] then return true end
  seen[value] = true
  for _, v in pairs(value) do
    local ok, upvalue = is_sendable(v, seen)
    if not ok then return false, upvalue end
  end
  return true
end

-- The providers whose clients have a breaker unless they say otherwise.
local REAL = { ["llmpool.providers.openai"] = true,
               ["llmpool.providers.anthropic"] = true,
               ["llmpool.providers.gemini"] = true }

-- One entry of a registration list, as an item.
local function normalise(entry, where, level)
  if type(entry) ~= "table" then
    bad(level + 1, "%s: a client expected, got %s", where, type(entry))
  end
  check_id(entry.id, where, level + 1)
  if entry[MARK] then
    return { id = entry.id, module = entry[MARK], config = entry.config,
             live = entry.live, public = entry, common = entry.common,
             limits = client_fields.limits(entry.common, REAL[entry[MARK]]),
             bound = not is_sendable(entry.config, {}) or nil }
  end
  if type(entry.generate) ~= "function" then
    bad(level + 1, "%s: client \"%s\" has no generate method; use a table "
      .. "with one, or llmpool.client, llmpool.simulated", where, entry.id)
  end
  local common = client_fields.take_common(entry, where, level + 1)
  return { id = entry.id, bound = true, value = entry, live = true,
           common = common, limits = client_fields.limits(common) }
end

function lifecycle.normalise(made, id)
  if type(made) == "table" and made.id == nil then made.id = id end
  return normalise(made, "create", 2)
end

-- ---- models ----------------------------------------------------------------

local function order(v)
  if v ~= "lifo" and v ~= "fifo" then return '"lifo" or "fifo"' end
end

local options_known = {
  timeout = seconds, max_waiting = count, order = order, check = func,
  check_after = seconds, check_timeout = some_time, create = func,
  check_interval = some_time, create_timeout = some_time,
  max_creates = at_least_one, max_lifetime = some_time,
  max_uses = at_least_one, idle_timeout = some_time, min_idle = count,
  on_create = func, on_lend = func, on_return = func,
}

local function check_name(name, method, level)
  if type(name) ~= "string" or name == "" then
    bad(level + 1, "bad argument #1 to '%s' (a model's name expected, got %s)",
      method, name == "" and "an empty string" or type(name))
  end
  client_fields.check_bytes(name, method, level + 1)
end

local function check_unique(items, level)
  local seen = {}
  for i, item in ipairs(items) do
    if seen[item.id] then
      bad(level + 1, "client %d has the id \"%s\" of client %d; ids are unique "
        .. "within a model", i, item.id, seen[item.id])
    end
    seen[item.id] = i
  end
end

-- What keeps a model in this state, or nil.
local function binding(items, options)
  for _, item in ipairs(items) do
    if item.bound then
      local what = item.value and "a plain table"
        or "made with a function that has upvalues"
      return ("client \"%s\" is %s; use llmpool.client{module=...} or a "
        .. "function without upvalues"):format(item.id, what)
    end
  end
  for name, value in pairs(options) do
    if type(value) == "function" then
      local ok, upvalue = native.is_sendable(value)
      if not ok then
        return ("option %s is a function with the upvalue '%s'; use one "
          .. "without, which requires what it needs"):format(name,
          upvalue or "?")
      end
    end
  end
end

local function check_bound(pool, why, level)
  if why and native.is_shared(pool) then
    bad(level + 1, "a pool from llmpool.open is for every thread: %s", why)
  end
end

--- Registers a model with its clients.
-- @param name string: what callers ask for
-- @param clients list of llmpool.simulated, llmpool.client or plain tables with
-- id and generate; one at least
-- @param options table: llmpool.model_options of meta/pool.lua
function registration.register_model(pool, name, clients, options)
  check_name(name, "register_model", 2)
  if type(clients) ~= "table" then
    bad(2, "bad argument #2 to 'register_model' (a list of clients expected, "
      .. "got %s)", type(clients))
  end
  if options ~= nil and type(options) ~= "table" then
    bad(2, "bad argument #3 to 'register_model' (table expected, got %s)",
      type(options))
  end
  options = options or {}
  if clients.id ~= nil then
    bad(2, "bad argument #2 to 'register_model' (a list of clients expected, "
      .. "got one client; write { client })")
  end
  if #clients == 0 then
    bad(2, "model \"%s\" needs a client at least; the list is empty", name)
  end
  check_fields(options, options_known, "register_model", 2)
  if options.check_interval and not options.check then
    bad(2, "check_interval of register_model needs check, a function")
  end
  local items = {}
  for i = 1, #clients do -- not ipairs: a hole is a mistake
    items[i] = normalise(clients[i], ("client %d of \"%s\""):format(i, name), 2)
  end
  check_unique(items, 2)
  local why = binding(items, options)
  check_bound(pool, why, 2)
  native.register(pool, name, items, options, why ~= nil)
end

local function put(pool, model, client, replace)
  local where = replace and "replace_client" or "add_client"
  check_name(model, where, 3)
  local item = normalise(client, where, 3)
  check_bound(pool, binding({ item }, {}), 3)
  native.add(pool, model, item, replace)
end

--- Adds a client to a model that is in use.
function registration.add_client(pool, model, client)
  put(pool, model, client, false)
end

--- Replaces the client of the same id; a lease that is out ends on the old one.
function registration.replace_client(pool, model, client)
  put(pool, model, client, true)
end

-- ---- reading ---------------------------------------------------------------

-- The name of what makes it: "simulated", "openai", a module's name.
local function provider_of(item)
  if item.value then
    local name = item.value.provider
    return type(name) == "string" and name or nil
  end
  return item.module:match "^llmpool%.providers%.(.+)$" or item.module
end

--- The clients of a model, in order of registration: what they were registered
-- with (slots, rpm, tpm, breaker, price, weight, tags, provider), defaults
-- filled in, and what pool:stats says of each (state and counts).
function registration.clients(pool, model)
  if type(model) ~= "string" then
    bad(2, "bad argument #1 to 'clients' (a model's name expected, got %s)",
      model == nil and "no value" or type(model))
  end
  local list = native.pool_methods.stats(pool, model).clients
  for _, client in ipairs(list) do
    local item = native.item(pool, model, client.id)
    local common = item and item.common or {}
    local state = client.breaker
    for name in pairs(client_fields.common) do client[name] = common[name] end
    client.breaker_state = state
    client.slots = client.slots or 1
    client.weight = client.weight or 1
    client.tags = client.tags or {}
    client.provider = item and provider_of(item)
  end
  return list
end

return registration
