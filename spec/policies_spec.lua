-- The policies of scripts/policies: each loads, decides, and does what it says
-- on an hour of traffic.

local llmpool = require "llmpool"
local shell = require "spec.support.shell"

local program = os.getenv "LLMPOOL" or "build/llmpool"

local function scripts()
  local list = {}
  for path in shell.out("ls scripts/policies/*.lua"):gmatch "%S+" do
    if not path:find "try%.lua$" then list[#list + 1] = path end
  end
  return list
end

describe("scripts/policies #once", function()
  it("are policies that load and decide", function()
    local list = scripts()
    assert.is_true(#list >= 3)
    for _, path in ipairs(list) do
      llmpool.simulate({}, function()
        local pool = llmpool.new()
        pool:register_model("large", { llmpool.simulated { id = "a" } })
        pool:register_model("small", { llmpool.simulated { id = "b" } })
        local router = llmpool.router { pool = pool, strict = true }
        assert(router:reload(path))
        assert.equal("string", type((router:generate "Hello")))
        assert.is_table(router:explain("Hello").chosen)
      end)
    end
  end)

  it("serve an hour of traffic with an outage in it #host", function()
    local seen = 0
    local output = shell.must(program .. " scripts/policies/try.lua")
    for line in output:gmatch "[^\n]+" do
      local name, served = line:match "^(%S+)%s+(%d+) served %(large %d+"
      assert(name, line)
      assert.equal(1800, tonumber(served))
      seen = seen + 1
    end
    assert.equal(#scripts(), seen)
  end)
end)
