-- What a request in OpenAI's form becomes at each provider, and what is wrong
-- with one before anything is sent.

local json = require "llmpool.json"
local anthropic = require "llmpool.providers.anthropic"
local gemini = require "llmpool.providers.gemini"
local openai = require "llmpool.providers.openai"
local request = require "llmpool.providers.request"

local function body(format, r, config, streamed)
  r = request.normalise(r, "generate")
  return (format.request(r, config or {}, "the-model", streamed or false))
end

-- through JSON, as the provider sees it
local function seen(...) return json.decode(json.encode(body(...))) end

local function user(content)
  return { messages = { { role = "user", content = content } } }
end

local PIXEL = "data:image/png;base64,iVBORw0KGgo="

local function conversation()
  return {
    messages = {
      { role = "system", content = "be brief" },
      { role = "user", content = "weather in two cities?" },
      { role = "assistant", content = json.null, tool_calls = {
        { id = "c1", type = "function", ["function"] = { name = "weather",
          arguments = '{"city":"Paris"}' } },
        { id = "c2", type = "function", ["function"] = { name = "weather",
          arguments = '{"city":"Rome"}' } },
      } },
      { role = "tool", tool_call_id = "c1", content = '{"t":20}' },
      { role = "tool", tool_call_id = "c2", content = "sunny" },
      { role = "user", content = "and now?" },
      { role = "developer", content = "in English" },
    },
    tools = { { type = "function", ["function"] = {
      name = "weather", description = "tells it", strict = true,
      parameters = { type = "object", additionalProperties = false,
        properties = { city = { type = "string" },
                       day = { type = { "integer", "null" } } },
        required = { "city" } },
    } } },
  }
end

describe("a request at OpenAI", function()
  it("goes as it came", function()
    local r = conversation()
    r.temperature, r.some_new_field = 0.5, { x = 1 }
    local b = body(openai, r)
    assert.equal(r.messages, b.messages)
    assert.equal(r.tools, b.tools)
    assert.equal("the-model", b.model)
    assert.same({ x = 1 }, b.some_new_field)
    assert.is_nil(b.stream)
    assert.is_nil(r.model) -- the caller's table is untouched
  end)

  it("asks a stream for its usage, unless told not to", function()
    assert.same({ include_usage = true }, body(openai, "hi", {}, true)
      .stream_options)
    assert.is_true(body(openai, "hi", {}, true).stream)
    local r = user "hi"
    r.stream_options = false
    assert.is_nil(body(openai, r, {}, true).stream_options)
    r.stream_options = { include_usage = false }
    assert.same({ include_usage = false }, body(openai, r, {}, true)
      .stream_options)
    assert.is_nil(body(openai, r).stream_options)
  end)

  it("takes the client's max_tokens, and no empty list of tools", function()
    local r = user "hi"
    r.tools = {}
    local b = body(openai, r, { max_tokens = 7 })
    assert.equal(7, b.max_tokens)
    assert.is_nil(b.tools)
    r.max_completion_tokens = 9
    assert.is_nil(body(openai, r, { max_tokens = 7 }).max_tokens)
  end)

  it("goes to the right place with the right headers", function()
    local config = { base_url = "https://h/v1" }
    assert.equal("https://h/v1/chat/completions", openai.url(config, "chat"))
    assert.equal("https://h/v1/embeddings", openai.url(config, "embed"))
    assert.same({ Authorization = "Bearer k" }, openai.headers(config, "k"))
    assert.same({ ["OpenAI-Organization"] = "o", ["OpenAI-Project"] = "p" },
      openai.headers({ organization = "o", project = "p" }, nil))
    local azure = { base_url = "https://n.openai.azure.com", azure = true,
                    api_version = "2024-10-21" }
    assert.equal("https://n.openai.azure.com/openai/deployments/d/chat/"
      .. "completions?api-version=2024-10-21", openai.url(azure, "chat", "d"))
    assert.same({ ["api-key"] = "k" }, openai.headers(azure, "k"))
  end)
end)

describe("a request at Anthropic", function()
  it("has its messages as blocks, results with what is said after them",
     function()
    local b = seen(anthropic, conversation())
    assert.equal("be brief\n\nin English", b.system)
    assert.equal("the-model", b.model)
    assert.equal(4096, b.max_tokens)
    assert.same({
      { role = "user", content = "weather in two cities?" },
      { role = "assistant", content = {
        { type = "tool_use", id = "c1", name = "weather",
          input = { city = "Paris" } },
        { type = "tool_use", id = "c2", name = "weather",
          input = { city = "Rome" } },
      } },
      { role = "user", content = {
        { type = "tool_result", tool_use_id = "c1", content = '{"t":20}' },
        { type = "tool_result", tool_use_id = "c2", content = "sunny" },
        { type = "text", text = "and now?" },
      } },
    }, b.messages)
    assert.same({ { name = "weather", description = "tells it",
      input_schema = conversation().tools[1]["function"].parameters } },
      b.tools)
  end)

  it("has images and files by data or URL", function()
    local b = seen(anthropic, user {
      { type = "text", text = "look" },
      { type = "image_url", image_url = { url = PIXEL } },
      { type = "image_url", image_url = "https://x/y.png" },
      { type = "file", file = { filename = "a.pdf",
        file_data = "data:application/pdf;base64,JVBERg==" } },
      { type = "file", file = { file_id = "file_1" } },
    })
    assert.same({
      { type = "text", text = "look" },
      { type = "image", source = { type = "base64", media_type = "image/png",
                                   data = "iVBORw0KGgo=" } },
      { type = "image", source = { type = "url", url = "https://x/y.png" } },
      { type = "document", title = "a.pdf", source = { type = "base64",
        media_type = "application/pdf", data = "JVBERg==" } },
      { type = "document", source = { type = "file", file_id = "file_1" } },
    }, b.messages[1].content)
  end)

  it("renames what has a counterpart and leaves out what has none", function()
    local r = user "hi"
    r.stop, r.temperature, r.top_p = "END", 0.3, 0.9
    r.max_completion_tokens, r.user, r.n = 50, "u1", 1
    r.seed, r.logit_bias, r.presence_penalty, r.verbosity = 1, {}, 1, "low"
    r.service_tier, r.top_k, r.metadata = "default", 5, nil
    r.thinking, r.some_new_field = { type = "disabled" }, "kept"
    assert.same({
      model = "the-model", max_tokens = 50, temperature = 0.3, top_p = 0.9,
      stop_sequences = { "END" }, metadata = { user_id = "u1" }, top_k = 5,
      service_tier = "standard_only", thinking = { type = "disabled" },
      some_new_field = "kept",
      messages = { { role = "user", content = "hi" } },
    }, seen(anthropic, r))
    r.stop, r.max_completion_tokens = { "A", "B" }, json.null
    local b = seen(anthropic, r, { max_tokens = 99 }, true)
    assert.same({ "A", "B" }, b.stop_sequences)
    assert.equal(99, b.max_tokens)
    assert.is_true(b.stream)
  end)

  it("chooses tools as it is told", function()
    local function choice(c, parallel)
      local r = conversation()
      r.tool_choice, r.parallel_tool_calls = c, parallel
      return seen(anthropic, r).tool_choice
    end
    assert.is_nil(choice(nil))
    assert.same({ type = "auto" }, choice "auto")
    assert.same({ type = "any" }, choice "required")
    assert.same({ type = "none" }, choice "none")
    assert.same({ type = "tool", name = "weather" }, choice { type = "function",
      ["function"] = { name = "weather" } })
    assert.same({ type = "auto", disable_parallel_tool_use = true },
      choice(nil, false))
    assert.same({ type = "any", disable_parallel_tool_use = true },
      choice("required", false))
    assert.has_error(function() choice "maybe" end)
    local r = user "hi"
    r.tool_choice, r.tools = "auto", { { type = "web_search_20250305",
      name = "web_search" } }
    assert.same(r.tools, seen(anthropic, r).tools)
    r.tools = nil
    assert.is_nil(seen(anthropic, r).tool_choice)
  end)

  it("has JSON by instruction, and by a tool where there is a schema",
     function()
    local r = user "hi"
    r.response_format = { type = "json_object" }
    assert.matches("JSON object", seen(anthropic, r).system)
    local schema = { type = "object", properties = { a = { type = "string" } } }
    r.response_format = { type = "json_schema", json_schema = { name = "it",
      schema = schema, strict = true } }
    local b = seen(anthropic, r)
    assert.same({ type = "tool", name = "it" }, b.tool_choice)
    assert.same(schema, b.tools[1].input_schema)
    r.reasoning_effort = "low"
    assert.same({ type = "auto" }, seen(anthropic, r).tool_choice)
    r.response_format = { type = "json_schema" }
    assert.has_error(function() seen(anthropic, r) end)
  end)

  it("thinks as hard as it is told, with room for it", function()
    local r = user "hi"
    r.reasoning_effort, r.max_tokens = "medium", 100
    local b = seen(anthropic, r)
    assert.same({ type = "enabled", budget_tokens = 4096 }, b.thinking)
    assert.equal(4196, b.max_tokens)
    r.reasoning_effort = "none"
    assert.is_nil(seen(anthropic, r).thinking)
    r.reasoning_effort = "much"
    assert.has_error(function() seen(anthropic, r) end)
  end)

  it("takes back what was thought, unchanged, before the rest", function()
    local thought = { type = "thinking", thinking = "hm", signature = "s" }
    local r = user "hi"
    r.messages[2] = { role = "assistant", content = "ho",
                      thinking_blocks = { thought } }
    assert.same({ thought, { type = "text", text = "ho" } },
      seen(anthropic, r).messages[2].content)
  end)

  it("keeps what marks a block for the cache", function()
    local mark = { type = "ephemeral" }
    local b = seen(anthropic, { messages = {
      { role = "system", content = { { type = "text", text = "long",
                                       cache_control = mark } } },
      { role = "user", content = { { type = "text", text = "hi",
                                     cache_control = mark } } },
    } })
    assert.same({ { type = "text", text = "long", cache_control = mark } },
      b.system)
    assert.same(mark, b.messages[1].content[1].cache_control)
  end)

  it("goes to the right place with the right headers", function()
    assert.equal("https://h/v1/messages",
      anthropic.url { base_url = "https://h" })
    assert.equal("https://h/v1/messages",
      anthropic.url { base_url = "https://h/v1" })
    assert.same({ ["x-api-key"] = "k", ["anthropic-version"] = "2023-06-01" },
      anthropic.headers({}, "k"))
  end)
end)

describe("a request at Gemini", function()
  it("has its messages as contents, results of one turn together", function()
    local b = seen(gemini, conversation())
    assert.same({ parts = { { text = "be brief" }, { text = "in English" } } },
      b.systemInstruction)
    assert.same({
      { role = "user", parts = { { text = "weather in two cities?" } } },
      { role = "model", parts = {
        { functionCall = { name = "weather", args = { city = "Paris" } } },
        { functionCall = { name = "weather", args = { city = "Rome" } } },
      } },
      { role = "user", parts = {
        { functionResponse = { name = "weather", response = { t = 20 } } },
        { functionResponse = { name = "weather",
                               response = { result = "sunny" } } },
      } },
      { role = "user", parts = { { text = "and now?" } } },
    }, b.contents)
    assert.same({ { functionDeclarations = { {
      name = "weather", description = "tells it", parameters = {
        type = "object", required = { "city" }, properties = {
          city = { type = "string" },
          day = { type = "integer", nullable = true } } },
    } } } }, b.tools)
    assert.is_nil(b.model)
  end)

  it("has images, audio and files", function()
    local b = seen(gemini, user {
      { type = "image_url", image_url = { url = PIXEL } },
      { type = "image_url", image_url = { url = "https://x/y.JPG?z=1" } },
      { type = "input_audio", input_audio = { data = "UklG", format = "mp3" } },
      { type = "file", file = { file_data = "data:text/plain;base64,aGk=" } },
    })
    assert.same({
      { inlineData = { mimeType = "image/png", data = "iVBORw0KGgo=" } },
      { fileData = { mimeType = "image/jpeg",
                     fileUri = "https://x/y.JPG?z=1" } },
      { inlineData = { mimeType = "audio/mp3", data = "UklG" } },
      { inlineData = { mimeType = "text/plain", data = "aGk=" } },
    }, b.contents[1].parts)
  end)

  it("has its settings in generationConfig, the caller's own last", function()
    local r = user "hi"
    r.max_tokens, r.temperature, r.top_p, r.top_k, r.n = 5, 0.5, 0.9, 3, 2
    r.stop, r.seed, r.presence_penalty, r.logprobs = "END", 7, 0.1, true
    r.user, r.parallel_tool_calls, r.safetySettings = "u", false, { { a = 1 } }
    r.generationConfig = { temperature = 0.7, mediaResolution = "LOW" }
    local b = seen(gemini, r)
    assert.same({ maxOutputTokens = 5, temperature = 0.7, topP = 0.9, topK = 3,
      candidateCount = 2, stopSequences = { "END" }, seed = 7,
      presencePenalty = 0.1, responseLogprobs = true,
      mediaResolution = "LOW" }, b.generationConfig)
    assert.same({ { a = 1 } }, b.safetySettings)
    assert.is_nil(b.user)
    assert.is_nil(seen(gemini, user "hi").generationConfig)
  end)

  it("chooses tools as it is told", function()
    local function config(choice)
      local r = conversation()
      r.tool_choice = choice
      return (seen(gemini, r).toolConfig or {}).functionCallingConfig
    end
    assert.is_nil(config(nil))
    assert.same({ mode = "AUTO" }, config "auto")
    assert.same({ mode = "ANY" }, config "required")
    assert.same({ mode = "NONE" }, config "none")
    assert.same({ mode = "ANY", allowedFunctionNames = { "weather" } },
      config { type = "function", ["function"] = { name = "weather" } })
    assert.has_error(function() config "maybe" end)
  end)

  it("has JSON by type and schema", function()
    local r = user "hi"
    r.response_format = { type = "json_object" }
    assert.same({ responseMimeType = "application/json" },
      seen(gemini, r).generationConfig)
    r.response_format = { type = "json_schema", json_schema = { name = "it",
      schema = { type = "object", additionalProperties = false,
                 properties = { a = { type = "string", const = "x" } } } } }
    assert.same({ responseMimeType = "application/json", responseSchema = {
      type = "object", properties = { a = { type = "string",
                                            enum = { "x" } } } } },
      seen(gemini, r).generationConfig)
    local schema = { ["$defs"] = { x = { type = "string" } }, type = "object",
                     properties = { a = { ["$ref"] = "#/$defs/x" } } }
    r.response_format.json_schema.schema = schema
    assert.same(schema, seen(gemini, r).generationConfig.responseJsonSchema)
  end)

  it("thinks by budget, and by level where the model has levels", function()
    local r = user "hi"
    r.reasoning_effort = "high"
    assert.same({ thinkingBudget = 24576 },
      seen(gemini, r).generationConfig.thinkingConfig)
    local levelled = gemini.request(r, {}, "gemini-3-pro")
    assert.same({ thinkingLevel = "high" },
      levelled.generationConfig.thinkingConfig)
  end)

  it("takes back the signature of a thought with its call", function()
    local r = user "hi"
    r.messages[2] = { role = "assistant", tool_calls = { { id = "c", type =
      "function", ["function"] = { name = "f", arguments = "" },
      extra_content = { google = { thought_signature = "sig" } } } } }
    assert.same({ { functionCall = { name = "f", args = {} },
                    thoughtSignature = "sig" } },
      seen(gemini, r).contents[2].parts)
  end)

  it("goes to the right place with the right headers", function()
    local config = { base_url = "https://h" }
    assert.equal("https://h/v1beta/models/g:generateContent",
      gemini.url(config, "chat", "g"))
    assert.equal("https://h/v1beta/models/g:streamGenerateContent?alt=sse",
      gemini.url(config, "stream", "g"))
    assert.equal("https://h/v1/tunedModels/g:embedContent",
      gemini.url({ base_url = "https://h/v1" }, "embed", "tunedModels/g"))
    assert.same({ ["x-goog-api-key"] = "k" }, gemini.headers(config, "k"))
  end)

  it("embeds one or several", function()
    local b, operation = gemini.embed_request({ input = "a", dimensions = 3 },
      {}, "e")
    assert.same({ model = "models/e", content = { parts = { { text = "a" } } },
                  outputDimensionality = 3 }, b)
    assert.is_nil(operation)
    b, operation = gemini.embed_request({ input = { "a", "b" } }, {}, "e")
    assert.equal("embed_list", operation)
    assert.equal("b", b.requests[2].content.parts[1].text)
  end)
end)

describe("a mistake in a request", function()
  local function mistake(format, r)
    local ok, err = pcall(body, format, r)
    assert.is_false(ok)
    return tostring(err), err
  end

  it("is said with its place", function()
    for sentence, r in pairs {
      ["a prompt or a request with messages expected, got nil"] = nil,
      ["needs messages, a list of at least one %(got an empty one%)"] =
        { messages = {} },
      ["needs messages, a list of at least one %(got nil%)"] = { prompt = "x" },
      ["messages%[1%] must be a table with role and content, got \"x\""] =
        { messages = { "x" } },
      ["messages%[1%] needs a role, a string %(got nil%)"] =
        { messages = { { content = "x" } } },
      ["messages%[1%].content must be a string or a list of parts"] =
        { messages = { { role = "user", content = 1 } } },
    } do
      assert.matches(sentence, (mistake(openai, r)))
    end
    assert.matches("a prompt or a request with messages expected, got nil",
      (mistake(openai, nil)))
  end)

  it("of translation too, before anything is sent", function()
    for _, case in ipairs {
      { anthropic, user { 5 }, "messages%[1%].content%[1%] must be a part" },
      { anthropic, user { { type = "image_url" } },
        "messages%[1%].content%[1%] needs image_url" },
      { anthropic, user { { type = "image_url", image_url = "data:x,y" } },
        "a data URL must be data:TYPE;base64,DATA" },
      { anthropic, user { { type = "input_audio", input_audio = {} } },
        "audio, which Anthropic does not take" },
      { anthropic, { messages = { { role = "critic", content = "x" } } },
        'the role "critic"; there are system' },
      { gemini, { messages = { { role = "critic", content = "x" } } },
        'the role "critic"; there are system' },
      { anthropic, { messages = { { role = "tool", content = "x" } } },
        "needs the tool_call_id that it answers" },
      { gemini, { messages = { { role = "tool", tool_call_id = "c",
                                 content = "x" } } },
        "answers the call c, which no message before it made" },
      { anthropic, { messages = { { role = "assistant", tool_calls = { { id =
        "c", ["function"] = { name = "f", arguments = "{" } } } } } },
        "its arguments are no JSON object: {" },
    } do
      local text, err = mistake(case[1], case[2])
      assert.matches(case[3], text)
      assert.equal("bad_request", err.kind)
      assert.is_false(err.retryable)
    end
    local r = user "hi"
    r.n = 2
    assert.matches("n is 2, and Anthropic gives one choice",
      (mistake(anthropic, r)))
  end)
end)
