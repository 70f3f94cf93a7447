-- scripts/tally.awk: to the sum of the tests, silence is a failure.

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local function tally(kind, status, log)
  return files.with(log, function(path)
    return (shell.must(("awk -v kind=%s -v status=%d -f scripts/tally.awk %s")
      :format(kind, status, path)))
  end)
end

describe("the tally of TAP #once", function()
  it("counts what passed and what failed", function()
    assert.equal("2 0\n", tally("tap", 0, "ok 1 - a\nok 2 - b\n1..2\n"))
    assert.equal("1 1\n", tally("tap", 1, "1..2\nok 1 - a\nnot ok 2 - b\n"))
  end)

  it("counts a skipped test as neither", function()
    assert.equal("1 0\n", tally("tap", 0, "ok 1 - # SKIP x\nok 2 - b\n1..2\n"))
  end)

  it("fails without a plan, as after a crash", function()
    assert.equal("2 1\n", tally("tap", 139, "ok 1 - a\nok 2 - b\n"))
    assert.equal("2 1\n", tally("tap", 0, "ok 1 - a\nok 2 - b\n"))
    assert.equal("0 1\n", tally("tap", 0, ""))
  end)

  it("fails if the plan names more or fewer tests", function()
    assert.equal("1 1\n", tally("tap", 0, "ok 1 - a\n1..2\n"))
    assert.equal("2 1\n", tally("tap", 0, "ok 1 - a\nok 2 - b\n1..1\n"))
  end)

  it("fails for a bad exit status alone, but only once", function()
    assert.equal("1 1\n", tally("tap", 1, "ok 1 - a\n1..1\n"))
    assert.equal("0 1\n", tally("tap", 1, "not ok 1 - a\n1..1\n"))
  end)
end)

describe("the tally of cmocka #once", function()
  local function group(n, passed, rest)
    return "[==========] Running " .. n .. " test(s).\n" ..
           "[ RUN      ] a\n[       OK ] a\n" ..
           "[==========] " .. n .. " test(s) run.\n" ..
           "[  PASSED  ] " .. passed .. " test(s).\n" .. (rest or "")
  end
  local failure = "[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] b\n" ..
                  "\n 1 FAILED TEST(S)\n"

  it("adds up the groups of a program", function()
    assert.equal("5 0\n", tally("cmocka", 0, group(3, 3) .. group(2, 2)))
    assert.equal("4 1\n", tally("cmocka", 1, group(3, 3) ..
                                             group(2, 1, failure)))
  end)

  it("counts a skipped test as neither", function()
    assert.equal("2 0\n", tally("cmocka", 0, group(3, 2,
      "[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] k\n")))
  end)

  it("fails for a program that ends in the middle of a group", function()
    local half = "[==========] Running 2 test(s).\n[ RUN      ] a\n"
    assert.equal("0 1\n", tally("cmocka", 0, half))
    assert.equal("3 1\n", tally("cmocka", 139, group(3, 3) .. half))
  end)

  it("fails for silence and for a bad exit status", function()
    assert.equal("0 1\n", tally("cmocka", 0, ""))
    assert.equal("3 1\n", tally("cmocka", 66, group(3, 3)))
  end)
end)

describe("the tally of a command #once", function()
  it("goes by the exit status", function()
    assert.equal("1 0\n", tally("exit", 0, "whatever\n"))
    assert.equal("0 1\n", tally("exit", 134, ""))
  end)
end)
