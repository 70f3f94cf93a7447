-- A mistake is told with the line of the call that has it: not with the line of
-- that one's caller, nor with one of ours. Each call here stands in a function
-- of its own, called by another, so that a level too many shows.

local llmpool = require "llmpool"

local env = setmetatable({
  llmpool = llmpool, scenario = require "llmpool.scenario",
  http = pcall(require, "llmpool.http") and require "llmpool.http" or nil,
  json = require "llmpool.json", pool = llmpool.new(),
}, { __index = _G })
env.pool:register_model("m", { llmpool.simulated { id = "a" } })
env.router = llmpool.router { pool = env.pool }

-- policy.hedge { ... } is require "llmpool.policy.hedge" { ... }
env.policy = setmetatable({}, { __index = function(_, name)
  return require("llmpool.policy." .. name)
end })

local ONE = [[models = { m = { clients = { { id = "a" } } } },
  traffic = { "once" }]]

-- Those that make things of a table are returned at once, too: `return f {}`.
local MAKERS = {
  'llmpool.router { polcy = 1 }', 'llmpool.router(5)', 'llmpool.router {}',
  'llmpool.router { pool = pool, policy = true }',
  'llmpool.router { pool = pool, policy = "falback" }',
  'llmpool.router { pool = pool, default = true }',
  'llmpool.router { pool = pool, hedge_budget = 3 }',
  'llmpool.router { pool = pool, retry_budget = { ratio = "x" } }',
  'llmpool.trace(5)', 'llmpool.trace("/nowhere", 5)',
  'llmpool.simulated { id = "a", latncy = 1 }', 'llmpool.simulated(5)',
  'llmpool.simulated { id = "a", latency = { "x" } }',
  'llmpool.simulated { id = "a", failures = { x = 1 } }',
  'llmpool.client { id = "a" }', 'llmpool.client { id = "a", modul = 1 }',
  'llmpool.openai { id = "a", modl = 1 }',
  'llmpool.openai { id = "a", base_url = "x" }',
  'llmpool.openai { id = "a", api_key_env = "NO_SUCH_KEY" }',
  'llmpool.openai { id = "a", azure = true, api_key = "x" }',
  'llmpool.anthropic { id = "a", timeout = "x" }',
  'llmpool.gemini { id = "a", breaker = 1 }', 'llmpool.gemini(5)',
  'scenario { trafic = 1 }', 'scenario.new { trafic = 1 }',
  'scenario { models = { m = { clients = { { id = "a", x = 1 } } } }, ' ..
    'traffic = { "once" } }',
  'scenario { models = { { name = "m", clients = {} } }, ' ..
    'traffic = { "once" } }',
  'scenario { ' .. ONE .. ', expect = { "latency <" } }',
  'scenario { ' .. ONE .. ', policy = true }',
}

local CALLS = {
  'llmpool.plan { modle = "x" }', 'llmpool.secret(1)', 'llmpool.sleep "x"',
  'llmpool.spawn(5)', 'llmpool.gather(5)', 'llmpool.race(5)',
  'llmpool.scope(5)', 'llmpool.timeout("x", print)', 'llmpool.thread(5)',
  'llmpool.simulate({ sed = 1 }, print)', 'llmpool.shield(5)',
  'llmpool.error()', 'scenario.clients "x"', 'scenario.settings(5)',
  'scenario.load(5)', 'json.decode(nil)', 'json.encode(print)',
  'pool:register_model("n", {})', 'pool:register_model("n", { { id = 1 } })',
  'pool:acquire("m", { timeot = 1 })', 'pool:get_client "m"',
  'pool:generate("m", "q", { tiemout = 1 })', 'pool.generate("m", "q")',
  'pool:stream("m", "q", { tiemout = 1 })', 'pool:stats(5)',
  'pool:add_client("m", { id = "a" })', 'pool:events { x = 1 }',
  'pool:limit("m", "q")', 'pool:watch "x"', 'router:generate()',
  'router:generate("q", { tiemout = 1 })', 'router:stream(5)',
  'router:explain()', 'router:listen()', 'router:reload()', 'router:watch(5)',
  'policy.hedge(5)', 'policy.hedge { true }', 'policy.hedge {}',
  'policy.hedge { "m", budget = { x = 1 } }',
  'policy.hedge { "m", after = -1 }',
  'policy.retry { "m", on = "x" }', 'policy.retry {}',
  'policy.by_request { 5 }', 'policy.by_request { { x = 1 } }',
  'policy.by_request { { tools = true } }',
  'policy.by_request { { tools = true, use = true } }',
  'policy.by_request { otherwise = true }', 'policy.weighted {}',
  'policy.weighted { a = "x" }', 'policy.weighted { a = 0 }',
  'policy.fallback { 5 }', 'policy.fallback { { modl = 1 } }',
  'policy.canary { "a" }', 'policy.canary { "a", "b", share = 3 }',
  'policy.shadow { "a" }', 'policy.shadow { "a", true }',
  'policy.shadow.counts(print)', 'policy.spend_budget { "a" }',
  'policy.spend_budget { "a", limit = 1, otherwise = true }',
  'policy.tenant_shares { "a", shares = { x = 0 } }',
  'policy.breaker { "a", failures = 0 }', 'policy.cheapest { 5 }',
  'policy.sticky { "m", key = 5 }', 'policy.latency { 5 }',
}
if env.http then CALLS[#CALLS + 1] = "http.request { heders = 1 }" end

-- The place that the error of this line names.
local function place_of(line)
  local call = assert(load("\n" .. line, "=script", "t", env))
  local ok, err = pcall(load("local call = ... \n\n local x = call() return x",
                             "=caller"), call)
  assert.is_false(ok, line)
  return tostring(err):match "^[%w_./]+:%d+:" or tostring(err)
end

describe("an error names the line of the call", function()
  local function all(form, lines)
    local found = {}
    for _, line in ipairs(lines) do
      local place = place_of(form:format(line))
      if place ~= "script:2:" then found[#found + 1] = place .. "  " .. line end
    end
    assert(#found == 0, "\n  " .. table.concat(found, "\n  "))
  end

  it("that makes a thing", function()
    all("local x = %s return x", MAKERS)
  end)

  it("that makes a thing and returns it at once", function()
    all("return %s", MAKERS)
  end)

  it("of whatever else", function()
    all("local x = %s return x", CALLS)
  end)
end)
