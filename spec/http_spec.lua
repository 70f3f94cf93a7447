-- llmpool.http against a server that answers as told (spec/support): what is
-- asked, what is answered, over which connection. Failures and streams have
-- specs of their own.

local llmpool = require "llmpool"
local built = require "spec.support.built"

describe("llmpool.http", function()
  local http = built("llmpool.http", it, pending)
  if not http then return end

  local json = require "llmpool.json"
  local server =
    require("spec.support.http_server").around(setup, teardown)

  local function echo(request)
    request.url = server.url .. (request.url or "/echo")
    local response = http.request(request)
    assert.equal(200, response.status)
    return json.decode(response.body), response
  end

  describe("a request", function()
    it("says what it is told, and no more", function()
      local got = echo { headers = { ["X-A"] = "b", ["X-Empty"] = "",
                                     ["X-Number"] = 12 } }
      assert.equal("GET", got.method)
      assert.equal("HTTP/1.1", got.version)
      assert.equal("b", got.headers["x-a"])
      assert.equal("", got.headers["x-empty"])
      assert.equal("12", got.headers["x-number"])
      assert.truthy(got.headers["user-agent"]:find "^llmpool/")
      assert.truthy(got.headers["accept-encoding"]:find "gzip")
      assert.is_nil(got.headers["content-type"])
      assert.is_nil(got.headers["content-length"])
      got = echo { headers = { ["user-agent"] = "mine", host = "other",
                               ["accept-encoding"] = "identity" } }
      assert.equal("mine", got.headers["user-agent"])
      assert.equal("other", got.headers.host)
      assert.equal("identity", got.headers["accept-encoding"])
    end)

    it("takes headers that were checked before, as often as one likes",
      function()
        local headers = http.headers { ["X-A"] = "b", ["X-Empty"] = "",
                                       ["X-Number"] = 12, Cookie = "secret" }
        assert.equal("http headers (4)", tostring(headers))
        for _ = 1, 3 do
          local got = echo { headers = headers, body = "x" }
          assert.equal("b", got.headers["x-a"])
          assert.equal("", got.headers["x-empty"])
          assert.equal("12", got.headers["x-number"])
          assert.truthy(got.headers["user-agent"]:find "^llmpool/")
          assert.is_nil(got.headers["content-type"])
          -- what a hop leaves out is left out there alone
          got = json.decode(http.request { headers = headers, follow = true,
            url = ("%s/redirect?status=307&to=http://localhost:%d/echo"):format(
              server.url, server.port) }.body)
          assert.is_nil(got.headers.cookie)
          assert.equal("b", got.headers["x-a"])
        end
        local got = echo { body = "x", headers = http.headers {
          ["user-agent"] = "mine", ["content-type"] = "text/x" } }
        assert.equal("mine", got.headers["user-agent"])
        assert.equal("text/x", got.headers["content-type"])
        assert.truthy(echo { headers = http.headers {} })
      end)

    it("checks them as those of a request", function()
      for wrong, message in pairs {
        [{ ["a b"] = "c" }] = "'a b' is no name",
        [{ a = {} }] = "header 'a' must be a string",
        [{ a = "b\r\nc" }] = "line break",
      } do
        local ok, err = pcall(http.headers, wrong)
        assert.is_false(ok)
        assert.truthy(err:find(message, 1, true), err)
      end
      assert.is_false((pcall(http.headers, "a: b")))
      assert.is_false((pcall(http.request, { url = server.url,
                                             headers = io.stdout })))
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
      assert.equal("0", echo { method = "POST" }.headers["content-length"])
      got = echo { body = "" }
      assert.equal("POST", got.method)
      got = echo { body = ("x"):rep(3000000) }
      assert.equal(3000000, #got.body)
      assert.is_nil(got.headers.expect)
      assert.equal("GET", echo { method = "GET", body = "x" }.method)
    end)

    it("asks for headers alone by HEAD", function()
      local response = http.request { url = server.url .. "/echo",
                                      method = "HEAD" }
      assert.equal("", response.body)
      assert.is_true(tonumber(response.headers["content-length"]) > 10)
      assert.equal("GET", echo({}).method)
    end)

    it("may be a url alone", function()
      assert.equal(200, http.request(server.url .. "/echo?a=b").status)
    end)

    it("uses a connection again when the answer was read whole", function()
      local first = echo {}
      local second = echo { body = "x" }
      assert.equal(first.connection, second.connection)
      assert.equal(first.number + 1, second.number)
    end)

    it("takes a new connection when the kept one has died", function()
      echo {}
      http.request(server.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                              { then_ = "close" }))
      llmpool.sleep(0.02)
      echo {}
    end)

    it("is refused before anything is sent", function()
      for _, case in ipairs {
        { {}, "a request needs a url" },
        { 12, "table expected, got number" },
        { { url = 12 }, "url must be a string, got 12" },
        { { url = "ftp://x/" }, "url must begin with http:// or https://" },
        { { url = "x/" }, "url must begin with http:// or https://" },
        { { url = "http://a b/" }, "url has a space or control character" },
        { { url = "http://a/\n" }, "url has a space or control character" },
        { { url = "http://a/\0" }, "url has a space or control character" },
        { { url = "http://a/", heders = {} },
          "unknown option 'heders'; did you mean 'headers'?" },
        { { "http://a/" }, "unknown option '1'" },
        { { url = "http://a/", method = "GE T" }, "method must be a word" },
        { { url = "http://a/", method = "" }, "method must be a word" },
        { { url = "http://a/", method = ("X"):rep(16) },
          "method must be a word" },
        { { url = "http://a/", body = {} },
          "body must be a string, got table" },
        { { url = "http://a/", headers = "x" }, "headers must be a table" },
        { { url = "http://a/", headers = { "x: y" } },
          "headers must be a table {name = value}" },
        { { url = "http://a/", headers = { ["a b"] = "c" } },
          "'a b' is no name of a header" },
        { { url = "http://a/", headers = { [""] = "c" } },
          "'' is no name of a header" },
        { { url = "http://a/", headers = { a = {} } },
          "header 'a' must be a string, got table" },
        { { url = "http://a/", headers = { a = "secret\r\nb: c" } },
          "header 'a' has a line break in it" },
        { { url = "http://a/", headers = { a = "secret\0" } },
          "header 'a' has a line break in it" },
        { { url = "http://a/", timeout = 0 },
          "timeout must be a number of seconds greater than 0" },
        { { url = "http://a/", timeout = "1" },
          "timeout must be seconds, or a table" },
        { { url = "http://a/", timeout = 0 / 0 }, "seconds greater than 0" },
        { { url = "http://a/", timeout = { first = -1 } },
          "timeout.first must be a number of seconds greater than 0" },
        { { url = "http://a/", timeout = { frist = 1 } },
          "unknown timeout 'frist'; did you mean 'first'?" },
        { { url = "http://a/", timeout = { 1 } }, "unknown timeout '1'" },
        { { url = "http://a/", max_bytes = -1 },
          "max_bytes must be a whole number, 0 or more, or math.huge, got -1" },
        { { url = "http://a/", max_bytes = 1.5 }, "max_bytes must be" },
        { { url = "http://a/", stream = 1 },
          "stream must be true or false, got 1" },
        { { url = "http://a/", http2 = "x" },
          "http2 must be true or false, got string" },
        { { url = "http://a/", proxy = false }, "proxy must be a string" },
        { { url = "http://a/", proxy = "ftp://x:1" },
          "proxy must be http://, https:// or socks5://" },
        { { url = "http://127.0.0.1:99999/" },
          "url has no proper host or port" },
        { { url = "http://a:b:c/" }, "url has no proper host or port" },
        { { url = "http://a/", ca_file = {} }, "ca_file must be a string" },
        { { url = "http://a/", on_cancel = "wait" },
          "on_cancel must be \"close\" or \"drain\"" },
      } do
        local ok, err = pcall(http.request, case[1])
        assert.is_false(ok)
        assert.truthy(tostring(err):find("bad argument #1", 1, true), err)
        assert.truthy(err:find(case[2], 1, true), err)
        assert.is_nil(err:find "secret")
      end
      local ok, err = pcall(http.request)
      assert.is_false(ok)
      assert.truthy(err:find "table expected, got nil")
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
      assert.has_error(function() response.status = 1 end)
    end)

    it("is whole, however it comes", function()
      local body = ("abcdefghij"):rep(30)
      local length = "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" .. body
      local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      for at = 1, 300, 50 do
        chunked = chunked .. "32\r\n" .. body:sub(at, at + 49) .. "\r\n"
      end
      chunked = chunked .. "0\r\nX-Trailer: t\r\n\r\n"
      local ended = "HTTP/1.0 200 OK\r\n\r\n" .. body
      for _, case in ipairs {
        { length, {} }, { length, { drip = 7, pause = 0.0001 } },
        { chunked, {} }, { chunked, { drip = 11, pause = 0.0001 } },
        { ended, { then_ = "close" } },
      } do
        local response = http.request(server.raw(case[1], case[2]))
        assert.equal(body, response.body)
        assert.is_nil(response.headers["x-trailer"])
      end
    end)

    it("skips what comes before it", function()
      local response = http.request(server.raw(
        "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n" ..
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" ..
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
      assert.equal(200, response.status)
      assert.is_nil(response.headers["x-early"])
      assert.is_nil(response.headers.link)
      assert.equal("ok", response.body)
    end)

    it("may have no body", function()
      for _, head in ipairs { "HTTP/1.1 204 No Content\r\n\r\n",
                              "HTTP/1.1 304 Not Modified\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" ..
                                "\r\n" } do
        local response = http.request(server.raw(head))
        assert.equal("", response.body)
      end
    end)

    it("is unpacked", function()
      local pipe = assert(io.popen(
        "printf 'hello hello hello' | gzip -n | od -An -v -tx1"))
      local packed = pipe:read("a"):gsub("%s+", ""):gsub("%x%x", function(hex)
        return string.char(tonumber(hex, 16))
      end)
      pipe:close()
      local response = http.request(server.raw(
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d" ..
         "\r\n\r\n%s"):format(#packed, packed)))
      assert.equal("hello hello hello", response.body)
      local ok, err = pcall(http.request, server.raw(
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d" ..
         "\r\n\r\n%s"):format(#packed, packed), {}, { max_bytes = 16 }))
      assert.is_false(ok)
      assert.equal("too_large", err.kind) -- of what it unpacks to
    end)

    it("has a limit of its size", function()
      local ten = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghij"
      assert.equal("abcdefghij", http.request(
        server.raw(ten, {}, { max_bytes = 10 })).body)
      assert.equal("abcdefghij", http.request(
        server.raw(ten, {}, { max_bytes = math.huge })).body)
    end)
  end)

  describe("where it runs", function()
    it("works in tasks, many at once", function()
      local tasks = {}
      for i = 1, 50 do
        tasks[i] = llmpool.spawn(function()
          return echo({ body = tostring(i) }).body
        end)
      end
      for i = 1, 50 do assert.equal(tostring(i), tasks[i]:join()) end
    end)

    it("works in a coroutine of the user's own", function()
      local generate = coroutine.wrap(function()
        for i = 1, 3 do coroutine.yield(echo({ body = tostring(i) }).body) end
      end)
      for i = 1, 3 do assert.equal(tostring(i), generate()) end
      assert.equal("1", llmpool.spawn(function()
        return coroutine.wrap(function() return echo({ body = "1" }).body end)()
      end):join())
    end)

    it("works in threads, each with connections of its own", function()
      local threads = {}
      for i = 1, 4 do
        threads[i] = llmpool.thread(function(url, n)
          local client = require "llmpool.http"
          local tasks = require("llmpool")
          local sum = 0
          tasks.scope(function(s)
            for k = 1, 25 do
              s:spawn(function()
                local r = client.request { url = url .. "/echo",
                                           body = tostring(n * k) }
                sum = sum + tonumber(r.body:match '"body": "(%d+)"')
              end)
            end
          end)
          return sum
        end, server.url, i)
      end
      for i = 1, 4 do assert.equal(i * 325, threads[i]:join()) end
    end)

    -- n in each of four threads, all of them at the same time.
    local function bears(n, delay)
      local threads, since = {}, llmpool.now()
      for i = 1, 4 do
        threads[i] = llmpool.thread(function(url, body, count)
          local client, tasks = require "llmpool.http", require "llmpool"
          local whole = 0
          tasks.scope(function(s)
            for _ = 1, count do
              s:spawn(function()
                local r = client.request { url = url, body = body }
                if r.body == "whole" then whole = whole + 1 end
              end)
            end
          end)
          return whole
        end, server.url .. "/raw?delay=" .. delay,
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", n)
      end
      for i = 1, 4 do assert.equal(n, threads[i]:join()) end
      local open, first_closed = 0, math.huge
      for _, c in ipairs(server.connections()) do
        if c.opened >= since then
          open = open + 1
          if c.closed ~= json.null then
            first_closed = math.min(first_closed, c.closed)
          end
        end
      end
      assert.is_true(open >= 4 * n and first_closed >= since + delay, open)
    end

    it("bears 100 requests in flight over four threads", function()
      bears(25, 0.2)
    end)

    it("bears 1,000 requests in flight over four threads #slow", function()
      local pipe <close> = assert(io.popen "ulimit -n")
      local files = pipe:read "n" or math.huge -- "unlimited"
      bears(files >= 1500 and 250 or 100, 1.5)
    end)

    it("refuses where nobody may wait, and in virtual time", function()
      local task = llmpool.spawn(function()
        table.sort({ 1, 2, 3 }, function() http.request(server.url) end)
      end)
      local ok, err = task:pjoin()
      assert.is_false(ok)
      assert.truthy(tostring(err):find "cannot wait here: inside table.sort")
      ok, err = pcall(llmpool.simulate, {}, function()
        http.request(server.url)
      end)
      assert.is_false(ok)
      assert.truthy(tostring(err):find
        "http.request inside llmpool.simulate: nothing real happens", err)
    end)

    it("is one module in a state", function()
      package.loaded["llmpool.http"] = nil
      assert.equal(http, require "llmpool.http")
    end)
  end)
end)
