-- The mock provider before the providers' own libraries: what they make of it
-- is what llmpool's clients make of it. The mock is ours as the clients are;
-- this is who says that it speaks as the providers do.

local json = require "llmpool.json"
local llmpool = require "llmpool"

local files = require "spec.support.files"
local mock = require "spec.support.mock"
local shell = require "spec.support.shell"

local LIBRARIES = "openai@6 @anthropic-ai/sdk@1 @google/genai@2"

local CALLS = {
  { id = "call_1", name = "weather", arguments = '{"city": "Paris", "d": 1}' },
  { id = "call_2", name = "time", arguments = "{}" },
}

local ANSWERS = {
  ["a text"] = { text = "Gr\u{fc}\u{df}e, w\u{f6}rld! \u{4f60} \"q\" \\ \n new",
                 usage = { 7, 5 } },
  ["no text"] = { text = "", usage = { 7, 0 } },
  ["thoughts"] = { text = "four", reasoning = "two and two", signature =
    "c2lnbmVk", usage = { 7, 9, 3, 4 } },
  ["tool calls"] = { tool_calls = CALLS, usage = { 7, 5 } },
  ["text and tool calls"] = { text = "let me see", tool_calls = CALLS,
                              usage = { 7, 5 } },
  ["an early end"] = { text = "four and", finish = "length", usage = { 7, 5 } },
  ["a filtered text"] = { text = "f", finish = "content_filter",
                          usage = { 7, 5 } },
  ["lines with CRLF, single bytes"] = { text = "a b", newline = "\r\n",
                                        split = 1, usage = { 7, 5 } },
}

local FAILURES = {}
for _, status in ipairs { 400, 401, 402, 403, 404, 408, 409, 413, 422, 429,
                          500, 503, 504, 529 } do
  FAILURES[tostring(status)] = { status = status, headers = {
    ["retry-after"] = "7" } }
end

local function refusal(headers) return { status = 429, headers = headers } end

-- what is said of asking again; how often it was asked, at least how late
local RETRIES = {
  ["retry-after-ms"] = { refusal { ["retry-after-ms"] = "150" }, 2, 0.15 },
  ["retry-after"] = { refusal { ["retry-after"] = "0.15" }, 2, 0.15 },
  ["x-should-retry"] = { refusal { ["x-should-retry"] = "false" }, 1, 0 },
  ["a bad request"] = { { status = 400 }, 1, 0 },
}

-- ---- the libraries ---------------------------------------------------------

local function succeeds(command)
  return select(2, shell.run(command))
end

-- The directory that has them, or nil and why not.
local function install()
  local directory = "build/sdk"
  if not succeeds "node --version" or not succeeds "npm --version" then
    return nil, "node and npm are not installed"
  end
  if succeeds("test -d " .. directory .. "/node_modules/@google/genai") then
    return directory
  end
  -- once, for all builds
  if not succeeds(("mkdir -p %s && timeout 180 npm install --prefix %s "
    .. "--no-audit --no-fund --no-save %s"):format(directory, directory,
    LIBRARIES)) then
    return nil, "npm cannot install " .. LIBRARIES
  end
  return directory
end

local function absolute(path)
  if path:sub(1, 1) == "/" then return path end
  return os.getenv "PWD" .. "/" .. path
end

local function ask_libraries(directory)
  local cases = { answers = ANSWERS, failures = FAILURES, retries = {} }
  for what, row in pairs(RETRIES) do cases.retries[what] = row[1] end
  local text = files.with(json.encode(cases), function(path)
    return shell.out(("timeout 120 node spec/support/sdk_check.mjs %s %s %s")
      :format(mock.url(), absolute(directory), path))
  end)
  local ok, results = pcall(json.decode, text)
  assert(ok, text)
  return results
end

-- ---- ours, in their form ---------------------------------------------------

local function filled(value)
  if value ~= "" then return value end
end

local function calls_of(response)
  local calls = {}
  for i, call in ipairs(response.tool_calls or {}) do
    calls[i] = { id = call.id, name = call["function"].name,
                 input = json.decode(call["function"].arguments) }
  end
  return calls[1] and calls or nil
end

local function plain(response)
  local usage, blocks = response.usage, response.message.thinking_blocks
  return {
    text = filled(response.text), reasoning = response.reasoning,
    refusal = response.refusal, calls = calls_of(response),
    finish = response.finish_reason, prompt = usage.prompt_tokens,
    completion = usage.completion_tokens,
    cached = (usage.prompt_tokens_details or {}).cached_tokens,
    thought = (usage.completion_tokens_details or {}).reasoning_tokens,
    signature = blocks and blocks[1].signature,
  }
end

-- What some do not tell, and others tell as 0.
local function without_zeros(answer)
  for _, name in ipairs { "cached", "thought" } do
    if answer[name] == 0 then answer[name] = nil end
  end
  return answer
end

local function ask(name, script, how)
  mock.clear()
  mock.next(script)
  local pool = llmpool.new()
  pool:register_model("m", { mock[name] { id = "a", model = "small" } })
  if how == "whole" then
    return pcall(function()
      return plain(select(2, pool:generate("m", "two and two")))
    end)
  end
  return pcall(function()
    local stream = pool:stream("m", "two and two")
    for _ in stream do end -- luacheck: ignore 542
    return plain(stream.response)
  end)
end

local function check_answer(name, what, how, theirs)
  local ok, ours = ask(name, ANSWERS[what], how)
  assert.is_true(ok, tostring(ours))
  local place = ("%s of %s, %s"):format(what, name, how)
  assert.is_table(theirs.answer, place .. ": " .. json.encode(theirs))
  theirs, ours = without_zeros(theirs.answer), without_zeros(ours)
  if name == "gemini" then -- which gives calls no ids: they are ours
    for _, call in ipairs(ours.calls or {}) do call.id = nil end
  end
  assert.same(theirs, ours, place)
end

local function check_failure(name, status, how, theirs)
  local ok, ours = ask(name, FAILURES[status], how)
  assert.is_false(ok)
  theirs = assert(theirs.failure, name .. " " .. status)
  assert.equal(theirs.status, ours.status)
  assert.equal(theirs.type, ours.provider_type, name .. " " .. status)
  assert.equal("as the script wants it", theirs.message)
  assert.equal(theirs.request, name ~= "gemini" and ours.request_id or nil)
end

describe("the providers' own libraries #slow #once", function()
  local results, why

  setup(function()
    local directory
    directory, why = install()
    results = directory and ask_libraries(directory)
  end)

  local function each(check, group)
    if not results then return pending(why) end
    for _, name in ipairs { "openai", "anthropic", "gemini" } do
      local count = 0
      for what, hows in pairs(results[group][name]) do
        for _, how in ipairs { "whole", "stream" } do
          check(name, what, how, hows[how])
          count = count + 1
        end
      end
      assert.is_true(count >= 16)
    end
  end

  it("read the same answers in the mock", function()
    each(check_answer, "answers")
  end)

  it("read the same failures in the mock", function()
    each(check_failure, "failures")
  end)

  it("obey the mock's word on asking again", function()
    if not results then return pending(why) end
    for _, name in ipairs { "openai", "anthropic" } do
      for what, row in pairs(RETRIES) do
        local found = results.retries[name][what]
        assert.equal(row[2], found.requests, name .. " " .. what)
        assert.is_true(found.seconds >= row[3], name .. " " .. what)
      end
    end
  end)

  it("read the same embeddings in the mock", function()
    if not results then return pending(why) end
    for _, name in ipairs { "openai", "gemini" } do
      mock.clear()
      local pool = llmpool.new()
      pool:register_model("m", { mock[name] { id = "a" } })
      assert.same(results.embeddings[name], (pool:embed("m", { "a", "abc" })))
    end
  end)
end)
