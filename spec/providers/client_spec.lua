-- Clients of real providers against the mock: what is sent, what comes back,
-- whole and streamed, and that both are the same answer.

local json = require "llmpool.json"
local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local mock = require "spec.support.mock"

local KEY = "sk-mock-0123456789"

local function pool_of(client, options)
  local pool = llmpool.new()
  pool:register_model("fast", { client }, options)
  return pool
end

local function failure_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

-- what varies from call to call
local function timeless(response)
  local copy = {}
  for name, value in pairs(response) do copy[name] = value end
  copy.timings, copy.raw = nil, nil
  return copy
end

local CALLS = {
  { id = "call_1", name = "weather", arguments = '{"city": "Paris", "d": 1}' },
  { id = "call_2", name = "time", arguments = "{}" },
}

local ANSWERS = {
  ["a text"] = { text = "Grüße, wörld! 你好 \"quoted\" \\ \n new", usage =
    { 7, 5 } },
  ["no text"] = { text = "", usage = { 7, 0 } },
  ["thoughts"] = { text = "four", reasoning = "two and two",
                   usage = { 7, 9, 3, 4 } },
  ["tool calls"] = { tool_calls = CALLS, usage = { 7, 5 } },
  ["text and tool calls"] = { text = "let me see", tool_calls = CALLS },
  ["an early end"] = { text = "four and", finish = "length" },
  ["a filtered text"] = { text = "f", finish = "content_filter" },
}

local PROVIDERS = { "openai", "anthropic", "gemini" }

for _, name in ipairs(PROVIDERS) do
  describe("a client of " .. name, function()
    local pool

    before_each(function()
      mock.clear()
      pool = pool_of(mock[name] { id = "key-1", model = "small" })
    end)

    after_each(function() ledger.settled(pool) end)

    for what, script in pairs(ANSWERS) do
      it("gives " .. what .. " whole and in pieces, the same", function()
        mock.next(script, script)
        local text, whole = pool:generate("fast", "two and two")
        local stream = pool:stream("fast", "two and two")
        local texts, thoughts, arguments = {}, {}, {}
        for piece in stream do
          texts[#texts + 1] = piece.text
          thoughts[#thoughts + 1] = piece.reasoning
          for _, call in ipairs(piece.tool_calls or {}) do
            arguments[call.index] = (arguments[call.index] or "")
              .. (call["function"].arguments or "")
          end
          assert.is_table(piece.raw)
        end
        assert.same(timeless(whole), timeless(stream.response))
        assert.equal(script.text or "", text)
        assert.equal(text, whole.text)
        assert.equal(text, table.concat(texts))
        assert.equal(script.reasoning, whole.reasoning)
        assert.equal(script.reasoning or "", table.concat(thoughts))
        assert.equal("key-1", whole.client)
        assert.equal(name, whole.provider)
        assert.equal("small", whole.model)
        assert.equal(script.finish or script.tool_calls and "tool_calls"
          or "stop", whole.finish_reason)
        assert.is_table(whole.raw)
        for i, call in ipairs(script.tool_calls or {}) do
          local got = whole.tool_calls[i]
          assert.equal("function", got.type)
          assert.equal(call.name, got["function"].name)
          assert.same(json.decode(call.arguments),
            json.decode(got["function"].arguments))
          assert.same(json.decode(call.arguments),
            json.decode(arguments[i - 1]))
          assert.is_string(got.id)
        end
        if script.usage then
          assert.equal(script.usage[1], whole.usage.prompt_tokens)
          assert.equal(script.usage[2], whole.usage.completion_tokens)
          assert.equal(script.usage[1] + script.usage[2],
            whole.usage.total_tokens)
          assert.equal(script.usage[3] or 0,
            whole.usage.prompt_tokens_details.cached_tokens)
        end
      end)
    end

    it("measures its time in phases", function()
      mock.next({ wait = 0.02, text = "a b" },
        { wait = 0.02, wait_first = 0.05, wait_piece = 0.05, text = "a b" })
      local _, whole = pool:generate("fast", "q")
      local stream = pool:stream("fast", "q")
      for _ in stream do end -- luacheck: ignore 542
      for _, response in ipairs { whole, stream.response } do
        local t = response.timings
        assert.is_true(t.queued <= t.connected and t.connected <= t.first
          and t.first <= t.total, json.encode(t))
      end
      assert.is_true(whole.timings.first >= 0.02)
      assert.is_true(stream.response.timings.first >= 0.07) -- the first token
      assert.is_true(stream.response.timings.total >= 0.12)
    end)

    it("carries on a conversation with what it was answered", function()
      mock.next({ reasoning = "hm", tool_calls = CALLS, signature = "sig" },
        { text = "20 degrees" })
      local messages = { { role = "user", content = "weather?" } }
      local _, first = pool:generate("fast", { messages = messages })
      messages[2] = first.message
      for i, call in ipairs(first.tool_calls) do
        messages[2 + i] = { role = "tool", tool_call_id = call.id,
                            content = '{"t":20}' }
      end
      assert.equal("20 degrees",
        (pool:generate("fast", { messages = messages })))
      local sent = mock.last().json
      local turns = sent.messages or sent.contents
      assert.equal(name == "openai" and 4 or 3, #turns)
      if name == "anthropic" then
        assert.same({ type = "thinking", thinking = "hm", signature = "sig" },
          turns[2].content[1])
        assert.equal("call_2", turns[3].content[2].tool_use_id)
      elseif name == "gemini" then
        assert.equal("sig", turns[2].parts[1].thoughtSignature)
        assert.equal("time", turns[3].parts[2].functionResponse.name)
      else
        assert.equal("call_2", turns[4].tool_call_id)
      end
    end)

    it("sends its key in a header and nowhere else", function()
      pool:generate("fast", "q")
      local entry = mock.last()
      local header = { openai = "authorization", anthropic = "x-api-key",
                       gemini = "x-goog-api-key" }
      assert.equal((name == "openai" and "Bearer " or "") .. KEY,
        entry.headers[header[name]])
      entry.headers[header[name]], entry.key = nil, nil
      assert.is_nil(json.encode(entry):find(KEY, 1, true))
      assert.equal("application/json", entry.headers["content-type"])
      assert.matches("^llmpool/", entry.headers["user-agent"])
    end)

    it("sends the headers that it is given", function()
      pool = pool_of(mock[name] { id = "a", headers = { ["X-Title"] = "t",
        ["User-Agent"] = "mine" } })
      pool:generate("fast", "q")
      local headers = mock.last().headers
      assert.equal("t", headers["x-title"])
      assert.equal("mine", headers["user-agent"])
    end)

    it("uses one connection again and again", function()
      local before = mock.state().opened
      for _ = 1, 3 do
        pool:generate("fast", "q")
        for _ in pool:stream("fast", "q") do end -- luacheck: ignore 542
      end
      local after = mock.state()
      assert.is_true(after.opened - before <= 1,
        after.opened - before .. " were opened")
    end)

    it("raises what the upstream refuses, whole and streamed", function()
      for _, ask in ipairs { pool.generate, pool.stream } do
        pool = pool_of(mock[name] { id = "key-1" }) -- the other one rests
        mock.next { status = 429, headers = { ["retry-after"] = "7" },
                    error = { message = "slow down, " .. KEY } }
        local err = failure_of(ask, pool, "fast", "q")
        assert.equal("rate_limit", err.kind)
        assert.equal(429, err.status)
        assert.is_true(math.abs(err.retry_at - llmpool.now() - 7) < 0.5)
        assert.equal("req_mock", err.request_id)
        assert.is_nil(tostring(err):find(KEY, 1, true))
        ledger.settled(pool)
      end
    end)

    it("raises an error inside a good answer", function()
      mock.next { body = { error = { message = "no", code = 503 } } }
      assert.equal("overloaded", failure_of(pool.generate, pool, "fast", "q")
        .kind)
    end)

    it("raises malformed for what is no answer", function()
      for _, body in ipairs { "{", "", "hello", "[]", "3", "{}", "null",
                              '{"choices": []}', '{"choices": 5}' } do
        pool = pool_of(mock[name] { id = "key-1" })
        mock.next { body = body }
        local err = failure_of(pool.generate, pool, "fast", "q")
        assert.equal("malformed", err.kind, body)
        assert.is_true(err.retryable)
        assert.is_false(err.committed)
      end
    end)

    it("refuses an answer that is larger than allowed", function()
      pool = pool_of(mock[name] { id = "a", max_bytes = 10000 })
      mock.next({ pad = 20000 }, { pad = 20000 }, { pad = 100 })
      local err = failure_of(pool.generate, pool, "fast", "q")
      assert.equal("too_large", err.kind)
      assert.is_false(err.retryable)
      err = failure_of(function()
        for _ in pool:stream("fast", "q") do end -- luacheck: ignore 542
      end)
      assert.equal("too_large", err.kind)
      pool:generate("fast", "q")
    end)

    it("answers a server that cannot stream", function()
      -- the mock's whole answer, though a stream was asked for
      local _, whole = pool:generate("fast", "q")
      mock.next { body = whole.raw, content_type = "application/json" }
      local stream = pool:stream("fast", "q")
      assert.equal("You said: q", stream().text)
      assert.is_nil(stream())
      assert.same(timeless(whole), timeless(stream.response))
    end)

    it("takes a model and a timeout for one request", function()
      local _, response = pool:generate("fast", { model = "other", messages = {
        { role = "user", content = "q" } } })
      assert.equal("other", response.model)
      pool:get_client("fast", function(client)
        mock.next { wait = 1 }
        local err = failure_of(client.generate, client, "q",
          { timeout = { first = 0.05 } })
        assert.equal("timeout_first", err.kind)
        local text = failure_of(client.generate, client, "q", { timout = 1 })
        assert.matches("unknown option 'timout'; did you mean 'timeout'?",
          text, 1, true)
        text = failure_of(client.stream, client, "q", { timeout = -1 })
        assert.matches("timeout must be seconds, .*, got %-1", text)
        text = failure_of(client.stream, client, "q",
          { timeout = { frist = 1 } })
        assert.matches("timeout: unknown field 'frist'; did you mean 'first'?",
          text, 1, true)
        assert.matches("table expected", (failure_of(client.generate, client,
          "q", 5)))
      end)
    end)

    it("says what is wrong with a request before it is sent", function()
      local before = #mock.log()
      for _, ask in ipairs { pool.generate, pool.stream } do
        assert.matches("a prompt or a request with messages expected, got nil",
          (failure_of(ask, pool, "fast")))
        assert.equal("bad_request",
          failure_of(ask, pool, "fast", { messages = {} }).kind)
        local err = failure_of(ask, pool, "fast", { messages = { {
          role = "user", content = "q" } }, some_field = { f = print } })
        assert.equal("bad_request", err.kind)
      end
      assert.equal(before, #mock.log())
    end)
  end)
end

describe("Azure", function()
  it("has its own path and header", function()
    local pool = pool_of(mock.openai { id = "a", azure = true, model = "dep",
      api_version = "2024-10-21", base_url = mock.url() })
    pool:generate("fast", "q")
    local entry = mock.last()
    assert.equal("/openai/deployments/dep/chat/completions", entry.path)
    assert.same({ ["api-version"] = "2024-10-21" }, entry.query)
    assert.equal(KEY, entry.headers["api-key"])
    assert.is_nil(entry.headers.authorization)
  end)
end)

describe("a client of a server without keys", function()
  it("sends none", function()
    local pool = pool_of(llmpool.openai { id = "a", base_url = mock.url()
      .. "/v1" })
    mock.next { text = "hi" }
    assert.equal("hi", (pool:generate("fast", "q")))
    assert.is_nil(mock.last().headers.authorization)
  end)
end)

describe("JSON by a schema at Anthropic", function()
  it("is a text, whole and streamed, though it came as a tool's input",
     function()
    mock.clear()
    local pool = pool_of(mock.anthropic { id = "a" })
    local request = {
      messages = { { role = "user", content = "q" } },
      response_format = { type = "json_schema", json_schema = { name = "it",
        schema = { type = "object" } } },
    }
    local script = { tool_calls = { { id = "c", name = "it",
                                      arguments = '{"a": [1, 2]}' } } }
    mock.next(script, script)
    local text, response = pool:generate("fast", request)
    assert.same({ a = { 1, 2 } }, json.decode(text))
    assert.is_nil(response.tool_calls)
    assert.equal("stop", response.finish_reason)
    local stream = pool:stream("fast", request)
    for _ in stream do end -- luacheck: ignore 542
    assert.same({ a = { 1, 2 } }, json.decode(stream.response.text))
    assert.equal("stop", stream.response.finish_reason)
  end)
end)

describe("embeddings", function()
  for _, name in ipairs { "openai", "gemini" } do
    it("of " .. name .. " are one vector or several, in order", function()
      mock.clear()
      local pool = pool_of(mock[name] { id = "a", model = "e" })
      local one, response = pool:embed("fast", "abc")
      assert.same({ 0.5, 0.125, 0.625, 0.25 }, one)
      assert.same({ one }, response.embeddings)
      assert.equal("a", response.client)
      local list = pool:embed("fast", { "a", "abc" })
      assert.equal(2, #list)
      assert.same(one, list[2])
      pool:embed("fast", { input = { "a" }, dimensions = 4 })
      local sent = mock.last().json
      assert.equal(4, sent.dimensions or sent.requests[1].outputDimensionality)
      ledger.settled(pool)
    end)

    it("of " .. name .. " are checked", function()
      local pool = pool_of(mock[name] { id = "a", breaker = false })
      for _, body in ipairs { {}, { data = {} }, { embeddings = {} },
                              { data = { { index = 0, embedding = "?" } } } }
      do
        mock.next { body = body }
        assert.equal("malformed",
          failure_of(pool.embed, pool, "fast", "q").kind)
      end
      mock.next { body = { data = { { index = 0, embedding = { 1 } } },
                           embeddings = { { values = { 1 } } } } }
      assert.matches("1 embeddings for 2 texts",
        tostring(failure_of(pool.embed, pool, "fast", { "a", "b" })))
      for _, input in ipairs { 5, {}, { 5 }, { input = {} } } do
        failure_of(pool.embed, pool, "fast", input)
      end
      ledger.settled(pool)
    end)
  end

  it("of OpenAI come as base64 too", function()
    local pool = pool_of(mock.openai { id = "a" })
    assert.same((pool:embed("fast", { input = "abc" })),
      (pool:embed("fast", { input = "abc", encoding_format = "base64" })))
  end)

  it("are refused by a client that has none", function()
    local pool = pool_of(mock.anthropic { id = "a" })
    local err = failure_of(pool.embed, pool, "fast", "q")
    assert.equal("bad_request", err.kind)
    assert.matches("anthropic has no embeddings", tostring(err))
    pool = pool_of { id = "b", generate = print }
    assert.matches('client "b" has no embed method',
      tostring(failure_of(pool.embed, pool, "fast", "q")))
    ledger.settled(pool)
  end)
end)
