-- A pool as a table: what it says, and that it fits where it is shown.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local poolview = require "llmpool.poolview"
local pretty = require "llmpool.pretty"

local function busy(width)
  return llmpool.simulate({}, function()
    local pool = llmpool.new()
    pool:register_model("gpt-4", {
      llmpool.simulated { id = "key-1", latency = 60 },
      llmpool.simulated { id = "key-2", latency = 60 },
    })
    pool:register_model("claude", { llmpool.simulated { id = "a" } })
    for _ = 1, 3 do
      llmpool.spawn(function() pool:generate("gpt-4", "q") end)
    end
    pool:cool_down("claude", "a", 90)
    llmpool.sleep(2)
    local text = poolview.text(pool, { width = width })
    llmpool.sleep(300)
    ledger.settled(pool)
    return text, poolview.text(pool, { width = width })
  end)
end

describe("a pool's table", function()
  it("says who is what, and for how long", function()
    local text, after = busy(100)
    assert.matches("pool %(.*2 models, open%)", text)
    assert.matches("gpt%-4  2 lent, 1 waiting for up to 2.0 s, 0 served", text)
    assert.matches("  key%-1  lent   2.0 s  ", text)
    assert.matches("  a  +resting  1 min 28 s", text)
    assert.matches("gpt%-4  2 idle, 3 served, wait p95 ", after)
    assert.matches("  key%-1  idle +%d +1 min 0", after)
  end)

  it("fits in every width", function()
    for _, width in ipairs { 30, 40, 60, 80, 132 } do
      local text = busy(width)
      for line in (text .. "\n"):gmatch "(.-)\n" do
        assert.is_true(pretty.width_of(line) <= width, line)
      end
      assert.matches("key%-1 +lent", text)
    end
  end)

  it("says who holds a client, as far as it is known here", function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    local client <close> = pool:acquire "m"
    assert.matches("a +lent .*poolview_spec.lua:%d+",
                   poolview.text(pool, { width = 100 }))
    assert.same("m", client.model)
  end)

  it("says how many have waited in vain", function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    local client <close> = pool:acquire "m"
    assert.matches("1 lent, 0 served\n", poolview.text(pool))
    assert.is_nil((pool:acquire("m", { timeout = 0 })))
    assert.matches("1 lent, 0 served, 1 timed out\n", poolview.text(pool))
    assert.same("m", client.model)
  end)

  it("is there for a closed pool, and one without models", function()
    local pool = llmpool.new()
    assert.matches("0 models, open", poolview.text(pool))
    pool:close()
    assert.matches("closed", poolview.text(pool))
  end)

  it("colours only where asked to", function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a" } })
    assert.is_nil(poolview.text(pool):find "\27")
    local text = poolview.text(pool, { colour = true })
    assert.truthy(text:find "\27%[32midle")
    assert.same(poolview.text(pool), (text:gsub("\27%[%d*m", "")))
  end)

  it("is watched once where there is no terminal", function()
    local pool, printed = llmpool.new(), {}
    local real = print
    _G.print = function(text) printed[#printed + 1] = text end
    pool:watch()
    _G.print = real
    assert.same({ poolview.text(pool) }, printed)
    assert.has_error(function() pool:watch(0) end)
    assert.has_error(function() pool:watch "x" end)
  end)
end)

describe("durations", function()
  it("are said as people say them", function()
    for seconds, text in pairs {
      [0] = "0 us", [0.00021] = "210 us", [0.0125] = "12.5 ms",
      [0.25] = "250 ms", [1.54] = "1.5 s", [61] = "1 min 01 s",
      [7500] = "2 h 05 min",
    } do
      assert.same(text, poolview.duration(seconds))
    end
    assert.same("", poolview.duration(nil))
  end)
end)
