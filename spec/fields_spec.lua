-- The fields that every client may have, and the options of a call: accepted,
-- kept, readable; or refused with the nearest name, before anything is changed.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local message = surface.message

local function pool_of(...)
  local pool = llmpool.new()
  pool:register_model("m", { ... })
  return pool
end

local common = {
  slots = 8, rpm = 50, tpm = 40000, rpm_burst = 5, tpm_burst = 100.5,
  breaker = { failures = 3, window = 10, open = 5, max_open = 60 },
  price = { input = 0.15, output = 0.6 }, weight = 2, tags = { "eu", "cheap" },
}

local function with(id, extra)
  local t = { id = id }
  for key, value in pairs(common) do t[key] = value end
  for key, value in pairs(extra or {}) do t[key] = value end
  return t
end

local function assert_common(client)
  for key, value in pairs(common) do assert.same(value, client[key]) end
end

describe("the fields of every client", function()
  it("are legal whoever makes it, and readable", function()
    local pool = pool_of(
      llmpool.simulated(with "a"),
      llmpool.client(with("b", { module = "some.module" })),
      with("c", { provider = "mine", generate = function() return "c" end }))
    local clients = pool:clients "m"
    assert.same({ "a", "b", "c" },
      { clients[1].id, clients[2].id, clients[3].id })
    for _, client in ipairs(clients) do assert_common(client) end
    assert.same({ "simulated", "some.module", "mine" },
      { clients[1].provider, clients[2].provider, clients[3].provider })
    assert.equal("idle", clients[1].state)
    assert.equal("vacant", clients[2].state)
  end)

  it("have defaults", function()
    local client = pool_of(llmpool.simulated { id = "a" }):clients("m")[1]
    assert.equal(1, client.slots)
    assert.equal(1, client.weight)
    assert.same({}, client.tags)
    assert.is_nil(client.rpm)
    assert.is_nil(client.price)
  end)

  it("are those of the spec that is there now", function()
    local pool = pool_of(llmpool.simulated(with "a"))
    pool:replace_client("m", llmpool.simulated { id = "a", weight = 7 })
    assert.equal(7, pool:clients("m")[1].weight)
    pool:add_client("m", llmpool.simulated { id = "b", tags = { "new" } })
    assert.same({ "new" }, pool:clients("m")[2].tags)
    ledger.settled(pool)
  end)

  it("are kept when create makes the client anew without them", function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a", weight = 3 } }, {
      check_after = 0, check = function() return false end,
      create = function(spec) return llmpool.simulated { id = spec.id } end,
    })
    pool:generate("m", "q")
    assert.equal(3, pool:clients("m")[1].weight)
  end)

  local wrong = {
    { { slot = 2 }, "unknown option 'slot' of llmpool.simulated; did you mean "
      .. "'slots'?" },
    { { slots = 0 }, "slots of llmpool.simulated must be a whole number from "
      .. "1 to 65536, got 0" },
    { { slots = 1.5 }, "got 1.5" },
    { { slots = "8" }, 'slots of llmpool.simulated must be .*, got "8"' },
    { { rpm = 0 }, "rpm of llmpool.simulated must be a number greater than 0" },
    { { rpm = 0 / 0 }, "rpm of llmpool.simulated must be a number greater" },
    { { tpm = {} }, "tpm of llmpool.simulated must be .*, got table" },
    { { rpm_burst = 3 }, "rpm_burst of llmpool.simulated needs rpm" },
    { { tpm_burst = 3 }, "tpm_burst of llmpool.simulated needs tpm" },
    { { weight = -1 }, "weight of llmpool.simulated must be a number, 0 or" },
    { { tags = "eu" }, "tags of llmpool.simulated must be a list of strings" },
    { { tags = { 1 } }, "tags of llmpool.simulated must be a list of strings" },
    { { tags = { x = "eu" } }, "must be a list of strings" },
    { { price = 3 }, "price of llmpool.simulated must be a table {input=, o" },
    { { price = { inptu = 3 } }, "price of llmpool.simulated: unknown field "
      .. "'inptu'; did you mean 'input'?" },
    { { price = { input = -3 } }, "price of llmpool.simulated: input must be a "
      .. "number, 0 or more, got %-3" },
    { { breaker = 5 }, "breaker of llmpool.simulated must be a table" },
    { { breaker = { failurs = 5 } }, "did you mean 'failures'?" },
    { { breaker = { failures = 0 } }, "breaker of llmpool.simulated: failures "
      .. "must be a whole number from 1 to 1000, got 0" },
    { { breaker = { open = 9, max_open = 3 } }, "max_open is less than open" },
  }
  for i, case in ipairs(wrong) do
    it("wrong, are refused by name: " .. i, function()
      case[1].id = "a"
      assert.matches(case[2], message(llmpool.simulated, case[1]))
    end)
  end

  it("are refused in a plain table and in add_client too", function()
    local pool = pool_of(llmpool.simulated { id = "a" })
    local plain = { id = "b", slots = -1, generate = function() end }
    assert.matches('slots of client 1 of "n" must be a whole number',
      message(pool.register_model, pool, "n", { plain }))
    assert.matches("slots of add_client must be a whole number",
      message(pool.add_client, pool, "m", plain))
    assert.same({ "m" }, pool:models())
    assert.equal(1, #pool:clients "m")
  end)

  it("are named where the user stands", function()
    local ok, err = pcall(function()
      llmpool.simulated { id = "a", rpm = 0 }
    end)
    assert.is_false(ok)
    assert.matches("^spec/fields_spec.lua:%d+: rpm of", err)
  end)

  it("of an unknown model are an error", function()
    local pool = pool_of(llmpool.simulated { id = "a" })
    assert.matches('no model "n"', message(pool.clients, pool, "n"))
  end)
end)

describe("a call's options", function()
  it("prefer one client, or several in order", function()
    local pool = pool_of(llmpool.simulated { id = "a" },
      llmpool.simulated { id = "b" }, llmpool.simulated { id = "c" })
    local function id_of(prefer)
      return pool:get_client("m", function(client) return client.id end,
        { prefer = prefer })
    end
    assert.equal("b", id_of "b")
    assert.equal("c", id_of { "nobody", "c", "b" })
    local c <close> = pool:acquire("m", { prefer = { "c" } })
    assert.equal("c", c.id)
    assert.equal("b", id_of { "c", "b" })
    assert.is_string(id_of {})
  end)

  it("are copied: a list may change while the call waits", function()
    llmpool.simulate({}, function()
      local pool = pool_of(llmpool.simulated { id = "a" },
        llmpool.simulated { id = "b" })
      local options = { prefer = { "b" } }
      local a <close> = pool:acquire "m"
      local b = pool:acquire "m"
      local task = llmpool.spawn(function()
        return pool:get_client("m", function(c) return c.id end, options)
      end)
      llmpool.sleep(1)
      options.prefer[1] = nil
      options.prefer = nil
      collectgarbage()
      b:release()
      assert.equal(b and "b", task:join())
      a:release()
      ledger.settled(pool)
    end)
  end)

  local wrong = {
    { { prefer = 5 }, "prefer must be a client's id or a list of them, got" },
    { { prefer = { 5 } }, "prefer%[1%] must be a client's id, got 5" },
    { { exclude = "a" }, "exclude must be a list of clients' ids, got \"a\"" },
    { { exclude = { {} } }, "exclude%[1%] must be a client's id, got table" },
    { { tokens = "9" }, "tokens must be the request's tokens, 0 or more, got" },
    { { tokens = -1 }, "tokens must be the request's tokens" },
    { { tokens = 0 / 0 }, "tokens must be the request's tokens" },
    { { token = 1 }, "unknown option 'token'; did you mean 'tokens'?" },
    { { perfer = "a" }, "unknown option 'perfer'; did you mean 'prefer'?" },
  }
  for i, case in ipairs(wrong) do
    it("wrong, are refused by name: " .. i, function()
      local pool = pool_of(llmpool.simulated { id = "a" })
      assert.matches("bad argument #2 to 'acquire' %(" .. case[2],
        message(function() return pool:acquire("m", case[1]) end))
      ledger.settled(pool)
      assert.equal(0, pool:stats("m").acquired)
    end)
  end
end)
