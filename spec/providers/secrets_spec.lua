-- No key is ever seen: not in what is printed, raised, counted, recorded or
-- listed, whatever goes wrong.

local json = require "llmpool.json"
local llmpool = require "llmpool"

local files = require "spec.support.files"
local mock = require "spec.support.mock"

local KEY = "sk-live-9f8e7d6c5b4a"

-- every string that can be reached from a value, metatables included
local function walk(value, visit, seen)
  if type(value) == "string" then return visit(value) end
  if type(value) ~= "table" then return visit(tostring(value)) end
  if seen[value] then return end
  seen[value] = true
  visit(tostring(value))
  for k, v in pairs(value) do
    walk(k, visit, seen)
    walk(v, visit, seen)
  end
end

local function assert_clean(...)
  walk({ ... }, function(text)
    assert.is_nil(text:find(KEY, 1, true), text)
  end, {})
end

local FAULTS = {
  { status = 401, error = { message = "Incorrect API key provided: " .. KEY,
                            type = KEY, code = KEY } },
  { status = 400, body = "<html>" .. KEY .. "</html>" },
  { status = 429, error = { message = "for " .. KEY } },
  { body = "no json, but " .. KEY },
  { body = { error = { message = KEY } } },
  { text = "a b", error = { message = KEY }, error_at = 0 },
  { reset = true }, { close_at = 30 }, { wait = 1 }, { text = KEY },
}

describe("an API key", function()
  it("is in no error, event, statistic, list or traceback", function()
    mock.clear()
    local raised = 0
    for _, name in ipairs { "openai", "anthropic", "gemini" } do
      for _, ask in ipairs { function(pool, ...) pool:generate(...) end,
        function(pool, ...)
          for _ in pool:stream(...) do end -- luacheck: ignore 542
        end } do
        for _, fault in ipairs(FAULTS) do
          local pool = llmpool.new()
          pool:register_model("m", { mock[name] { id = "a", api_key = KEY,
            timeout = { first = 0.05 }, headers = { ["X-Key"] = KEY } } })
          local events = pool:events()
          mock.by_key(KEY, fault)
          local ok, err = xpcall(ask, function(e)
            assert_clean(debug.traceback(tostring(e)))
            return e
          end, pool, "m", "q", { timeout = 1 })
          if not ok then
            raised = raised + 1
            assert_clean(err, tostring(err), llmpool.traceback(err))
          end
          assert_clean(events:read(), pool:stats(), pool:stats("m"),
            pool:clients("m"), tostring(pool))
        end
      end
    end
    assert.is_true(raised >= 3 * 2 * 5, raised)
  end)

  it("is on no command line and in no environment of ours", function()
    local pool = llmpool.new()
    pool:register_model("m", { mock.openai { id = "a", api_key = KEY } })
    pool:generate("m", "q")
    local file = io.open("/proc/self/cmdline", "rb")
    if not file then return pending "no /proc here" end
    assert_clean(file:read "a")
    file:close()
  end)

  -- A key of no known looks, whole and in parts, from a server that repeats it.
  it("is in nothing that a program writes #host", function()
    local key = "gsk7f3Zq9LmXw2Rb8TnVc5Yd1Ke4Hs6Pu"
    local plans = {
      { status = 401, error = { message = "bad " .. key, type = key,
                                code = "x" .. key } },
      { status = 400, body = "<html>" .. ("y"):rep(185) .. key },
      { text = "a b", error = { message = "oh " .. key:sub(1, 18) .. "... no" },
        error_at = 1 },
      { body = ("y"):rep(70) .. key },
      { status = 429, error = { message = "slow" }, headers = {
        ["x-request-id"] = key, ["request-id"] = key, ["retry-after"] = key } },
    }
    local names = {}
    for i = 1, 4 do names[i] = os.tmpname() end
    local script, out, trace, plan_file = table.unpack(names)
    files.write(plan_file, json.encode(plans))
    files.write(script, [[
      local llmpool, pretty = require "llmpool", require "llmpool.pretty"
      local json = require "llmpool.json"
      local plans = json.decode(io.open(arg[1]):read "a")
      local function client(name, plan)
        return llmpool[name] { id = "a", api_key_env = "THE_KEY",
          base_url = arg[2], headers = { ["X-Mock"] = json.encode(plan) } }
      end
      for _, name in ipairs { "openai", "anthropic", "gemini" } do
        for _, plan in ipairs(plans) do
          for _, how in ipairs { "generate", "stream" } do
            local pool = llmpool.new()
            pool:register_model("m", { client(name, plan) })
            local ok, err = pcall(function()
              local answer = pool[how](pool, "m", "q")
              if how == "stream" then for _ in answer do end end
            end)
            print(name, how, ok, err, pretty(err))
            print(pool, pretty(pool:stats()), pretty(pool:clients "m"))
          end
        end
      end
      print(io.open "/proc/self/cmdline":read "a")
      local pool = llmpool.new()
      pool:register_model("m", { client("openai", plans[1]) })
      pool:generate("m", "q")
    ]])
    local command = ("THE_KEY=%s %s --record %s %s %s %s >%s 2>&1"):format(key,
      os.getenv "LLMPOOL", trace, script, plan_file, mock.url(), out)
    assert.is_nil((os.execute(command)))
    for name, least in pairs { [out] = 60, [trace] = 31 } do
      local text, count = files.read(name), 0
      for line in text:gmatch "[^\n]+" do
        count = count + 1
        for at = 1, #key - 9 do
          assert.is_nil(line:find(key:sub(at, at + 9), 1, true), line)
        end
      end
      assert.is_true(count > least, text)
    end
    for _, name in ipairs(names) do os.remove(name) end
  end)

  it("is not in what pretty or JSON make of a spec", function()
    local spec = mock.openai { id = "a", api_key = KEY,
                               proxy = "http://u:" .. KEY .. "@h" }
    local found, pretty = pcall(require, "llmpool.pretty")
    assert.is_true(found)
    assert_clean(spec, pretty.format and pretty.format(spec)
      or pretty(spec))
    assert.is_false(pcall(json.encode, spec))
  end)
end)
