-- scripts/verification.lua: eight questions to two clients.

local program = os.getenv "LLMPOOL" or "build/llmpool"

local function run()
  local lines = {}
  local pipe <close> = assert(io.popen(program .. " scripts/verification.lua"))
  for line in pipe:lines() do
    lines[#lines + 1] = line
  end
  return lines, pipe:close()
end

describe("scripts/verification.lua #host", function()
  local lines, ok

  setup(function()
    lines, ok = run()
  end)

  it("ends well after ten lines", function()
    assert.is_true(ok)
    assert.equal(10, #lines)
  end)

  it("answers in the order asked, both clients taking turns", function()
    local served = {}
    for i = 0, 7 do
      local key, question =
        lines[i + 1]:match "^%[gpt%-4:key%-([12])%] Response to: (.*)$"
      assert.equal("Question " .. i, question)
      served[key] = (served[key] or 0) + 1
    end
    assert.same({ ["1"] = 4, ["2"] = 4 }, served)
  end)

  it("takes four rounds of 0.3 s", function()
    assert.equal("", lines[9])
    local elapsed = tonumber(lines[10]:match "^Elapsed: (%d%.%d)s$")
    assert.is_true(elapsed >= 1.2)
    assert.is_true(elapsed < 2.4) -- one after the other, on a busy machine
  end)
end)
