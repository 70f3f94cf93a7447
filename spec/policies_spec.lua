-- The policies of scripts/policies: each loads, decides, and does what it says
-- on an hour of traffic.

local llmpool = require "llmpool"

local program = os.getenv "LLMPOOL" or "build/llmpool"

local function scripts()
  local pipe = assert(io.popen "ls scripts/policies/*.lua")
  local list = {}
  for path in pipe:lines() do
    if not path:find "try%.lua$" then list[#list + 1] = path end
  end
  pipe:close()
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
    local pipe = assert(io.popen(program .. " scripts/policies/try.lua 2>&1"))
    local seen = 0
    for line in pipe:lines() do
      local name, served = line:match "^(%S+)%s+(%d+) served %(large %d+"
      assert(name, line)
      assert.equal(1800, tonumber(served))
      seen = seen + 1
    end
    assert.is_true(pipe:close())
    assert.equal(#scripts(), seen)
  end)
end)
