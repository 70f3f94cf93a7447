-- Models that come and go, as tenants do: what a state, a pool and a view keep
-- of those that were unregistered is bounded (src/lua/kept.c, pool.c), and
-- nobody who still waits, holds or makes a client of one misses it.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"

-- Sanitizers keep what was freed, for a while or for good.
local is_watched = (os.getenv "LLMPOOL_BUILD" or ""):find("[at]san") ~= nil

local ROUNDS = is_watched and 2000 or 10000

local function resident_kb()
  local file = io.open "/proc/self/statm"
  if file == nil then return 0 end
  local _, pages = file:read("n", "n")
  file:close()
  return pages * 4
end

local function collect()
  collectgarbage()
  collectgarbage()
end

-- What `round` leaves behind in `n` rounds, after some to warm up.
local function growth(n, round)
  for i = 1, 200 do round(i) end
  collect()
  local lua, resident = collectgarbage "count", resident_kb()
  for i = 1, n do round(i) end
  collect()
  return collectgarbage "count" - lua,
         is_watched and 0 or resident_kb() - resident
end

local function is_bounded(lua, resident)
  assert.is_true(lua < 200, "Lua's grew by " .. lua .. " KB")
  assert.is_true(resident < 4000, "the process grew by " .. resident .. " KB")
end

local function clients_of(mark)
  return { { id = "key", generate = function() return mark end } }
end

describe("models that come and go", function()
  it("leave nothing, 10,000 of them, with leases and waits in flight",
     function()
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      local kinds = {}
      local function wait(name)
        local _, err = pool:acquire(name, { timeout = 60 })
        kinds[err.kind] = true
      end
      local function round(i)
        local name = "tenant-" .. i % 40
        pool:register_model(name, { llmpool.simulated { id = "key" } })
        if i % 10 == 0 then
          local client <close> = pool:acquire(name)
          local task = llmpool.spawn(wait, name)
          llmpool.sleep(0)
          pool:unregister_model(name)
          task:join()
          assert.equal(name, client.model)
        else
          pool:get_client(name, function(client) return client.id end)
          pool:unregister_model(name)
        end
      end
      is_bounded(growth(ROUNDS, round))
      assert.same({ closed = true }, kinds)
      ledger.settled(pool)
    end)
  end)

  it("leave nothing in a router's view", function()
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      local router = llmpool.router {
        pool = pool, policy = function(request) return { request } end,
      }
      is_bounded(growth(ROUNDS // 8, function(i)
        local name = "tenant-" .. i % 40
        pool:register_model(name, { llmpool.simulated { id = "key" } })
        router:generate(name)
        pool:unregister_model(name)
      end))
    end)
  end)

  it("leave nothing when their pools close, nor when those are forgotten",
     function()
    local function use(i)
      local pool = llmpool.new()
      pool:register_model("m", clients_of "x")
      pool:get_client("m", function(client) return client:generate "" end)
      if i % 2 == 0 then pool:close() end
    end
    is_bounded(growth(1000, use))
  end)

  it("leave nothing to the threads that asked for them", function()
    local function churn(shared, name, n)
      local lib = require "llmpool"
      for _ = 1, n do
        shared:register_model(name, { lib.simulated { id = "key" } })
        pcall(shared.get_client, shared, name, function(c) return c.id end)
        shared:unregister_model(name)
      end
    end
    local function ask(shared, n)
      local counts = {}
      for i = 1, n do
        local ok, err = pcall(shared.get_client, shared, "tenant-" .. i % 2,
                              function() end, { timeout = 1 })
        local kind = ok and "served" or err.kind
        counts[kind] = (counts[kind] or 0) + 1
      end
      return (counts.served or 0) + (counts.unknown_model or 0)
             + (counts.closed or 0)
    end
    local pool = llmpool.open "models that come and go"
    local function round()
      local threads = {
        llmpool.thread(churn, pool, "tenant-0", 400),
        llmpool.thread(churn, pool, "tenant-1", 400),
      }
      assert.equal(800, llmpool.thread(ask, pool, 800):join())
      for _, thread in ipairs(threads) do thread:join() end
      assert.same({}, pool:models())
    end
    round()
    local before = resident_kb()
    round()
    if not is_watched then is_bounded(0, resident_kb() - before) end
    pool:close()
  end)

  it("let go of what their clients and options hold", function()
    local held = setmetatable({}, { __mode = "k" })
    local pool = llmpool.new()
    for i = 1, 100 do
      local big = {}
      held[big] = true
      pool:register_model("m", clients_of(big), {
        on_lend = function() return big end,
      })
      pool:get_client("m", function(client) client:generate "" end)
      pool:unregister_model "m"
      if i % 20 == 0 then collect() end
    end
    collect()
    assert.is_nil(next(held))
    ledger.settled(pool)
  end)
end)

describe("a model that is unregistered", function()
  -- Other models are asked for, so that closed ones are dropped meanwhile.
  local function forget(pool, name)
    pool:unregister_model(name)
    for i = 1, 3 do
      pool:register_model("other-" .. i, clients_of(i))
      pool:get_client("other-" .. i, function() end)
      pool:unregister_model("other-" .. i)
    end
    collect()
  end

  it("is named by who waited for it, alone and among others", function()
    for _, names in ipairs { "m", { "m", "n" } } do
      local pool = llmpool.new()
      pool:register_model("m", clients_of "m")
      pool:register_model("n", clients_of "n")
      local m <close> = pool:acquire "m"
      local n <close> = pool:acquire "n"
      local task = llmpool.spawn(pool.acquire, pool, names, { timeout = 9 })
      llmpool.sleep(0)
      pool:unregister_model "n"
      forget(pool, "m")
      local client, err = task:join()
      assert.is_nil(client)
      assert.equal("closed", err.kind)
      assert.matches('"[mn]" is closed', tostring(err))
      assert.equal("m", m.model)
      assert.equal("n", n.model)
    end
  end)

  it("is named by who was making a client of it, and by who checked one",
     function()
    local pool = llmpool.new()
    local function hook()
      forget(pool, "m")
      error "no"
    end
    for _, options in ipairs {
      { create = hook }, { check = hook, check_after = 0 },
    } do
      pool:register_model("m", {
        options.create and llmpool.client { id = "key", module = "none" }
          or clients_of("x")[1],
      }, options)
      local client, err = pool:acquire("m", { timeout = 9 })
      assert.is_nil(client)
      assert.matches('"m"', tostring(err))
    end
    ledger.settled(pool)
  end)

  -- The collector works at every few bytes, so in the middle of ours too.
  it("may be unregistered by a finalizer in the middle of an ask", function()
    local pool = llmpool.new()
    local served, refused, ran = 0, 0, 0
    local function forget_it()
      ran = ran + 1
      pcall(pool.unregister_model, pool, "m")
      pool:register_model("o", clients_of "o")
      pool:get_client("o", function() end)
      pool:unregister_model "o"
    end
    local function ask(i)
      local ok = pcall(pool.get_client, pool, "m", function(client)
        return client.id
      end, i % 3 == 0 and { timeout = 1, prefer = "key" } or nil)
      if ok then served = served + 1 else refused = refused + 1 end
      local _, client = pcall(pool.acquire, pool, "m")
      if type(client) == "userdata" then client:release() end
    end
    collectgarbage("incremental", 1, 1000, 5)
    for i = 1, 250 do
      if not pcall(pool.stats, pool, "m") then
        pool:register_model("m", clients_of "m", i % 2 == 0 and {
          on_lend = function() end,
        } or nil)
      end
      setmetatable({}, { __gc = forget_it })
      for _ = 1, i % 5 do ask(i) end
    end
    collectgarbage("incremental", 200, 100, 13)
    collect()
    assert.is_true(served > 0 and refused > 0 and ran > 50)
    ledger.settled(pool)
  end)
end)
