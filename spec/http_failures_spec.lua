-- llmpool.http: every way for a request to fail, as the kind that it is, and
-- no secret in what is said of it.

local llmpool = require "llmpool"
local built = require "spec.support.built"

describe("llmpool.http's failures", function()
  local http = built("llmpool.http", it, pending)
  if not http then return end

  local server =
    require("spec.support.http_server").around(setup, teardown)

  -- What a request raises: an error object of this kind. The server then
  -- still answers.
  local function failure(kind, request)
    local ok, err = pcall(http.request, request)
    assert.is_false(ok, kind)
    assert.equal(kind, type(err) == "table" and err.kind or err, tostring(err))
    assert.equal(200, http.request(server.url .. "/echo").status)
    return err
  end

  local function raw(kind, bytes, options, more)
    return failure(kind, server.raw(bytes, options, more))
  end

  local function answer(headers, body)
    return "HTTP/1.1 200 OK\r\n" .. headers .. "\r\n\r\n" .. (body or "")
  end

  it("are of no connection", function()
    local err = failure("resolve", { url = "http://nothing.invalid/" })
    assert.truthy(err.message:find("GET http://nothing.invalid/: cannot " ..
      "resolve the name (Could not resolve host: nothing.invalid)", 1, true),
      err.message)
    assert.equal("connect", err.phase)
    err = failure("reset", { url = "http://127.0.0.1:1/" })
    assert.truthy(err.message:find "cannot connect")
    assert.equal("connect", err.phase)
    assert.is_nil(err.status)
  end)

  it("are of time, each wait its own", function()
    local began = llmpool.now()
    -- a plain server that waits for the end of what it takes for a request
    local err = failure("timeout_connect", {
      url = "https" .. server.url:sub(5), timeout = { connect = 0.05 } })
    assert.truthy(err.message:find "no connection within 0.05 s")
    assert.equal("connect", err.phase)
    err = raw("timeout_first", "", { then_ = "hang" },
              { timeout = { first = 0.05 } })
    assert.truthy(err.message:find "no answer within 0.05 s")
    assert.equal("answer", err.phase)
    raw("timeout_first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200",
        { then_ = "hang" }, { timeout = { first = 0.05 } })
    err = raw("timeout_idle", answer("Content-Length: 10", "abc"),
              { then_ = "hang" }, { timeout = { idle = 0.05 } })
    assert.truthy(err.message:find "nothing came for 0.05 s, after 3 bytes")
    assert.equal("body", err.phase)
    assert.equal(200, err.status)
    raw("timeout_total", "", { then_ = "hang" }, { timeout = 0.05 })
    raw("timeout_total", answer("Content-Length: 999", ("x"):rep(999)),
        { drip = 1, pause = 0.005 }, { timeout = { total = 0.05, idle = 1 } })
    assert.is_true(llmpool.now() - began < 3)
  end)

  it("are not of time as long as something comes", function()
    local response = http.request(server.raw(
      answer("Content-Length: 10", "abcdefghij"), { drip = 8, pause = 0.03 },
      { timeout = { idle = 0.2, first = 0.2 } }))
    assert.equal("abcdefghij", response.body)
  end)

  it("are of a connection that ends too early", function()
    local head = answer "Content-Length: 10"
    for cut = 0, #head - 1, 3 do
      for _, how in ipairs { "close", "reset" } do
        local err = raw("reset", head, { cut = cut, then_ = how })
        assert.equal("answer", err.phase)
        assert.is_nil(err.status)
      end
    end
    for cut = #head, #head + 9 do
      local err = raw("truncated", head .. "0123456789",
                      { cut = cut, then_ = "close" })
      assert.equal("body", err.phase)
      assert.equal(200, err.status)
      err = raw("reset", head .. "0123456789", { cut = cut, then_ = "reset" })
      assert.equal("body", err.phase)
    end
  end)

  it("are of chunks that end too early, at any byte", function()
    local text = answer("Transfer-Encoding: chunked", "5\r\nabcde\r\n" ..
                        "3\r\nfgh\r\n0\r\n\r\n")
    local head = #answer "Transfer-Encoding: chunked"
    for cut = head, #text - 2 do -- without its last byte it is whole
      raw("truncated", text, { cut = cut, then_ = "close" })
    end
  end)

  it("are of answers that are none", function()
    for _, bytes in ipairs {
      "hello world, this is not http\r\n\r\n",
      "\0\1\2\3\4\5\6\7\8",
      "HTTP/9.9 200 OK\r\n\r\n",
      answer("Content-Length: abc", "abc"),
      answer("Content-Length: -1", "abc"),
      answer("Transfer-Encoding: chunked", "zz\r\nabc\r\n"),
      answer("Transfer-Encoding: chunked", "3\r\nabcdef\r\n"),
      answer("Content-Encoding: gzip\r\nContent-Length: 3", "abc"),
      answer("Content-Encoding: nothing\r\nContent-Length: 3", "abc"),
    } do
      local err = raw("malformed", bytes, { then_ = "close" })
      assert.truthy(err.message:find "the answer is malformed", err.message)
    end
  end)

  it("are of sizes", function()
    local ten = "abcdefghij"
    local err = raw("too_large", answer("Content-Length: 10", ten), {},
                    { max_bytes = 9 })
    assert.truthy(err.message:find "the body is larger than max_bytes, 9")
    assert.equal("body", err.phase)
    raw("too_large", answer("Transfer-Encoding: chunked",
        "a\r\n" .. ten .. "\r\n0\r\n\r\n"), {}, { max_bytes = 9 })
    raw("too_large", answer("X: y", ten), { then_ = "close" },
        { max_bytes = 0 })
    err = raw("too_large", answer("X: " .. ("y"):rep(70000)))
    assert.truthy(err.message:find "the headers are larger than 65536 bytes")
    raw("too_large", answer(("X: y\r\n"):rep(20000) .. "A: b"))
    err = failure("too_large", { url = server.url .. "/flood",
                                 max_bytes = 1000000 })
    assert.equal(200, err.status)
  end)

  it("leave no handle in a state that the next request feels", function()
    for _ = 1, 20 do
      raw("truncated", answer "Content-Length: 10", { then_ = "close" })
      raw("timeout_total", "", { then_ = "hang" }, { timeout = 0.005 })
      raw("too_large", answer("Content-Length: 2", "ab"), {},
          { max_bytes = 1 })
    end
  end)

  it("tell no secret", function()
    local secrets = { "hunter2", "sk-secret", "AIza" }
    local headers = { authorization = "Bearer sk-secret",
                      ["x-api-key"] = "sk-secret",
                      ["x-goog-api-key"] = "AIzaX" }
    for _, base in ipairs { "http://me:hunter2@127.0.0.1:1/v1",
                            "http://me:hunter2@nothing.invalid/v1",
                            "http://me:hunter2@127.0.0.1:" .. server.port ..
                              "/raw" } do
      local ok, err = pcall(http.request, {
        url = base .. "?key=AIzaX&then=close#sk-secret", headers = headers,
        body = "", proxy = "" })
      assert.is_false(ok)
      local told = tostring(err) .. tostring(llmpool.traceback(err))
      for name, value in pairs(err) do
        told = told .. name .. "=" .. tostring(value) .. "\n"
      end
      for _, secret in ipairs(secrets) do
        assert.is_nil(told:find(secret, 1, true), told)
      end
      assert.truthy(err.url:find "^http://[^@]+/%a+%d?$", err.url)
    end
    local response = http.request { url = server.url .. "/echo?key=AIzaX",
                                    headers = headers }
    assert.equal("http response (200, complete)", tostring(response))
    local ok, err = pcall(http.request, {
      url = "http://127.0.0.1:1/", proxy = "http://me:hunter2@127.0.0.1:2" })
    assert.is_false(ok)
    assert.is_nil(tostring(err):find "hunter2")
  end)

  it("are raised anew for who joins", function()
    local task = llmpool.spawn(function()
      http.request(server.raw("", { then_ = "close" }))
    end)
    local ok, err = task:pjoin()
    assert.is_false(ok)
    assert.equal("reset", err.kind)
  end)
end)
