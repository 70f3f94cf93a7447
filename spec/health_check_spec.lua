-- What happens to a client between lends: checked, created anew, prepared and
-- cleaned by the model's functions; lifetimes, uses, idle time.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"
local warned = require "spec.support.warned"

local raised, simulated = surface.raised, surface.simulated

local function renewed(reason) return surface.plain(reason) end

describe("check", function()
  it("that raises or returns false has the client created anew, in place",
     simulated(function()
    for _, verdict in ipairs { "raises", "false" } do
      local sick = true
      local reasons = {}
      local pool = surface.pool {
        check_after = 0,
        check = function(client)
          assert.equal("a", client.id)
          if not sick then return true end
          if verdict == "raises" then error("401", 0) end
          return false
        end,
        create = function(spec, reason)
          sick = false
          reasons[#reasons + 1] = spec.id .. " " .. reason
          return renewed "new "
        end,
      }
      assert.equal("new q", pool:generate("m", "q"))
      assert.same({ "a sick" }, reasons)
      local stats = pool:stats "m"
      assert.same({ 1, 1, 1, 1 }, { stats.checked, stats.check_failed,
        stats.replaced, stats.clients[1].created })
      assert.equal(verdict == "raises" and "401" or "the check returned false",
        stats.clients[1].last_error)
      ledger.settled(pool)
    end
  end))

  it("of anything else means well; it may wait and generate",
     simulated(function()
    local pool = surface.pool { check_after = 0, check = function(client)
      llmpool.sleep(1)
      assert.equal("a?", client:generate "?")
    end }
    assert.equal("a1", pool:generate("m", 1))
    assert.same({ 1.0, 1, 0 }, { llmpool.now(), pool:stats("m").checked,
      pool:stats("m").check_failed })
    ledger.settled(pool)
  end))

  it("comes only after the client was idle for check_after",
     simulated(function()
    local checks = 0
    local pool = surface.pool { check_after = 10, check = function()
      checks = checks + 1
    end }
    pool:generate("m", 1)
    llmpool.sleep(9)
    pool:generate("m", 2)
    assert.equal(0, checks)
    llmpool.sleep(11)
    pool:generate("m", 3)
    assert.equal(1, checks)
  end))

  it("that takes too long means sick", simulated(function()
    local first = true
    local pool = surface.pool {
      check_after = 0, check_timeout = 2,
      check = function()
        if first then
          first = false
          llmpool.sleep(100)
        end
      end,
    }
    assert.equal("a1", pool:generate("m", 1))
    assert.same({ 2.0, 1 }, { llmpool.now(), pool:stats("m").check_failed })
    assert.matches("longer than check_timeout",
      pool:stats("m").clients[1].last_error)
    ledger.settled(pool)
  end))

  it("counts towards the call's timeout", simulated(function()
    local pool = surface.pool { check_after = 0, check = function()
      llmpool.sleep(100)
    end }
    local err = raised(pool.generate, pool, "m", 1, { timeout = 3 })
    assert.same({ "timeout", 3.0 }, { err.kind, llmpool.now() })
    ledger.settled(pool)
  end))

  it("holds nobody up who can have another client", simulated(function()
    local slow = true
    local pool = surface.pool({ check_after = 0, check = function()
      if slow then
        slow = false
        llmpool.sleep(100)
      end
    end, check_timeout = 200 }, "a", "b")
    local first = llmpool.spawn(pool.generate, pool, "m", 1)
    llmpool.sleep(0)
    pool:generate("m", 2)
    assert.equal(0, llmpool.now())
    first:join()
    ledger.settled(pool)
  end))
end)

describe("create", function()
  it("gets the spec and the reason, and may wait", simulated(function()
    local seen = {}
    local pool = surface.pool { max_uses = 1, create = function(spec, reason)
      llmpool.sleep(2)
      seen[#seen + 1] = { spec.id, reason }
      return renewed("v" .. #seen .. " ")
    end }
    assert.equal("a1", pool:generate("m", 1))
    assert.equal("v1 2", pool:generate("m", 2))
    assert.equal("v2 3", pool:generate("m", 3))
    assert.same({ { "a", "uses" }, { "v1 ", "uses" } }, seen)
    assert.equal(4, llmpool.now())
    ledger.settled(pool)
  end))

  it("that fails is kind create_failed with the cause; the client is not lost",
     simulated(function()
    local broken = true
    local cause = { code = 7 }
    local pool = surface.pool { max_uses = 1, create = function(spec)
      if broken then error(cause) end
      return spec
    end }
    pool:generate("m", 1)
    local err = raised(pool.generate, pool, "m", 2)
    assert.same({ "create_failed", cause }, { err.kind, err.cause })
    assert.equal(1, pool:stats("m").create_failed)
    local client, again = pool:acquire "m"
    assert.same({ nil, "create_failed" }, { client, again.kind })
    broken = false
    llmpool.sleep(60) -- the backoff is over
    assert.equal("a3", pool:generate("m", 3))
    ledger.settled(pool)
  end))

  it("that fails is not tried again for a model that is named twice",
     simulated(function()
    local pool = surface.pool { max_uses = 1, create = function()
      error("down", 0)
    end }
    pool:register_model("n", { surface.plain "n" })
    pool:generate("m", 1)
    for _, models in ipairs { { "m", "m" }, { "m", "m", "m" } } do
      for _ = 1, 2 do -- the second time the gate is shut
        assert.equal("create_failed",
                     raised(pool.generate, pool, models, 2).kind)
      end
    end
    assert.equal("n3", pool:generate({ "m", "m", "n", "m", "n" }, 3))
    assert.equal("excluded", raised(pool.generate, pool, { "n", "n" }, 4,
                                    { exclude = { "n" }, timeout = 1 }).kind)
    ledger.settled(pool)
  end))

  it("that fails turns those who wait into fast errors", simulated(function()
    local creations = 0
    local pool = surface.pool { max_uses = 1, create = function()
      creations = creations + 1
      llmpool.sleep(1)
      error("down", 0)
    end }
    pool:generate("m", 1)
    local kinds = {}
    llmpool.scope(function(scope)
      for i = 1, 5 do
        scope:spawn(function()
          kinds[i] = raised(pool.generate, pool, "m", i).kind
        end)
      end
    end)
    assert.equal("create_failed create_failed create_failed create_failed " ..
      "create_failed", table.concat(kinds, " "))
    assert.same({ 1, 1.0 }, { creations, llmpool.now() })
    ledger.settled(pool)
  end))

  for what, made in pairs { number = 5, ["nil"] = false, table = {} } do
    it("that returns a " .. what .. " is told", simulated(function()
      local pool = surface.pool { max_uses = 1, create = function()
        return made or nil
      end }
      pool:generate("m", 1)
      local err = raised(pool.generate, pool, "m", 2)
      assert.equal("create_failed", err.kind)
      assert.matches(what == "table" and 'client "a" has no generate method'
        or "create: a client expected, got " .. what, tostring(err), 1, true)
      ledger.settled(pool)
    end))
  end

  it("ends at create_timeout, as a failed creation", simulated(function()
    local pool = surface.pool { max_uses = 1, create_timeout = 4,
      create = function() llmpool.sleep(100) end }
    pool:generate("m", 1)
    local err = raised(pool.generate, pool, "m", 2)
    assert.same({ "create_failed", 4.0, "timeout" },
      { err.kind, llmpool.now(), err.cause.kind })
    assert.matches("it took longer than create_timeout", tostring(err))
    ledger.settled(pool)
  end))

  it("ends at the call's own timeout, and nobody else is punished",
     simulated(function()
    local pool = surface.pool_made_in(10)
    pool:generate("m", 1)
    local err = raised(pool.generate, pool, "m", 2, { timeout = 3 })
    assert.same({ "timeout", 3.0 }, { err.kind, llmpool.now() })
    assert.equal("a3", pool:generate("m", 3))
    assert.equal(13, llmpool.now())
    ledger.settled(pool)
  end))

  it("runs max_creates at a time", simulated(function()
    local now, most = 0, 0
    local pool = surface.pool({ max_uses = 1, max_creates = 2,
      create = function(spec)
        now = now + 1
        most = math.max(most, now)
        llmpool.sleep(1)
        now = now - 1
        return spec
      end }, "a", "b", "c", "d")
    local function use()
      pool:get_client("m", function() llmpool.sleep(1) end)
    end
    llmpool.gather(use, use, use, use)
    llmpool.gather(use, use, use, use)
    assert.equal(2, most)
    ledger.settled(pool)
  end))

  it("of a module's client is done again by the module", function()
    local made = 0
    package.preload["spec.made"] = function()
      return { new = function(config, names)
        made = made + 1
        return { generate = function(_, q)
          return config.prefix .. names.id .. names.model .. q .. made
        end }
      end }
    end
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.client { id = "k", module = "spec.made",
      config = { prefix = ">" } } }, { max_uses = 1 })
    assert.equal(">kmq1", pool:generate("m", "q"))
    assert.equal(">kmq2", pool:generate("m", "q"))
    package.preload["spec.made"], package.loaded["spec.made"] = nil, nil
    ledger.settled(pool)
  end)

  it("of a module that is not there, or makes nothing, is create_failed",
     function()
    package.preload["spec.nil"] = function() return function() end end
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.client { id = "k",
      module = "spec.no.such" } })
    pool:register_model("n", { llmpool.client { id = "k",
      module = "spec.nil" } })
    local err = raised(pool.generate, pool, "m", "q")
    assert.equal("create_failed", err.kind)
    assert.matches("module 'spec.no.such' not found", tostring(err))
    err = raised(pool.generate, pool, "n", "q")
    assert.matches('module "spec.nil" made no client for n/k', tostring(err))
    package.preload["spec.nil"], package.loaded["spec.nil"] = nil, nil
    ledger.settled(pool)
  end)
end)

describe("a client's time", function()
  it("ends after max_uses lends", simulated(function()
    local made = 0
    local pool = surface.pool { max_uses = 3, create = function(spec)
      made = made + 1
      return spec
    end }
    for i = 1, 10 do pool:generate("m", i) end
    assert.equal(3, made)
    assert.equal(3, pool:stats("m").replaced)
    ledger.settled(pool)
  end))

  it("ends after max_lifetime, when it is not lent", simulated(function()
    local reasons = {}
    local pool = surface.pool { max_lifetime = 100, create = function(spec, r)
      reasons[#reasons + 1] = r
      return spec
    end }
    pool:get_client("m", function(client)
      llmpool.sleep(150)
      assert.equal("a1", client:generate(1))
    end)
    pool:generate("m", 2)
    assert.same({ "lifetime" }, reasons)
    ledger.settled(pool)
  end))

  it("ends after idle_timeout, but for min_idle", simulated(function()
    local pool = surface.pool({ idle_timeout = 10, min_idle = 1 }, "a", "b")
    pool:generate("m", 1)
    llmpool.sleep(30)
    local stats = pool:stats "m"
    assert.same({ 1, 1, 1, 2 },
      { stats.idle, stats.vacant, stats.expired, stats.size })
    pool:get_client("m", function() pool:generate("m", 2) end)
    ledger.settled(pool)
  end))

  it("ends with renew, for a lent one when it is back", simulated(function()
    local reasons = {}
    local pool = surface.pool({ create = function(spec, reason)
      reasons[#reasons + 1] = reason
      return spec
    end }, "a", "b")
    pool:get_client("m", function(client)
      pool:renew "m"
      assert.equal("a1", client:generate(1))
    end)
    pool:get_client("m", function() pool:generate("m", 2) end)
    assert.same({ "replaced", "replaced" }, reasons)
    ledger.settled(pool)
  end))
end)

describe("hooks", function()
  it("run after create, before lending, after return, with the client",
     simulated(function()
    local log = {}
    local function note(name)
      return function(client)
        log[#log + 1] = name .. client.id .. client.model .. client:generate "?"
      end
    end
    local pool = surface.pool { max_uses = 1, on_create = note "create ",
      on_lend = note "lend ", on_return = note "return " }
    pool:generate("m", 1)
    pool:generate("m", 2)
    assert.same({ "lend ama?", "return ama?", "create ama?", "lend ama?",
                  "return ama?" }, log)
    ledger.settled(pool)
  end))

  it("after create fail the creation", simulated(function()
    local pool = surface.pool { max_uses = 1, on_create = function()
      error("no", 0)
    end }
    pool:generate("m", 1)
    local err = raised(pool.generate, pool, "m", 2)
    assert.same({ "create_failed", "no" }, { err.kind, err.cause })
    ledger.settled(pool)
  end))

  it("before lending fail the call, and the client is replaced",
     simulated(function()
    local value = {}
    local pool = surface.pool { on_lend = function() error(value) end }
    assert.equal(value, raised(pool.generate, pool, "m", 1))
    assert.equal(value, raised(pool.acquire, pool, "m"))
    assert.equal(2, pool:stats("m").returned)
    assert.equal(1, pool:stats("m").vacant)
    ledger.settled(pool)
  end))

  it("after return fail nothing: it is told, and the client is replaced",
     simulated(function()
    local pool = surface.pool { on_return = function() error("oh", 0) end }
    assert.equal("a1", pool:generate("m", 1))
    warned.of "on_return failed, the client is replaced: oh"
    assert.equal("mine", surface.message(pool.get_client, pool, "m", function()
      error("mine", 0)
    end))
    warned.of "on_return failed"
    do local _ <close> = pool:acquire "m" end
    warned.of "on_return failed"
    assert.equal(1, pool:stats("m").vacant)
    ledger.settled(pool)
  end))

  it("that fail with what has no text cost no client", simulated(function()
    local mute = setmetatable({}, { __tostring = function() error "no" end })
    local function fail() error(mute) end
    local pool = surface.pool { on_return = fail }
    assert.equal("a1", pool:generate("m", 1))
    warned.of "on_return failed, the client is replaced; its error has no text"
    ledger.settled(pool)
    pool = surface.pool { check = fail, check_after = 0, create = fail }
    assert.matches("could be made: %(error object is a table value without",
      surface.message(pool.generate, pool, "m", 1))
    ledger.settled(pool)
  end))

  it("before lending and after return may not wait", simulated(function()
    local pool = surface.pool { on_lend = function() llmpool.sleep(1) end }
    assert.matches("cannot wait here", surface.message(pool.generate, pool,
      "m", 1))
    pool = surface.pool { on_return = function() llmpool.sleep(1) end }
    assert.equal("a1", pool:generate("m", 1))
    warned.of "on_return failed.*cannot wait here"
    ledger.settled(pool)
  end))

  -- It is not theirs: the lease would end twice, and its memory with it.
  it("cannot release the client, nor can check and create", function()
    local function free(client) client:release() end
    local function close(client)
      local _ <close> = client
      return true
    end
    for _, fn in ipairs { free, close } do
      local pool = surface.pool({ on_return = fn }, "a", "b")
      for _ = 1, 3 do
        pool:get_client("m", function() end)
        do local _ <close> = pool:acquire "m" end
        pool:acquire("m"):release()
        warned.of "on_return failed.*cannot be released by"
      end
      ledger.settled(pool)
      pool = surface.pool({ on_lend = fn }, "a", "b")
      assert.matches("cannot be released by",
                     surface.message(pool.acquire, pool, "m"))
      assert.matches("cannot be released by",
                     surface.message(pool.generate, pool, "m", "q"))
      assert.equal(0, pool:stats("m").double_returns)
      ledger.settled(pool)
      pool = surface.pool({ check_after = 0, check = fn }, "a", "b")
      pool:generate("m", 1)
      assert.is_true(pool:stats("m").check_failed > 0)
      ledger.settled(pool)
      pool = surface.pool { max_uses = 1, on_create = fn }
      pool:generate("m", 1)
      assert.matches("cannot be released by",
                     surface.message(pool.generate, pool, "m", 2))
      ledger.settled(pool)
    end
  end)

  it("after return run before anybody else is lent the client",
     simulated(function()
    local log = {}
    local pool = surface.pool { on_return = function()
      log[#log + 1] = "returned"
    end }
    llmpool.scope(function(scope)
      for _ = 1, 3 do
        scope:spawn(pool.get_client, pool, "m", function()
          log[#log + 1] = "lent"
          llmpool.sleep(1)
        end)
      end
    end)
    assert.equal("lent returned lent returned lent returned",
      table.concat(log, " "))
  end))
end)
