-- Clients with slots and limits, and calls that exclude some, as a script sees
-- them: what happens when, in virtual time.

local llmpool = require "llmpool"
local acting = require "spec.support.acting"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local failure, run, simulate, stats_of, with =
  acting.failure, acting.run, acting.simulate, acting.stats, acting.with
local message = surface.message

describe("slots", function()
  -- One slot that comes back sees the end of the rest before it is due to be
  -- seen: the others are back as well.
  it("are all back after a rest that ended while one was lent #host", function()
    local pool = llmpool.new()
    pool:register_model("m", {
      { id = "a", slots = 3, generate = function() return "fine" end },
    })
    local client = pool:acquire "m"
    pool:cool_down("m", "a", 0.01)
    local stop = llmpool.now() + 0.03
    while llmpool.now() < stop do end
    client:release()
    local held = {}
    for i = 1, 3 do held[i] = pool:acquire("m", { timeout = 0.5 }) end
    assert.equal(3, #held)
    for i = 1, 3 do held[i]:release() end
    ledger.settled(pool)
  end)

  it("are so many requests at once through one client", function()
    with({ llmpool.simulated { id = "a", slots = 3, latency = 1 } },
      function(pool)
        run(6, function() pool:generate("m", "q") end)
        assert.equal(2, llmpool.now())
        local stats = pool:stats "m"
        assert.equal(3, stats.size)
        assert.equal(1, stats.clients_in_service)
        assert.equal(1, #stats.clients)
        assert.equal(3, stats.clients[1].slots)
        assert.equal(6, stats.clients[1].acquired)
      end)
  end)

  it("of a plain table share the table", function()
    local most, now = 0, 0
    with({ { id = "a", slots = 4, generate = function()
      now = now + 1
      most = math.max(most, now)
      llmpool.sleep(1)
      now = now - 1
    end } }, function(pool)
      run(8, function() pool:generate("m", "q") end)
      assert.equal(4, most)
      assert.equal(2, llmpool.now())
    end)
  end)

  it("spread the first requests over the clients", function()
    with({ llmpool.simulated { id = "a", slots = 2, latency = 1 },
           llmpool.simulated { id = "b", slots = 2, latency = 1 } },
      function(pool)
        run(2, function() pool:generate("m", "q") end)
        assert.equal(1, stats_of(pool, "a").acquired)
        assert.equal(1, stats_of(pool, "b").acquired)
      end)
  end)

  it("change with a replacement", function()
    with({ llmpool.simulated { id = "a", latency = 1 } }, function(pool)
      pool:replace_client("m", llmpool.simulated { id = "a", slots = 5,
                                                   latency = 1 })
      assert.equal(5, pool:stats("m").size)
      run(5, function() pool:generate("m", "q") end)
      assert.equal(1, llmpool.now())
    end)
  end)
end)

describe("rpm and tpm", function()
  it("let a burst through, then one after the other", function()
    with({ llmpool.simulated { id = "a", slots = 9, rpm = 60, rpm_burst = 3 } },
      function(pool)
        local times = {}
        run(6, function()
          pool:generate("m", "q")
          times[#times + 1] = llmpool.now()
        end)
        for i, time in ipairs { 0, 0, 0, 1, 2, 3 } do
          assert.is_true(math.abs(times[i] - time) < 1e-6, times[i])
        end
      end)
  end)

  it("rest a client only when no other can bear the request", function()
    with({ llmpool.simulated { id = "a", rpm = 60, rpm_burst = 1 },
           llmpool.simulated { id = "b" } }, function(pool)
      for _ = 1, 5 do pool:generate("m", "q") end
      assert.equal(0, llmpool.now())
      assert.is_true(stats_of(pool, "a").acquired <= 1)
    end)
  end)

  it("are told by stats", function()
    with({ llmpool.simulated { id = "a", rpm = 10, tpm = 1000 } },
      function(pool)
        assert.equal(10, stats_of(pool, "a").rpm_left)
        pool:get_client("m", function()
          assert.equal(9, stats_of(pool, "a").rpm_left)
          assert.equal(700, stats_of(pool, "a").tpm_left)
        end, { tokens = 300 })
        llmpool.sleep(6)
        assert.is_true(stats_of(pool, "a").rpm_left > 9.99)
      end)
  end)

  it("say when they are enough, to who cannot wait so long", function()
    local spec = { id = "a", slots = 9, tpm = 600, tpm_burst = 100 }
    with({ llmpool.simulated(spec) }, function(pool)
      pool:register_model("n", { llmpool.simulated(spec) })
      local taken = {}
      for i, model in ipairs { "m", "n" } do
        taken[i] = assert(pool:acquire(model, { tokens = 90 }))
      end
      for _, models in ipairs { "m", { "n", "m" } } do
        for _, timeout in ipairs { 1, 0, 3.9 } do
          local _, err = pool:acquire(models,
            { tokens = 50, timeout = timeout })
          assert.equal("resting", err.kind)
          assert.near(4, err.retry_at, 1e-6)
          assert.matches("is back in 4 s", tostring(err))
          assert.equal(0, llmpool.now())
        end
      end
      for _, client in ipairs(taken) do client:release() end
    end)
  end)

  it("say when they could bear it, to who does not wait", function()
    with({ llmpool.simulated { id = "a", tpm = 60, tpm_burst = 60 } },
      function(pool)
        local client = assert(pool:acquire("m", { tokens = 60 }))
        client:release()
        local none, err = pool:acquire("m", { tokens = 30, timeout = 0 })
        assert.is_nil(none)
        assert.equal("resting", err.kind)
        assert.is_true(math.abs(err.retry_at - 30) < 1e-6)
        none, err = pool:acquire("m", { tokens = 30, timeout = 10 })
        assert.is_nil(none)
        assert.equal("resting", err.kind)
        assert.equal(0, llmpool.now())
        local later <close> = pool:acquire("m", { tokens = 30, timeout = 31 })
        assert.is_true(math.abs(llmpool.now() - 30) < 1e-6)
        assert.equal("a", later.id)
      end)
  end)

  it("are settled with what the response says was used", function()
    with({ acting.client("a", {}, { tpm = 1000 }) }, function(pool)
      pool:generate("m", "q", { tokens = 500 })
      assert.equal(990, stats_of(pool, "a").tpm_left)
      pool:get_client("m", function(client)
        assert.is_true(client:settle { tokens = 90 })
      end, { tokens = 1 })
      assert.equal(900, stats_of(pool, "a").tpm_left)
    end)
  end)

  it("get it back when nothing was sent", function()
    with({ acting.client("a", { failure "timeout_connect",
                         failure("server", { status = 500 }) },
                  { rpm = 10, tpm = 1000 }) }, function(pool)
      pcall(pool.generate, pool, "m", "q", { tokens = 500 })
      assert.equal(1000, stats_of(pool, "a").tpm_left)
      assert.equal(10, stats_of(pool, "a").rpm_left)
      pcall(pool.generate, pool, "m", "q", { tokens = 500 })
      assert.equal(1000, stats_of(pool, "a").tpm_left) -- refused: no tokens
      assert.equal(9, stats_of(pool, "a").rpm_left) -- but a request
    end)
  end)

  it("owe what a request larger than the bucket takes", function()
    with({ llmpool.simulated { id = "a", tpm = 60 } }, function(pool)
      pool:get_client("m", function() end, { tokens = 100 })
      assert.equal(-40, stats_of(pool, "a").tpm_left)
      pool:get_client("m", function() end, { tokens = 20 })
      assert.is_true(math.abs(llmpool.now() - 60) < 1e-6)
    end)
  end)

  -- Of several models, the one that grants may have too little: its client
  -- rests, and who asked is where it stood in the lines of the others.
  it("are no reason for who asks several models to queue anew", function()
    simulate(function()
      local pool, order = llmpool.new(), {}
      pool:register_model("x", { llmpool.simulated { id = "a", tpm = 60 } })
      pool:register_model("y", { llmpool.simulated { id = "b" } })
      local x = pool:acquire("x", { tokens = 60 })
      local y = pool:acquire "y"
      local function ask(name, models, options)
        llmpool.spawn(function()
          pool:get_client(models, function(client)
            order[#order + 1] = name .. " of " .. client.id
            llmpool.sleep(1)
          end, options)
        end)
        llmpool.sleep(0)
      end
      ask("before", "y")
      ask("either", { "x", "y" }, { tokens = 50 })
      for i = 1, 3 do ask("after " .. i, "y") end
      x:release() -- has 0 of 60 left
      llmpool.sleep(0.1)
      assert.equal("resting", pool:stats("x").clients[1].state)
      assert.equal(5, pool:stats("y").waiting)
      y:release()
      llmpool.sleep(10)
      assert.same({ "before of b", "either of b", "after 1 of b",
                    "after 2 of b", "after 3 of b" }, order)
      ledger.settled(pool)
    end)
  end)
end)

describe("exclude", function()
  it("takes another client, waits for one, or says that there is none",
     function()
    with({ llmpool.simulated { id = "a", latency = 1 },
           llmpool.simulated { id = "b", latency = 1 } }, function(pool)
      local function id_without(...)
        return pool:get_client("m", function(client) return client.id end,
          { exclude = { ... } })
      end
      assert.equal("b", id_without "a")
      assert.equal("a", id_without "b")
      local b = pool:acquire("m", { prefer = "b" })
      local task = llmpool.spawn(id_without, "a")
      llmpool.sleep(1)
      assert.equal(1, pool:stats("m").waiting)
      pool:generate("m", "q") -- a serves meanwhile
      b:release()
      assert.equal("b", task:join())
      local _, err = message(id_without, "a", "b")
      assert.equal("excluded", err.kind)
      assert.matches('every client of "m" is excluded', tostring(err))
    end)
  end)
end)
