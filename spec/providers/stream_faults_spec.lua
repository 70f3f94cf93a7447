-- A catalogue of faults, byte by byte, from a server that shares no code with
-- the mock. Streams: for each the kind of failure that it is, what had been
-- given out, what becomes of the client, the lease back, and no key in it.

local faults = require "spec.support.faults"
local raw = require "spec.support.raw"

local answer, chunk, whole = faults.answer, faults.chunk, faults.whole
local KEY, TEXT, CHUNKED = faults.KEY, faults.TEXT, faults.CHUNKED

local EVENTS = "Content-Type: text/event-stream\r\n"

local function event(text, finish)
  return ('data: {"choices":[{"index":0,"delta":{"content":"%s"},'
    .. '"finish_reason":%s}]}\n\n'):format(text, finish and '"' .. finish
    .. '"' or "null")
end

local STREAM = event "a" .. event("b", "stop")
local DONE = "data: [DONE]\n\n"

-- A stream whose end is the connection's.
local function stream(body) return answer(EVENTS, body) end

local function chunks(text, size)
  local list = {}
  for at = 1, #text, size do
    list[#list + 1] = chunk(text:sub(at, at + size - 1))
  end
  return table.concat(list) .. "0\r\n\r\n"
end

local UMLAUTS = stream(event("\xc3\xbc\xe4\xbd\xa0", "stop") .. DONE)

local function ended(body) return { "<body", stream(body), "!fin" } end

local function error_event(text) return 'data: {"error":' .. text .. "}\n\n" end

-- what is sent; the kind of the failure, or nil; the text before it or in all
local STREAMS = {
  ["as it should be"] = { ended(STREAM .. DONE), nil, "ab" },
  ["in chunks of any size"] = { { answer(EVENTS .. CHUNKED, chunks(STREAM
    .. DONE, 7)) }, nil, "ab" },
  ["in chunks, each byte apart"] = { raw.bytes(answer(EVENTS .. CHUNKED,
    chunks(STREAM .. DONE, 40))), nil, "ab" },
  ["cut within its characters"] = { raw.bytes(UMLAUTS, "!fin"), nil,
    "\xc3\xbc\xe4\xbd\xa0" },
  ["with CRLF, each byte apart"] = { raw.bytes(stream((STREAM .. DONE)
    :gsub("\n", "\r\n")), "!fin"), nil, "ab" },
  ["with CR"] = { ended((STREAM .. DONE):gsub("\n", "\r")), nil, "ab" },
  ["with data: and no space"] = { ended((STREAM .. DONE):gsub("data: ",
    "data:")), nil, "ab" },
  ["with a mark of its bytes' order"] = { ended("\xef\xbb\xbf" .. STREAM
    .. DONE), nil, "ab" },
  ["with comments, ids, names and retries"] = { ended(": hello\n:\n\n"
    .. "retry: 5\nid: 7\nevent: message\n" .. event "a" .. "x: y\n"
    .. event("b", "stop") .. DONE), nil, "ab" },
  ["with events of nothing"] = { ended("data:\n\nevent: ping\n\n\n\n" .. STREAM
    .. "data\n\n" .. DONE), nil, "ab" },
  ["packed"] = { { answer(EVENTS .. "Content-Encoding: gzip\r\n",
    raw.gzip(STREAM .. DONE)), "!fin" }, nil, "ab" },
  ["whose last line has no end"] = { ended(STREAM .. "data: [DONE]"), nil,
    "ab" },
  ["whose last event has no empty line"] = { ended(STREAM .. "data: [DONE]\n"),
    nil, "ab" },
  ["whose end is told with a space more"] = { ended(STREAM
    .. "data:  [DONE]\n\n"), nil, "ab" },
  ["whose end is told twice"] = { ended(STREAM .. DONE .. DONE), nil, "ab" },
  ["whose end is told early"] = { ended(event "a" .. DONE .. event "b"), nil,
    "a" },
  ["with garbage after its end"] = { ended(STREAM .. DONE .. "\0garbage"), nil,
    "ab" },
  ["that stays open after its end"] = { { stream(STREAM .. DONE), "!hang" },
    nil, "ab" },
  ["reset after its end"] = { { stream(STREAM .. DONE), "!rst" }, nil, "ab" },
  ["with a usage in each event"] = { ended((STREAM:gsub('"choices"',
    '"usage":{"total_tokens":3},"choices"')) .. DONE), nil, "ab" },
  ["with a usage and no choices"] = { ended(STREAM
    .. 'data: {"choices":[],"usage":{"total_tokens":3}}\n\n' .. DONE), nil,
    "ab" },
  ["with choices that are null"] = { ended('data: {"choices":null}\n\n'
    .. STREAM .. DONE), nil, "ab" },

  ["without its last word"] = { ended(STREAM), "truncated", "ab" },
  ["of nothing"] = { ended "", "truncated" },
  ["of an end and nothing else"] = { ended(DONE), "truncated" },
  ["of pings only"] = { raw.every(0.02, { "<body", stream ": ping\n\n" },
    ": ping\n\n", 8), "timeout_first" },
  ["of a whole answer that is said to be one"] = { ended(faults.TEXT),
    "truncated", "ab" },
  ["with a whole answer for its end"] = { ended(event "c" .. faults.TEXT),
    "truncated", "cab" },
  ["cut in an event"] = { ended(event "a" .. 'data: {"choi'), "truncated",
    "a" },
  ["cut in the last word"] = { ended(STREAM .. "data: [DO"), "truncated",
    "ab" },
  ["cut in a chunk"] = { { answer(EVENTS .. CHUNKED, chunk(event "a")
    .. "80\r\ndata:"), "!fin" }, "truncated", "a" },
  ["cut before the last chunk"] = { { answer(EVENTS .. CHUNKED,
    chunk(event "a")), "!fin" }, "truncated", "a" },
  ["reset in an event"] = { { stream(event "a" .. "data: {"), "!rst" }, "reset",
    "a" },
  ["reset before an event"] = { { stream "", "!rst" }, "reset" },
  ["silent in the middle"] = { { stream(event "a"), "!hang" }, "timeout_idle",
    "a" },
  ["silent before an event"] = { { stream "", "!hang" }, "timeout_idle" },
  ["packed, and cut"] = { { answer(EVENTS .. "Content-Encoding: gzip\r\n",
    raw.gzip(event "a" .. DONE):sub(1, 50)), "!fin" },
    { malformed = true, truncated = true }, false },
  ["packed badly"] = { { answer(EVENTS .. "Content-Encoding: gzip\r\n",
    STREAM), "!fin" }, "malformed" },
  ["with a chunk's length that is none"] = { { answer(EVENTS .. CHUNKED,
    chunk(event "a") .. "zz\r\n") }, "malformed", "a" },
  ["of HTML"] = { { answer("Content-Type: text/html\r\n", "<html>" .. KEY),
    "!fin" }, "malformed" },
  ["of HTML that says to be one"] = { ended("<html>" .. KEY .. "</html>\n\n"),
    "truncated" },
  ["with an event that is no JSON"] = { ended(event "a" .. "data: " .. KEY
    .. "\n\n"), "malformed", "a" },
  ["with an event with the key where it is cut"] = { ended(event "a"
    .. "data: " .. ("y"):rep(60 - 18) .. KEY .. "\n\n"), "malformed", "a" },
  ["with an event of a number"] = { ended(event "a" .. "data: 5\n\n"),
    "malformed", "a" },
  ["with an event nested too deep"] = { { stream(event "a" .. "data: "),
    { "[", 200000 }, "\n\n", "!fin" }, "malformed", "a" },
  ["with an event that has no end"] = { { stream(event "a" .. "data: "),
    { "x", 1200000 }, "!fin" }, "too_large", "a" },
  ["with a line of no field that has no end"] = { { stream(event "a"),
    { "x", 1200000 }, "!fin" }, "too_large", "a" },
  ["with events of comments without end"] = { { stream(event "a"),
    { ": ping ping ping\n", 80000 }, "!fin" }, "too_large", "a" },
  ["with an error"] = { ended(error_event('{"message":"' .. KEY
    .. '","code":"rate_limit_exceeded"}')), "rate_limit", nil, "resting", 1 },
  ["with an error after a piece"] = { ended(event "a"
    .. error_event '{"code":502,"message":"x"}' .. DONE), "server", "a" },
  ["with an error that is a text"] = { ended(error_event '"oh"'), "server" },
  ["with an error in a choice"] = { ended(event "a" .. 'data: {"choices":'
    .. '[{"finish_reason":"error","delta":{},"error":{"code":429}}]}\n\n'
    .. DONE), "rate_limit", "a", "resting", 1 },
  ["with an error that is the event itself"] = { ended(event "a"
    .. 'data: {"object":"error","message":"oh","code":429}\n\n' .. DONE),
    "rate_limit", "a", "resting", 1 },
  ["with a content that is a number"] = { ended(event "a"
    .. 'data: {"choices":[{"delta":{"content":5}}]}\n\n' .. DONE),
    "malformed", "a" },
  ["with a choice that is a text"] = { ended(event "a"
    .. 'data: {"choices":["b"]}\n\n' .. DONE), "malformed", "a" },
  ["with an error by its name"] = { ended("event: error\ndata: " .. KEY
    .. "\n\n"), "server" },

  ["401"] = { { "<body", whole("<html>" .. KEY, "401 No") }, "auth", nil,
    "disabled" },
  ["401 cut"] = { { "<body", answer("Content-Length: 500\r\n",
    '{"error":{"mess', "401 No"), "!fin" }, "auth", nil, "disabled" },
  ["429 reset"] = { { "<body", answer("Retry-After: 7\r\nContent-Length: 500"
    .. "\r\n", '{"error"', "429 Slow"), "!rst" }, "rate_limit", nil, "resting",
    7 },
  ["429 silent"] = { { "<body", answer("Retry-After: 7\r\nContent-Length: 500"
    .. "\r\n", '{"error"', "429 Slow"), "!hang" }, "rate_limit", nil,
    "resting", 7 },
  ["503 of HTML"] = { { "<body", whole("<html>", "503 No") }, "overloaded" },
  ["204"] = { { "<body", answer("", "", "204 No Content") },
    { truncated = true, malformed = true } },
  ["elsewhere"] = { { "<body", whole("", "307 There",
    "Location: http://127.0.0.1:1/\r\n") }, "malformed" },
  ["that is a whole answer"] = { { whole(TEXT) }, nil, "ab" },
  ["that is half of a whole answer"] = { { answer("Content-Type: "
    .. "application/json\r\nContent-Length: 500\r\n", TEXT), "!fin" },
    "truncated" },
}

-- Of other formats: {name, ...} as above.
local function says(list) return "data: " .. table.concat(list,
  "\n\ndata: ") .. "\n\n" end

local CANDIDATE = '{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}'
local LAST = '{"candidates":[{"content":{"parts":[{"text":"b"}]},'
  .. '"finishReason":"STOP"}]}'
local BLOCK = '{"type":"content_block_delta","index":0,"delta":'
  .. '{"type":"text_delta","text":"a"}}'
local STOPS = '{"type":"message_delta","delta":{"stop_reason":"end_turn"}}'
local JSON_STREAM = "Content-Type: application/json\r\n"

local OTHERS = {
  ["of Gemini's"] = { "gemini", ended(says { CANDIDATE, LAST }), nil, "ab" },
  ["of Gemini's, its last event without an empty line"] = { "gemini",
    ended("data: " .. CANDIDATE .. "\n\ndata: " .. LAST), nil, "ab" },
  ["of Gemini's without its reason"] = { "gemini", ended(says { CANDIDATE }),
    "truncated", "a" },
  ["of Gemini's, a list"] = { "gemini", { answer(JSON_STREAM, "[" .. CANDIDATE
    .. ",\r\n" .. LAST .. "]"), "!fin" }, nil, "ab" },
  ["of Gemini's, a list cut"] = { "gemini", { answer(JSON_STREAM, "["
    .. CANDIDATE .. ",\r\n"), "!fin" }, "malformed" },
  ["of Gemini's with a list of errors"] = { "gemini", { "<body", answer(
    JSON_STREAM, '[{"error":{"code":503,"status":"UNAVAILABLE"}}]',
    "503 No"), "!fin" }, "overloaded" },
  ["of Gemini's with an error in a list"] = { "gemini", ended(says { CANDIDATE,
    '[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]' }), "rate_limit",
    "a", "resting", 1 },
  ["of Gemini's that an error without data: ends"] = { "gemini", ended(says {
    CANDIDATE } .. '{\n  "error": {\n    "code": 503,\n    "message": "x",\n'
    .. '    "status": "UNAVAILABLE"\n  }\n}\n'), "overloaded", "a" },
  ["of Gemini's that is an error without data:"] = { "gemini", ended(
    '[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]'),
    "rate_limit", nil, "resting", 1 },
  ["of Gemini's, a list that is said to be one"] = { "gemini",
    ended("[" .. CANDIDATE .. "]"), "truncated" },
  ["of Gemini's that is silent"] = { "gemini", { stream(says { CANDIDATE }),
    "!hang" }, "timeout_idle", "a" },
  ["of Anthropic's"] = { "anthropic", ended(says { BLOCK, STOPS,
    '{"type":"message_stop"}' }), nil, "a" },
  ["of Anthropic's, its last event without an empty line"] = { "anthropic",
    ended(says { BLOCK, STOPS } .. 'data: {"type":"message_stop"}'), nil,
    "a" },
  ["of Anthropic's without its last word"] = { "anthropic", ended(says { BLOCK,
    STOPS }), "truncated", "a" },
  ["of Anthropic's with an error"] = { "anthropic", ended(says { BLOCK }
    .. 'event: error\ndata: {"type":"error","error":{"type":'
    .. '"overloaded_error","message":"' .. KEY .. '"}}\n\n'), "overloaded",
    "a" },
  ["of Anthropic's with pings and unknown events"] = { "anthropic", ended(
    "event: ping\ndata: {\"type\":\"ping\"}\n\n" .. says { '{"type":"new"}',
    BLOCK, '{"type":"content_block_delta","index":0,"delta":{"type":"new"}}',
    STOPS, '{"type":"message_stop"}' }), nil, "a" },
}

describe("a stream", function()
  local function try(name, plan, kind, text, state, rest)
    local pool = faults.pool(plan, name)
    local got, opened = {}
    local ok, err = pcall(function()
      opened = pool:stream("m", "q")
      for piece in opened do got[#got + 1] = piece.text end
    end)
    got = table.concat(got)
    if kind then
      assert.is_false(ok, got)
      faults.check_kind(kind, err)
      assert.equal(got ~= "", err.committed)
    else
      assert.is_true(ok, tostring(err))
      assert.equal(text, opened.response.text)
    end
    if text ~= false then assert.equal(text or "", got) end
    faults.check_client(pool, state, rest)
  end

  for what, row in pairs(STREAMS) do
    it(what, function() try("openai", table.unpack(row, 1, 5)) end)
  end

  for what, row in pairs(OTHERS) do
    it(what, function() try(table.unpack(row, 1, 5)) end)
  end
end)

