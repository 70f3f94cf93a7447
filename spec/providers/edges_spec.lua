-- Requests and answers at the edges of the formats, as the official libraries'
-- types have them: what is translated is valid there, and nothing is lost on
-- the way there and back.

local json = require "llmpool.json"
local replies = require "spec.support.replies"

local formats = {}
for _, name in ipairs { "openai", "anthropic", "gemini" } do
  formats[name] = require("llmpool.providers." .. name)
end

local function sent(name, request, config, model)
  config = config or {}
  config.base_url = config.base_url or "http://x"
  return json.decode(json.encode(formats[name].request(request, config,
    model or "the-model", false)))
end

local function user(content, fields)
  local r = { messages = { { role = "user", content = content } } }
  for name, value in pairs(fields or {}) do r[name] = value end
  return r
end

local function tool(name)
  return { type = "function", ["function"] = { name = name,
    parameters = { type = "object", properties = {} } } }
end

local function called(id, name, extra)
  return { id = id, type = "function", extra_content = extra,
           ["function"] = { name = name, arguments = "{}" } }
end

local function mistake(name, request)
  local ok, err = pcall(sent, name, request)
  assert.is_false(ok)
  assert.equal("bad_request", err.kind)
  return tostring(err)
end

describe("a tool that answered nothing", function()
  it("is answered for with a text of nothing", function()
    for _, content in ipairs { "", {}, json.null } do
      local b = sent("anthropic", { messages = {
        { role = "user", content = "q" },
        { role = "assistant", tool_calls = { called("c", "f") } },
        { role = "tool", tool_call_id = "c", content = content } } })
      assert.same({ { type = "tool_result", tool_use_id = "c", content = "" } },
        b.messages[3].content)
    end
  end)
end)

describe("an empty list of stops", function()
  it("is none", function()
    assert.is_nil(sent("anthropic", user("q", { stop = {} })).stop_sequences)
    assert.is_nil(sent("gemini", user("q", { stop = {} })).generationConfig)
    assert.is_nil(sent("openai", user("q", { stop = {} })).stop)
  end)
end)

describe("reasoning_effort", function()
  it("has all of OpenAI's words everywhere", function()
    for _, effort in ipairs { "none", "minimal", "low", "medium", "high",
                              "xhigh", "max" } do
      local r = user("q", { reasoning_effort = effort, max_tokens = 100 })
      local b = sent("anthropic", r)
      assert.equal(effort ~= "none", b.thinking ~= nil)
      assert.equal(100 + (b.thinking and b.thinking.budget_tokens or 0),
        b.max_tokens)
      assert.is_number(sent("gemini", r).generationConfig.thinkingConfig
        .thinkingBudget)
      if effort ~= "none" then
        assert.matches("^[mlh]%a+$", sent("gemini", r, {}, "gemini-3-pro")
          .generationConfig.thinkingConfig.thinkingLevel)
      end
    end
    assert.equal("high", sent("gemini", user("q", { reasoning_effort = "max" }),
      {}, "gemini-3-pro").generationConfig.thinkingConfig.thinkingLevel)
  end)

  it("leaves out at Anthropic what thinking excludes", function()
    local r = user("q", { reasoning_effort = "low", temperature = 0.2,
                          top_k = 5, top_p = 0.5 })
    local b = sent("anthropic", r)
    assert.is_nil(b.temperature)
    assert.is_nil(b.top_k)
    assert.is_nil(b.top_p)
    r.top_p = 0.95
    assert.equal(0.95, sent("anthropic", r).top_p)
    r.reasoning_effort = nil
    assert.equal(0.2, sent("anthropic", r).temperature)
  end)
end)

describe("a choice of tools", function()
  local function asked(choice, more)
    local r = user("q", more)
    r.tools, r.tool_choice = { tool "f", tool "g" }, choice
    return r
  end

  it("of none has nothing to say of parallel calls", function()
    assert.same({ type = "none" }, sent("anthropic", asked("none",
      { parallel_tool_calls = false })).tool_choice)
  end)

  it("may be of some of them", function()
    local allowed = { type = "allowed_tools", allowed_tools = {
      mode = "required", tools = { { type = "function", ["function"] =
        { name = "g" } } } } }
    local b = sent("anthropic", asked(allowed))
    assert.same({ type = "any" }, b.tool_choice)
    assert.equal(1, #b.tools)
    assert.equal("g", b.tools[1].name)
    b = sent("gemini", asked(allowed))
    assert.same({ mode = "ANY", allowedFunctionNames = { "g" } },
      b.toolConfig.functionCallingConfig)
    allowed.allowed_tools.mode = "auto"
    assert.same({ type = "auto" }, sent("anthropic", asked(allowed))
      .tool_choice)
    b = sent("gemini", asked(allowed))
    assert.same({ mode = "AUTO" }, b.toolConfig.functionCallingConfig)
    assert.equal(1, #b.tools[1].functionDeclarations)
    assert.same(allowed, sent("openai", asked(allowed)).tool_choice)
  end)

  it("needs a name", function()
    for _, name in ipairs { "anthropic", "gemini" } do
      for _, choice in ipairs { { type = "function" }, { type = "function",
        ["function"] = {} }, { type = "allowed_tools" },
        { type = "custom", custom = { name = "f" } } } do
        assert.matches("tool_choice", mistake(name, asked(choice)))
      end
    end
  end)

  it("gives way at Anthropic to an answer by a schema", function()
    local format = { type = "json_schema", json_schema = { name = "it",
      schema = { type = "object" } } }
    local function choice(c)
      return sent("anthropic", asked(c, { response_format = format }))
        .tool_choice
    end
    assert.same({ type = "any" }, choice(nil))
    assert.same({ type = "any" }, choice "auto")
    assert.same({ type = "any" }, choice "required")
    assert.same({ type = "tool", name = "it" }, choice "none")
  end)
end)

describe("a custom tool of OpenAI's", function()
  it("is one that the others have not", function()
    local r = user("q", { tools = { { type = "custom", custom = {
      name = "sql" } } } })
    for _, name in ipairs { "anthropic", "gemini" } do
      assert.matches("tools%[1%]", mistake(name, r))
    end
    assert.same(r.tools, sent("openai", r).tools)
    r.tools = { { type = "custom", name = "f", input_schema = {
      type = "object" } } } -- Anthropic has a type of that name
    assert.same(r.tools, sent("anthropic", r).tools)
  end)
end)

describe("a message that refuses", function()
  it("keeps its words", function()
    local r = { messages = { { role = "user", content = "q" },
      { role = "assistant", content = json.null, refusal = "I can't" },
      { role = "user", content = "please" } } }
    assert.equal("I can't", sent("anthropic", r).messages[2].content)
    assert.same({ { text = "I can't" } }, sent("gemini", r).contents[2].parts)
  end)
end)

describe("an answer of one provider in a request to another", function()
  local message = {
    role = "assistant", content = "hm", reasoning_content = "thought",
    thinking_blocks = { { type = "thinking", thinking = "thought",
                          signature = "s" } },
    tool_calls = { called("c", "f", { google = { thought_signature = "s" } }) },
  }
  local r = { messages = { { role = "user", content = "q" }, message,
    { role = "tool", tool_call_id = "c", content = "1" } } }

  it("has nothing that OpenAI refuses", function()
    for _, config in ipairs { { base_url = "https://api.openai.com/v1" },
                              { azure = true } } do
      assert.same({ role = "assistant", content = "hm",
                    tool_calls = { called("c", "f") } },
        sent("openai", r, config).messages[2])
    end
    assert.is_table(message.thinking_blocks) -- the caller's is as it was
  end)

  it("keeps for others of that format what they want back", function()
    local back = sent("openai", r).messages[2]
    assert.equal("thought", back.reasoning_content)
    assert.is_table(back.tool_calls[1].extra_content)
    assert.is_nil(back.thinking_blocks)
  end)

  it("says to Gemini 3 that a call is another's", function()
    local function part(model)
      local other = { messages = { r.messages[1], { role = "assistant",
        tool_calls = { called("c", "f"), called("d", "g") } } } }
      return sent("gemini", other, {}, model).contents[2].parts
    end
    assert.equal("skip_thought_signature_validator",
      part("gemini-3-pro-preview")[1].thoughtSignature)
    assert.is_nil(part("gemini-3-pro-preview")[2].thoughtSignature)
    assert.is_nil(part("gemini-2.5-flash")[1].thoughtSignature)
    assert.equal("s", sent("gemini", r, {}, "gemini-3-flash").contents[2]
      .parts[2].thoughtSignature)
  end)
end)

describe("max_tokens of a client", function()
  it("has OpenAI's newer name at OpenAI alone", function()
    local config = { base_url = "https://api.openai.com/v1", max_tokens = 9 }
    assert.equal(9, sent("openai", user "q", config).max_completion_tokens)
    assert.is_nil(sent("openai", user "q", config).max_tokens)
    config.base_url = "http://127.0.0.1/v1"
    assert.equal(9, sent("openai", user "q", config).max_tokens)
    assert.is_nil(sent("openai", user("q", { max_completion_tokens = 3 }),
      config).max_tokens)
  end)
end)

describe("Gemini's ids of calls", function()
  it("go back where Gemini gave them", function()
    local body = json.encode { candidates = { { content = { parts = {
      { functionCall = { id = "own", name = "f", args = {} } },
      { functionCall = { name = "f", args = {} } } } },
      finishReason = "STOP" } } }
    for _, ask in ipairs { replies.whole, replies.stream } do
      local ok, response = ask("gemini", ask == replies.whole and body
        or { body })
      assert.is_true(ok, tostring(response))
      local calls = response.tool_calls
      assert.equal("own", calls[1].id)
      local r = { messages = { { role = "user", content = "q" },
        response.message,
        { role = "tool", tool_call_id = calls[1].id, content = "1" },
        { role = "tool", tool_call_id = calls[2].id, content = "2" } } }
      local contents = sent("gemini", r).contents
      assert.equal("own", contents[2].parts[1].functionCall.id)
      assert.equal("own", contents[3].parts[1].functionResponse.id)
      assert.is_nil(contents[2].parts[2].functionCall.id)
      assert.is_nil(contents[3].parts[2].functionResponse.id)
    end
  end)
end)

describe("Gemini's signature of a thought", function()
  it("goes back with the text that it came with", function()
    local function event(parts, finish)
      return json.encode { candidates = { { content = { parts = parts },
        finishReason = finish } } }
    end
    local _, whole = replies.whole("gemini", event({
      { text = "ab", thoughtSignature = "sig" } }, "STOP"))
    local _, pieces = replies.stream("gemini", { event { { text = "a" } },
      event { { text = "b" } },
      event({ { text = "", thoughtSignature = "sig" } }, "STOP") })
    for _, response in ipairs { whole, pieces } do
      assert.equal("ab", response.text)
      assert.same({ { text = "ab", thoughtSignature = "sig" } },
        sent("gemini", { messages = { { role = "user", content = "q" },
          response.message } }).contents[2].parts)
      assert.same({ role = "assistant", content = "ab" }, sent("openai",
        { messages = { response.message } },
        { base_url = "https://api.openai.com/v1" }).messages[1])
    end
  end)
end)

describe("a tool's result with an image", function()
  it("has it at Gemini too", function()
    local b = sent("gemini", { messages = { { role = "user", content = "q" },
      { role = "assistant", tool_calls = { called("c", "f") } },
      { role = "tool", tool_call_id = "c", content = {
        { type = "text", text = "look" },
        { type = "image_url", image_url = "data:image/png;base64,aaaa" } } }
    } })
    assert.same({ name = "f", response = { result = "look" }, parts = {
      { inlineData = { mimeType = "image/png", data = "aaaa" } } } },
      b.contents[3].parts[1].functionResponse)
  end)
end)

describe("a schema at Gemini", function()
  local function declared(schema)
    local t = tool "f"
    t["function"].parameters = schema
    return sent("gemini", user("q", { tools = { t } })).tools[1]
      .functionDeclarations[1]
  end

  it("is in Gemini's subset, or goes as it is", function()
    for _, schema in ipairs {
      { type = "object", properties = { a = { type = "integer",
        exclusiveMinimum = 0 } } },
      { type = "integer", enum = { 1, 2 } },
      { type = "array", items = { type = "string" }, uniqueItems = true },
      { type = "number", multipleOf = 2 }, { type = "string", const = 5 },
      { type = "object", properties = { a = { type = "string",
        contentEncoding = "base64" } } },
    } do
      local d = declared(schema)
      assert.same(schema, d.parametersJsonSchema)
      assert.is_nil(d.parameters)
    end
    assert.same({ type = "object", title = "t", required = { "enum" },
      properties = { enum = { type = "string", enum = { "x" } },
                     examples = { type = "number", format = "double" } } },
      declared({ type = "object", title = "t", required = { "enum" },
        properties = { enum = { type = "string", enum = { "x" } },
          examples = { type = "number", format = "double" } } }).parameters)
  end)

  it("loses a format that Gemini does not know", function()
    assert.same({ type = "object", properties = {
      a = { type = "string" },
      b = { type = "string", format = "date-time" } } },
      declared({ type = "object", properties = {
        a = { type = "string", format = "uri" },
        b = { type = "string", format = "date-time" } } }).parameters)
  end)
end)

describe("the reasons of Gemini's for an end", function()
  it("that are a filter's are content_filter, others their own", function()
    for reason, finish in pairs {
      STOP = "stop", MAX_TOKENS = "length", SAFETY = "content_filter",
      IMAGE_PROHIBITED_CONTENT = "content_filter",
      IMAGE_RECITATION = "content_filter", LANGUAGE = "content_filter",
      MALFORMED_FUNCTION_CALL = "malformed_function_call", OTHER = "other",
    } do
      local ok, response = replies.whole("gemini", json.encode { candidates = {
        { content = { parts = { { text = "a" } } }, finishReason = reason } } })
      assert.is_true(ok)
      assert.equal(finish, response.finish_reason)
    end
  end)
end)

describe("what Anthropic counts", function()
  local counts = { input_tokens = 5, output_tokens = 7,
    cache_read_input_tokens = 2, cache_creation_input_tokens = json.null,
    output_tokens_details = { thinking_tokens = 3 },
    server_tool_use = { web_search_requests = 1 }, service_tier = "standard" }

  it("is all told, whole and streamed", function()
    local content = { { type = "text", text = "a" } }
    local _, whole = replies.whole("anthropic", json.encode { content = content,
      stop_reason = "end_turn", usage = counts })
    local _, streamed = replies.stream("anthropic", {
      json.encode { type = "message_start", message = { usage = json.null } },
      json.encode { type = "content_block_start", index = 0,
                    content_block = { type = "text", text = "a" } },
      json.encode { type = "message_delta", usage = counts,
                    delta = { stop_reason = "end_turn" } },
      '{"type":"message_stop"}' })
    for _, response in ipairs { whole, streamed } do
      assert.same({ prompt_tokens = 7, completion_tokens = 7,
        total_tokens = 14, service_tier = "standard",
        server_tool_use = { web_search_requests = 1 },
        prompt_tokens_details = { cached_tokens = 2,
                                  cache_creation_tokens = 0 },
        completion_tokens_details = { reasoning_tokens = 3 } }, response.usage)
    end
  end)
end)

describe("what a message in the one form cannot say of Anthropic's", function()
  local citation = { type = "web_search_result_location", url = "https://x" }
  local blocks = {
    { type = "thinking", thinking = "hm", signature = "s" },
    { type = "server_tool_use", id = "srv", name = "web_search",
      input = { query = "x" } },
    { type = "web_search_tool_result", tool_use_id = "srv", content = {
      { type = "web_search_result", url = "https://x" } } },
    { type = "text", text = "found", citations = { citation } },
    { type = "tool_use", id = "c", name = "f", input = { a = 1 } },
  }
  local function start(i, block)
    return json.encode { type = "content_block_start", index = i,
                         content_block = block }
  end
  local function delta(i, d)
    return json.encode { type = "content_block_delta", index = i, delta = d }
  end
  local function stop(i)
    return json.encode { type = "content_block_stop", index = i }
  end
  local events = {
    '{"type":"message_start","message":{}}',
    start(0, { type = "thinking", thinking = "", signature = "" }),
    delta(0, { type = "thinking_delta", thinking = "hm" }),
    delta(0, { type = "signature_delta", signature = "s" }), stop(0),
    start(1, { type = "server_tool_use", id = "srv", name = "web_search",
               input = {} }),
    delta(1, { type = "input_json_delta", partial_json = '{"query"' }),
    delta(1, { type = "input_json_delta", partial_json = ':"x"}' }), stop(1),
    start(2, blocks[3]), stop(2),
    start(3, { type = "text", text = "", citations = json.null }),
    delta(3, { type = "text_delta", text = "fou" }),
    delta(3, { type = "citations_delta", citation = citation }),
    delta(3, { type = "text_delta", text = "nd" }), stop(3),
    start(4, { type = "tool_use", id = "c", name = "f", input = {} }),
    delta(4, { type = "input_json_delta", partial_json = '{"a":1}' }), stop(4),
    json.encode { type = "message_delta", delta = { stop_reason =
      "pause_turn" }, usage = { output_tokens = 1 } },
    '{"type":"message_stop"}',
  }

  it("goes back as it came, whole and streamed", function()
    local _, whole = replies.whole("anthropic", json.encode {
      content = blocks, stop_reason = "pause_turn" })
    local ok, streamed = replies.stream("anthropic", events)
    assert.is_true(ok, tostring(streamed))
    for _, response in ipairs { whole, streamed } do
      assert.equal("found", response.text)
      assert.equal("pause_turn", response.finish_reason)
      assert.equal(1, #response.tool_calls)
      assert.equal('{"a":1}', response.tool_calls[1]["function"].arguments)
      local r = { messages = { { role = "user", content = "q" },
                               response.message } }
      assert.same(blocks, sent("anthropic", r).messages[2].content)
      assert.is_nil(sent("openai", r).messages[2].content_blocks)
      assert.equal("found", sent("gemini", r).contents[2].parts[1].text)
    end
  end)

  it("is nothing where a message says all", function()
    local ok, response = replies.whole("anthropic", json.encode { content = {
      { type = "thinking", thinking = "hm", signature = "s" },
      { type = "text", text = "a", citations = json.null } },
      stop_reason = "end_turn" })
    assert.is_true(ok)
    assert.is_nil(response.message.content_blocks)
  end)
end)

describe("a block of Anthropic's that begins with all of it", function()
  it("is read, of whatever type", function()
    local format = { type = "json_schema", json_schema = { name = "it",
      schema = { type = "object" } } }
    local events = {
      json.encode { type = "content_block_start", index = 0, content_block = {
        type = "thinking", thinking = "hm", signature = "s" } },
      json.encode { type = "content_block_start", index = 1, content_block = {
        type = "tool_use", id = "c", name = "it", input = { a = 1 } } },
      json.encode { type = "message_delta", delta = { stop_reason =
        "tool_use" }, usage = { output_tokens = 1 } },
      '{"type":"message_stop"}' }
    local ok, response = replies.stream("anthropic", events,
      { response_format = format })
    assert.is_true(ok, tostring(response))
    assert.equal("hm", response.reasoning)
    assert.equal('{"a":1}', response.text)
    assert.same({ { type = "thinking", thinking = "hm", signature = "s" } },
      response.message.thinking_blocks)
  end)
end)
