-- What happens to a client between lends: made, checked, prepared, cleaned.
-- The core says when (admission is held, no lock is); this says how, by the
-- functions of the model's options. It neither queues nor counts.

local lifecycle = {}

local UPKEEP = 1000 -- steps at a time

local native

function lifecycle.bind(functions) native = functions end

--- Makes this state's instance of a client from its registration item.
-- @return the object whose generate method answers requests
function lifecycle.instance(item, id, model)
  if item.value then return item.value end
  local module = require(item.module)
  local make = type(module) == "table" and module.new or module
  local instance = make(item.config, { id = id, model = model })
  if instance == nil then
    error(("module %q made no client for %s/%s"):format(item.module,
      model, id), 0)
  end
  return instance
end

-- `left` is what the caller's own timeout leaves, or nil; math.huge is no bound
local function within(seconds, left, fn, ...)
  if left and left < seconds then seconds = left end
  if seconds == math.huge then return fn(...) end
  return native.timeout(seconds, fn, ...)
end

--- Raises if the client is sick.
function lifecycle.check(options, client, _, left)
  local timeout = options.check_timeout or 5
  if within(timeout, left, options.check, client) == false then
    error("the check returned false", 0)
  end
end

local function make(options, client, reason)
  local item, new_item = native.spec(client), nil
  if options.create then
    local made = options.create(item.public or item.value, reason)
    new_item = lifecycle.normalise(made, client.id)
    new_item.common = new_item.common or item.common -- they are the key's
    item = new_item
  end
  local instance = lifecycle.instance(item, client.id, client.model)
  if options.on_create then
    native.set_instance(client, instance)
    options.on_create(client)
  end
  return instance, new_item
end

-- @return the instance, and the new registration item if create made one
function lifecycle.create(options, client, reason, left)
  local timeout = options.create_timeout or 30
  return within(timeout, left, make, options, client, reason)
end

--- What is due in the background, one by one, in a task of its own. What fails
-- is in the events and in the clients' last_error; it is tried again later.
function lifecycle.upkeep(pool)
  for _ = 1, UPKEEP do
    local ok, more = pcall(native.upkeep, pool)
    if ok and not more or native.is_cancelled(more) then break end
  end
  native.upkeep_done(pool)
end

function lifecycle.on_lend(options, client) options.on_lend(client) end

function lifecycle.on_return(options, client) options.on_return(client) end

return lifecycle
