-- Events of a pool: read from a ring, or called back on the listener's own
-- thread, in order, with what was dropped counted.

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"

local function pool_of(...)
  local pool = llmpool.new()
  local clients = {}
  for i, id in ipairs { ... } do
    clients[i] = llmpool.simulated { id = id, latency = 1 }
  end
  pool:register_model("m", clients)
  return pool
end

local function kinds(list)
  local names = {}
  for i, event in ipairs(list) do names[i] = event.kind end
  return table.concat(names, " ")
end

local function simulated(fn)
  return function() llmpool.simulate({}, fn) end
end

describe("events that are read", function()
  it("tell each change of state, in order, with its numbers",
     simulated(function()
    local pool = pool_of "a"
    local events <close> = pool:events()
    llmpool.gather(
      function() pool:generate("m", "q") end,
      function() pool:generate("m", "q") end)
    local list, dropped = events:read()
    assert.equal("lent queued returned lent returned", kinds(list))
    assert.equal(0, dropped)
    for i, event in ipairs(list) do
      assert.equal("m", event.model)
      assert.equal("integer", math.type(event.seq))
      if i > 1 then assert.equal(list[i - 1].seq + 1, event.seq) end
    end
    local last = list[#list]
    assert.same({ "a", 2.0, 1.0 }, { last.client, last.time, last.held })
    assert.equal(1.0, list[#list - 1].waited)
    assert.equal(list[#list].ask, list[#list - 1].ask)
    assert.same({}, (events:read()))
    ledger.settled(pool)
  end))

  it("tell rests, pauses, clients that come and go, and the end",
     simulated(function()
    local pool = pool_of "a"
    local events <close> = pool:events(100)
    pool:cool_down("m", "a", 5)
    pool:pause()
    pool:resume "m"
    pool:add_client("m", llmpool.simulated { id = "b" })
    pool:retire_client("m", "b")
    pool:register_model("n", { llmpool.simulated { id = "c" } })
    pool:unregister_model "n"
    assert.is_nil((pool:acquire("m", { timeout = 1 })))
    pool:close()
    assert.equal("resting paused resumed added retired registered " ..
                 "unregistered refused closed", kinds(events:read()))
  end))

  it("drop what the ring cannot hold, and count it", simulated(function()
    local pool = pool_of "a"
    local events <close> = pool:events(3)
    for _ = 1, 5 do pool:generate("m", "q") end
    local list, dropped = events:read()
    assert.same({ 3, 7 }, { #list, dropped })
    assert.equal(7, events:dropped())
    assert.equal("lent returned lent", kinds(list))
    pool:generate("m", "q")
    assert.equal("lent returned", (kinds(events:read())))
  end))

  it("end with close, with their variable, or with the collector", function()
    local pool = pool_of "a"
    local events = pool:events()
    assert.equal("events (open)", tostring(events))
    events:close()
    events:close()
    assert.equal("events (closed)", tostring(events))
    assert.has_error(function() events:read() end,
      "these events were closed")
    pool:events()
    collectgarbage()
    collectgarbage()
  end)

  it("of two listeners are the same", simulated(function()
    local pool = pool_of "a"
    local one <close> = pool:events()
    local two <close> = pool:events(2)
    pool:generate("m", "q")
    pool:generate("m", "q")
    local all, some = one:read(), two:read()
    assert.same({ all[1], all[2] }, some)
    assert.equal(2, two:dropped())
  end))
end)

describe("events with a callback", function()
  it("come one by one and in order, each once", simulated(function()
    local pool = pool_of("a", "b")
    local heard = {}
    local events <close> = pool:events { callback = function(event)
      heard[#heard + 1] = event
    end }
    assert.equal("events (called back)", tostring(events))
    local calls = {}
    for i = 1, 10 do calls[i] = function() pool:generate("m", "q") end end
    llmpool.gather(table.unpack(calls))
    llmpool.sleep(0)
    assert.equal(8 + 20, #heard)
    for i = 2, #heard do assert.equal(heard[i - 1].seq + 1, heard[i].seq) end
    ledger.settled(pool)
  end))

  it("may wait in it; nothing is lost or overtakes meanwhile",
     simulated(function()
    local pool = pool_of "a"
    local heard = {}
    local events <close> = pool:events { callback = function(event)
      llmpool.sleep(10)
      heard[#heard + 1] = event.kind
    end }
    for _ = 1, 3 do pool:generate("m", "q") end
    assert.equal(0, #heard)
    llmpool.sleep(100)
    assert.equal("lent returned lent returned lent returned",
      table.concat(heard, " "))
    assert.equal(0, events:dropped())
  end))

  it("may use the pool in it, also the client that has just come back",
     simulated(function()
    local pool = pool_of "a"
    local texts = {}
    local events <close> = pool:events { callback = function(event)
      if event.kind == "returned" and #texts < 3 then
        texts[#texts + 1] = pool:generate("m", "again")
      end
    end }
    pool:generate("m", "q")
    llmpool.sleep(10)
    assert.equal(3, #texts)
    ledger.settled(pool)
    events:close()
  end))

  it("hear all of it before the simulation ends", function()
    local heard = {}
    llmpool.simulate({}, function()
      local pool = pool_of "a"
      pool:events { callback = function(event)
        heard[#heard + 1] = event.kind
      end }
      pool:generate("m", "q")
    end)
    assert.equal("lent returned", table.concat(heard, " "))
  end)

  it("are not called after close, nor read", simulated(function()
    local pool = pool_of "a"
    local heard = 0
    local events = pool:events { capacity = 2, callback = function()
      heard = heard + 1
    end }
    assert.has_error(function() events:read() end,
      "these events go to a callback: they are not read")
    pool:get_client("m", function() end)
    events:close()
    llmpool.sleep(1)
    assert.equal(0, heard)
  end))

  it("may close themselves", simulated(function()
    local pool = pool_of "a"
    local heard, events = 0, nil
    events = pool:events { callback = function()
      heard = heard + 1
      events:close()
    end }
    pool:generate("m", "q")
    llmpool.sleep(1)
    assert.equal(1, heard)
  end))

  it("are dropped and counted when the ring is full", simulated(function()
    local pool = pool_of "a"
    local heard = 0
    local events <close> = pool:events { capacity = 2, callback = function()
      heard = heard + 1
    end }
    for _ = 1, 3 do pool:get_client("m", function() end) end
    llmpool.sleep(1)
    assert.same({ 2, 4 }, { heard, events:dropped() })
  end))

  it("come from other threads to the listener's own", function()
    local pool = llmpool.open "events_spec"
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    local here, heard = coroutine.running(), {}
    local events <close> = pool:events { callback = function(event)
      assert.not_equal(here, coroutine.running())
      heard[#heard + 1] = event.kind
    end }
    for _ = 1, 2 do
      llmpool.thread(function(shared)
        for _ = 1, 50 do shared:generate("m", "q") end
      end, pool):join()
    end
    llmpool.sleep(0)
    assert.equal(200, #heard)
    assert.equal(0, events:dropped())
    ledger.settled(pool)
    pool:close()
  end)

  it("live as long as their pool, unless they are closed", function()
    local gone = setmetatable({}, { __mode = "v" })
    do
      local pool = pool_of "a"
      gone[1] = pool:events { callback = function() return pool end }
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(gone[1])
  end)
end)

describe("the page about events #once", function()
  local read = require("spec.support.files").read

  it("has every kind that there is, and no other", function()
    local page = read "lua/llmpool/doc/events.md"
    local there = read("src/core/llmpool.h"):match
      "#define LLM_EVENTS%(XX%)(.-)clang%-format"
    local known, found = {}, {}
    for kind in there:gmatch '"([%l_]+)"' do known[#known + 1] = kind end
    for row in page:match("| kind |.-\n\n"):gmatch "\n| (`[^|]*) |" do
      for kind in row:gmatch "`([%l_]+)`" do found[#found + 1] = kind end
    end
    table.sort(known)
    table.sort(found)
    assert.is_true(#known > 20, #known)
    assert.same(known, found)
  end)
end)

describe("pool:events refuses", function()
  local pool = llmpool.new()
  local cases = {
    { 0, "a number of events from 1 to 16777216 expected" },
    { 2 ^ 25, "a number of events from 1 to 16777216 expected" },
    { 1.5, "number has no integer representation" },
    { "many", "number expected, got string" },
    { { capacity = "1x" }, "a number of events from 1 to 16777216 expected" },
    { { callback = 1 }, "callback must be a function, got 1" },
    { { calback = print },
      "unknown option 'calback'; did you mean 'callback'?" },
    { { 1 }, "unknown option '1'; there are callback and capacity" },
  }
  for _, case in ipairs(cases) do
    it(case[2] .. " (" .. type(case[1]) .. ")", function()
      local ok, err = pcall(pool.events, pool, case[1])
      assert.is_false(ok)
      assert.matches(case[2], err, 1, true)
    end)
  end
end)
