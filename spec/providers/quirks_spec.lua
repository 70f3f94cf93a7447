-- What servers of OpenAI's format send otherwise than OpenAI does, and what its
-- own library's types know beyond a text: nothing of it is lost or mixed up.

local json = require "llmpool.json"
local replies = require "spec.support.replies"

local function whole(message, rest)
  local choice = { index = 0, finish_reason = "stop", message = message }
  for name, value in pairs(rest or {}) do choice[name] = value end
  local ok, response = replies.whole("openai",
    json.encode { id = "i", model = "m", choices = { choice } })
  assert.is_true(ok, tostring(response))
  return response
end

-- deltas: of the first choice; a string is a whole event
local function streamed(deltas)
  local events = {}
  for i, delta in ipairs(deltas) do
    events[i] = type(delta) == "string" and delta or json.encode { choices = {
      { index = 0, delta = delta, finish_reason = i == #deltas and "stop"
        or json.null } } }
  end
  events[#events + 1] = "[DONE]"
  local ok, response, pieces = replies.stream("openai", events)
  assert.is_true(ok, tostring(response))
  return response, pieces
end

local function calls_of(response)
  local list = {}
  for i, call in ipairs(response.tool_calls or {}) do
    local f = call["function"] or call.custom
    list[i] = ("%s %s(%s)"):format(call.id, f.name, f.arguments or f.input)
  end
  return list
end

-- What a user has who puts the pieces' fragments together by their index.
local function calls_by_index(pieces)
  local calls, list = {}, {}
  for _, piece in ipairs(pieces) do
    for _, fragment in ipairs(piece.tool_calls or {}) do
      local index, f = fragment.index, fragment["function"] or {}
      local call = calls[index] or { arguments = "" }
      calls[index] = call
      call.id = call.id or fragment.id
      call.name = call.name or f.name
      call.arguments = call.arguments .. (f.arguments or "")
    end
  end
  for i = 0, #calls do
    list[i + 1] = calls[i] and ("%s %s(%s)"):format(calls[i].id, calls[i].name,
      calls[i].arguments)
  end
  return list
end

local function call(index, id, name, arguments)
  return { index = index, id = id, type = "function",
           ["function"] = { name = name, arguments = arguments } }
end

local TWO = { '1 f({"a":1})', '2 g({"b":2})' }

-- deltas of tool calls as servers send them; all of them are TWO
local SPELLINGS = {
  ["in fragments"] = {
    { tool_calls = { call(0, "1", "f", "") } },
    { tool_calls = { call(0, nil, nil, '{"a"') } },
    { tool_calls = { call(0, nil, nil, ":1}") } },
    { tool_calls = { call(1, "2", "g", "") } },
    { tool_calls = { call(1, nil, nil, '{"b":2}') } }, {} },
  ["interleaved"] = {
    { tool_calls = { call(0, "1", "f", ""), call(1, "2", "g", "") } },
    { tool_calls = { call(1, nil, nil, '{"b":'), call(0, nil, nil, '{"a"') } },
    { tool_calls = { call(0, nil, nil, ":1}") } },
    { tool_calls = { call(1, nil, nil, "2}") } }, {} },
  ["whole, without an index"] = {
    { tool_calls = { call(nil, "1", "f", '{"a":1}') } },
    { tool_calls = { call(nil, "2", "g", '{"b":2}') } }, {} },
  ["in one event, without an index"] = {
    { tool_calls = { call(nil, "1", "f", '{"a":1}'),
                     call(nil, "2", "g", '{"b":2}') } }, {} },
  ["in fragments, without an index"] = {
    { tool_calls = { call(nil, "1", "f", '{"a"') } },
    { tool_calls = { call(nil, nil, nil, ":1}") } },
    { tool_calls = { call(nil, "2", "g", '{"b"') } },
    { tool_calls = { call(nil, "2", nil, ":2}") } }, {} },
  ["whole, with the same index"] = {
    { tool_calls = { call(0, "1", "f", '{"a":1}') } },
    { tool_calls = { call(0, "2", "g", '{"b":2}') } }, {} },
  ["in fragments, with a new id in each"] = {
    { tool_calls = { call(0, "1", "f", '{"a"') } },
    { tool_calls = { call(0, "x", nil, ":1}") } },
    { tool_calls = { call(1, "2", "g", '{"b"') } },
    { tool_calls = { call(1, "y", "", ":2}") } }, {} },
  ["in fragments, with id and name in each"] = {
    { tool_calls = { call(0, "1", "f", '{"a"') } },
    { tool_calls = { call(0, "1", "f", ":1}") } },
    { tool_calls = { call(1, "2", "g", '{"b":2}') } }, {} },
  ["with arguments that are no text"] = {
    { tool_calls = { call(0, "1", "f", { a = 1 }) } },
    { tool_calls = { call(1, "2", "g", { b = 2 }) } }, {} },
  ["with fields that are null"] = {
    { tool_calls = json.null, content = json.null },
    { tool_calls = { call(0, "1", "f", json.null) } },
    { tool_calls = { call(0, json.null, json.null, '{"a":1}') } },
    { tool_calls = { call(1, "2", "g", '{"b":2}') } }, {} },
  ["beginning with 1"] = {
    { tool_calls = { call(1, "1", "f", '{"a":1}') } },
    { tool_calls = { call(2, "2", "g", '{"b":2}') } }, {} },
}

describe("tool calls of OpenAI's format in a stream", function()
  for what, deltas in pairs(SPELLINGS) do
    it("are the same: " .. what, function()
      local response, pieces = streamed(deltas)
      assert.same(TWO, calls_of(response))
      assert.same(TWO, calls_by_index(pieces))
    end)
  end

  it("may have a name and nothing else", function()
    local response = streamed { { tool_calls = { call(0, "1", "f") } }, {} }
    assert.same({ "1 f({})" }, calls_of(response)) -- JSON all the same
  end)
end)

describe("tool calls of OpenAI's format in an answer", function()
  for what, calls in pairs {
    ["as they should be"] = { call(nil, "1", "f", '{"a":1}'),
                              call(nil, "2", "g", '{"b":2}') },
    ["with the same index"] = { call(0, "1", "f", '{"a":1}'),
                                call(0, "2", "g", '{"b":2}') },
    ["with arguments that are no text"] = { call(0, "1", "f", { a = 1 }),
                                            call(1, "2", "g", { b = 2 }) },
  } do
    it("are the same: " .. what, function()
      assert.same(TWO, calls_of(whole { content = json.null,
                                        tool_calls = calls }))
    end)
  end

  it("have arguments that are JSON, of nothing too", function()
    for _, nothing in ipairs { "", " ", json.null } do
      local response = whole { tool_calls = { call(nil, "1", "f", nothing) } }
      assert.same({ "1 f({})" }, calls_of(response))
      assert.equal("{}",
        response.message.tool_calls[1]["function"].arguments)
    end
  end)

  it("may be of custom tools", function()
    local custom = { id = "1", type = "custom",
                     custom = { name = "sql", input = "select 1" } }
    local response = whole { tool_calls = { custom } }
    assert.same({ custom }, response.tool_calls)
    assert.same({ custom }, response.message.tool_calls)
    response = streamed {
      { tool_calls = { { index = 0, id = "1", type = "custom",
                         custom = { name = "sql", input = "sel" } } } },
      { tool_calls = { { index = 0, custom = { input = "ect 1" } } } }, {} }
    assert.same({ custom }, response.tool_calls)
  end)
end)

describe("a refusal of OpenAI's", function()
  it("is the text, and is told apart", function()
    for _, content in ipairs { json.null, "" } do
      local response = whole { content = content, refusal = "I can't" }
      assert.equal("I can't", response.text)
      assert.equal("I can't", response.refusal)
      assert.equal("I can't", response.message.content)
      local pieces
      response, pieces = streamed { { content = content, refusal = "I " },
        { content = content, refusal = "can't" }, {} }
      assert.equal("I can't", response.text)
      assert.equal("I can't", response.refusal)
      assert.equal("can't", pieces[2].refusal)
    end
    assert.is_nil(whole { content = "x", refusal = json.null }.refusal)
    assert.is_nil(whole { content = "x", refusal = "" }.refusal)
  end)
end)

describe("what was thought", function()
  it("has two names; the one with a text in it is meant", function()
    assert.equal("hm", whole { content = "x", reasoning_content = "",
                               reasoning = "hm" }.reasoning)
    assert.equal("hm", streamed { { reasoning_content = "", reasoning = "hm" },
      { content = "x" } }.reasoning)
  end)
end)

describe("logprobs", function()
  it("are in the answer, whole and in pieces", function()
    local a, b = { token = "a", logprob = -1 }, { token = "b", logprob = -2 }
    local logprobs = { content = { a, b } }
    assert.same(logprobs, whole({ content = "ab" }, { logprobs = logprobs })
      .logprobs)
    local function event(text, probability, finish)
      return json.encode { choices = { { index = 0, delta = { content = text },
        logprobs = probability and { content = { probability },
                                     refusal = json.null } or json.null,
        finish_reason = finish or json.null } } }
    end
    local response, pieces = streamed { event("a", a), event("b", b),
      event("", nil, "stop") }
    assert.same(logprobs, response.logprobs)
    assert.same({ b }, pieces[2].logprobs.content)
    assert.is_nil(whole({ content = "x" }, { logprobs = json.null }).logprobs)
  end)
end)

describe("choices", function()
  it("without an index are told apart by their place", function()
    local ok, response = replies.whole("openai", json.encode { choices = {
      { message = { content = "a" } }, { message = { content = "b" } } } })
    assert.is_true(ok)
    assert.equal("a", response.text)
    assert.equal("b", response.choices[2].text)
  end)

  it("whose index is beyond belief are malformed", function()
    for _, name in ipairs { "openai", "gemini" } do
      for _, index in ipairs { "1000000000", "-1", "9007199254740993" } do
        local body = name == "openai"
          and '{"choices":[{"index":%s,"message":{"content":"a"},'
            .. '"delta":{"content":"a"}}]}'
          or '{"candidates":[{"index":%s,"content":{"parts":'
            .. '[{"text":"a"}]}}]}'
        for _, ask in ipairs { replies.whole, replies.stream } do
          local text = body:format(index)
          local ok, err = ask(name, ask == replies.whole and text or { text })
          assert.is_false(ok)
          assert.equal("malformed", err.kind)
        end
      end
    end
  end)
end)

describe("a stream's end", function()
  local text = '{"choices":[{"index":0,"delta":{"content":"a"},'
    .. '"finish_reason":"stop"}]}'

  it("may be told with spaces, early, and more than once", function()
    for _, events in ipairs { { text, " [DONE]" }, { text, "[DONE] " },
      { text, "[DONE]", "[DONE]" }, { text, "[DONE]", "{" } } do
      local ok, response = replies.stream("openai", events)
      assert.is_true(ok, tostring(response))
      assert.equal("a", response.text)
    end
  end)

  it("is no answer where nothing came before it", function()
    for name, events in pairs { openai = { "[DONE]" },
      anthropic = { '{"type":"message_stop"}' } } do
      local ok, err = replies.stream(name, events)
      assert.is_false(ok, name)
      assert.equal("truncated", err.kind)
      assert.is_false(err.committed)
      assert.is_true(err.retryable)
    end
  end)

  it("may have content after the reason of the end", function()
    local ok, response = replies.stream("openai", { text,
      '{"choices":[{"index":0,"delta":{"content":"b"},'
      .. '"finish_reason":null}]}', "[DONE]" })
    assert.is_true(ok)
    assert.equal("ab", response.text)
    assert.equal("stop", response.finish_reason)
  end)
end)

describe("a server that cannot stream", function()
  it("gives one piece, and several choices if there are", function()
    local body = { choices = {
      { index = 0, finish_reason = "stop", logprobs = { content = { 1 } },
        message = { refusal = "no", tool_calls = { call(nil, "1", "f", "{}"),
                                                   call(nil, "2", "g", "{}") }
        } },
      { index = 1, finish_reason = "stop", message = { content = "b" } } } }
    local ok, response, pieces = replies.stream("openai",
      { json.encode(body) }, {}, {}, "application/json")
    assert.is_true(ok, tostring(response))
    assert.equal(1, #pieces)
    assert.equal("no", pieces[1].refusal)
    assert.same({ content = { 1 } }, pieces[1].logprobs)
    assert.same({ 0, 1 }, { pieces[1].tool_calls[1].index,
                            pieces[1].tool_calls[2].index })
    assert.equal("b", response.choices[2].text)
    assert.same({ "1 f({})", "2 g({})" }, calls_of(response))
  end)
end)

describe("an error that a choice has", function()
  local function choice(field, err)
    return json.encode { choices = { { index = 0, finish_reason = "error",
      error = err, [field] = { content = "so far" } } } }
  end

  it("is an error, whole and in pieces", function()
    for err, kind in pairs {
      [{ code = 429, message = "slow" }] = "rate_limit",
      [{ code = 502, message = "gone" }] = "server",
      [json.null] = "server",
    } do
      local ok, raised = replies.whole("openai", choice("message", err))
      assert.is_false(ok)
      assert.equal(kind, raised.kind)
      ok, raised = replies.stream("openai", {
        '{"choices":[{"index":0,"delta":{"content":"a"}}]}',
        choice("delta", err), "[DONE]" })
      assert.is_false(ok)
      assert.equal(kind, raised.kind)
      assert.is_true(raised.committed)
    end
  end)
end)

describe("an error field that says nothing", function()
  it("is no error", function()
    for _, nothing in ipairs { "null", '""', "false" } do
      local ok, response = replies.whole("openai", '{"error":' .. nothing
        .. ',"choices":[{"index":0,"message":{"content":"a"}}]}')
      assert.is_true(ok, nothing)
      assert.equal("a", response.text)
    end
  end)
end)

describe("counts of tokens", function()
  local function usage(text)
    local ok, response = replies.whole("openai", '{"choices":[{"index":0,'
      .. '"message":{"content":"a"}}],"usage":' .. text .. "}")
    assert.is_true(ok)
    return response.usage
  end

  it("are whole numbers from 0, or nothing", function()
    assert.same({ prompt_tokens = 3, completion_tokens = 4, total_tokens = 7 },
      usage '{"prompt_tokens":3.0,"completion_tokens":"4"}')
    assert.same({ prompt_tokens = 13, completion_tokens = 4,
                  total_tokens = 17 },
      usage '{"prompt_tokens":12.7,"completion_tokens":4}')
    assert.same({ completion_tokens = 4, total_tokens = 4 },
      usage '{"prompt_tokens":-3,"completion_tokens":4,"total_tokens":-1}')
    assert.same({}, usage '{"prompt_tokens":1e300,"total_tokens":-1}')
    assert.same({ prompt_tokens = 3, total_tokens = 3 }, usage
      '{"prompt_tokens":3,"completion_tokens":9e15,"total_tokens":9e15}')
    assert.same({}, usage "{}")
    for _, none in ipairs { "null", "5", '"x"', "true" } do
      assert.is_nil(usage(none))
    end
  end)
end)
