-- Answers: the short reading of an ordinary one says what the long one does,
-- and leaves to it whatever is not ordinary.

local answer = require "llmpool.providers.answer"
local json = require "llmpool.json"
local openai = require "llmpool.providers.openai"

local function long(body)
  local whole = answer.new()
  assert(openai.read(body, whole))
  return whole:result()
end

local function body(message, rest)
  local result = {
    id = "chatcmpl-1", model = "gpt-4o-2024", object = "chat.completion",
    choices = { { index = 0, finish_reason = "stop", message = message } },
    usage = { prompt_tokens = 9, completion_tokens = 12, total_tokens = 21 },
  }
  for key, value in pairs(rest or {}) do result[key] = value end
  return result
end

describe("OpenAI's short reading", function()
  local ordinary = {
    ["a text"] = body { role = "assistant", content = "Hello" },
    ["fields that are null"] = body {
      role = "assistant", content = "Hello", refusal = json.null,
      tool_calls = json.null, reasoning_content = json.null },
    ["nothing beside the text"] = {
      choices = { { index = 0, message = { content = "Hello" } } } },
    ["a usage with details"] = body({ content = "Hello" }, { usage = {
      prompt_tokens = 9.0, completion_tokens = "12",
      completion_tokens_details = { reasoning_tokens = 3,
                                    audio_tokens = json.null },
      cost = json.null, extra = "x" } }),
    ["a usage that is none"] = body({ content = "Hello" }, {
      usage = json.null }),
    ["counts beyond belief"] = body({ content = "Hello" }, { usage = {
      prompt_tokens = 9, completion_tokens = 1 << 40, total_tokens = 9 } }),
    ["counts below 0"] = body({ content = "Hello" }, { usage = {
      prompt_tokens = -9, completion_tokens = 1, total_tokens = 9 } }),
    ["counts as floats"] = body({ content = "Hello" }, { usage = {
      prompt_tokens = 9.0, completion_tokens = 1.0, total_tokens = 10.0 } }),
    ["counts that are no numbers"] = body({ content = "Hello" }, {
      usage = { prompt_tokens = "many", total_tokens = {} } }),
  }
  for name, given in pairs(ordinary) do
    it("is as the long one: " .. name, function()
      assert.same(long(given), openai.result(given))
    end)
  end

  local others = {
    ["tool calls"] = body { content = "x", tool_calls = { {
      id = "1", ["function"] = { name = "f", arguments = "{}" } } } },
    ["reasoning"] = body { content = "x", reasoning_content = "because" },
    ["reasoning, as others name it"] = body { content = "x",
                                              reasoning = "because" },
    ["parts"] = body { content = { { type = "text", text = "x" } } },
    ["an empty text"] = body { content = "" },
    ["no content"] = body { content = json.null },
    ["a refusal"] = body { content = json.null, refusal = "no" },
    ["a completion's text"] = { choices = { { index = 0, text = "x" } } },
    ["two choices"] = { choices = {
      { index = 0, message = { content = "a" } },
      { index = 1, message = { content = "b" } } } },
    ["another choice than the first"] = { choices = {
      { index = 1, message = { content = "b" } } } },
    ["choices that are none"] = { choices = "x" },
    ["no choices"] = {},
    ["a text that is a number"] = body { content = 7 },
    ["names that are none"] = body({ content = "Hello" }, { id = json.null,
                                                            model = 7 }),
    ["no reason to finish"] = { choices = { {
      index = 0, finish_reason = json.null, message = { content = "x" } } } },
    ["a reason that is a list"] = { choices = { {
      index = 0, finish_reason = {}, message = { content = "x" } } } },
    ["an error beside the text"] = body({ content = "x" }, {
      error = { message = "no" } }),
    ["what says that it is an error"] = body({ content = "x" }, {
      type = "error" }),
    ["an error for a reason"] = { choices = { {
      index = 0, finish_reason = "error", message = { content = "x" } } } },
  }
  for name, given in pairs(others) do
    it("is not for " .. name, function()
      local ok, result = pcall(openai.result, given)
      assert.is_nil(ok and result or nil)
    end)
  end
end)

describe("an answer in pieces", function()
  it("is put together choice by choice, call by call", function()
    local whole = answer.new()
    for _, piece in ipairs {
      { text = "one " }, { text = "" }, { text = "two" }, { text = " three" },
      { reasoning = "be" }, { reasoning = "cause" },
      { tool_calls = {
        { index = 0, id = "1",
          ["function"] = { name = "f", arguments = '{"a"' } },
        { index = 1, id = "2", ["function"] = { name = "g" } } } },
      { tool_calls = { { index = 0, ["function"] = { arguments = ":1" } } } },
      { tool_calls = { { index = 0, ["function"] = { arguments = "}" } } } },
      { index = 2, text = "third" }, { finish_reason = "stop", id = "i" },
      { usage = { total_tokens = 3 }, model = "m" },
    } do
      whole:add(piece)
    end
    local result = whole:result()
    assert.equal("one two three", result.text)
    assert.equal("because", result.reasoning)
    assert.same({ { id = "1", type = "function",
                    ["function"] = { name = "f", arguments = '{"a":1}' } },
                  { id = "2", type = "function",
                    ["function"] = { name = "g", arguments = "" } } },
                result.tool_calls)
    assert.same({ "one two three", "", "third" }, {
      result.choices[1].text, result.choices[2].text, result.choices[3].text })
    assert.same({ "stop", "i", "m", 3 }, { result.finish_reason, result.id,
      result.model, result.usage.total_tokens })
  end)
end)
