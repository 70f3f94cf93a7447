-- The five questions of scripts/tour: each script runs, and says what it
-- explains. What time decides is compared with room to spare.

local shell = require "spec.support.shell"

local program = os.getenv "LLMPOOL" or "build/llmpool"

local function tour(name)
  return shell.must(program .. " scripts/tour/" .. name)
end

local function says(text, ...)
  local from = 1
  for _, line in ipairs { ... } do
    local _, to = text:find(line, from, true)
    assert.truthy(to, line .. "\nis not (behind the one before) in\n" .. text)
    from = to + 1
  end
end

describe("scripts/tour #once answers", function()
  it("1: what happens when the callback raises", function()
    says(tour "1-raises.lua", "same object:\ttrue",
      "acquired 1, returned 1, lent 0", "acquired 2, returned 2, lent 0",
      "acquired 3, returned 2, lent 1", "acquired 3, returned 3, lent 0",
      "[gpt-4:key-1] Response to: Hello\n")
  end)

  it("2: who runs and who waits", function()
    local text = tour "2-line.lua"
    says(text, "0.0 s  caller  3 gets key-3 at once",
      "0.0 s  caller 10 waits in line", "1.0 s  caller  1 returns key-1",
      "1.0 s  caller  4 gets key-1 after 1.0 s",
      "caller  5 gets", "caller  6 gets", "caller  7 gets", "caller  8 gets",
      "caller  9 gets", "caller 10 gets", "longest line: 7",
      "all back: true\n")
    assert.equal(text, tour "2-line.lua")
  end)

  it("3: callback or <close>, when which", function()
    says(tour "3-callback-or-close.lua", "Response to: Summarize\t2\tlent: 0",
      "try 1\t[gpt-4:key-1] Response to: Translate\tlent: 1",
      "after the break\tlent: 0", "nil\ttimeout", "same object:\ttimeout",
      "leaked: 1\tlent: 0", "leaked: 2\tlent: 0\n")
  end)

  it("4: what if a client fails its health check", function()
    says(tour "4-health.lua", "0 s  [key-1] first", "10 s  [key-1] not idle",
      "70 s  one is created anew: sick", "72 s  [key-1b] idle for a minute",
      "132 s  [key-1b] checked again",
      "checks 2, failed 1, replaced 1, clients 1, all back: true")
  end)

  it("5: what a lock held for the whole lease costs", function()
    local text = tour "5-lock.lua"
    local times = tonumber(text:match "costs ([%d.]+) times the time")
    assert.is_true(times > 2 and times < 8, text) -- 4, on a quiet machine
    says(text, "20 callers, 4 clients, 20 ms a request")
  end)
end)
