-- The benchmarks: that each runs and comes into the table, and that the table
-- says what its samples say. No figure is judged here.

local files = require "spec.support.files"
local run = require("spec.support.shell").run

local build = os.getenv "LLMPOOL_BUILD" or "build"

local function built()
  local file = io.open(build .. "/bench/pair")
  return file and file:close()
end

local function table_of(samples)
  return files.with(samples, function(path)
    return run("lua5.4 scripts/bench/table.lua " .. path)
  end)
end

describe("scripts/bench/run.sh #once", function()
  local function smoke(cases)
    return run("LLMPOOL_BENCH='" .. build ..
               "' sh scripts/bench/run.sh --smoke " .. cases)
  end

  it("runs one case for a moment", function()
    if not built() then
      return pending("built without LLMPOOL_BENCH")
    end
    local output, ok = smoke "pair"
    assert.is_true(ok, output)
    assert.matches("| C: acquire and release, uncontended ", output, 1, true)
  end)

  it("shows on a terminal where it is, and nothing on a pipe", function()
    if not built() then
      return pending("built without LLMPOOL_BENCH")
    end
    local command = "LLMPOOL_BENCH='" .. build ..
                    "' sh scripts/bench/run.sh --smoke pair policy"
    assert.equal("", (run(command .. " 2>&1 >/dev/null")))
    local shown = run('script -qec "' .. command .. '" /dev/null </dev/null')
    assert.matches("\r\27%[Kcase 1 of 2: pair\r\27%[Kcase 2 of 2: policy" ..
                   "\r\27%[K|", shown)
  end)

  it("runs every case for a moment and prints one table #slow", function()
    if not built() then
      return pending("built without LLMPOOL_BENCH")
    end
    local output, ok = smoke ""
    assert.is_true(ok, output)
    assert.matches("^Machine: [^\n]+, %d+ cores, [^\n]+\nCompiler: [^\n]+; " ..
                   "Lua: Lua 5%.4%.%d+\n", output)
    local _, tables = output:gsub("| case | llmpool | peer |", "")
    assert.equal(1, tables)
    for _, case in ipairs {
      "C: acquire and release, uncontended", "8 threads, 2 clients, 0.1 ms",
      "16 threads, 4 clients, 0.1 ms", "64 threads, 4 clients, 1 ms",
      "8 threads, 2 clients, no hold",
      "Lua: get_client, empty callback, on the main chunk",
      "Lua: acquire with <close>, in a task",
      "hand-off between tasks, 10,000 on 10 clients",
      "1,000 tasks wait for 2 clients: memory of each",
      'program start, -e ""', "a decision, 8 clients: fallback",
      "a decision, 64 clients: cheapest",
    } do
      assert(output:find("\n| " .. case, 1, true), case .. "\n" .. output)
    end
  end)

  it("knows its options", function()
    assert.matches("^usage: sh scripts/bench/run.sh",
                   (run "sh scripts/bench/run.sh --help"))
    local output, ok = run "sh scripts/bench/run.sh --fast"
    assert.is_false(ok)
    assert.matches("there is no case %-%-fast; see %-%-help", output)
    output, ok = run "sh scripts/bench/run.sh --keep"
    assert.is_false(ok)
    assert.matches("%-%-keep needs a file", output)
  end)
end)

describe("scripts/bench/table.lua #once", function()
  it("gives the median of the rounds' ratios and the quartiles", function()
    local output, ok = table_of [[
sample	pair	llmpool	0	10
sample	pair	sem_t	0	10
sample	pair	llmpool	1	30
sample	pair	sem_t	1	10
sample	pair	llmpool	2	20
sample	pair	sem_t	2	10
sample	pair	llmpool	3	99
]]
    assert.is_true(ok)
    assert(output:find("| C: acquire and release, uncontended | 20.0 ns | " ..
                       "sem_t 10.0 ns | 2 | 1.5 to 2.5 | <= 2 x | yes |", 1,
                       true), output)
  end)

  it("says which target is missed, and fails", function()
    local output, ok = table_of [[
sample	lease task	get_client	0	300
sample	lease task	asyncio	0	2400
sample	lease task	pcall	0	50
sample	waiting memory 1k	llmpool	0	1537
]]
    assert.is_false(ok)
    assert(output:find("| asyncio 2.40 us | 8 faster | - | >= 10 x faster | " ..
                       "**no** |", 1, true), output)
    assert(output:find("| pcall 50.0 ns | 6 | - | <= 5 x | **no** |", 1, true),
           output)
    assert(output:find("| 1537 B | - | - | - | <= 1536 B | **no** |", 1, true),
           output)
  end)

  it("leaves out what was not measured", function()
    local output, ok = table_of "sample\tpair\tllmpool\t0\t10\n"
    assert.is_true(ok)
    local _, lines = output:gsub("\n", "")
    assert.equal(2, lines)
  end)
end)
