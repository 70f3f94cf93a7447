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
  { "requests of routers, and what went past them",
    args = "--record t.jsonl r.lua", ended = "exit 0", lines = 5 },
  { "no file", args = "--timeline", ended = "exit 1", out = "",
    err = function(text)
      return text:find("LUA: '--timeline' needs argument\n", 1, true) end },
  { "no file by =", args = "--record= s.lua", ended = "exit 1", out = "" },
  { "a mistake, with its line", args = "--record t.jsonl w.lua",
    ended = "exit 1", out = "",
    err = function(text) return text:find "^LUA: w.lua:2: unknown option" end },
  { "a file whose name has an option's letter", ended = "exit 0",
    out = "none\n", err = "", sh = [[
      echo 'print(...)' >p.lua
      for name in rec elf old tWo; do
        "$LUA" --record $name --timeline $name.svg p.lua none >said || exit
      done; cat said]] },
  { "two files", args = "--record=a --timeline t --record b s.lua",
    ended = "exit 1", out = "", err = function(text)
      return text:find("LUA: '--record' is given twice\n", 1, true) end },
  { "two pictures", args = "--timeline a --timeline=b s.lua",
    ended = "exit 1", out = "", err = function(text)
      return text:find("LUA: '--timeline' is given twice\n", 1, true) end },
  { "another option behind", args = "--timeline a --timelines s.lua",
    ended = "exit 1", out = "", err = function(text)
      return text:find("unrecognized option '--timelines'", 1, true) end },
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
                    ["r.lua"] = ROUTED, ["w.lua"] =
                      "\nreturn require 'llmpool'.router { polcy = 1 }" }
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
          and text:find "served 4 %(100 %%%)"
      end }
  end)

  -- Ways to ask, by router and without, that end well and not, side by side.
  local MIXED = [[
    local llmpool = require "llmpool"
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a", latency = 0.02 },
                               llmpool.simulated { id = "b", latency = 0.03 } })
    pool:register_model("n", { llmpool.simulated { id = "c",
      failures = { rate = 1, after = 0.001 } } })
    local function router(policy)
      return llmpool.router { pool = pool, policy = policy }
    end
    local over, short = router { "n", "m" }, router { model = "m", wait = 0 }
    local hedged = router { model = "m", hedge_after = 0.005 }
    local function all(stream) for _ in stream do end end
    local function cut(fn, ...)
      local task = llmpool.spawn(pcall, fn, ...)
      llmpool.sleep(0.002)
      task:cancel()
    end
    local ways = {
      function() pool:generate("m", "q") end,
      function() pool:generate("n", "q") end,
      function() all(pool:stream("m", "q")) end,
      function() local c <close> = pool:acquire "m" end,
      function() pool:get_client("m", print, { timeout = 0.001 }) end,
      function() cut(pool.generate, pool, "m", "q") end,
      function() over:generate("q", { tenant = "x" }) end,
      function() short:generate "q" end,
      function() hedged:generate "q" end,
      function() all(over:stream "q") end,
      function() cut(over.generate, over, "q") end,
    }
    llmpool.scope(function(scope)
      for _ = 1, 5 do
        for _, way in ipairs(ways) do scope:spawn(pcall, way) end
      end
    end)
    llmpool.thread(function()
      local llmpool = require "llmpool"
      local own = llmpool.open "shared"
      own:register_model("t", { llmpool.simulated { id = "d" } })
      own:generate("t", "q")
      llmpool.router { pool = own, policy = "t" }:generate "q"
    end):join()
    llmpool.spawn(over.generate, over, "q")   -- two that the end cuts off
    llmpool.spawn(pool.generate, pool, "m", "q")
    llmpool.sleep(0.005)
    os.exit(0)
  ]]

  it("and a recording has all traffic, each request once", function()
    host.expect { files = { ["m.lua"] = MIXED }, ended = "exit 0",
      sh = [["$LUA" --record t.jsonl m.lua && "$LUA" sim --replay t.jsonl]],
      out = function(text) return text:find "requests +59 " end }
    local json = require "llmpool.json"
    local counts = {}
    for text in io.lines(host.top .. "/place/t.jsonl") do
      local line = json.decode(text)
      local key = line.trace or ("%s %s %s"):format(line.prompt_tokens
        and "router" or "pool", line.model, line.kind)
      counts[key] = (counts[key] or 0) + 1
    end
    assert.same({ llmpool = 1,
      -- generate, stream, acquire; one that fails; one in line for too long;
      -- cut, and one more by the end; of the thread, whose router is one too
      ["pool m nil"] = 15, ["pool n server"] = 5, ["pool m timeout"] = 5,
      ["pool m cancelled"] = 6, ["pool t nil"] = 1,
      ["router t nil"] = 1,
      -- over (generate, stream), hedged, short, cut; one cut by the end
      ["router n nil"] = 10, ["router m nil"] = 5, ["router nil timeout"] = 5,
      ["router nil cancelled"] = 5, ["pool n cancelled"] = 1 }, counts)
  end)

  it("is nothing for those who call it lua", function()
    host.compare({ args = "--timeline x" }, host.ours)
  end)
end)
