-- Answers and events of any shape: each is an answer or is malformed, never an
-- error of Lua's from within.

local json = require "llmpool.json"
local llmpool = require "llmpool"
local upstream = require "llmpool.providers.upstream"
local streams = require "llmpool.providers.stream"

local WHOLE = {
  openai = { id = "i", model = "m", usage = { prompt_tokens = 1,
    completion_tokens = 2, prompt_tokens_details = { cached_tokens = 0 } },
    choices = { { index = 0, finish_reason = "stop", message = { content = "a",
      reasoning_content = "r", tool_calls = { { index = 0, id = "c",
        ["function"] = { name = "f", arguments = "{}" } } } } } } },
  anthropic = { id = "i", model = "m", stop_reason = "end_turn",
    usage = { input_tokens = 1, output_tokens = 2 }, content = {
      { type = "text", text = "a" }, { type = "thinking", thinking = "r" },
      { type = "tool_use", id = "c", name = "f", input = { x = 1 } } } },
  gemini = { responseId = "i", modelVersion = "m", usageMetadata = {
      promptTokenCount = 1 }, promptFeedback = { blockReason = "X" },
    candidates = { { index = 0, finishReason = "STOP", content = { parts = {
      { text = "a" }, { functionCall = { name = "f", args = { x = 1 } } } } }
    } } },
}

local EVENTS = {
  openai = { { id = "i", model = "m", usage = { prompt_tokens = 1 },
    choices = { { index = 0, finish_reason = "stop", delta = { content = "a",
      tool_calls = { { index = 0, id = "c", ["function"] = { name = "f",
        arguments = "{}" } } } } } } } },
  anthropic = {
    { type = "message_start", message = { id = "i", model = "m", usage = {
      input_tokens = 1 } } },
    { type = "content_block_start", index = 0, content_block = { type =
      "text", text = "" } },
    { type = "content_block_delta", index = 0, delta = { type = "text_delta",
      text = "a" } },
    { type = "content_block_start", index = 1, content_block = { type =
      "tool_use", id = "c", name = "f", input = {} } },
    { type = "content_block_delta", index = 1, delta = { type =
      "input_json_delta", partial_json = "{}" } },
    { type = "message_delta", delta = { stop_reason = "end_turn" }, usage = {
      output_tokens = 2 } },
  },
  gemini = { WHOLE.gemini },
}

local ODD = { 5, -1.5, true, false, "", "text", json.null, {}, { 5 },
              { { { 1 } } }, { x = "y" } }

-- A copy with one value, the n-th met, put in place of what was there; false
-- when there are fewer.
local function with_odd(value, n, odd)
  local count = 0
  local function copy(v)
    count = count + 1
    if count == n then return json.decode(json.encode(odd)) end
    if type(v) ~= "table" or v == json.null then return v end
    local result = {}
    local keys = {}
    for k in pairs(v) do keys[#keys + 1] = k end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, k in ipairs(keys) do result[k] = copy(v[k]) end
    return result
  end
  local result = copy(value)
  return count >= n, result
end

local function client_of(name)
  return upstream.new(require("llmpool.providers." .. name), { base_url = "x" },
    { id = "a", model = "m" })
end

local function check(ok, err)
  if ok then return end
  assert.is_table(err, tostring(err))
  assert.equal("malformed", err.kind)
end

-- A stream whose events are these.
local function stream_of(client, events)
  local i = 0
  return streams.open(client, {}, {
    status = 200, headers = {}, close = function() end,
    read = function() end,
    events = function()
      return function()
        i = i + 1
        return events[i] and { data = json.encode(events[i]) }
      end
    end,
  }, { started = llmpool.now() })
end

for name, whole in pairs(WHOLE) do
  describe("an odd value of " .. name, function()
    it("in an answer makes it malformed at most", function()
      local client = client_of(name)
      for _, odd in ipairs(ODD) do
        local n, more, body = 1
        repeat
          more, body = with_odd(whole, n, odd)
          n = n + 1
          if more and type(body) == "table" and body ~= json.null then
            check(pcall(client.read, client, body, {}))
          end
        until not more
        assert.is_true(n > 10)
      end
    end)

    it("in an event makes it malformed at most", function()
      for at = 1, #EVENTS[name] do
        for _, odd in ipairs(ODD) do
          local n, more, event = 1
          repeat
            more, event = with_odd(EVENTS[name][at], n, odd)
            n = n + 1
            if more then
              local events = {}
              for i, e in ipairs(EVENTS[name]) do events[i] = e end
              events[at] = event
              local stream = stream_of(client_of(name), events)
              local ok, err = pcall(function()
                while stream:read() do end -- luacheck: ignore 542
              end)
              if not ok then
                assert.is_table(err, tostring(err))
                assert.is_true(err.kind == "malformed"
                  or err.kind == "truncated" or err.kind == "server"
                  or err.kind == "bad_request", err.kind)
              end
            end
          until not more
        end
      end
    end)
  end)
end

-- A text that cannot be read is no text of nothing.
local MUTE = {
  openai = { '{"choices":["a"]}', '{"choices":[{"message":"a"}]}',
    '{"choices":[{"message":{"content":5}}]}' },
  anthropic = { '{"content":["a"]}', '{"content":{"type":"text","text":"a"}}',
    '{"content":[{"type":"text","text":5}]}' },
  gemini = { '{"candidates":["a"]}', '{"candidates":[{"content":"a"}]}',
    '{"candidates":[{"content":{"parts":{"text":"a"}}}]}',
    '{"candidates":[{"content":{"parts":["a"]}}]}',
    '{"candidates":[{"content":{"parts":[{"text":5}]}}]}' },
}

for name, texts in pairs(MUTE) do
  it("what " .. name .. " says by other types is malformed", function()
    for _, text in ipairs(texts) do
      local ok, err = pcall(client_of(name).read, client_of(name),
        json.decode(text), {})
      assert.is_false(ok, text)
      assert.equal("malformed", err.kind)
    end
  end)
end
