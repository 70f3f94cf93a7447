-- Bad input: each mistake is told in the words of the design, where it was
-- made, and before anything has changed.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local plain = surface.plain
local pool = surface.pool({}, "a", "b")

-- { what is called, its arguments ..., the message (plain) }
local function table_of(title, rows)
  describe(title, function()
    for i, row in ipairs(rows) do
      local n = row.n or #row
      it(("tells %d: %s"):format(i, row[n]), function()
        local text = surface.message(row[1], table.unpack(row, 2, n - 1))
        assert.matches(row[n], text, 1, true)
        ledger.settled(pool)
        assert.same({ "m" }, pool:models())
        assert.equal(2, pool:stats("m").size)
      end)
    end
  end)
end

local nan = 0 / 0
local NUL = "a name has no zero bytes"

table_of("a call for a client", {
  { pool.get_client, "pool expected, got no value" },
  { pool.get_client, {}, "m", print, "pool expected, got table" },
  { pool.get_client, io.stdout, "m", print, "pool expected, got FILE*" },
  { pool.get_client, pool, 42, print, "a model's name expected, got number" },
  { pool.get_client, pool, {}, print,
    "a model's name or a list of at least one expected" },
  { pool.get_client, pool, { 1 }, print, "a model's name expected" },
  { pool.get_client, pool, { "m", "x" }, print, 'no model "x"; there is "m"' },
  { pool.get_client, pool, "n", print, 'no model "n"; there is "m"' },
  { pool.get_client, pool, "m", "function expected, got no value" },
  { pool.get_client, pool, "m", {}, "function expected, got table" },
  { pool.get_client, pool, "m", print, 1,
    "a table of options expected, got number" },
  { pool.acquire, pool, "a model's name expected" },
  { pool.acquire, pool, "m", 1, "a table of options expected, got number" },
  { pool.acquire, pool, "m", { 5 }, "options are named" },
  { pool.acquire, pool, "m", { timout = 1 },
    "unknown option 'timout'; did you mean 'timeout'?" },
  { pool.acquire, pool, "m", { zzz = 1 },
    "unknown option 'zzz'; there are timeout, priority" },
  { pool.acquire, pool, "m", { timeout = -1 },
    "timeout must be a number of seconds, 0 or more, got -1" },
  { pool.acquire, pool, "m", { timeout = nan },
    "timeout must be a number of seconds, 0 or more" },
  { pool.acquire, pool, "m", { timeout = -math.huge },
    "timeout must be a number of seconds, 0 or more, got -inf" },
  { pool.acquire, pool, "m", { timeout = "5" },
    "timeout must be a number of seconds, 0 or more, got \"5\"" },
  { pool.acquire, pool, "m", { priority = 4 },
    "priority must be 0, 1, 2 or 3" },
  { pool.acquire, pool, "m", { priority = 1.5 },
    "priority must be 0, 1, 2 or 3" },
  { pool.acquire, pool, "m", { priority = nan },
    "priority must be 0, 1, 2 or 3" },
  { pool.acquire, pool, "m", { prefer = 5 }, "prefer must be a client's id" },
  { pool.generate, pool, "n", "q", 'no model "n"; there is "m"' },
  { pool.generate, pool, "m", "q", { priority = {} },
    "priority must be 0, 1, 2 or 3" },
})

table_of("register_model", {
  { pool.register_model, pool, 5, { plain "x" },
    "bad argument #1 to 'register_model' (a model's name expected" },
  { pool.register_model, pool, "", { plain "x" }, "got an empty string" },
  { pool.register_model, pool, "x",
    "bad argument #2 to 'register_model' (a list of clients expected" },
  { pool.register_model, pool, "x", plain "y",
    "got one client; write { client }" },
  { pool.register_model, pool, "x", {}, 'model "x" needs a client at least' },
  { pool.register_model, pool, "x", { 5 },
    'client 1 of "x": a client expected, got number' },
  { pool.register_model, pool, "x", { plain "y", nil, plain "z" },
    'client 2 of "x": a client expected, got nil' },
  { pool.register_model, pool, "x", { { id = 5 } },
    'client 1 of "x" needs an id, a string that is not empty (got number)' },
  { pool.register_model, pool, "x", { { id = "" } }, "got an empty one" },
  { pool.register_model, pool, "x", { { id = "y" } },
    'client "y" has no generate method' },
  { pool.register_model, pool, "x", { plain "y", plain "y" },
    'client 2 has the id "y" of client 1' },
  { pool.register_model, pool, "x", { plain "y" }, 5,
    "bad argument #3 to 'register_model' (table expected, got number)" },
  { pool.register_model, pool, "m", { plain "y" },
    'model "m" is registered already' },
  { pool.register_model, pool, "x", { plain "y" }, { chek = print },
    "unknown option 'chek' of register_model; did you mean 'check'?" },
})

local wrong = {
  seconds = { -1, nan, "x", {} }, span = { 0, -1, nan, "x" },
  count = { -1, 1.5, "x", nan },
  some = { 0, -1, 1.5, "x" }, func = { 1, "x", {} }, order = { "x", 1 },
}
local options = {
  timeout = "seconds", check_after = "seconds", check_timeout = "span",
  create_timeout = "span", max_lifetime = "span",
  idle_timeout = "span", max_waiting = "count", min_idle = "count",
  max_creates = "some", max_uses = "some", check = "func", create = "func",
  on_create = "func", on_lend = "func", on_return = "func", order = "order",
}

describe("an option of register_model", function()
  for name, kind in pairs(options) do
    it(name .. " is checked", function()
      for _, value in ipairs(wrong[kind]) do
        assert.matches("^[^:]+:%d+: " .. name .. " of register_model must be ",
          surface.message(function()
            pool:register_model("x", { plain "y" }, { [name] = value })
          end))
      end
      assert.same({ "m" }, pool:models())
    end)
  end

  it("may be math.huge where that means no limit", function()
    local huge = {}
    for name, kind in pairs(options) do
      if kind ~= "func" and kind ~= "order" then huge[name] = math.huge end
    end
    huge.min_idle, huge.check = 0, function() end
    local other = surface.pool(huge)
    assert.equal("aq", other:generate("m", "q", { timeout = math.huge }))
    assert.equal("aq", other:generate("m", "q", { timeout = 1e300 }))
    ledger.settled(other)
  end)
end)

-- Functions of the pool that are Lua and hand on what they were given to one
-- of C's: the error is that of the function that was called, on its line.
describe("a function in Lua", function()
  local function told(fn)
    local text = surface.message(fn)
    local line = debug.getinfo(fn, "S").linedefined
    local place, rest = text:match "^([^:]+:%d+): (.*)$"
    assert.equal("spec/errors_spec.lua:" .. line, (place:gsub("^%./", "")))
    return rest
  end

  it("tells its own name and the user's line", function()
    assert.equal("bad argument #3 to 'generate' (unknown option 'timeot'; "
      .. "did you mean 'timeout'?)",
      told(function() pool:generate("m", "q", { timeot = 1 }) end))
    assert.equal("bad argument #3 to 'stream' (timeout must be a number of "
      .. "seconds, 0 or more, got \"5\")",
      told(function() pool:stream("m", "q", { timeout = "5" }) end))
    assert.equal("bad argument #1 to 'embed' (a model's name "
      .. "expected, got nil)",
      told(function() pool:embed() end))
    ledger.settled(pool)
  end)

  it("tells a dot where a colon should be", function()
    local wanted = "bad argument #1 to '%s' (pool expected, got string)"
    assert.equal(wanted:format "generate",
      told(function() pool.generate("m", "q") end))
    assert.equal(wanted:format "embed", told(function() pool.embed "m" end))
    assert.equal(wanted:format "stream", told(function() pool.stream "m" end))
    assert.equal(wanted:format "clients",
      told(function() pool.clients("m", "m") end))
  end)

  it("tells whose lease has ended", function()
    local client = pool:acquire "m"
    local stream = client.stream
    client:release()
    assert.matches("^this client was returned",
      told(function() stream(client, "q") end))
    assert.equal("bad argument #1 to 'stream' (client expected, got number)",
      told(function() stream(5) end))
    ledger.settled(pool)
  end)
end)

table_of("clients that come and go", {
  { pool.add_client, pool, "bad argument #1 to 'add_client'" },
  { pool.add_client, pool, "m", "add_client: a client expected, got nil" },
  { pool.add_client, pool, "m", plain "a", "has a client of that id already" },
  { pool.add_client, pool, "n", plain "z", 'no model "n"; there is "m"' },
  { pool.retire_client, pool, "m", "a\0", NUL },
  { pool.cool_down, pool, "m", "a\0", 1, NUL },
  { pool.disable_client, pool, "m", "a\0", "why", NUL },
  { pool.add_client, pool, "m", plain "z\0z", NUL },
  { pool.register_model, pool, "x\0y", { plain "z" }, NUL },
  { pool.register_model, pool, "x", { plain "\0z" }, NUL },
  { pool.stats, pool, "m\0x", 'no model "m' },
  { pool.get_client, pool, "m\0x", print, 'no model "m' },
  { pool.clients, pool, "a model's name expected, got no value" },
  { pool.clients, pool, 5, "a model's name expected, got number" },
  { pool.clients, {}, "m", "pool expected, got table" },
  { llmpool.open, "x\0y", NUL },
  { pool.replace_client, pool, "m", plain "z", 'has no client "z"' },
  { pool.retire_client, pool, "m", "string expected, got no value" },
  { pool.retire_client, pool, "m", "z",
    'model "m" has no client "z"; there are "a", "b"' },
  { pool.cool_down, pool, "m", "z", 1, 'model "m" has no client "z"' },
  { pool.cool_down, pool, "m", "a", "a rest must be a number of seconds" },
  { pool.cool_down, pool, "m", "a", -1, "0 or more, got -1" },
  { pool.unregister_model, pool, "n", 'no model "n"; there is "m"' },
  { pool.pause, pool, "n", 'no model "n"; there is "m"' },
  { pool.resume, pool, "n", 'no model "n"; there is "m"' },
  { pool.renew, pool, "n", 'no model "n"; there is "m"' },
  { pool.limit, pool, "m", "number expected, got no value" },
  { pool.limit, pool, "m", -1, "a count, 0 or more, or math.huge, expected" },
  { pool.stats, pool, "n", 'no model "n"; there is "m"' },
  { pool.stats, pool, 5, "a model's name expected, got number" },
  { pool.stats, 1, "pool expected, got number" },
  { pool.drain, pool, "x", "a timeout must be a number of seconds" },
  { pool.drain, pool, -1, "0 or more, got -1" },
})

table_of("making pools and clients", {
  { llmpool.new, 1, "llmpool.open(name) opens one by name" },
  { llmpool.open, "string expected, got no value" },
  { llmpool.open, "", "the name is empty" },
  { llmpool.simulated, "bad argument #1 to 'simulated'" },
  { llmpool.simulated, {}, "needs an id, a string that is not empty" },
  { llmpool.simulated, { id = "x", latncy = 1 },
    "unknown option 'latncy' of llmpool.simulated; did you mean 'latency'?" },
  { llmpool.simulated, { id = "x", latency = -1 }, "latency of" },
  { llmpool.simulated, { id = "x", latency = { "norm" } },
    "unknown distribution 'norm'; there are constant" },
  { llmpool.simulated, { id = "x", latency = { "uniform", min = 1 } },
    "max of distribution 'uniform' must be" },
  { llmpool.simulated, { id = "x", failure_rate = 2 },
    "failure_rate of llmpool.simulated must be a number from 0 to 1, got 2" },
  { llmpool.simulated, { id = "x", reply = 5 }, "a string or a function" },
  { llmpool.client, { id = "x" },
    "llmpool.client needs module, the name of a Lua module" },
  { llmpool.client, { id = "x", module = 5 },
    "must be the name of a Lua module" },
  { llmpool.client, { id = "x", module = "y", conf = 1 },
    "did you mean 'config'?" },
})

table_of("tasks and time", {
  { llmpool.spawn, "function expected, got no value" },
  { llmpool.sleep,
    "a sleep must be a number of seconds, 0 or more, got no value" },
  { llmpool.sleep, -1, "0 or more, got -1" },
  { llmpool.sleep, nan, "0 or more, got" },
  { llmpool.timeout, "a timeout must be a number of seconds" },
  { llmpool.timeout, 1, "function expected, got no value" },
  { llmpool.timeout, -1, print, "0 or more, got -1" },
  { llmpool.scope, "function expected, got no value" },
  { llmpool.shield, 1, "function expected, got number" },
  { llmpool.gather, print, 1,
    "bad argument #2 to 'gather' (function expected, got number)" },
  { llmpool.race, "race needs a function at least" },
  { llmpool.race, {}, "bad argument #1 to 'race'" },
  { llmpool.thread,
    "bad argument #1 to 'thread' (a function or a module's name expected" },
  { llmpool.simulate, "table expected, got no value" },
  { llmpool.simulate, {}, "function expected, got no value" },
  { llmpool.simulate, { sed = 1 }, print,
    "unknown option 'sed'; did you mean 'seed'?" },
  { llmpool.simulate, { seed = "x" }, print,
    "seed must be a whole number, got \"x\"" },
  { llmpool.error, "bad argument #1" },
  { llmpool.error, "kind", "bad argument #2" },
  { llmpool.traceback, "value expected" },
  { llmpool.trace_leaks, 1, "boolean expected, got number" },
})

describe("an unknown model", function()
  it("names all there are, and the one that was meant", function()
    local other = surface.pool()
    other:register_model("gpt-4", { plain "x" })
    local err = surface.raised(other.generate, other, "gpt4", "q")
    assert.equal("unknown_model", err.kind)
    assert.equal("gpt4", err.model)
    assert.same({ "m", "gpt-4" }, err.models)
    assert.equal(
      'no model "gpt4"; there are "m", "gpt-4" (did you mean "gpt-4"?)',
      tostring(err))
    err = surface.raised(llmpool.new().acquire, llmpool.new(), "m")
    assert.equal('no model "m": none is registered yet', tostring(err))
  end)
end)

describe("an argument error", function()
  it("of a method counts as Lua does and stands at the caller", function()
    local _, text = pcall(function() pool:get_client("m", nil) end)
    assert.equal("spec/errors_spec.lua:" ..
      debug.getinfo(1, "l").currentline - 2 .. ": bad argument #2 to " ..
      "'get_client' (function expected, got nil)", text)
  end)
end)

describe("a pool that was closed", function()
  local closed = surface.pool()
  local held = closed:acquire "m"
  closed:close()

  it("tells so, of every call that would lend or change", function()
    for name, call in pairs {
      get_client = function() closed:get_client("m", print) end,
      generate = function() closed:generate("m", "q") end,
      register_model = function() closed:register_model("x", { plain "y" }) end,
      add_client = function() closed:add_client("m", plain "y") end,
      retire_client = function() closed:retire_client("m", "a") end,
    } do
      local err = surface.raised(call)
      assert.equal("closed", err.kind, name)
      assert.equal("the pool is closed", tostring(err))
    end
    local client, err = closed:acquire "m"
    assert.is_nil(client)
    assert.equal("closed", err.kind)
    client, err = closed:acquire({ "m" }, { timeout = 0 })
    assert.is_nil(client)
    assert.equal("closed", err.kind)
    assert.matches("model's name", surface.message(closed.acquire, closed, 1))
  end)

  it("still counts, and takes back what it lent", function()
    assert.equal("a1", held:generate(1))
    assert.equal(1, closed:stats("m").lent)
    assert.equal(1, closed:drain(0))
    held:release()
    assert.equal(0, closed:drain())
    assert.equal(1, closed:stats().models.m.returned)
    assert.equal("unknown_model",
      surface.raised(closed.stats, closed, "n").kind)
    assert.matches("closed%)$", tostring(closed))
    closed:close()
    ledger.settled(closed)
  end)

  it("wakes those who wait, with the reason", function()
    local other = surface.pool()
    local client = other:acquire "m"
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = llmpool.spawn(other.acquire, other, "m")
    end
    llmpool.sleep(0)
    assert.equal(3, other:stats("m").waiting)
    other:close()
    for i = 1, 3 do
      local none, err = tasks[i]:join()
      assert.is_nil(none)
      assert.equal("closed", err.kind)
    end
    client:release()
    ledger.settled(other)
  end)
end)
