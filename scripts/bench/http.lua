-- http.lua - what a request to a real provider costs: pool:generate against a
-- local server at so many in flight, and many streams at a time on one worker.
--
--   llmpool http.lua generate URL REQUESTS IN_FLIGHT ROUND
--   llmpool http.lua streams URL STREAMS PACE_US ROUND
--
-- curl_multi.c is its peer and says what is told.

local llmpool = require "llmpool"

local mode, url, count, second, round = table.unpack(arg)
count, second = tonumber(count), tonumber(second)

local function tell(what, value)
  print(("sample\t%s\tllmpool\t%s\t%.9g"):format(what, round, value))
end

local function resident()
  local file = assert(io.open "/proc/self/statm")
  local _, pages = file:read("n", "n")
  file:close()
  return pages * 4096
end

local function pool_of(clients)
  local list = {}
  for i = 1, clients do
    list[i] = llmpool.openai { id = "key-" .. i, api_key = "key-1",
                               base_url = url, breaker = false }
  end
  local pool = llmpool.new()
  pool:register_model("model", list)
  return pool
end

local function generate()
  local pool = pool_of(second)
  local function run(requests)
    local left = requests
    llmpool.scope(function(scope)
      for _ = 1, second do
        scope:spawn(function()
          while left > 0 do
            left = left - 1
            assert(#pool:generate("model", "Hello") > 0)
          end
        end)
      end
    end)
  end
  run(count // 10 + second) -- warm, connected
  local start = os.clock()
  run(count)
  tell("http generate", (os.clock() - start) / count * 1e9)
end

local function streams()
  local pool = pool_of(count)
  local waits = {}
  for _ in pool:stream("model", "Hello") do end -- what is loaded once
  local before, start = resident(), llmpool.now()
  llmpool.scope(function(scope)
    for i = 1, count do
      local ahead = start + (i - 1) * second / 1e6 - llmpool.now()
      if ahead > 0 then llmpool.sleep(ahead) end
      scope:spawn(function()
        local asked = llmpool.now()
        local stream <close> = pool:stream("model", "Hello")
        for piece in stream do
          if piece.text and not waits[i] then
            waits[i] = llmpool.now() - asked
          end
        end
      end)
      if i == count then
        llmpool.sleep(0)
        tell("http memory", (resident() - before) / count)
      end
    end
  end)
  table.sort(waits)
  assert(#waits == count)
  tell("http first", waits[count // 2 + 1] * 1e9)
end

if mode == "generate" then generate() else streams() end
