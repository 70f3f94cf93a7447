-- run.lua: one run of a scenario: a pool, a router, callers, and the record of
-- what happened. One idea: what runs is the real pool, the real router and the
-- user's policy; only the clock, chance and the upstreams are the world's, so
-- that the same function serves in virtual time, in real time, and against
-- real upstreams. What the numbers mean is report.lua's.

local callers = require "llmpool.scenario.callers"
local client_fields = require "llmpool.client_fields"
local native = require "llmpool.native"
local policies = require "llmpool.policy"
local report = require "llmpool.scenario.report"
local traffic = require "llmpool.scenario.traffic"

local run = {}

-- ---- the pool ---------------------------------------------------------------

local function clients_of(scenario, model, live)
  if not live then return model.clients end
  if not model.live then
    error(("scenario \"%s\": the model \"%s\" has no live clients; give it "
      .. "live = {llmpool.openai{...}, ...} to run it against real upstreams")
      :format(scenario.name, model.name), 0)
  end
  return model.live
end

-- Answers that nobody reads need no words of their own.
local function lean(client)
  local config = client[client_fields.MARK] == "llmpool.providers.simulated"
    and client.config
  if not config or config.reply then return client end
  local copy = {}
  for key, value in pairs(client) do copy[key] = value end
  copy.config = {}
  for key, value in pairs(config) do copy.config[key] = value end
  copy.config.lean = true
  return copy
end

local function make_pool(scenario, live)
  local pool = require "llmpool".new()
  local prices, slots, priced = {}, {}, false
  for _, model in ipairs(scenario.models) do
    local clients = {}
    local price, count = {}, {}
    for i, client in ipairs(clients_of(scenario, model, live)) do
      clients[i] = live and client or lean(client)
      local common = client.common or client
      price[client.id], count[client.id] = common.price, common.slots or 1
      priced = priced or common.price ~= nil
    end
    prices[model.name], slots[model.name] = price, count
    pool:register_model(model.name, clients, model.options)
  end
  return pool, prices, slots, priced
end

-- ---- the policy -------------------------------------------------------------

--- Loads a policy from a file: a Lua script that returns one.
function run.load_policy(path)
  local chunk, message = loadfile(path)
  if not chunk then error("cannot load the policy: " .. message, 0) end
  local made = chunk()
  if made == nil then
    error(("the policy %s returns nothing; it must return a function (request, "
      .. "view) -> plan, a plan, or a name"):format(path), 0)
  end
  return made
end

local function is_file(name) return name:find("[/\\]") or name:find "%.lua$" end

-- The policy, and what a report calls it. One that remembers is made anew for
-- every run, so that runs do not learn from each other.
local function policy_of(given, make)
  if given == nil and make then return make(), "scenario" end
  if given == nil then
    return function(request) return request.model end, "none"
  elseif type(given) == "string" and is_file(given) then
    return run.load_policy(given), given:match "([^/\\]+)$"
  elseif type(given) == "string" then
    return given, given
  end
  return given, "scenario"
end

-- ---- one run ----------------------------------------------------------------

local function sources_of(scenario)
  local sources = {}
  for i, spec in ipairs(scenario.traffic) do
    local source = traffic.source(spec, i)
    source.to = math.min(source.to, scenario.duration or math.huge)
    sources[i] = source
  end
  return sources
end

-- Things that the scenario does at stated instants.
local function start_actions(scenario, scope, state)
  for _, action in ipairs(scenario.actions or {}) do
    scope:spawn(function()
      local wait = action.at - native.now()
      if wait > 0 then native.sleep(wait) end
      action[1](state)
    end)
  end
end

-- Tells how far it is, at most every fifth of a second of real time.
local function start_progress(progress, scenario, scope, calls)
  local whole = scenario.duration
  if not progress or not whole then return end
  local told = os.clock()
  scope:spawn(function()
    for i = 1, 400 do
      native.sleep(whole / 400)
      if os.clock() - told > 0.2 then
        told = os.clock()
        progress(i / 400, calls.requests)
      end
    end
  end)
end

-- What is wrong with it is the command line's or the scenario's to know.
local function router_of(scenario, pool, policy)
  local ok, made = pcall(policies.of, policy, -2)
  if not ok then error(made, 0) end
  local options = { pool = pool, policy = made, strict = true }
  for key, value in pairs(scenario.router or {}) do options[key] = value end
  local router = require "llmpool".router(options)
  router.turns = native.meter()
  return router
end

local function play(scenario, options)
  local started, began = os.clock(), native.now()
  local pool, prices, slots, priced = make_pool(scenario, options.live)
  local record = native.record(options.log or scenario.log or 0)
  record:watch(pool)
  local policy, name = policy_of(options.policy or scenario.policy,
    scenario.make_policy)
  local router = router_of(scenario, pool, policy)
  local state = { pool = pool, router = router, scenario = scenario,
                  now = native.now }
  if scenario.prepare then scenario.prepare(state) end
  local calls
  native.scope(function(scope)
    calls = callers.new {
      router = router, record = record, prices = prices, scope = scope,
      counts_tokens = priced or options.trace ~= nil, trace = options.trace,
    }
    start_actions(scenario, scope, state)
    start_progress(options.progress, scenario, scope, calls)
    calls:start(sources_of(scenario))
  end)
  local ended = native.now()
  record:stop(ended)
  return {
    scenario = scenario.name, policy = name, seed = options.seed,
    calls = calls, record = record, read = record:read(), hash = record:hash(),
    seconds = ended - began, slots = slots, wall = os.clock() - started,
    mode = options.live and "live" or options.real and "real" or "virtual",
  }
end

--- Runs a scenario once.
-- @param options table: seed, policy, real, live, log (events to keep one by
-- one), trace (a function told of every request), progress (a function)
-- @return the report; its field `run` has the record
function run.once(scenario, options)
  local own = {}
  for key, value in pairs(options or {}) do own[key] = value end
  own.seed = own.seed or scenario.seed
  local result
  if own.real or own.live then
    native.seed(own.seed)
    result = play(scenario, own)
  else
    result = native.simulate({ seed = own.seed }, play, scenario, own)
  end
  local made = report.of(result)
  return made, result
end

return run
