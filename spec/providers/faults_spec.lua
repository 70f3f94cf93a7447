-- A catalogue of faults, byte by byte, from a server that shares no code with
-- the mock. Whole answers: for each the kind of failure that it is, what
-- becomes of the client, the lease back, and no key in what is said.

local faults = require "spec.support.faults"
local files = require "spec.support.files"
local http = require "llmpool.http"
local llmpool = require "llmpool"
local raw = require "spec.support.raw"

local answer, chunk, whole = faults.answer, faults.chunk, faults.whole
local KEY, TEXT, CHUNKED = faults.KEY, faults.TEXT, faults.CHUNKED
local refusal = faults.refusal

-- ---- answers ---------------------------------------------------------------

-- what is sent; the text or the kind; the client's state, if not idle; the
-- seconds of its rest
local WHOLE = {
  ["as it should be"] = { { whole(TEXT) }, "ab" },
  ["without a reason phrase"] = { { whole(TEXT, "200 ") }, "ab" },
  ["of HTTP/1.0, until the end"] = {
    { "HTTP/1.0 200 OK\r\n\r\n" .. TEXT, "!fin" }, "ab" },
  ["in chunks with trailers"] = { { answer(CHUNKED, chunk(TEXT)
    .. "0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n") }, "ab" },
  ["in chunks with extensions"] = { { answer(CHUNKED,
    ("%X;a=b\r\n%s\r\n0\r\n\r\n"):format(#TEXT, TEXT)) }, "ab" },
  ["cut into single bytes"] = { raw.bytes(whole(TEXT)), "ab" },
  ["after 100 and 103"] = { { "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", whole(TEXT) }, "ab" },
  ["with a mark of its bytes' order"] = { { whole("\xef\xbb\xbf" .. TEXT) },
    "ab" },
  ["with white space around it"] = { { whole("\r\n \t" .. TEXT .. "\n\n") },
    "ab" },
  ["packed"] = { { whole(raw.gzip(TEXT), nil, "Content-Encoding: gzip\r\n") },
    "ab" },
  ["packed as brotli does"] = { { whole(raw.bytes_of "1b2900f81d07768cb385391c"
    .. raw.bytes_of "6c778f508a6ced559858f675e97425a6b4a28b34e19a995822356a1b"
    .. raw.bytes_of "67c400", nil, "Content-Encoding: br\r\n") }, "ab" },
  ["packed in chunks"] = { { answer(CHUNKED .. "Content-Encoding: gzip\r\n",
    chunk(raw.gzip(TEXT):sub(1, 20)) .. chunk(raw.gzip(TEXT):sub(21))
    .. "0\r\n\r\n") }, "ab" },
  ["packed, and cut"] = { { answer("Content-Encoding: gzip\r\n",
    raw.gzip(TEXT):sub(1, 40)), "!fin" }, { malformed = true,
    truncated = true } },
  ["said to be packed, and not"] = { { whole(TEXT, nil,
    "Content-Encoding: gzip\r\n") }, "malformed" },
  ["packed as nobody knows"] = { { whole(TEXT, nil,
    "Content-Encoding: zzz\r\n") }, "malformed" },
  ["of HTML"] = { { whole("<html>" .. KEY .. "</html>") }, "malformed" },
  ["of nothing"] = { { whole "" }, "malformed" },
  ["of white space"] = { { whole "  \n" }, "malformed" },
  ["204"] = { { answer("", "", "204 No Content") }, "malformed" },
  ["of half a text in UTF-8"] = { { whole((TEXT:gsub("ab", "a\xc3"))) },
    "malformed" },
  ["nested too deep"] = { { answer(CHUNKED), ("%x\r\n"):format(200000),
    { "[", 200000 }, "\r\n0\r\n\r\n" }, "malformed" },
  ["of a list"] = { { whole "[1]" }, "malformed" },
  ["of a text"] = { { whole '"ab"' }, "malformed" },
  ["of a number"] = { { whole "12" }, "malformed" },
  ["of null"] = { { whole "null" }, "malformed" },
  ["of two answers"] = { { whole(TEXT .. TEXT) }, "malformed" },
  ["with choices that are null"] = { { whole '{"choices":null}' },
    "malformed" },
  ["with a choice that is a text"] = { { whole '{"choices":["ab"]}' },
    "malformed" },
  ["with a message that is null"] = { { whole(
    '{"choices":[{"message":null,"finish_reason":"stop"}]}') }, "malformed" },
  ["with a message that is a text"] = { { whole(
    '{"choices":[{"message":"ab","finish_reason":"stop"}]}') }, "malformed" },
  ["with a content that is a number"] = { { whole(
    '{"choices":[{"message":{"content":5},"finish_reason":"stop"}]}') },
    "malformed" },
  ["with a content that is an object"] = { { whole(
    '{"choices":[{"message":{"content":{"a":1}},"finish_reason":"stop"}]}') },
    "malformed" },
  ["of which a filter has left nothing"] = { { whole(
    '{"choices":[{"index":0,"finish_reason":"content_filter"}]}') }, "" },
  ["of hints without an end"] = { { {
    "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n", 9000 },
    "!hang" }, "too_large" },
  ["with a content that is null"] = { { whole(
    '{"choices":[{"message":{"content":null},"finish_reason":"stop"}]}') },
    "" },
  ["shorter than it says, ended"] = { { answer("Content-Length: 500\r\n",
    TEXT), "!fin" }, "truncated" },
  ["shorter than it says, reset"] = { { answer("Content-Length: 500\r\n",
    TEXT), "!rst" }, "reset" },
  ["shorter than it says, silent"] = { { answer("Content-Length: 500\r\n",
    TEXT), "!hang" }, "timeout_idle" },
  ["longer than it says"] = { { answer("Content-Length: 50\r\n", TEXT) },
    "malformed" },
  ["with garbage after it"] = { { whole(TEXT) .. "garbage\0\1\2" }, "ab" },
  ["with another answer after it"] = { { whole(TEXT) .. whole "{}" }, "ab" },
  ["with two lengths"] = { { answer("Content-Length: 5\r\nContent-Length: 9"
    .. "\r\n", TEXT), "!fin" }, "malformed" },
  ["with a length that is none"] = { { answer("Content-Length: x\r\n", TEXT),
    "!fin" }, "malformed" },
  ["with a chunk's length that is none"] = { { answer(CHUNKED, "xyz\r\n") },
    "malformed" },
  ["cut in a chunk"] = { { answer(CHUNKED, chunk(TEXT):sub(1, 40)), "!fin" },
    "truncated" },
  ["cut before the last chunk"] = { { answer(CHUNKED, chunk(TEXT)), "!fin" },
    "truncated" },
  ["that is none"] = { { "SSH-2.0-OpenSSH_9\r\n", "!fin" }, "malformed" },
  ["of zeros"] = { { ("\0"):rep(300), "!fin" }, "malformed" },
  ["ended before it began"] = { { "<body", "!fin" }, "reset" },
  ["reset before it began"] = { { "<body", "!rst" }, "reset" },
  ["cut in the status line"] = { { "<body", "HTTP/1.1 20", "!fin" }, "reset" },
  ["cut in the headers"] = { { "<body", "HTTP/1.1 200 OK\r\nContent-Le",
    "!fin" }, "reset" },
  ["reset in the headers"] = { { "<body", "HTTP/1.1 200 OK\r\nContent-Le",
    "!rst" }, "reset" },
  ["cut after the headers"] = { { answer "Content-Length: 5\r\n", "!fin" },
    "truncated" },
  ["that never comes"] = { { "<body", "!hang" }, "timeout_first" },
  ["whose headers stop"] = { { "<body", "HTTP/1.1 200 OK\r\n", "!hang" },
    "timeout_first" },
  ["whose headers have no end"] = { { "HTTP/1.1 200 OK\r\n",
    { "X-Header: " .. ("x"):rep(90) .. "\r\n", 2000 }, "!hang" },
    "too_large" },
  ["whose header has no end"] = { { "HTTP/1.1 200 OK\r\nX: ", { "x", 300000 },
    "!hang" }, { too_large = true, malformed = true } },
  ["larger than allowed"] = { { answer "", { "x", 3000000 }, "!fin" },
    "too_large" },
  ["larger than allowed, by its length"] = { { answer
    "Content-Length: 3000000000\r\n", { "x", 1300000 }, "!hang" },
    "too_large" },
  ["larger than allowed, packed"] = { { whole(raw.gzip(("x"):rep(3000000)),
    nil, "Content-Encoding: gzip\r\n") }, "too_large" },

  ["elsewhere"] = { { whole("", "302 Found",
    "Location: http://127.0.0.1:1/\r\n") }, "malformed" },
  ["elsewhere, for good"] = { { whole("", "308 Permanent Redirect",
    "Location: http://127.0.0.1:1/\r\n") }, "malformed" },
  ["not modified"] = { { answer("", "", "304 Not Modified") }, "malformed" },
  ["of a status of 99"] = { { answer("", "", "099 X"), "!fin" },
    { malformed = true, reset = true } },
  ["of a status of 999"] = { { whole("{}", "999 X") }, "server" },
  ["of another protocol"] = { { answer(
    "Upgrade: h2c\r\nConnection: Upgrade\r\n", "",
    "101 Switching Protocols"), "!fin" }, { malformed = true,
    reset = true } },

  ["400"] = { refusal "400 Bad Request", "bad_request" },
  ["400 with the key all over it"] = { refusal("400 Bad Request",
    ('{"error":{"message":"%s %s","type":"%s","code":"%s"}}'):format(KEY,
    ("x"):rep(3000) .. KEY, KEY, KEY), "x-request-id: " .. KEY .. "\r\n"),
    "bad_request" },
  ["400 with parts of the key"] = { refusal("400 Bad Request",
    '{"error":{"message":"no ' .. KEY:sub(1, -5) .. " or " .. KEY:sub(5)
    .. '"}}'), "bad_request" },
  ["400 of a text with the key where it is cut"] = { refusal("400 Bad Request",
    ("y"):rep(200 - 18) .. KEY), "bad_request" },
  ["400 with a book"] = { { "<body", answer(CHUNKED, "", "400 Bad Request"),
    ("%x\r\n"):format(23 + 900000), '{"error":{"message":"ab',
    { "x", 900000 }, "\r\n5\r\n\"}}\r\n\r\n0\r\n\r\n" }, "bad_request" },
  ["of a text with the key where it is cut"] = { { whole(("y"):rep(80 - 18)
    .. KEY) }, "malformed" },
  ["400 of HTML"] = { refusal("400 Bad Request", "<html>" .. KEY),
    "bad_request" },
  ["400 of nothing"] = { refusal("400 Bad Request", ""), "bad_request" },
  ["401"] = { refusal "401 Unauthorized", "auth", "disabled" },
  ["401 of HTML"] = { refusal("401 Unauthorized", "<html>" .. KEY), "auth",
    "disabled" },
  ["401 cut"] = { { "<body", answer("Content-Length: 500\r\n",
    '{"error":{"mess', "401 Unauthorized"), "!fin" }, "auth", "disabled" },
  ["401 reset"] = { { "<body", answer("Content-Length: 500\r\n",
    '{"error":{"mess', "401 Unauthorized"), "!rst" }, "auth", "disabled" },
  ["402"] = { refusal "402 Payment Required", "billing", "disabled" },
  ["403"] = { refusal("403 Forbidden", "<html>no"), "auth", "disabled" },
  ["404 of HTML"] = { refusal("404 Not Found", "<html>no"), "not_found" },
  ["405"] = { refusal "405 Method Not Allowed", "bad_request" },
  ["407"] = { refusal "407 Proxy Authentication Required", "bad_request" },
  ["408"] = { refusal "408 Request Timeout", "server" },
  ["409"] = { refusal "409 Conflict", "server" },
  ["413 of HTML"] = { refusal("413 Too Large", "<html>no"), "bad_request" },
  ["500 of HTML"] = { refusal("500 Oops", "<html>no"), "server" },
  ["502"] = { refusal("502 Bad Gateway", "<html>no"), "server" },
  ["503 bare"] = { refusal("503 Unavailable", ""), "overloaded" },
  ["504"] = { refusal("504 Gateway Timeout", ""), "server" },
  ["520"] = { refusal("520 Unknown", "<html>cloud"), "server" },
  ["529"] = { refusal "529 Overloaded", "overloaded" },
  ["429 cut"] = { { "<body", answer("Retry-After: 7\r\nContent-Length: 500"
    .. "\r\n", '{"error"', "429 Slow"), "!fin" }, "rate_limit", "resting", 7 },
  ["429 silent"] = { { "<body", answer("Retry-After: 7\r\nContent-Length: 500"
    .. "\r\n", '{"error"', "429 Slow"), "!hang" }, "rate_limit", "resting",
    7 },
  ["429 before the request was read"] = { { whole('{"error":{"message":"x"}}',
    "429 Slow", "Retry-After: 7\r\nConnection: close\r\n"), "!fin" },
    "rate_limit", "resting", 7, big = true },
  ["413 before the request was read, reset"] = { { whole(
    '{"error":{"message":"x"}}', "413 Large", "Connection: close\r\n"), 0.02,
    "!rst" }, "bad_request", big = true },
  ["an error in a good answer"] = { { whole('{"error":{"message":"' .. KEY
    .. '","code":503}}') }, "overloaded" },
  ["an error in a list"] = { { whole('[{"error":{"code":429,"status":'
    .. '"RESOURCE_EXHAUSTED","message":"q","details":[{"@type":"x.RetryInfo",'
    .. '"retryDelay":"3.5s"}]}}]', "429 Slow") }, "rate_limit", "resting",
    3.5 },
}


-- ---- how long it rests -----------------------------------------------------

-- "{http +60}": the date in a minute, when it is asked for
local function at(form, span)
  local moment = os.time() + math.tointeger(span)
  if form == "http" then return os.date("!%a, %d %b %Y %T GMT", moment) end
  if form == "iso" then return os.date("!%Y-%m-%dT%TZ", moment) end
  return tostring(form == "ms" and moment * 1000 or moment)
end

local function exhausted(reset)
  return "X-RateLimit-Remaining-Requests: 0\r\nX-RateLimit-Reset-Requests: "
    .. reset .. "\r\n"
end

local function info(delay)
  return '{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"q",'
    .. '"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo",'
    .. '"retryDelay":' .. delay .. "}]}}"
end

-- headers; seconds, 1 being the backoff of a client that was told nothing;
-- the body
local RESTS = {
  { "", 1 }, { "Retry-After: 7\r\n", 7 }, { "Retry-After: 0.5\r\n", 0.5 },
  { "retry-after:7\r\n", 7 }, { "Retry-After:   7  \r\n", 7 },
  { "Retry-After: soon\r\n", 1 }, { "Retry-After: 1e9\r\n", 1 },
  { "Retry-After: 1e1\r\n", 1 }, { "Retry-After:\r\n", 1 },
  { "Retry-After: 7s\r\n", 1 }, { "Retry-After: 0x10\r\n", 1 },
  { "Retry-After: 99999999999999999999\r\n", 1e9 },
  { "Retry-After: 7, 9\r\n", 1 },
  { "Retry-After: 7\r\nRetry-After: 9\r\n", 1 },
  { "Retry-After: {http +60}\r\n", 60 },
  { "Retry-After: {http +60}\r\nDate: {http +30}\r\n", 30 },
  { "Retry-After: Wed, 99 Foo 2026 00:00:00 GMT\r\n", 1 },
  { "retry-after-ms: 2500\r\nRetry-After: 7\r\n", 2.5 },
  { "retry-after-ms: soon\r\nRetry-After: 7\r\n", 7 },
  { "x-ms-retry-after-ms: 2500\r\nRetry-After: 7\r\n", 2.5 },
  { exhausted "1s", 1 }, { exhausted "6m0s", 360 },
  { exhausted "2500ms", 2.5 }, { exhausted "1h0m30.5s", 3630.5 },
  { exhausted "{iso +60}", 60 }, { exhausted "{s +60}", 60 },
  { exhausted "{ms +60}", 60 }, { exhausted "60", 60 },
  { exhausted "soon", 1 }, { exhausted "7s" .. "Retry-After: 3\r\n", 3 },
  { "anthropic-ratelimit-tokens-remaining: 0\r\nanthropic-ratelimit-tokens-"
    .. "reset: {iso +60}\r\n", 60 },
  { "", 3.5, info '"3.5s"' }, { "", 1, info '"garbage"' },
  { "", 1, info "5" }, { "Retry-After: 9\r\n", 9, info '"3.5s"' },
}

-- told to come back at once, or in the past: nobody waits
local AT_ONCE = {
  { "Retry-After: 0\r\n" }, { "Retry-After: -5\r\n" },
  { "Retry-After: {http -60}\r\n" }, { "", info '"0s"' },
  { exhausted "{iso -60}" },
}

-- ---- all of them -----------------------------------------------------------

local KINDS = { malformed = 1, truncated = 1, reset = 1, too_large = 1,
  timeout_first = 1, timeout_idle = 1, bad_request = 1, auth = 1, billing = 1,
  not_found = 1, rate_limit = 1, overloaded = 1, server = 1 }

local function is_kind(value)
  return type(value) == "table" or KINDS[value] ~= nil
end

describe("an answer", function()
  for what, row in pairs(WHOLE) do
    it(what, function()
      local pool = faults.pool(row[1])
      local prompt = row.big and ("q"):rep(3000000) or "q"
      local ok, text = pcall(pool.generate, pool, "m", prompt)
      if is_kind(row[2]) then
        assert.is_false(ok, tostring(text))
        faults.check_kind(row[2], text)
        assert.is_false(text.committed)
      else
        assert.is_true(ok, tostring(text))
        assert.equal(row[2], text)
      end
      faults.check_client(pool, row[3], row[4])
    end)
  end
end)

describe("what stands behind an answer", function()
  it("is no answer to the next request", function()
    local smuggled = whole((TEXT:gsub('"ab"', '"smuggled"')))
    for _, rest in ipairs { "garbage\0\1", smuggled, "HTTP/1.1 200 OK\r\n",
                            "\r\n\r\n" .. smuggled } do
      local pool = faults.pool { "<body", whole(TEXT) .. rest }
      for _ = 1, 3 do assert.equal("ab", (pool:generate("m", "q"))) end
      faults.check_client(pool)
      local sent = os.tmpname()
      pool = faults.pool { "<body", whole(TEXT), 0.005, rest,
                           "!file " .. sent }
      for _ = 1, 3 do
        os.remove(sent)
        assert.equal("ab", (pool:generate("m", "q")))
        -- it comes while the connection is idle
        repeat llmpool.sleep(0.002) until files.exists(sent)
      end
      os.remove(sent)
      faults.check_client(pool)
    end
  end)
end)

describe("what stands behind many answers #slow", function()
  local MANY = 700 -- so that ports of this side are alike in their low bits

  it("is no answer to the next requests, on whichever connection", function()
    local sent = os.tmpname()
    local function ask(i)
      return function()
        return http.request { url = raw.url(), headers = raw.plan {
          0.05, whole "one", 0.005, whole "smuggled", "!file " .. sent .. i,
        } }.body
      end
    end
    local requests = {}
    for i = 1, MANY do requests[i] = ask(i) end -- a connection each
    llmpool.gather(table.unpack(requests))
    for i = 1, MANY do
      repeat llmpool.sleep(0.002) until files.exists(sent .. i)
    end
    for _, body in ipairs { llmpool.gather(table.unpack(requests)) } do
      assert.equal("one", body)
    end
    for i = 1, MANY do os.remove(sent .. i) end
    os.remove(sent)
  end)
end)

describe("a client that was told to come later", function()
  local function refuse(headers, body)
    headers = headers:gsub("{(%a+) ([+-]%d+)}", at)
    local pool = faults.pool(refusal("429 Slow", body, headers))
    local _, err = pcall(pool.generate, pool, "m", "q")
    assert.equal("rate_limit", err.kind)
    return pool, err
  end

  for i, row in ipairs(RESTS) do
    it(("rests %g s (%d): %s"):format(row[2], i, row[1] .. (row[3] or "")),
       function()
      faults.check_client(refuse(row[1], row[3]), "resting", row[2])
    end)
  end

  for i, row in ipairs(AT_ONCE) do
    it(("at once serves on (%d)"):format(i), function()
      local pool, err = refuse(row[1], row[2])
      assert.near(llmpool.now(), err.retry_at, 0.5)
      faults.check_client(pool, "idle")
    end)
  end
end)

describe("a key", function()
  it("goes to no other server, wherever it is sent", function()
    raw.heads() -- of other tests
    for _, status in ipairs { "301 A", "302 B", "303 C", "307 D", "308 E" } do
      for _, name in ipairs { "openai", "anthropic", "gemini" } do
        local pool = faults.pool({ "<body", whole("", status, "Location: "
          .. raw.url() .. "/elsewhere\r\n") }, name)
        local _, err = pcall(pool.generate, pool, "m", "q")
        assert.equal("malformed", err.kind)
        faults.assert_clean(err)
        local heads = raw.heads()
        assert.equal(1, #heads)
        assert.is_nil(heads[1]:find "^%u+ /elsewhere")
      end
    end
  end)
end)
