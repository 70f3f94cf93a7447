-- What is done in the background: checks on an interval, replacement of what is
-- sick, refilling; at its time, and without keeping anything alive.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"

local function simulate(fn) return llmpool.simulate({ seed = 1 }, fn) end

local function plain(id)
  return { id = id, generate = function() return "fine" end }
end

local function of(pool, id)
  for _, client in ipairs(pool:stats("m").clients) do
    if client.id == id then return client end
  end
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
      assert.equal(2, of(pool, "a").checked)
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
      assert.equal("idle", of(pool, "a").state)
      llmpool.sleep(60)
      assert.equal("sick@10", tries[1])
      assert.equal(3, #tries)
      assert.equal("idle", of(pool, "a").state)
      assert.equal(1, of(pool, "a").check_failed)
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
      assert.equal(1, of(pool, "a").check_failed)
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
