-- The module: what C offers (src/lua) and what is better said in Lua, as one
-- table. It is handed the table of C functions and returns what
-- require "llmpool" returns; it sets no globals.

local native = ...
local lifecycle = require "llmpool.lifecycle"
local health = require "llmpool.health"
local inspect = require "llmpool.inspect"
local registration = require "llmpool.registration"
local nearest = require "llmpool.nearest"
local tasks = require "llmpool.tasks"

lifecycle.bind(native)
registration.bind(native)
inspect.bind(native)

native.set_helpers {
  check = lifecycle.check,
  create = lifecycle.create,
  on_lend = lifecycle.on_lend,
  on_return = lifecycle.on_return,
  instance = lifecycle.instance,
  nearest = nearest,
  outcome = health.keeper(native.outcome),
  upkeep = lifecycle.upkeep,
}

-- read when something has failed
local function hint(message)
  local words = require "llmpool.hint".find(message, 3)
  return words
end
native.word_by(hint, function(...)
  return require "llmpool.failed_task".text(...)
end)

-- what C offers, for the other modules; also after busted has cleared
-- package.loaded
package.preload["llmpool.native"] = function() return native end

local streams = require "llmpool.streams"

local methods = native.pool_methods
methods.register_model = registration.register_model
methods.add_client = registration.add_client
methods.replace_client = registration.replace_client
methods.clients = registration.clients

local get_client, now = methods.get_client, native.now
local INSTANT = 0.0001 -- seconds; less than this was no wait

-- What generate returned, unchanged but for the timings of a response.
local function after_wait(waited, ...)
  if waited > INSTANT then
    local response = select(2, ...)
    if type(response) == "table" then
      streams.shift(response.timings, waited)
    end
  end
  return ...
end

--- Lends a client of the model for one request and returns its answer.
-- @param model string or list of strings; the first that is free serves
-- @param request string or table: what the client's generate takes
-- @param options table: timeout (seconds), priority (0 to 3), prefer (an
-- id or a list of them), exclude (a list of ids), tokens (estimated)
-- @return the text, and the whole response; raises as get_client does
function methods.generate(pool, model, request, options)
  local asked = now()
  return get_client(pool, model, function(client)
    return after_wait(now() - asked, client:generate(request))
  end, options)
end

--- Draws the pool anew in its place until a key is pressed.
function methods.watch(pool, interval)
  require "llmpool.poolview".watch(pool, interval)
end

-- What makes things of a table is framed: an error names the line of `return
-- llmpool.openai { ... }` too. Levels count that frame.

-- Read on first use: most scripts of one provider know nothing of others.
local function provider(name)
  return native.framed(function(t)
    local spec = require "llmpool.providers.specs"[name](t)
    return spec
  end)
end

--- Lends a client for one answer that comes piece by piece.
-- @return a stream that owns the lease: it is back when the stream has ended,
-- is closed or collected; raises as get_client does
methods.stream = streams.of_pool

--- Lends a client for embeddings: of a text, or of a list of texts.
-- @return one vector for a text, a list of them for a list; and the response
function methods.embed(pool, model, input, options)
  return get_client(pool, model, function(client)
    if not client.embed then
      error(("client \"%s\" has no embed method"):format(client.id), 0)
    end
    return client:embed(input)
  end, options)
end

native.client_methods.stream = streams.of_client

local llmpool = {
  _VERSION = "llmpool " .. native.version,
  new = native.new,
  open = native.open,
  spawn = native.spawn,
  sleep = native.sleep,
  now = native.now,
  wait = native.wait,
  scope = native.scope,
  timeout = native.timeout,
  shield = native.shield,
  simulate = native.simulate,
  random = native.random,
  traceback = native.traceback,
  is_cancelled = native.is_cancelled,
  error = native.error,
  trace_leaks = native.trace_leaks,
  client = native.framed(registration.client),
  simulated = native.framed(registration.simulated),
  openai = provider "openai",
  anthropic = provider "anthropic",
  gemini = provider "gemini",
  secret = native.secret,
}

--- Sends requests over a pool as a policy says (loaded when first used).
llmpool.router = native.framed(function(options)
  local router = require "llmpool.router".new(options)
  if native.router_made then native.router_made(router) end -- who looks on
  return router
end)

--- Writes what a router is asked, or what a pool lends, for --replay.
llmpool.trace = native.framed(function(path, target)
  local trace = require "llmpool.trace".open(path, target)
  return trace
end)

--- A plan that is checked once, however often a policy returns it.
function llmpool.plan(value)
  return require "llmpool.router.plan".new(value)
end

tasks.extend(llmpool, native)

return llmpool
