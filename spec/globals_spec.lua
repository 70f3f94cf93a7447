-- The script's globals are its own: the library works where they are gone,
-- replaced, or guarded by a metatable.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"

-- Runs a use of most of the library with the globals as `change` leaves them.
local function under(change)
  local kept, meta = {}, getmetatable(_G)
  local set, call, raise, each = setmetatable, pcall, error, next
  local text = tostring
  for name, value in pairs(_G) do kept[name] = value end
  local G = _G
  change(G)
  local ok, result = call(function()
    local pool = llmpool.new()
    pool:register_model("m", {
      llmpool.simulated { id = "a", latency = { "exponential", mean = 1 } },
      llmpool.openai { id = "b", api_key = "x",
                       base_url = "http://127.0.0.1:1/v1" },
    })
    pool:generate("m", "q", { prefer = "a" })
    local stream = pool:stream("m", "q", { prefer = "a" })
    while stream:read() do stream = stream end
    local router = llmpool.router { pool = pool,
                                    policy = { model = "m", client = "a" } }
    router:generate "q"
    llmpool.gather(function() router:generate "q" end, function()
      call(pool.generate, pool, "m", "q", { timeot = 1 })
      call(pool.generate, pool, "n", "q")
    end)
    return { pool = pool, explained = text(router:explain "q") }
  end)
  set(G, nil)
  for name in each, G do if kept[name] == nil then G[name] = nil end end
  for name, value in each, kept do G[name] = value end
  set(G, meta)
  if not ok then raise(result, 0) end
  assert.matches("plan (m/a)", result.explained, 1, true)
  ledger.settled(result.pool)
end

describe("the library", function()
  local function simulated(change)
    return function() llmpool.simulate({ seed = 1 }, under, change) end
  end

  it("needs none of the script's globals", simulated(function(G)
    for name in next, G do
      if name ~= "_G" then G[name] = nil end
    end
  end))

  it("calls none of the script's that have a known name", simulated(function(G)
    for _, name in ipairs { "pcall", "error", "type", "pairs", "ipairs",
                            "tostring", "setmetatable", "require", "next" } do
      G[name] = function() os.exit(99) end
    end
    G.string, G.table, G.math = "string", 5, function() end
  end))

  local function strict(G)
    setmetatable(G, {
      __index = function(_, name) error("undeclared " .. name, 2) end,
      __newindex = function(_, name) error("new " .. name, 2) end,
    })
  end

  it("asks a strict metatable nothing", simulated(strict))

  it("makes a scenario under a strict metatable", function()
    local meta = getmetatable(_G)
    strict(_G)
    local ok, made = pcall(require "llmpool.scenario", {
      name = "s", duration = 5, traffic = { "constant", rate = 1 },
      models = { m = { clients = { { id = "a", latency = 1 } } } },
    })
    setmetatable(_G, meta)
    assert(ok, made)
    assert.equal(5, made:run({ seed = 1 }).requests)
  end)
end)
