-- Coroutines of the user's own may call anything that waits, nested, inside
-- callbacks and generators; and the places that cannot yield say so at once.

local llmpool = require "llmpool"
local files = require "spec.support.files"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local message, simulated = surface.message, surface.simulated

-- Runs fn as a task and joins it.
local function in_task(fn, ...) return llmpool.spawn(fn, ...):join() end

describe("a coroutine in a task", function()
  it("waits as its task does, and yields to its own resumer",
     simulated(function()
    local numbers = coroutine.wrap(function()
      for i = 1, 3 do
        llmpool.sleep(1)
        coroutine.yield(i, llmpool.now())
      end
      return "end"
    end)
    assert.same({ 1, 1.0 }, { numbers() })
    assert.same({ 2, 2.0 }, { numbers() })
    assert.same({ 3, 3.0 }, { numbers() })
    assert.equal("end", numbers())
  end))

  it("lets others run while it waits, however deep", simulated(function()
    local order = {}
    local function nested(depth, fn)
      if depth == 0 then return fn() end
      return coroutine.wrap(function() return nested(depth - 1, fn) end)()
    end
    llmpool.scope(function(scope)
      scope:spawn(function()
        local text = nested(20, function()
          llmpool.sleep(2)
          return "deep"
        end)
        order[#order + 1] = text
      end)
      scope:spawn(function()
        llmpool.sleep(1)
        order[#order + 1] = "other"
      end)
    end)
    assert.same({ "other", "deep" }, order)
  end))

  it("may hold a client over its own yields", simulated(function()
    local pool = surface.pool({}, "a", "b")
    local function generator(id)
      return coroutine.wrap(function()
        pool:get_client("m", function(client)
          for i = 1, 3 do
            llmpool.sleep(1)
            coroutine.yield(client:generate(id .. i))
          end
        end)
        return nil
      end)
    end
    local one, two = generator "x", generator "y"
    local texts = {}
    for _ = 1, 3 do
      texts[#texts + 1] = one()
      texts[#texts + 1] = two()
    end
    assert.same({ "ax1", "by1", "ax2", "by2", "ax3", "by3" }, texts)
    assert.equal(2, pool:stats("m").lent)
    one()
    two()
    ledger.settled(pool)
  end))

  it("inside get_client's callback may wait, too", simulated(function()
    local pool = surface.pool()
    assert.equal("a1", pool:get_client("m", function(client)
      local co = coroutine.create(function()
        llmpool.sleep(1)
        return client:generate(1)
      end)
      return select(2, coroutine.resume(co))
    end))
    ledger.settled(pool)
  end))

  it("has the library's own status, running and isyieldable",
     simulated(function()
    local inner, outer
    outer = coroutine.create(function()
      inner = coroutine.create(function()
        llmpool.sleep(1)
        assert.equal("normal", coroutine.status(outer))
        assert.is_true(coroutine.isyieldable())
        local co, main = coroutine.running()
        assert.same({ inner, false }, { co, main })
      end)
      assert(coroutine.resume(inner))
    end)
    local watcher = llmpool.spawn(function()
      llmpool.sleep(0.5)
      return coroutine.status(inner)
    end)
    assert(coroutine.resume(outer))
    assert.equal("normal", watcher:join())
    assert.equal("dead", coroutine.status(inner))
  end))

  it("that is resumed while it waits is an error, and goes on",
     simulated(function()
    local co = coroutine.create(function()
      llmpool.sleep(2)
      return "done"
    end)
    local task = llmpool.spawn(function() return coroutine.resume(co) end)
    llmpool.sleep(1)
    local ok, text = coroutine.resume(co)
    assert.is_false(ok)
    assert.is_string(text)
    assert.same({ true, "done" }, { task:join() })
  end))

  it("raises the task's cancellation at its wait", simulated(function()
    local pool = surface.pool()
    local task = llmpool.spawn(function()
      local co = coroutine.wrap(function()
        pool:get_client("m", function() llmpool.sleep(100) end)
      end)
      co()
    end)
    llmpool.sleep(0)
    task:cancel()
    assert.is_true(llmpool.is_cancelled(select(2, task:pjoin())))
    ledger.settled(pool)
  end))

  it("works with functions of the library that were kept before",
     simulated(function()
    local resume, wrap = coroutine.resume, require "coroutine".wrap
    assert.equal(2, wrap(function() llmpool.sleep(1) return 2 end)())
    local co = coroutine.create(function() llmpool.sleep(1) return 3 end)
    assert.same({ true, 3 }, { resume(co) })
  end))
end)

describe("a coroutine on the main chunk", function()
  it("waits for clients and tasks", function()
    local pool = surface.pool()
    local co = coroutine.wrap(function()
      llmpool.sleep(0.001)
      return pool:get_client("m", function(client)
        coroutine.yield(client.id)
        llmpool.sleep(0)
        return llmpool.spawn(function() return "end" end):join()
      end)
    end)
    assert.equal("a", co())
    assert.equal("end", co())
    ledger.settled(pool)
  end)
end)

describe("a wait", function()
  local function wait() llmpool.sleep(0) return "w" end

  for name, fn in pairs {
    pcall = function() return select(2, pcall(wait)) end,
    xpcall = function() return select(2, xpcall(wait, print)) end,
    __index = function()
      return setmetatable({}, { __index = wait }).x
    end,
    __add = function() return setmetatable({}, { __add = wait }) + 1 end,
    __lt = function()
      return setmetatable({}, { __lt = wait }) < {} and "w"
    end,
    __concat = function()
      return setmetatable({}, { __concat = wait }) .. "x"
    end,
    __call = function() return setmetatable({}, { __call = wait })() end,
    __pairs = function()
      return pairs(setmetatable({}, { __pairs = wait }))
    end,
    __close = function()
      do
        local _ <close> = setmetatable({}, { __close = wait })
      end
      return "w"
    end,
    iterator = function()
      local last, more = nil, true
      for x in function() return more and wait() or nil end do
        last, more = x, false
      end
      return last
    end,
    dofile = function()
      return files.with("require 'llmpool'.sleep(0) return 'w'", dofile)
    end,
  } do
    it("works inside " .. name, function()
      assert.equal("w", in_task(fn))
      assert.equal("w", fn())
    end)
  end

  local pool = surface.pool()
  local function nothing() end

  for name, fn in pairs {
    ["table.sort"] = function(call) table.sort({ 2, 1 }, call) end,
    ["string.gsub"] = function(call) return (("x"):gsub("x", call)) end,
    tostring = function(call)
      return tostring(setmetatable({}, { __tostring = call }))
    end,
    load = function(call) error(select(2, load(call)), 0) end,
    ["table.concat"] = function(call)
      return table.concat(setmetatable({}, { __index = call,
        __len = function() return 1 end }))
    end,
    require = function(call)
      package.preload["spec.waits"] = call
      local ok, err = pcall(require, "spec.waits")
      package.preload["spec.waits"] = nil
      if not ok then error(err, 0) end
    end,
  } do
    it("is refused inside " .. name .. ", before anything is queued",
       function()
      for _, call in ipairs {
        function() llmpool.sleep(1) end,
        function() pool:get_client("m", nothing) end,
        function() pool:acquire "m" end,
        function() pool:generate("m", "q") end,
        function() pool:drain() end,
        function() llmpool.scope(nothing) end,
        function() llmpool.spawn(nothing):join() end,
      } do
        local text = message(in_task, function()
          llmpool.scope(function(scope)
            -- what was spawned before it is refused is not to be printed
            scope:spawn(fn, call):join()
          end)
        end)
        assert.matches("cannot wait here: inside " .. name .. " (a C function",
          text, 1, true)
      end
      assert.equal(0, pool:stats("m").acquired)
      ledger.settled(pool)
    end)
  end

  it("is refused in a fresh coroutine inside a comparator", function()
    assert.matches("cannot wait here: inside table.sort", message(in_task,
      function()
        table.sort({ 2, 1 }, function()
          coroutine.wrap(function() llmpool.sleep(0) end)()
        end)
      end))
  end)

  it("names what cannot yield, not what can and lies between", function()
    local function try() return message(llmpool.sleep, 0) end -- by pcall
    local text
    in_task(function()
      table.sort({ 2, 1 }, function(x, y)
        text = try()
        return x < y
      end)
    end)
    assert.matches("cannot wait here: inside table.sort", text)
    in_task(function()
      xpcall(error, function() text = try() end)
    end)
    assert.matches("cannot wait here: inside a finalizer, a message", text)
  end)

  it("is not needed there with timeout 0", function()
    assert.equal("a", in_task(function()
      local id
      table.sort({ 2, 1 }, function(x, y)
        local client <close> = pool:acquire("m", { timeout = 0 })
        id = client.id
        return x < y
      end)
      return id
    end))
    ledger.settled(pool)
  end)

  it("on the main chunk drives the loop wherever it is", function()
    local ran = 0
    llmpool.spawn(function() ran = ran + 1 end)
    table.sort({ 2, 1 }, function(x, y)
      llmpool.sleep(0)
      return x < y
    end)
    assert.equal(1, ran)
  end)

  it("in a finalizer in a task is refused", function()
    local text
    in_task(function()
      setmetatable({}, { __gc = function()
        text = message(llmpool.sleep, 0)
      end })
      collectgarbage()
    end)
    assert.matches("cannot wait here: inside", text)
  end)
end)
