-- The picture of a run and the trace of it: well-formed, complete, of a size
-- that does not grow with the run, and escaped.

local json = require "llmpool.json"
local llmpool = require "llmpool"
local scenario = require "llmpool.scenario"
local timeline = require "llmpool.timeline"

local files = require "spec.support.files"

local function ran(fields)
  local t = {
    name = "two <models> & more", duration = 30, log = 1 << 20,
    models = {
      a = { clients = scenario.clients(2, { latency = 1 }) },
      b = { clients = { { id = 'k"<1>', latency = 2 } } },
    },
    traffic = { { "poisson", rate = 1.5, model = "a" },
                { "poisson", rate = 0.7, model = "b" } },
    actions = { { at = 10, function(run)
      run.pool:get_client("a", function(client) client:cool_down(5) end)
    end } },
  }
  for key, value in pairs(fields or {}) do t[key] = value end
  return select(2, scenario(t):run())
end

local function picture(run)
  return timeline.draw { record = run.record, read = run.read,
                         slots = run.slots, title = run.scenario }
end

-- Opens and closes every element in order; knows no more of XML.
local function check_xml(text)
  local open = {}
  for slash, name, rest in text:gmatch "<(/?)(%a+)([^<>]*)>" do
    if slash == "/" then
      assert.equal(table.remove(open), name)
    elseif not rest:find "/$" then
      open[#open + 1] = name
    end
  end
  assert.equal(0, #open)
  assert.falsy(text:gsub("&%a+;", ""):find "&")
end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

describe("a timeline", function()
  it("has a span for every lease, and its hover text", function()
    local run = ran()
    local svg = picture(run)
    check_xml(svg)
    local leases = count(svg, 'class="held')
    assert.equal(run.read.counts.lent, leases - 1) -- the legend's
    assert.equal(run.read.counts.lent, count(svg, ": held "))
    assert.matches("two &lt;models&gt; &amp; more", svg)
    assert.matches("k&quot;&lt;1&gt;", svg)
    assert.matches('class="rest"', svg)
    assert.matches("10 s to 15 s, 5 s", (svg:gsub("\n", " "):gsub("resting ",
      "")))
    assert.falsy(svg:find "<script")
  end)

  it("has bands where there are many, and stays small", function()
    local few = picture(ran { duration = 2000 })
    local run = ran { duration = 8000 }
    local many = picture(run)
    check_xml(many)
    assert.is_true(run.read.counts.lent > 16000, run.read.counts.lent)
    assert.matches("each step is", many)
    assert.equal(1 + 3, count(many, 'class="band"'))
    assert.is_true(#many < 300000 and #few < 300000, #many)
  end)

  it("has bands where the record did not keep every event", function()
    local run = ran { log = 10 }
    assert.equal(10, run.read.kept)
    assert.matches('class="band"', picture(run))
  end)

  it("is drawn of a run in which nothing happened", function()
    check_xml(picture(ran { duration = 1e-6, actions = {} }))
  end)

  it("leaves clients out that have no room, and says so", function()
    local svg = picture(ran { models = { a = { clients =
      scenario.clients(150, { latency = 300 }) } }, duration = 200,
      traffic = { "constant", rate = 1 }, actions = {} })
    check_xml(svg)
    assert.matches("30 clients not shown", svg)
  end)

  it("says why a file cannot be written", function()
    local ok, message = pcall(timeline.write, "/none/x.svg", ran())
    assert.is_false(ok)
    assert.matches("cannot write the timeline: /none/x.svg", message)
  end)
end)

describe("axes", function()
  local axis = require "llmpool.timeline.axis"

  it("have round numbers", function()
    local labels = {}
    for i, tick in ipairs(axis.times(0, 30, 10)) do labels[i] = tick.label end
    assert.equal("0 s 5 s 10 s 15 s 20 s 25 s 30 s", table.concat(labels, " "))
    labels = {}
    for i, tick in ipairs(axis.times(0, 86400, 6)) do labels[i] = tick.label end
    assert.equal("0:00 6:00 12:00 18:00 1d 0:00", table.concat(labels, " "))
    assert.equal("1:20", axis.times(60, 180, 10)[2].label)
    assert.equal("0.002 s", axis.times(0, 0.01, 5)[2].label)
    assert.same({ 10, { 5, 10 } }, { axis.counts(7) })
    assert.same({ 1, { 1 } }, { axis.counts(1) })
    assert.same({ 2000, { 1000, 2000 } }, { axis.counts(1300) })
  end)
end)

describe("a trace for Chrome", function()
  local function trace(run)
    return files.with("", function(name)
      require "llmpool.chrome_trace".write(name, run)
      return json.decode(files.read(name)).traceEvents
    end)
  end

  -- As a strict reader has it: all fields, in order of time, every span closed.
  local function read(events)
    local open, held, last = {}, {}, 0
    local seen = { leases = 0, rests = 0, depth = {}, names = {} }
    for _, event in ipairs(events) do
      assert(event.ph and event.pid and event.tid and event.name)
      local key = event.name .. (event.id or "")
      local track = event.pid .. "/" .. event.tid
      if event.ph == "M" then
        seen.names[event.args.name] = event.name
      else
        assert.is_true(event.ts >= last)
        last = event.ts
      end
      if event.ph == "B" then
        assert.is_nil(held[track])
        held[track], seen.leases = true, seen.leases + 1
      elseif event.ph == "E" then
        assert.is_true(held[track])
        held[track] = nil
      elseif event.ph == "b" then
        assert.is_nil(open[key])
        open[key] = true
        seen.rests = seen.rests + (event.cat == "rest" and 1 or 0)
      elseif event.ph == "e" then
        assert.is_true(open[key])
        open[key] = nil
      elseif event.ph == "C" then
        seen.depth[event.pid] = event.args.callers
      end
    end
    assert.is_nil(next(open))
    assert.is_nil(next(held))
    return seen
  end

  it("has leases, requests that begin and end, and counters", function()
    local run = ran()
    local seen = read(trace(run))
    assert.equal(run.read.counts.lent, seen.leases)
    assert.is_true(seen.rests > 0)
    for _, left in pairs(seen.depth) do assert.equal(0, left) end
    assert.equal("process_name", seen.names.a)
    assert.equal("thread_name", seen.names['k"<1>'])
  end)

  it("closes what its end has cut off", function()
    local native = require "llmpool.native"
    local record = native.record(1000)
    llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("m", { llmpool.simulated { id = "a", slots = 2 } })
      record:watch(pool)
      local held = { pool:acquire "m", pool:acquire "m" }
      pool:cool_down("m", "a", 1e9)
      local task = llmpool.spawn(pcall, pool.acquire, pool, "m")
      llmpool.sleep(5)
      record:stop(llmpool.now())
      task:cancel()
      for _, client in ipairs(held) do client:release() end
    end)
    assert.equal(2, read(trace { record = record, read = record:read() })
      .leases)
  end)
end)
