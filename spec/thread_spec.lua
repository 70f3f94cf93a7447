-- OS threads: a function in a Lua state of its own; values are copied, pools
-- are shared, errors come home with their traceback.

local llmpool = require "llmpool"
local files = require "spec.support.files"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local message, raised = surface.message, surface.raised
local thread = llmpool.thread

local function echo(...) return ... end

describe("a thread", function()
  it("gets and returns plain values, each as it was", function()
    local sent = table.pack(nil, true, false, 1, 1.0, -0.0, 2 ^ 53, math.huge,
      math.mininteger, "a\0b", "", { 1, { x = 2 } }, nil)
    local got = table.pack(thread(echo, table.unpack(sent, 1, sent.n)):join())
    assert.equal(sent.n, got.n)
    for i = 1, sent.n do
      assert.same(sent[i], got[i])
      assert.equal(math.type(sent[i]), math.type(got[i]))
    end
    assert.equal(-math.huge, 1 / got[6])
    assert.not_equal(sent[12], got[12])
  end)

  it("keeps the shape of tables: cycles, and what is there twice", function()
    local t = { inner = {} }
    t.self, t.inner.up = t, t
    assert.is_true(thread(function(a, b)
      return a == b and a.self == a and a.inner.up == a
    end, t, t):join())
  end)

  it("gets functions without upvalues, and those of libraries", function()
    assert.equal(6, thread(function(f, x) return f(x) end,
      function(x) return math.floor(x) * 2 end, 3.5):join())
  end)

  it("may be a module, found on the parent's path", function()
    local name = os.tmpname()
    os.rename(name, name .. ".lua")
    files.write(name .. ".lua", "return function(x) return 'module', x end")
    local path = package.path
    package.path = name:match "^.*/" .. "?.lua;" .. path
    assert.same({ "module", 5 },
      { thread(name:match "[^/]*$", 5):join() })
    package.path = path
    os.remove(name .. ".lua")
    assert.matches("module 'no.such' not found",
      message(function() thread("no.such"):join() end))
  end)

  local function upvalue() return echo end

  for _, row in ipairs {
    { "cannot send a coroutine (argument 2.handlers[2])",
      { handlers = { 1, coroutine.create(print) } } },
    { "cannot send a FILE* (argument 2)", io.stdout },
    { "cannot send a table with a metatable (argument 2)",
      setmetatable({}, {}) },
    { "cannot send a function with the upvalue 'echo' (argument 2): pass it " ..
      "as an argument or put it in a module", upvalue },
    { "cannot send a pool that holds plain tables or functions with upvalues",
      surface.pool() },
  } do
    it("refuses: " .. row[1], function()
      assert.matches(row[1], message(thread, echo, row[2]), 1, true)
    end)
  end

  it("refuses clients, tasks, pools of a simulation, and itself with upvalues",
     function()
    local pool = surface.pool()
    local client <close> = pool:acquire "m"
    assert.matches("cannot send a client (argument 2): acquire one in the " ..
      "thread", message(thread, echo, client), 1, true)
    local task = llmpool.spawn(function() end)
    assert.matches("cannot send a task (argument 2): join it",
      message(thread, echo, task), 1, true)
    task:join()
    local past = llmpool.simulate({}, function() return llmpool.new() end)
    assert.matches("cannot send a pool of a simulation",
      message(thread, echo, past))
    assert.matches("cannot send a function with the upvalue 'pool'",
      message(thread, function() return pool end))
  end)

  it("fails where its results cannot be sent", function()
    assert.matches("cannot send a coroutine (result 2)", message(function()
      thread(function() return 1, coroutine.create(print) end):join()
    end), 1, true)
  end)

  it("raises its error in join: text, table, object", function()
    assert.matches("spec/thread_spec.lua:%d+: boom", message(function()
      thread(function() error "boom" end):join()
    end))
    assert.same({ code = { 5 } }, raised(function()
      thread(function() error { code = { 5 } } end):join()
    end))
    local err = raised(function()
      thread(function()
        local inner = require "llmpool"
        inner.new():get_client("x", print)
      end):join()
    end)
    assert.same({ "unknown_model", "x" }, { err.kind, err.model })
    assert.equal('no model "x": none is registered yet', tostring(err))
    assert.matches("^thread: ", raised(function()
      thread(function() error(coroutine.create(print)) end):join()
    end))
  end)

  it("raises of an error that has no text what it was", function()
    assert.matches("error object is a table value without a text",
      message(function()
        thread(function()
          error(setmetatable({}, { __tostring = function() error "no" end }))
        end):join()
      end))
  end)

  it("brings the traceback of its error home", function()
    local err = raised(function()
      thread(function()
        local function deep() error { code = 1 } end
        local _ = deep()
      end):join()
    end)
    assert.matches("in local 'deep'", llmpool.traceback(err))
  end)

  it("is joined as any task, also twice, and by many", function()
    local one = thread(function() return 5 end)
    assert.same({ 5, 5 }, { llmpool.gather(
      function() return one:join() end, function() return one:join() end) })
    assert.same({ true, 5 }, { one:pjoin() })
    assert.equal("done", one:status())
  end)

  it("is cancelled at its waits, with the reason, and gives back its clients",
     function()
    local pool = llmpool.open "thread_spec"
    pool:register_model("m", {
      llmpool.simulated { id = "a", latency = 1000 },
      llmpool.simulated { id = "b", latency = 1000 },
    })
    local holder = thread(function(shared) shared:generate("m", "q") end, pool)
    while pool:stats("m").lent == 0 do llmpool.sleep(0.001) end
    assert.is_true(holder:cancel "why")
    local ok, err = holder:pjoin()
    assert.is_false(ok)
    assert.same({ "cancelled", "why" }, { err.kind, err.reason })
    assert.equal("cancelled", holder:status())
    assert.equal(1, pool:stats("m").acquired)
    ledger.settled(pool)
    pool:close()
  end)

  it("is cancelled also in a simulation, which waits for nothing", function()
    local pool = llmpool.open "thread_spec simulates"
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    local runner = thread(function(shared)
      local inner = require "llmpool"
      local client <close> = shared:acquire "m" -- tells that it has begun
      inner.simulate({}, function()
        while client.id do inner.sleep(1) end
      end)
    end, pool)
    while pool:stats("m").lent == 0 do llmpool.sleep(0.001) end
    runner:cancel()
    local ok, err = runner:pjoin()
    assert.same({ false, "cancelled" }, { ok, err.kind })
    ledger.settled(pool)
    pool:close()
  end)

  it("runs its own tasks to their end", function()
    assert.equal(3, thread(function()
      local inner = require "llmpool"
      local count = 0
      inner.scope(function(scope)
        for _ = 1, 3 do
          scope:spawn(function()
            inner.sleep(0.001)
            count = count + 1
          end)
        end
      end)
      return count
    end):join())
  end)

  it("may start threads itself", function()
    assert.equal("inner", thread(function()
      return require "llmpool".thread(function() return "inner" end):join()
    end):join())
  end)

  it("has a state of its own", function()
    spec_thread_global = 1 -- luacheck: ignore
    assert.is_nil(thread(function()
      return spec_thread_global -- luacheck: ignore
    end):join())
    spec_thread_global = nil -- luacheck: ignore
  end)
end)

describe("a pool of llmpool.open", function()
  it("is the same by name, in every thread", function()
    local pool = llmpool.open "thread_spec shared"
    assert.equal(pool, llmpool.open "thread_spec shared")
    assert.not_equal(pool, llmpool.open "thread_spec other")
    assert.equal('pool ("thread_spec shared", 0 models, open)', tostring(pool))
    pool:register_model("m", { llmpool.simulated { id = "a", latency = 0.001 },
                               llmpool.simulated { id = "b" } })
    local threads = {}
    for i = 1, 3 do
      threads[i] = thread(function(n)
        local shared = require "llmpool".open "thread_spec shared"
        for _ = 1, n do shared:generate("m", "q") end
        return n
      end, 5)
    end
    for i = 1, 3 do assert.equal(5, threads[i]:join()) end
    assert.equal(15, pool:stats("m").acquired)
    ledger.settled(pool)
    pool:close()
  end)

  it("comes back from a thread that made it", function()
    local pool = thread(function()
      local inner = require "llmpool"
      local shared = inner.open "thread_spec back"
      shared:register_model("m", { inner.simulated { id = "a" } })
      return shared
    end):join()
    assert.equal("[m:a] Response to: q", (pool:generate("m", "q")))
    ledger.settled(pool)
    pool:close()
  end)

  it("serves waiters of all threads in one line", function()
    local pool = llmpool.open "thread_spec line"
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    local held = pool:acquire "m"
    local other = thread(function(shared)
      return (shared:generate("m", "from a thread"))
    end, pool)
    while pool:stats("m").waiting == 0 do llmpool.sleep(0.001) end
    local own = llmpool.spawn(pool.generate, pool, "m", "from a task")
    llmpool.sleep(0)
    assert.equal(2, pool:stats("m").waiting)
    held:release()
    assert.equal("[m:a] Response to: from a thread", (other:join()))
    assert.equal("[m:a] Response to: from a task", (own:join()))
    ledger.settled(pool)
    pool:close()
  end)

  local up = 1

  for what, fn in pairs {
    ['client "a" is a plain table'] = function(pool)
      pool:register_model("m", { surface.plain "a" })
    end,
    ['client "a" is made with a function that has upvalues'] = function(pool)
      pool:register_model("m", { llmpool.simulated { id = "a",
        latency = function() return up end } })
    end,
    ["option check is a function with the upvalue 'up'"] = function(pool)
      pool:register_model("m", { llmpool.simulated { id = "a" } },
        { check = function() return up end })
    end,
  } do
    it("refuses, since " .. what, function()
      local pool = llmpool.open "thread_spec plain"
      assert.matches("a pool from llmpool.open is for every thread: " .. what,
        message(fn, pool), 1, true)
      assert.same({}, pool:models())
    end)
  end

  it("gives back what it holds when it ends, and when it dies", function()
    local pool = llmpool.open "thread_spec holds"
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    for _, how in ipairs { "ends", "dies", "closes" } do
      local held = thread(function(shared, way)
        KEPT = way ~= "closes" and shared:acquire "m" -- luacheck: ignore
          or setmetatable({}, { __gc = function()
               KEPT = shared:acquire "m" -- luacheck: ignore
             end })
        if way == "dies" then error "dies" end
      end, pool, how)
      assert.equal(how ~= "dies", (pcall(held.join, held)))
      assert.equal("a", pool:get_client("m", function(c) return c.id end,
                                        { timeout = 9 }))
    end
    ledger.settled(pool)
    pool:close()
  end)

  it("runs hooks without upvalues in whatever thread lends", function()
    local pool = llmpool.open "thread_spec hooks"
    pool:register_model("m", { llmpool.simulated { id = "a" } }, {
      check_after = 0, check = function(client) assert(client.id == "a") end,
      on_lend = function() hooked = (hooked or 0) + 1 end, -- luacheck: ignore
    })
    assert.equal(2, thread(function(shared)
      shared:generate("m", "1")
      shared:generate("m", "2")
      return hooked -- luacheck: ignore
    end, pool):join())
    assert.is_nil(hooked) -- luacheck: ignore
    assert.equal(2, pool:stats("m").checked)
    ledger.settled(pool)
    pool:close()
  end)
end)
