-- llmpool.http against a server that answers as told (spec/support): requests,
-- answers, every way to fail, every phase of a cancellation.

local llmpool = require "llmpool"
local found, http = pcall(require, "llmpool.http")

describe("llmpool.http", function()
  if not found then
    it("is there", function() pending(http) end)
    return
  end

  local json = require "llmpool.json"
  local server

  setup(function()
    server = require("spec.support.http_server").start()
  end)

  teardown(function()
    server.stop()
  end)

  -- What a request raises: an error object of this kind.
  local function failure(kind, request)
    local ok, err = pcall(http.request, request)
    assert.is_false(ok)
    assert.equal(kind, type(err) == "table" and err.kind or err,
                 tostring(err))
    return err
  end

  local function answer(headers, body)
    return "HTTP/1.1 200 OK\r\n" .. headers .. "\r\n\r\n" .. (body or "")
  end

  local function echo(request)
    request.url = server.url .. (request.url or "/echo")
    local response = http.request(request)
    assert.equal(200, response.status)
    return json.decode(response.body), response
  end

  describe("a request", function()
    it("says what it is told, and no more", function()
      local got = echo { headers = { ["X-A"] = "b", ["X-Empty"] = "" } }
      assert.equal("GET", got.method)
      assert.equal("HTTP/1.1", got.version)
      assert.equal("b", got.headers["x-a"])
      assert.equal("", got.headers["x-empty"])
      assert.truthy(got.headers["user-agent"]:find "^llmpool/")
      assert.truthy(got.headers["accept-encoding"]:find "gzip")
      assert.is_nil(got.headers["content-type"])
      assert.is_nil(got.headers["content-length"])
    end)

    it("has a body and every method", function()
      local got = echo { body = '{"a":1}',
                         headers = { ["content-type"] = "application/json" } }
      assert.equal("POST", got.method)
      assert.equal('{"a":1}', got.body)
      assert.equal("application/json", got.headers["content-type"])
      for _, method in ipairs { "PUT", "PATCH", "DELETE", "POST", "REPORT" } do
        got = echo { method = method, body = "x" }
        assert.equal(method, got.method)
        assert.equal("x", got.body)
        assert.is_nil(got.headers["content-type"])
        got = echo { method = method }
        assert.equal(method, got.method)
        assert.equal("", got.body)
        assert.equal("GET", echo({}).method) -- nothing stays on the handle
      end
      got = echo { body = ("x"):rep(3000000) }
      assert.equal(3000000, #got.body)
      assert.is_nil(got.headers.expect)
      assert.equal("GET", echo { method = "GET", body = "x" }.method)
    end)

    it("may be a url alone", function()
      assert.equal(200, http.request(server.url .. "/echo").status)
    end)

    it("uses a connection again when the answer was read whole", function()
      local first = echo {}
      local second = echo {}
      assert.equal(first.connection, second.connection)
      assert.equal(first.number + 1, second.number)
    end)
  end)

  describe("an answer", function()
    it("has status, headers, body, timings, version", function()
      local response = http.request(server.raw(
        "HTTP/1.1 418 I'm a teapot\r\nX-One:  1 \r\nx-two: a\r\nX-Two: b\r\n" ..
        "X-None:\r\nContent-Length: 3\r\n\r\nabc"))
      assert.equal(418, response.status)
      assert.equal("abc", response.body)
      assert.equal("1", response.headers["x-one"])
      assert.equal("a, b", response.headers["x-two"])
      assert.equal("", response.headers["x-none"])
      assert.equal(response.headers, response.headers)
      assert.equal("1.1", response.version)
      local t = response.timings
      assert.is_true(0 <= t.queued and t.queued <= t.connected and
                     t.connected <= t.first and t.first <= t.total and
                     t.total < 5)
      assert.equal("http response (418, complete)", tostring(response))
      assert.is_nil(response.nothing)
    end)
  end)

  describe("failures", function()
    it("are of the kind of their cause", function()
      failure("resolve", { url = "http://nothing.invalid/" })
      failure("reset", { url = "http://127.0.0.1:1/" })
      failure("timeout_total",
              server.raw("", { then_ = "hang" }, { timeout = 0.05 }))
      failure("truncated",
              server.raw(answer "Content-Length: 10", { then_ = "close" }))
    end)
  end)

  it("works in tasks", function()
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = llmpool.spawn(function()
        return echo({ body = tostring(i) }).body
      end)
    end
    for i = 1, 20 do assert.equal(tostring(i), tasks[i]:join()) end
  end)
end)
