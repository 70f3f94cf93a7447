-- Streams and leases: when a stream ends, and when a client is back. The
-- clients are plain tables, so that nothing but this is tested.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local warnings_there, warnings = pcall(require, "warnings")

-- A client whose stream gives so many pieces, then ends or fails; `log` says
-- what became of it.
local function plain(log, pieces, failure)
  local Inner = {}
  Inner.__index = Inner
  function Inner:__call()
    self.n = self.n + 1
    if self.n <= pieces then return { text = tostring(self.n) } end
    if failure then error(failure, 0) end
    self.response = { text = "all", timings = { queued = 0, total = 1 } }
  end
  function Inner.close() log[#log + 1] = "closed" end
  return { id = "a", generate = function() end, stream = function(_, request)
    log[#log + 1] = request
    return setmetatable({ n = 0 }, Inner)
  end }
end

local function pool_of(client, options)
  local pool = llmpool.new()
  pool:register_model("m", { client }, options)
  return pool
end

local function texts(stream)
  local list = {}
  for piece in stream do list[#list + 1] = piece.text end
  return table.concat(list, " ")
end

local function lent(pool) return pool:stats("m").lent end

describe("a stream of a lent client", function()
  it("gives its pieces, then nil, and has the whole", function()
    local log = {}
    local pool = pool_of(plain(log, 3))
    pool:get_client("m", function(client)
      local stream = client:stream "q"
      assert.equal("stream (m/a, open)", tostring(stream))
      assert.equal("1 2 3", texts(stream))
      assert.equal("all", stream.response.text)
      assert.is_nil(stream:read())
      assert.is_nil(stream())
      assert.equal("stream (m/a, ended)", tostring(stream))
      assert.same({ "q", "closed" }, log)
    end)
    ledger.settled(pool)
  end)

  it("may be a function", function()
    local n = 0
    local pool = pool_of { id = "a", generate = print, stream = function()
      return function()
        n = n + 1
        return n < 3 and { text = tostring(n) } or nil
      end
    end }
    pool:get_client("m", function(client)
      assert.equal("1 2", texts(client:stream "q"))
    end)
  end)

  it("is closed when the lease ends, and says so", function()
    local log, kept = {}, nil
    local pool = pool_of(plain(log, 3))
    pool:get_client("m", function(client)
      kept = client:stream "q"
      kept:read()
    end)
    assert.same({ "q", "closed" }, log)
    local ok, err = pcall(kept.read, kept)
    assert.is_false(ok)
    assert.equal("closed", err.kind)
    assert.matches("the lease of its client has ended", tostring(err))
    assert.equal("stream (m/a, closed)", tostring(kept))
    kept:close()
    ledger.settled(pool)
  end)

  it("is closed when a lease of acquire is released or closed", function()
    for _, finish in ipairs { function(c) c:release() end,
                              function(c) local _ <close> = c end } do
      local log = {}
      local pool = pool_of(plain(log, 3))
      local client = pool:acquire "m"
      local one, two = client:stream "q", client:stream "r"
      one:read()
      finish(client)
      assert.same({ "q", "r", "closed", "closed" }, log)
      assert.is_false(pcall(one))
      assert.is_false(pcall(two))
      ledger.settled(pool)
    end
  end)

  it("is closed when the callback raises, before anybody sees it", function()
    local log = {}
    local pool = pool_of(plain(log, 3))
    local ok, err = pcall(pool.get_client, pool, "m", function(client)
      client:stream("q"):read()
      error("oops", 0)
    end)
    assert.is_false(ok)
    assert.equal("oops", err)
    assert.equal("closed", log[2])
  end)

  it("closes what is beneath once, and its end changes no more", function()
    local log = {}
    local pool = pool_of(plain(log, 1))
    pool:get_client("m", function(client)
      do
        local stream <close> = client:stream "q"
        stream:close()
        stream:close()
        assert.is_nil(stream:read())
      end
    end)
    assert.same({ "q", "closed" }, log)
  end)

  it("raises a failure each time it is asked", function()
    local log = {}
    local pool = pool_of(plain(log, 1, { code = 7 }))
    pool:get_client("m", function(client)
      local stream = client:stream "q"
      stream:read()
      for _ = 1, 2 do
        local ok, err = pcall(stream)
        assert.is_false(ok)
        assert.equal(7, err.code)
      end
      assert.equal("stream (m/a, failed)", tostring(stream))
    end)
    assert.same({ "q", "closed" }, log)
  end)

  it("is not kept alive by its lease", function()
    local log = {}
    local pool = pool_of(plain(log, 3))
    pool:get_client("m", function(client)
      do client:stream("q"):read() end
      collectgarbage()
      collectgarbage()
      assert.same({ "q", "closed" }, log)
    end)
  end)

  it("names a client that has none, and one that returns none", function()
    local pool = pool_of { id = "a", generate = function() end }
    pool:get_client("m", function(client)
      local ok, err = pcall(client.stream, client, "q")
      assert.is_false(ok)
      assert.matches('client "a" has no stream method', err)
    end)
    for _, value in ipairs { 5, "x", {} } do
      pool = pool_of { id = "a", generate = print,
                       stream = function() return value end }
      pool:get_client("m", function(client)
        local ok, err = pcall(client.stream, client, "q")
        assert.is_false(ok)
        assert.matches("returned " .. type(value) .. ", not a stream", err)
      end)
    end
  end)

  it("needs a lease that is out", function()
    local pool = pool_of(plain({}, 1))
    local kept
    pool:get_client("m", function(client) kept = client.stream end)
    local client = pool:acquire "m"
    client:release()
    assert.is_false(pcall(kept, client, "q"))
    local ok, err = pcall(kept)
    assert.is_false(ok)
    assert.matches("client expected", err)
    ledger.settled(pool)
  end)
end)

describe("a stream of a pool", function()
  it("holds its lease until its end", function()
    local log = {}
    local pool = pool_of(plain(log, 2))
    local stream = pool:stream("m", "q")
    assert.equal(1, lent(pool))
    assert.equal("1 2", texts(stream))
    assert.equal(0, lent(pool))
    assert.equal("all", stream.response.text)
    ledger.settled(pool)
  end)

  it("gives it back when it is closed, at any piece", function()
    for pieces = 0, 3 do
      local pool = pool_of(plain({}, 3))
      do
        local stream <close> = pool:stream("m", "q")
        for _ = 1, pieces do stream:read() end
        assert.equal(1, lent(pool))
      end
      ledger.settled(pool)
      local stream = pool:stream("m", "q")
      for _ = 1, pieces do stream:read() end
      stream:close()
      ledger.settled(pool)
    end
  end)

  it("gives it back when a for loop is left by break and it is collected",
     function()
    local pool = pool_of(plain({}, 3))
    do
      for piece in pool:stream("m", "q") do
        local captured = function() return piece end -- Lua 5.4.4's defect
        if captured() then break end
      end
    end
    collectgarbage()
    collectgarbage()
    ledger.settled(pool)
    assert.equal(0, pool:stats("m").leaked)
    if warnings_there then assert.is_nil(warnings.take()) end
  end)

  it("gives it back when it fails, at once or later", function()
    local pool = pool_of(plain({}, 1, "oops"))
    local stream = pool:stream("m", "q")
    stream:read()
    assert.is_false(pcall(stream))
    ledger.settled(pool)
    pool = pool_of { id = "a", generate = print,
                     stream = function() error("at once", 0) end }
    local ok, err = pcall(pool.stream, pool, "m", "q")
    assert.is_false(ok)
    assert.equal("at once", err)
    ledger.settled(pool)
  end)

  it("gives it back when its task is cancelled, wherever it waits", function()
    llmpool.simulate({}, function()
      local function slow(first, each)
        return { id = "a", generate = print, stream = function()
          llmpool.sleep(first)
          return function()
            llmpool.sleep(each)
            return { text = "x" }
          end
        end }
      end
      for _, at in ipairs { 0.5, 1.5, 2.5 } do
        local pool = pool_of(slow(1, 1))
        local task = llmpool.spawn(function()
          for _ in pool:stream("m", "q") do end -- luacheck: ignore 542
        end)
        llmpool.sleep(at)
        assert.equal(1, lent(pool))
        task:cancel()
        assert.is_false((task:pjoin()))
        ledger.settled(pool)
      end
    end)
  end)

  it("waits for a client, and gives up as its options say", function()
    llmpool.simulate({}, function()
      local pool = pool_of(plain({}, 1))
      local first = pool:stream("m", "q")
      local ok, err = pcall(pool.stream, pool, "m", "q", { timeout = 1 })
      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      llmpool.spawn(function()
        llmpool.sleep(2)
        first:close()
      end)
      local second = pool:stream("m", "q")
      texts(second)
      assert.equal(3, llmpool.now())
      assert.same({ queued = 2, total = 3 }, second.response.timings)
      ledger.settled(pool)
    end)
  end)

  it("is read by one task at a time", function()
    llmpool.simulate({}, function()
      local pool = pool_of { id = "a", generate = print, stream = function()
        return function()
          llmpool.sleep(1)
          return { text = "x" }
        end
      end }
      local stream <close> = pool:stream("m", "q")
      local task = llmpool.spawn(stream.read, stream)
      llmpool.sleep(0.5)
      local ok, err = pcall(stream)
      assert.is_false(ok)
      assert.matches("another task is reading this stream already", err)
      assert.equal("x", task:join().text)
    end)
  end)

  it("closed by another task wakes nobody twice", function()
    llmpool.simulate({}, function()
      local log = {}
      local pool = pool_of { id = "a", generate = print, stream = function()
        return setmetatable({ close = function() log[#log + 1] = 1 end }, {
          __call = function() llmpool.sleep(1) return { text = "x" } end,
        })
      end }
      local stream = pool:stream("m", "q")
      local task = llmpool.spawn(stream.read, stream)
      llmpool.sleep(0.5)
      stream:close()
      assert.is_nil(task:join())
      assert.same({ 1 }, log)
      ledger.settled(pool)
    end)
  end)

  it("refuses to be sent, and wrong arguments", function()
    local pool = pool_of(plain({}, 1))
    local stream <close> = pool:stream("m", "q")
    assert.is_false(pcall(llmpool.thread, function() end, stream))
    local ok, err = pcall(stream.read, {})
    assert.is_false(ok)
    assert.matches("stream expected, got table", err)
    ok, err = pcall(pool.stream, pool, "n", "q")
    assert.is_false(ok)
    assert.equal("unknown_model", err.kind)
    assert.is_false(pcall(pool.stream, pool))
    assert.is_false(pcall(pool.stream, pool, "m", "q", { timout = 1 }))
  end)
end)

describe("a client that a finalizer releases", function()
  -- The guard of the lease is being collected itself then: used again, it
  -- would end somebody else's lease.
  it("is back, and no later lease ends with it", function()
    local pool = pool_of({ id = "a", generate = print })
    for _ = 1, 50 do
      do
        local owner = setmetatable({}, { __gc = function(o)
          o.client:release()
        end })
        owner.client = pool:acquire "m"
      end
      collectgarbage()
      local client <close> = pool:acquire "m"
      collectgarbage()
      assert.equal("a", client.id)
      assert.equal(1, lent(pool))
    end
    ledger.settled(pool)
    if warnings_there then warnings.take() end
  end)
end)
