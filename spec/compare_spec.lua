-- How policies are shown side by side: every number once, to be read.

local compare = require "llmpool.scenario.compare"
local format = require "llmpool.scenario.format"

-- What the rows of a comparison are taken from, a list of values a seed.
local function column(name, values)
  local reports = {}
  for seed, v in ipairs(values) do
    reports[seed] = { scenario = "s", seed = seed, served_rate = v.served,
      failed = { total = v.failed or 0 }, throughput = 2,
      latency = { mean = v.mean, p50 = 1, p95 = 1, p99 = 1, max = 1 },
      first = {}, wait = {}, queue = { max = 0 }, attempts = 1, cost = 0,
      fairness = { served = v.fair or 1, latency = 1 },
      expected = { { text = "latency.p95 < 1", ok = v.ok ~= false,
                     message = "got " .. seed } } }
  end
  return { name = name, reports = reports }
end

local function lines(text)
  local result = {}
  for line in text:gmatch "[^\n]*" do result[#result + 1] = line end
  return result
end

local function row(text, label)
  return text:match("\n" .. label .. " +([^\n]+)")
end

describe("a comparison", function()
  setup(function() format.unicode(true) end)
  teardown(function() format.unicode(false) end)

  local base = { { served = 1, mean = 1 }, { served = 1, mean = 1.1 },
                 { served = 1, mean = 0.9 } }
  local other = { { served = 0.9, mean = 0.5, failed = 9, fair = 0.99997 },
                  { served = 0.91, mean = 0.61, failed = 8 },
                  { served = 0.89, mean = 0.4, failed = 7 } }

  it("says a difference with one sign, and whether it is better", function()
    local text = compare.text({ column("a", base), column("b", other) }, 100)
    assert.matches("^100 %% +90 %% ± 2%.5 %% +%-10 %% ± 2%.5 %% !$",
      row(text, "served"))
    assert.matches("%+8 ± 2%.48 !$", row(text, "failed"))
    assert.matches("%-497 ms ± 14%.3 ms %*$", row(text, "latency mean"))
    assert.matches("^1 s +1 s +=$", row(text, "latency p50"))
    assert.matches("^1 +1 +=$", row(text, "fairness, service"))
    assert.is_nil(text:find "%+ %+")
    assert.is_nil(text:find "%- %-")
    assert.is_nil(text:find "e%-")
    assert.matches("%* better, ! worse", text)
  end)

  it("judges nothing by one seed", function()
    local text = compare.text({ column("a", { base[1] }),
                                column("b", { other[1] }) }, 80)
    assert.matches("^100 %% +90 %% +%-10 %%$", row(text, "served"))
    assert.is_nil(text:find "better")
  end)

  it("always says how many were served", function()
    local none = column("a", { { served = 0, mean = 0 } })
    assert.matches("^0 %% +0 %% +=$", row(compare.text({ none, none }, 80),
      "served"))
  end)

  it("fits the terminal, as a table where there is room", function()
    local columns = { column("a", base), column("b", other),
      column("a-policy-with-a-name-of-some-length", other) }
    for _, width in ipairs { 40, 60, 80, 120 } do
      for n = 1, 3 do
        local some = { table.unpack(columns, 1, n) }
        local text = compare.text(some, width)
        for i, line in ipairs(lines(text)) do
          assert.is_true(i == 1 or format.width(line) <= width, line)
          assert.is_true(i == 1 or line ~= "" or lines(text)[i - 1] ~= "")
        end
        assert.equal(width == 120 or n == 1 or n == 2 and width == 80,
          text:find "against" == nil)
      end
    end
  end)

  it("lists what did not hold once, with on how many seeds", function()
    local bad = column("b", { { served = 1, mean = 1 },
      { served = 1, mean = 1, ok = false }, { served = 1, mean = 1, ok = false }
    })
    assert.same({ "FAIL  b: latency.p95 < 1, on 2 of 3 seeds",
                  "      seed 2: got 2" },
      compare.failed { column("a", base), bad })
    assert.same({ "FAIL  b: latency.p95 < 1", "      got 1" },
      compare.failed { column("b", { { served = 1, mean = 1, ok = false } }) })
    assert.same({}, compare.failed { column("a", base) })
  end)
end)
