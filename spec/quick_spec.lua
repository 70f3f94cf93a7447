-- The short way of a lease (src/lua/quick.c): a client is free, no hook runs,
-- nothing is waited for. Where no slot of a stack holds the lease, its task
-- does: it comes back however the task ends.

local llmpool = require "llmpool"
local files = require "spec.support.files"
local ledger = require "spec.support.ledger"
local shell = require "spec.support.shell"

local function pool_of(count, options)
  local clients = {}
  for i = 1, count do
    clients[i] = { id = "key-" .. i, generate = function() return "" end }
  end
  local pool = llmpool.new()
  pool:register_model("m", clients, options)
  return pool
end

local function nest(pool, depth)
  if depth == 0 then return pool:stats("m").lent end
  return pool:get_client("m", function() return nest(pool, depth - 1) end)
end

local function in_task(fn, ...)
  return llmpool.spawn(fn, ...):join()
end

describe("the short way of a lease", function()
  it("goes as deep as there are clients", function()
    local pool = pool_of(100)
    assert.equal(100, nest(pool, 100))
    assert.equal(100, in_task(nest, pool, 100))
    ledger.settled(pool)
  end)

  it("gives way to a wait as soon as nothing is free", function()
    local pool = pool_of(1)
    local order = {}
    llmpool.gather(function()
      pool:get_client("m", function() llmpool.sleep(0.001) end)
      order[#order + 1] = "first"
    end, function()
      pool:get_client("m", function() order[#order + 1] = "second" end)
    end, function()
      local client <close> = pool:acquire "m"
      order[#order + 1] = client.id
    end)
    assert.same({ "first", "second", "key-1" }, order)
    ledger.settled(pool)
  end)

  it("survives errors, yields and a release in the callback", function()
    local pool = pool_of(2)
    local function use()
      assert.is_false(pcall(pool.get_client, pool, "m", error))
      assert.equal(7, pool:get_client("m", function()
        llmpool.sleep(0)
        return 7
      end))
      pool:get_client("m", function(client)
        client:release()
        assert.is_false(pcall(client.release, client))
        assert.equal(2, nest(pool, 2))
      end)
      assert.is_false(pcall(pool.get_client, pool, "m", function()
        nest(pool, 1)
        llmpool.sleep(0)
        error "late"
      end))
    end
    use()
    in_task(use)
    assert.equal(2, pool:stats("m").double_returns)
    ledger.settled(pool)
  end)

  it("leaves hooks to the long way", function()
    local seen = {}
    local pool = pool_of(1, {
      on_lend = function(client) seen[#seen + 1] = "lend " .. client.id end,
      on_return = function(client) seen[#seen + 1] = "return " .. client.id end,
    })
    pool:get_client("m", function() seen[#seen + 1] = "use" end)
    assert.same({ "lend key-1", "use", "return key-1" }, seen)
    ledger.settled(pool)
  end)

  it("checks what the long way checks", function()
    local pool = pool_of(1)
    nest(pool, 1)
    assert.has_error(function() pool:get_client("m", nil) end,
      "bad argument #2 to 'get_client' (function expected, got nil)")
    assert.has_error(function() pool.get_client({}, "m", print) end)
    assert.has_error(function() pool:get_client(1, print) end)
    in_task(function()
      local ok, err = pcall(table.sort, { 2, 1 }, function()
        pool:get_client("m", print)
      end)
      assert.is_false(ok)
      assert.matches("cannot wait here: inside table.sort", err)
    end)
    pool:close()
    local ok, err = pcall(pool.get_client, pool, "m", print)
    assert.is_false(ok)
    assert.equal("closed", err.kind)
    ledger.settled(pool)
  end)

  it("raises a cancellation before it lends", function()
    local pool = pool_of(1)
    local task = llmpool.spawn(function()
      pcall(llmpool.sleep, 60)
      pool:get_client("m", function() error "lent" end)
    end)
    llmpool.sleep(0)
    task:cancel()
    local ok, err = task:pjoin()
    assert.is_false(ok)
    assert.is_true(llmpool.is_cancelled(err))
    assert.equal(0, pool:stats("m").acquired)
  end)

  it("finds long names once, also after a model came anew", function()
    local pool = pool_of(1)
    local name = ("long"):rep(20)
    for _ = 1, 2 do
      pool:register_model(name, { { id = "x", generate = function() end } })
      for i = 1, 3 do
        local copy = ("long"):rep(10 + i) .. ("long"):rep(10 - i)
        assert.equal("x", pool:get_client(copy, function(c) return c.id end))
      end
      ledger.settled(pool)
      pool:unregister_model(name)
    end
  end)

  -- What a program's end finds: lent, acquired, returned, leaked.
  local ENDS = [[
    local llmpool = require "llmpool"
    local pool = llmpool.new()
    pool:register_model("m", { { id = "a", generate = function() end } })
    local _ = setmetatable({}, { __gc = function()
      local s = pool:stats "m"
      print(s.lent, s.acquired, s.returned, s.leaked)
    end })
    %s]]

  local ends = {
    ["of the main chunk"] =
      "pool:get_client('m', function() os.exit(true, true) end)",
    ["in a wait"] = [[
      llmpool.spawn(function() os.exit(true, true) end)
      pool:get_client("m", function() llmpool.sleep(60) end)]],
    ["of a task"] = [[
      llmpool.spawn(function() pool:get_client("m", function()
        os.exit(true, true) end) end)
      llmpool.wait()]],
    ["by an error"] = [[
      llmpool.spawn(function() pool:get_client("m", function()
        llmpool.sleep(60) end) end)
      llmpool.sleep(0)
      error "over"]],
  }
  for where, code in pairs(ends) do
    it("is over at a program's end " .. where .. " #host", function()
      local output = files.with(ENDS:format(code), function(path)
        return (shell.run(os.getenv "LLMPOOL" .. " -W " .. path))
      end)
      assert.matches("0\t1\t1\t0\n", output, 1, true)
      assert.is_nil(output:find("never returned", 1, true), output)
    end)
  end
end)
