-- What is done in the background: checks on an interval, replacement of what is
-- sick, refilling; at its time, and without keeping anything alive.

local llmpool = require "llmpool"
local acting = require "spec.support.acting"
local ledger = require "spec.support.ledger"

local simulate, stats_of = acting.simulate, acting.stats

local function plain(id)
  return { id = id, generate = function() return "fine" end }
end

describe("check_interval", function()
  it("checks who was idle for so long, one after the other", function()
    simulate(function()
      local pool, times = llmpool.new(), {}
      pool:register_model("m", { plain "a", plain "b" }, {
        check_interval = 10, check = function(client)
          times[#times + 1] = ("%s@%g"):format(client.id, llmpool.now())
        end,
      })
      llmpool.sleep(25)
      table.sort(times)
      assert.same({ "a@10", "a@20", "b@10", "b@20" }, times)
      assert.equal(0, pool:stats("m").acquired)
      assert.equal(2, stats_of(pool, "a").checked)
      ledger.settled(pool)
    end)
  end)

  it("leaves alone who is in use", function()
    simulate(function()
      local pool, checks = llmpool.new(), 0
      pool:register_model("m", { plain "a" }, {
        check_interval = 10, check_after = math.huge,
        check = function() checks = checks + 1 end,
      })
      for _ = 1, 10 do
        llmpool.sleep(5)
        pool:generate("m", "q")
      end
      assert.equal(0, checks)
      local held = pool:acquire "m"
      llmpool.sleep(50)
      assert.equal(0, checks)
      held:release()
      llmpool.sleep(11)
      assert.equal(1, checks)
    end)
  end)

  it("replaces who is sick, and tries again when that fails", function()
    simulate(function()
      local pool, tries, sick = llmpool.new(), {}, true
      pool:register_model("m", { plain "a" }, {
        check_interval = 10,
        check = function() return not sick end,
        create = function(spec, reason)
          tries[#tries + 1] = ("%s@%g"):format(reason, llmpool.now())
          if #tries < 3 then error("no route") end
          sick = false
          return plain(spec.id)
        end,
      })
      llmpool.sleep(9)
      assert.equal("idle", stats_of(pool, "a").state)
      llmpool.sleep(60)
      assert.equal("sick@10", tries[1])
      assert.equal(3, #tries)
      assert.equal("idle", stats_of(pool, "a").state)
      assert.equal(1, stats_of(pool, "a").check_failed)
      assert.equal("fine", (pool:generate("m", "q")))
      ledger.settled(pool)
    end)
  end)

  it("bounds a check that hangs, and a caller goes before it", function()
    simulate(function()
      local pool = llmpool.new()
      pool:register_model("m", { plain "a", plain "b" }, {
        check_interval = 10, check_timeout = 3, check_after = math.huge,
        check = function(client)
          if client.id == "a" then llmpool.sleep(100) end
        end,
      })
      llmpool.sleep(11)
      assert.equal("fine", (pool:generate("m", "q"))) -- b, meanwhile
      assert.equal(11, llmpool.now())
      llmpool.sleep(3)
      assert.equal(1, stats_of(pool, "a").check_failed)
    end)
  end)

  it("keeps no simulation alive", function()
    local count = simulate(function()
      local pool, checks = llmpool.new(), 0
      pool:register_model("m", { plain "a" }, {
        check_interval = 10, check = function() checks = checks + 1 end,
      })
      return function() return checks end
    end)
    assert.equal(0, count())
  end)

  it("keeps no script alive, and works on the real clock #host", function()
    local pool, checks = llmpool.new(), 0
    pool:register_model("m", { plain "a" }, {
      check_interval = 0.02, check = function() checks = checks + 1 end,
    })
    llmpool.sleep(0.15)
    assert.is_true(checks >= 3, checks)
    ledger.settled(pool)
    pool:close()
  end)

  it("needs a check, and a time", function()
    local pool = llmpool.new()
    local function refused(options)
      local ok, err = pcall(function()
        pool:register_model("m", { plain "a" }, options)
      end)
      assert.is_false(ok)
      return err
    end
    assert.matches("check_interval of register_model needs check",
      refused { check_interval = 5 })
    assert.matches("check_interval of register_model must be a number of sec",
      refused { check_interval = 0, check = print })
    assert.matches("did you mean 'check_interval'?",
      refused { check_intervall = 5, check = print })
  end)
end)

describe("min_idle", function()
  it("is refilled after idle clients have expired", function()
    simulate(function()
      local pool, created = llmpool.new(), 0
      pool:register_model("m", { plain "a", plain "b", plain "c" }, {
        min_idle = 2, idle_timeout = 10,
        create = function(spec)
          created = created + 1
          return plain(spec.id)
        end,
      })
      llmpool.sleep(30)
      assert.equal(2, pool:stats("m").idle)
      pool:get_client("m", function() -- one is in use: another is made
        llmpool.sleep(30)
        assert.equal(2, pool:stats("m").idle)
      end)
      assert.equal(1, created)
      ledger.settled(pool)
    end)
  end)
end)

describe("a client that is checked in the background", function()
  it("is not used by it, and expires as it would have", function()
    simulate(function()
      local pool, created = llmpool.new(), 0
      pool:register_model("m", { plain "a", plain "b" }, {
        check_interval = 10, check = function() end, idle_timeout = 35,
        create = function(spec)
          created = created + 1
          return plain(spec.id)
        end,
      })
      local client = pool:acquire "m" -- so that all have been made
      pool:acquire("m"):release()
      client:release()
      llmpool.sleep(34)
      assert.equal(2, pool:stats("m").idle)
      assert.equal(3, stats_of(pool, "a").checked)
      llmpool.sleep(2)
      assert.equal(0, pool:stats("m").idle)
      assert.equal(2, pool:stats("m").expired)
      ledger.settled(pool)
    end)
  end)

  it("keeps its place among the idle, and is not checked at once again",
     function()
    simulate(function()
      local pool, checks = llmpool.new(), 0
      pool:register_model("m", { plain "a", plain "b", plain "c" }, {
        check_interval = 10, check_after = 5,
        check = function() checks = checks + 1 end,
      })
      local order = {}
      for i = 1, 3 do order[i] = pool:acquire "m" end
      for i = 1, 3 do
        order[i] = { order[i], order[i].id }
        order[i][1]:release()
        llmpool.sleep(1)
      end
      local before = checks -- the clients were new: none was due
      llmpool.sleep(11)
      assert.equal(before + 3, checks)
      for i = 3, 1, -1 do -- the newest first, as if nothing had been
        local client = pool:acquire "m"
        assert.equal(order[i][2], client.id)
        order[i][3] = client
      end
      assert.equal(before + 3, checks)
      for i = 1, 3 do order[i][3]:release() end
    end)
  end)
end)

describe("upkeep", function()
  -- Whoever asks for a client at its time does what is due, in passing: what
  -- needs Lua must not be lost by it.
  it("is done for those that rest idle while others are busy #host", function()
    local pool, checks = llmpool.new(), {}
    pool:register_model("m", { plain "a", plain "b" }, {
      check_interval = 0.02, check_after = math.huge,
      check = function(client)
        checks[client.id] = (checks[client.id] or 0) + 1
      end,
    })
    local hot
    local stop = llmpool.now() + 0.2
    while llmpool.now() < stop do
      for _ = 1, 100 do
        pool:get_client("m", function(client) hot = client.id end)
      end
      llmpool.sleep(0)
    end
    local cold = hot == "a" and "b" or "a"
    assert.is_true((checks[cold] or 0) >= 3, checks[cold])
    ledger.settled(pool)
    pool:close()
  end)

  it("goes on when the thread that registered has ended #host", function()
    local name = "upkeep of an ended thread"
    local pool <close> = llmpool.open(name)
    llmpool.thread(function(pool_name)
      local here = require "llmpool"
      here.open(pool_name):register_model("m", {
        here.simulated { id = "a" }, here.simulated { id = "b" },
      }, {
        check_interval = 0.02, check = function() end,
        min_idle = 2, idle_timeout = 0.05,
        create = function(spec)
          return require "llmpool".simulated { id = spec.id }
        end,
      })
    end, name):join()
    local before = pool:stats("m").checked
    llmpool.sleep(0.2)
    assert.is_true(pool:stats("m").checked - before >= 4,
                   pool:stats("m").checked)
    pool:get_client("m", function(client) client:retire() end)
    ledger.settled(pool)
  end)

  it("is done by whichever of several threads comes by #host", function()
    local name = "upkeep by several"
    local pool <close> = llmpool.open(name)
    pool:register_model("m", { llmpool.simulated { id = "a" } }, {
      check_interval = 0.01, check = function() end,
    })
    local threads = {}
    for i = 1, 3 do
      threads[i] = llmpool.thread(function(pool_name, span)
        local here = require "llmpool"
        local shared = here.open(pool_name)
        local stop = here.now() + span
        while here.now() < stop do
          shared:get_client("m", function() end)
          here.sleep(0.001)
        end
      end, name, 0.03 * i)
    end
    for i = 1, 3 do threads[i]:join() end
    local before = pool:stats("m").checked
    llmpool.sleep(0.1)
    assert.is_true(pool:stats("m").checked - before >= 3)
    ledger.settled(pool)
  end)
end)
