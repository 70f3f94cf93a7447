-- llmpool --timeline and --record: what a script's pools lend, drawn and
-- written without the script's knowing, on every way out of it.

local host = require "spec.host.support"

local SCRIPT = [[
  local llmpool = require "llmpool"
  local pool = llmpool.new()
  pool:register_model("m", { llmpool.simulated { id = "a", latency = 0.01 } })
  for i = 1, 3 do pool:generate("m", "q") end
]]

local ROUTED = SCRIPT .. [[
  local router = llmpool.router { pool = pool, policy = "m" }
  router:generate("q", { tenant = "t" })
]]

local rows = {
  { "a timeline", args = "--timeline t.svg s.lua", ended = "exit 0", out = "",
    svg = 3 },
  { "a timeline by =", args = "--timeline=t.svg s.lua", ended = "exit 0",
    svg = 3 },
  { "a script that fails", args = "--timeline t.svg s.lua", ended = "exit 1",
    more = "error 'no'", svg = 3 },
  { "os.exit", args = "--timeline t.svg s.lua", ended = "exit 7",
    more = "os.exit(7)", svg = 3 },
  { "os.exit that closes", args = "--timeline t.svg s.lua", ended = "exit 7",
    more = "os.exit(7, true)", svg = 3 },
  { "pools of threads", args = "--timeline t.svg s.lua", ended = "exit 0",
    more = [[llmpool.thread(function()
      local llmpool = require "llmpool"
      local pool = llmpool.open "shared"
      pool:register_model("n", { llmpool.simulated { id = "b" } })
      pool:generate("n", "q")
    end):join()]], svg = 4 },
  { "-e", args = [[--timeline t.svg -e "dofile 's.lua'"]], ended = "exit 0",
    svg = 3 },
  { "leases", args = "--record t.jsonl s.lua", ended = "exit 0", lines = 4 },
  { "requests of routers", args = "--record t.jsonl r.lua", ended = "exit 0",
    lines = 2 },
  { "no file", args = "--timeline", ended = "exit 1", out = "",
    err = function(text)
      return text:find("LUA: '--timeline' needs argument\n", 1, true) end },
  { "no file by =", args = "--record= s.lua", ended = "exit 1", out = "" },
  { "a place that cannot be written", args = "--timeline /none/x s.lua",
    ended = "exit 1", out = "",
    err = "LUA: cannot write /none/x: No such file or directory\n" },
  { "a timeline for which there is no room", ended = "exit 1", out = "",
    args = "--timeline /dev/full s.lua",
    err = "LUA: cannot write the timeline: /dev/full: "
      .. "No space left on device\n" },
  { "leases for which there is no room", ended = "exit 1", out = "",
    args = "--record /dev/full s.lua",
    err = "LUA: cannot write the trace: /dev/full: No space left on device\n" },
  { "requests for which there is no room", ended = "exit 1", out = "",
    args = "--record /dev/full r.lua",
    err = "LUA: cannot write the trace: /dev/full: No space left on device\n" },
}

describe("the program observes", function()
  setup(host.open)
  teardown(host.close)

  for _, row in ipairs(rows) do
    it(row[1], function()
      row.files = { ["s.lua"] = SCRIPT .. (row.more or ""),
                    ["r.lua"] = ROUTED }
      host.expect(row)
      local place = host.top .. "/place/"
      if row.svg then
        local file <close> = assert(io.open(place .. "t.svg"))
        local _, n = file:read "a":gsub(": held ", "")
        assert.equal(row.svg, n)
      end
      if row.lines then
        local n = 0
        for _ in io.lines(place .. "t.jsonl") do n = n + 1 end
        assert.equal(row.lines, n)
      end
    end)
  end

  it("and the trace is replayed", function()
    host.expect { files = { ["r.lua"] = ROUTED }, ended = "exit 0",
      sh = [["$LUA" --record t.jsonl r.lua && "$LUA" sim --replay t.jsonl]],
      out = function(text)
        return text:find("replay of t.jsonl", 1, true)
          and text:find "served 1 %(100 %%%)"
      end }
  end)

  it("is nothing for those who call it lua", function()
    host.compare({ args = "--timeline x" }, host.ours)
  end)
end)
