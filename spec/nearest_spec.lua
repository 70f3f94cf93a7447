-- nearest_spec.lua: the name that somebody probably meant.

local nearest = require "llmpool.nearest"

local options = {
  "timeout", "max_waiting", "order", "check", "check_after", "check_timeout",
  "create", "create_timeout", "max_creates", "max_lifetime", "max_uses",
  "idle_timeout", "min_idle", "on_create", "on_lend", "on_return",
}

describe("nearest", function()
  it("finds what one slip leads to", function()
    assert.equal("timeout", nearest("tmeout", options)) -- missing
    assert.equal("timeout", nearest("timeoutt", options)) -- too many
    assert.equal("timeout", nearest("timwout", options)) -- wrong
    assert.equal("timeout", nearest("tiemout", options)) -- swapped
    assert.equal("check", nearest("chekc", options)) -- swapped at the end
    assert.equal("order", nearest("rdoer", { "order" })) -- two slips
  end)

  it("counts two swapped letters as one slip", function()
    -- two wrong letters would be too far in so short a name
    assert.equal("id", nearest("di", { "id" }))
    assert.is_nil(nearest("xy", { "id" }))
  end)

  it("sees names that go on or stop early", function()
    assert.equal("max_waiting", nearest("max_wait", options))
    assert.equal("timeout", nearest("timeout_ms", options))
    assert.equal("gpt-4", nearest("gpt4", { "claude", "gpt-4" }))
  end)

  it("looks past upper and lower case", function()
    assert.equal("timeout", nearest("TimeOut", options))
    assert.equal("GPT-4", nearest("gpt-4", { "claude", "GPT-4" }))
  end)

  it("prefers the nearer one", function()
    assert.equal("check", nearest("check", { "checks", "check", "chek" }))
    assert.equal("on_lend", nearest("on_len", options))
    assert.equal("bb", nearest("bb", { "ab", "bb" }))
  end)

  it("has no answer where nothing is near", function()
    assert.is_nil(nearest("colour", options))
    assert.is_nil(nearest("", options))
    assert.is_nil(nearest("a", { "b" }))
    assert.is_nil(nearest("timeout", {}))
    assert.is_nil(nearest("timeout", { "" }))
  end)

  it("draws the line at a third of the letters", function()
    assert.equal("abcd", nearest("abcx", { "abcd" }))
    assert.is_nil(nearest("abxx", { "abcd" }))
    assert.equal("abcde", nearest("abcxx", { "abcde" }))
    assert.is_nil(nearest("abxxx", { "abcde" }))
    assert.equal("abcdefgh", nearest("abcdexxx", { "abcdefgh" }))
    assert.is_nil(nearest("abcdxxxx", { "abcdefgh" }))
  end)

  it("does not depend on the order of the list", function()
    local names = { "key-1", "key-2", "key-3", "key-4" }
    for _ = 1, #names do
      table.insert(names, 1, table.remove(names))
      assert.equal("key-1", nearest("key-9", names))
    end
  end)

  it("takes no time over what nobody types", function()
    local steps = 0
    debug.sethook(function() steps = steps + 1 end, "", 1000)
    local near = nearest(("x"):rep(3000), { ("x"):rep(3001) })
    debug.sethook()
    assert.is_nil(near)
    assert.is_true(steps < 100, steps)
  end)

  it("never answers with what is no string", function()
    assert.is_nil(nearest(1, { 1, "1" }))
    assert.is_nil(nearest(nil, options))
    assert.equal("b1", nearest("b2", { true, 2, {}, "b1" }))
  end)
end)
