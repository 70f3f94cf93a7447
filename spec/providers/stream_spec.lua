-- Streams of real providers: every quirk of their events, every way to fail,
-- before and after the first piece.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local mock = require "spec.support.mock"

local PROVIDERS = { "openai", "anthropic", "gemini" }

local CALLS = { { id = "call_1", name = "weather",
                  arguments = '{"city":"Zürich"}' } }

-- The text that came, the stream, and the error that ended it.
local function read(pool)
  local text = {}
  local stream
  local ok, err = pcall(function()
    stream = pool:stream("fast", "one two")
    for piece in stream do text[#text + 1] = piece.text end
  end)
  ledger.settled(pool)
  return table.concat(text), stream, not ok and err or nil
end

local QUIRKS = {
  ["CRLF"] = { newline = "\r\n" }, ["CR"] = { newline = "\r" },
  ["comments"] = { comments = true }, ["a byte order mark"] = { bom = true },
  ["joined data lines"] = { split_data = true },
  ["joined data lines with CRLF"] = { split_data = true, newline = "\r\n" },
  ["empty choices"] = { empty_choices = true },
  ["usage in every event"] = { usage_where = "every" },
  ["usage at the end only"] = { usage_where = "end_only" },
  ["one byte at a time"] = { split = 1 },
  ["one byte at a time, CRLF and comments"] = { split = 1, newline = "\r\n",
                                                comments = true },
  ["three bytes at a time, slowly"] = { split = 3, drip = 0 },
  ["an end by closing"] = { framing = "close" },
}

for _, name in ipairs(PROVIDERS) do
  describe("a stream of " .. name, function()
    before_each(function() mock.clear() end)

    for what, quirk in pairs(QUIRKS) do
      it("bears " .. what, function()
        local script = { text = "Grüße 你好", tool_calls = CALLS,
                         reasoning = "hm", usage = { 3, 4 } }
        for field, value in pairs(quirk) do script[field] = value end
        mock.next(script)
        local text, stream, err = read(mock.pool(name))
        assert.is_nil(err)
        assert.equal("Grüße 你好", text)
        local response = stream.response
        assert.equal("hm", response.reasoning)
        assert.equal("tool_calls", response.finish_reason)
        assert.equal('{"city":"Zürich"}',
          response.tool_calls[1]["function"].arguments)
        assert.equal(3, response.usage.prompt_tokens)
        assert.equal(4, response.usage.completion_tokens)
      end)
    end

    it("without its terminator is truncated, and committed", function()
      mock.next { text = "a b", done = false }
      local text, _, err = read(mock.pool(name))
      assert.equal("a b", text)
      assert.equal("truncated", err.kind)
      assert.is_true(err.committed)
      assert.is_false(err.retryable)
    end)

    it("that ends before its first word may be tried elsewhere", function()
      mock.next { body = "", content_type = "text/event-stream" }
      local _, _, err = read(mock.pool(name))
      assert.equal("truncated", err.kind)
      assert.is_false(err.committed)
      assert.is_true(err.retryable)
    end)

    it("that brings an error has its kind, committed or not", function()
      local error_of = {
        openai = { message = "slow", code = "rate_limit_exceeded" },
        anthropic = { type = "rate_limit_error", message = "slow" },
        gemini = { code = 429, status = "RESOURCE_EXHAUSTED",
                   message = "slow" },
      }
      for at = 0, 2 do
        mock.next { text = "a b c", error = error_of[name], error_at = at }
        local text, _, err = read(mock.pool(name))
        assert.equal(({ [0] = "", "a", "a b" })[at], text)
        assert.equal("rate_limit", err.kind)
        assert.equal(at > 0, err.committed)
        assert.equal(at == 0, err.retryable)
        assert.equal(name, err.provider)
        assert.equal("fast", err.model)
      end
    end)

    it("with an event that is no JSON is malformed", function()
      for at = 0, 1 do
        mock.next { text = "a b", bad_event_at = at }
        local _, _, err = read(mock.pool(name))
        assert.equal("malformed", err.kind)
        assert.equal(at > 0, err.committed)
      end
    end)

    it("refused before it began raises from stream itself", function()
      for status, kind in pairs { [400] = "bad_request", [401] = "auth",
        [402] = "billing", [404] = "not_found", [429] = "rate_limit",
        [500] = "server", [503] = "overloaded", [529] = "overloaded" } do
        mock.next { status = status }
        local _, stream, err = read(mock.pool(name))
        assert.is_nil(stream)
        assert.equal(kind, err.kind)
        assert.equal(status, err.status)
        assert.is_false(err.committed)
      end
    end)

    it("cut at any byte is an error of a kind, never an answer", function()
      local pool = mock.pool(name)
      mock.next { text = "ab cd" }
      read(pool)
      local size = mock.last().sent
      local kinds = { reset = true, truncated = true }
      local scripts, count = {}, 0
      -- cut within the status line a kept connection only seems to have been
      -- closed before the request: it is sent again
      for at = 20, size - 1, 13 do
        scripts[#scripts + 1] = { text = "ab cd", reset_at = at }
        scripts[#scripts + 1] = { text = "ab cd", close_at = at }
      end
      mock.next(table.unpack(scripts))
      llmpool.scope(function(scope)
        for _ = 1, #scripts do
          scope:spawn(function()
            local own = mock.pool(name)
            local text, _, err = read(own)
            assert.is_table(err)
            assert.is_true(kinds[err.kind], err.kind)
            assert.equal(#text > 0, err.committed)
            assert.equal(#text == 0, err.retryable)
            count = count + 1
          end)
        end
      end)
      assert.equal(#scripts, count)
    end)

    it("that falls silent at any point times out as that point does",
       function()
      local timeout = { connect = 1, first = 0.1, idle = 0.05 }
      mock.next({ wait = 1 }, { wait_first = 1 },
        { text = "a b", wait_piece = 1 }, { wait_end = 1 })
      local pool = mock.pool(name, { timeout = timeout, breaker = false })
      local _, _, err = read(pool)
      assert.equal("timeout_first", err.kind)
      assert.is_false(err.committed)
      _, _, err = read(pool)
      assert.is_true(err.kind == "timeout_first" or err.kind == "timeout_idle")
      assert.is_false(err.committed)
      assert.is_true(err.retryable)
      local text
      text, _, err = read(pool)
      assert.equal("a", text)
      assert.equal("timeout_idle", err.kind)
      assert.is_true(err.committed)
      assert.is_false(err.retryable)
      _, _, err = read(pool)
      if name == "gemini" then return end -- has no last word to wait for
      assert.equal("timeout_idle", err.kind)
    end)

    it("that only says that it lives has no first token in time", function()
      mock.next { text = "a", wait_first = 1, comments = true }
      local pool = mock.pool(name, { timeout = { first = 0.1 } })
      local began = llmpool.now()
      local _, _, err = read(pool)
      assert.equal("timeout_first", err.kind)
      assert.is_true(llmpool.now() - began < 0.5)
    end)

    it("takes as long as it is allowed in all", function()
      mock.next { pieces = { "a", "b", "c", "d", "e" }, wait_piece = 0.05 }
      local pool = mock.pool(name, { timeout = 0.12 })
      local text, _, err = read(pool)
      assert.equal("a", text:sub(1, 1))
      assert.equal("timeout_total", err.kind)
      assert.is_true(err.committed)
    end)
  end)
end

describe("a stream that may end without its last word", function()
  it("does, where the client says so and the end was told", function()
    for _, name in ipairs { "openai", "anthropic" } do
      mock.next({ text = "a b", done = false }, { text = "a b c", close_at =
        600, framing = "close" })
      local pool = mock.pool(name, { requires_done = false })
      local text, stream, err = read(pool)
      assert.is_nil(err)
      assert.equal("a b", text)
      assert.equal("a b", stream.response.text)
      text, _, err = read(pool)
      assert.not_equal("a b c", text)
      assert.equal("truncated", err.kind)
    end
  end)
end)

describe("a stream whose server keeps the connection open", function()
  it("ends with its last word all the same", function()
    for _, name in ipairs { "openai", "anthropic" } do
      local raw = name == "openai"
        and 'data: {"choices":[{"delta":{"content":"hi"},'
          .. '"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        or 'data: {"type":"content_block_delta","delta":{"type":'
          .. '"text_delta","text":"hi"}}\n\ndata: {"type":"message_stop"}\n\n'
      local head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
      mock.next { raw = head .. raw .. " ", stall_at = #head + #raw }
      local began = llmpool.now()
      local text, stream, err = read(mock.pool(name))
      assert.is_nil(err)
      assert.equal("hi", text)
      assert.equal("hi", stream.response.text)
      assert.is_true(llmpool.now() - began < 0.5)
    end
  end)
end)

describe("Gemini's streams", function()
  it("may be a JSON array, answer or error", function()
    mock.next({ json_array = true, text = "a b" },
      { status = 429, body = { { error = { code = 429, status =
        "RESOURCE_EXHAUSTED", message = "q", details = { { ["@type"] =
        "type.googleapis.com/google.rpc.RetryInfo", retryDelay = "9s" } } } } }
      },
      { body = { { error = { code = 503, message = "later" } } } },
      { json_array = true, text = "a b", done = false })
    local text, stream = read(mock.pool "gemini")
    assert.equal("a b", text)
    assert.equal("stop", stream.response.finish_reason)
    local _, _, err = read(mock.pool "gemini")
    assert.equal("rate_limit", err.kind)
    assert.is_true(math.abs(err.retry_at - llmpool.now() - 9) < 0.5)
    _, _, err = read(mock.pool "gemini")
    assert.equal("overloaded", err.kind)
    _, _, err = read(mock.pool "gemini")
    assert.equal("truncated", err.kind)
  end)

  it("of a blocked prompt are an answer of nothing, and say why", function()
    local body = { promptFeedback = { blockReason = "SAFETY" },
                   usageMetadata = { promptTokenCount = 3 } }
    mock.next({ body = body }, { body = body })
    local pool = mock.pool "gemini"
    local text, response = pool:generate("fast", "q")
    assert.equal("", text)
    assert.equal("content_filter", response.finish_reason)
    assert.equal(3, response.usage.prompt_tokens)
    local _, stream, err = read(pool)
    assert.is_nil(err)
    assert.equal("content_filter", stream.response.finish_reason)
  end)
end)

describe("several choices of OpenAI's", function()
  it("are told apart, whole and in pieces", function()
    local function choice(i, text)
      return { index = i, finish_reason = "stop",
               message = { role = "assistant", content = text } }
    end
    mock.next { body = { choices = { choice(0, "a"), choice(1, "b") } } }
    local pool = mock.pool "openai"
    local text, response = pool:generate("fast", "q")
    assert.equal("a", text)
    assert.equal("b", response.choices[2].text)
    local events = {}
    for i, piece in ipairs { "a", "b", "c", "d" } do
      events[i] = ('data: {"choices":[{"index":%d,"delta":{"content":"%s"},'
        .. '"finish_reason":%s}]}\n\n'):format((i - 1) % 2, piece,
        i > 2 and '"stop"' or "null")
    end
    mock.next { body = table.concat(events) .. "data: [DONE]\n\n",
                content_type = "text/event-stream" }
    local stream = pool:stream("fast", "q")
    local indices = {}
    for piece in stream do indices[#indices + 1] = piece.index or 0 end
    assert.same({ 0, 1, 0, 1 }, indices)
    assert.equal("ac", stream.response.text)
    assert.equal("bd", stream.response.choices[2].text)
  end)
end)
