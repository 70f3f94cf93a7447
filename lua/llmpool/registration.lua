-- What a user may register: checked, with the mistake named and the nearest
-- name offered, and brought into one form for C. A client is an item
--   {id, module, config, public, live}    made from plain values in any state
--   {id, bound = true, value, live}       a table of this state only
-- It holds no clients and makes none.

local lifecycle = require "llmpool.lifecycle"
local nearest = require "llmpool.nearest"

local registration = {}

local native

function registration.bind(functions) native = functions end

-- ---- clients ---------------------------------------------------------------

-- specs made by llmpool.client and llmpool.simulated are told apart from the
-- user's own tables by this field, so that they stay plain and can be sent
local MARK = "llmpool.client"

local function bad(level, ...) error(string.format(...), level + 1) end

local function check_id(id, where, level)
  if type(id) ~= "string" or id == "" then
    bad(level + 1, "%s needs an id, a string that is not empty (got %s)",
      where, id == "" and "an empty one" or type(id))
  end
end

local function suggestion(name, known)
  local list = {}
  for key in pairs(known) do list[#list + 1] = key end
  table.sort(list)
  local near = nearest(tostring(name), list)
  if near then return ("; did you mean '%s'?"):format(near) end
  return "; there are " .. table.concat(list, ", ")
end

local function check_fields(t, known, what, level)
  for key, value in pairs(t) do
    local check = known[key]
    if not check then
      bad(level + 1, "unknown option '%s' of %s%s", tostring(key), what,
        suggestion(key, known))
    end
    local wanted = check(value)
    if wanted then
      bad(level + 1, "%s of %s must be %s, got %s", key, what, wanted,
        type(value) == "number" and tostring(value) or type(value))
    end
  end
end

local function is_number(v) return type(v) == "number" and v == v end

local function seconds(v)
  if not is_number(v) or v < 0 then return "a number of seconds, 0 or more" end
end

local function count(v)
  if not is_number(v) or v < 0 or (v ~= math.huge and v % 1 ~= 0) then
    return "a whole number, 0 or more"
  end
end

local function at_least_one(v)
  if count(v) or v < 1 then return "a whole number, 1 or more" end
end

local function func(v)
  if type(v) ~= "function" then return "a function" end
end

local function any() end

local client_fields = { id = any, module = any, config = any }

--- A client made by a Lua module, in every thread that uses it.
-- @param t table: id, module (its name; a function or a table with new, called
-- with the config and {id, model}), config (plain values)
function registration.client(t)
  if type(t) ~= "table" then
    bad(2, "bad argument #1 to 'client' (table expected, got %s)", type(t))
  end
  check_fields(t, client_fields, "llmpool.client", 2)
  check_id(t.id, "llmpool.client", 2)
  if type(t.module) ~= "string" then
    bad(2, "llmpool.client needs module, the name of a Lua module (got %s)",
      type(t.module))
  end
  return { [MARK] = t.module, id = t.id, config = t.config }
end

local function latency(v)
  if type(v) == "function" or type(v) == "table" then return end
  return seconds(v)
end

local function rate(v)
  if not is_number(v) or v < 0 or v > 1 then return "a number from 0 to 1" end
end

local function reply(v)
  if type(v) ~= "string" and type(v) ~= "function" then
    return "a string or a function"
  end
end

local simulated_fields = {
  id = any, latency = latency, failure_rate = rate, reply = reply,
}

local distributions = {
  constant = { value = seconds },
  uniform = { min = seconds, max = seconds },
  exponential = { mean = seconds },
  lognormal = { median = seconds, sigma = seconds },
}

local function check_distribution(t, level)
  local name = t[1] or t.distribution
  local fields = distributions[name]
  if not fields then
    bad(level + 1, "unknown distribution '%s'%s", tostring(name),
      suggestion(tostring(name), distributions))
  end
  for field, check in pairs(fields) do
    local wanted = check(t[field])
    if wanted then
      bad(level + 1, "%s of distribution '%s' must be %s, got %s", field, name,
        wanted, type(t[field]))
    end
  end
end

--- A client that only pretends: waits, then answers or fails.
-- @param t table: id; latency in seconds, a number (0), a function (request ->
-- seconds) or a distribution {"uniform", min=, max=}, {"exponential", mean=},
-- {"lognormal", median=, sigma=}; failure_rate from 0 to 1; reply, a string or
-- a function (request, {id, model}) -> text
function registration.simulated(t)
  if type(t) ~= "table" then
    bad(2, "bad argument #1 to 'simulated' (table expected, got %s)", type(t))
  end
  check_fields(t, simulated_fields, "llmpool.simulated", 2)
  check_id(t.id, "llmpool.simulated", 2)
  if type(t.latency) == "table" then check_distribution(t.latency, 2) end
  return {
    [MARK] = "llmpool.providers.simulated", id = t.id, live = true,
    config = {
      latency = t.latency, failure_rate = t.failure_rate, reply = t.reply,
    },
  }
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

-- One entry of a registration list, as an item.
local function normalise(entry, where, level)
  if type(entry) ~= "table" then
    bad(level + 1, "%s: a client expected, got %s", where, type(entry))
  end
  check_id(entry.id, where, level + 1)
  if entry[MARK] then
    return { id = entry.id, module = entry[MARK], config = entry.config,
             live = entry.live, public = entry,
             bound = not is_sendable(entry.config, {}) or nil }
  end
  if type(entry.generate) ~= "function" then
    bad(level + 1, "%s: client \"%s\" has no generate method; use a table "
      .. "with one, or llmpool.client, llmpool.simulated", where, entry.id)
  end
  return { id = entry.id, bound = true, value = entry, live = true }
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
  check_after = seconds, check_timeout = seconds, create = func,
  create_timeout = seconds, max_creates = at_least_one,
  max_lifetime = seconds, max_uses = at_least_one, idle_timeout = seconds,
  min_idle = count, on_create = func, on_lend = func, on_return = func,
}

local function check_name(name, method, level)
  if type(name) ~= "string" or name == "" then
    bad(level + 1, "bad argument #1 to '%s' (a model's name expected, got %s)",
      method, name == "" and "an empty string" or type(name))
  end
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
-- @param options table: see the README
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
  if #clients == 0 then
    bad(2, "model \"%s\" needs a client at least; the list is empty", name)
  end
  check_fields(options, options_known, "register_model", 2)
  local items = {}
  for i, entry in ipairs(clients) do
    items[i] = normalise(entry, ("client %d of \"%s\""):format(i, name), 2)
  end
  check_unique(items, 2)
  local why = binding(items, options)
  check_bound(pool, why, 2)
  native.register(pool, name, items, options, why ~= nil)
end

local function put(pool, model, client, replace)
  local where = replace and "replace_client" or "add_client"
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

return registration
