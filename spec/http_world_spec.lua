-- llmpool.http in the world: redirects, certificates, proxies, the end of the
-- program with requests under way.

local llmpool = require "llmpool"
local built = require "spec.support.built"
local files = require "spec.support.files"
local shell = require "spec.support.shell"
local world = require "spec.support.world"
local program, script = world.program, world.script

describe("llmpool.http in the world #slow", function()
  local http = built("llmpool.http", it, pending)
  if not http then return end

  local json = require "llmpool.json"
  local http_server = require "spec.support.http_server"
  local server

  setup(function()
    server = http_server.start()
  end)

  teardown(function()
    server.stop()
  end)

  describe("redirects", function()
    local other

    setup(function() other = http_server.start() end)
    teardown(function() other.stop() end)

    local function redirected(status, to, request)
      request = request or {}
      request.url = ("%s/redirect?status=%d&to=%s"):format(server.url, status,
                                                            to)
      if request.follow == nil then request.follow = true end
      local response = http.request(request)
      return response, response.status == 200 and json.decode(
        request.stream and response:read "a" or response.body)
    end

    it("are answers unless they are followed", function()
      local response = redirected(302, "/echo", { follow = false })
      assert.equal(302, response.status)
      assert.equal("/echo", response.headers.location)
      assert.equal("moved", response.body)
    end)

    it("are followed, to relative places too", function()
      for _, status in ipairs { 301, 302, 303, 307, 308 } do
        local _, got = redirected(status, "/echo")
        assert.equal("/echo", got.target)
        _, got = redirected(status, server.url .. "/echo", { stream = true })
        assert.equal("/echo", got.target)
      end
    end)

    it("keep the method only where it may be kept", function()
      for status, method in pairs { [301] = "GET", [302] = "GET",
                                    [303] = "GET", [307] = "POST",
                                    [308] = "POST" } do
        local _, got = redirected(status, "/echo", { body = "x",
          headers = { ["content-type"] = "text/x", ["x-a"] = "b" } })
        assert.equal(method, got.method)
        assert.equal(method == "POST" and "x" or "", got.body)
        assert.equal(method == "POST" and "text/x" or nil,
                     got.headers["content-type"])
        assert.equal("b", got.headers["x-a"])
      end
      local _, got = redirected(302, "/echo", { method = "PUT", body = "x" })
      assert.equal("PUT", got.method)
    end)

    it("take no secret to another server", function()
      local headers = { authorization = "a", Cookie = "b", ["X-API-Key"] = "c",
                        ["x-goog-api-key"] = "d", ["api-key"] = "e",
                        ["x-other"] = "f" }
      local _, got = redirected(307, other.url .. "/echo",
                                { headers = headers, body = "x" })
      assert.equal("x", got.body)
      assert.equal("f", got.headers["x-other"])
      for name in pairs(headers) do
        if name ~= "x-other" then assert.is_nil(got.headers[name:lower()]) end
      end
      _, got = redirected(307, "/echo", { headers = headers })
      assert.equal("a", got.headers.authorization)
      assert.equal("c", got.headers["x-api-key"])
    end)

    it("are not followed for ever, nor to other schemes", function()
      for _, streamed in ipairs { false, true } do
        local ok, err = pcall(redirected, 302, "/loop", { stream = streamed })
        assert.is_false(ok)
        assert.equal("malformed", err.kind)
        assert.truthy(err.message:find "more than 10 redirects")
      end
      assert.equal(302, redirected(302, "file:///etc/passwd").status)
      assert.equal(302, redirected(302, "ftp://x/").status)
    end)
  end)

  it("waits for no name server that is slow #host", function()
    local build = os.getenv "LLMPOOL_BUILD" or "build"
    local preload = "LD_PRELOAD=" .. build .. "/spec/slow_names.so"
    if script("", preload) ~= "" then
      return pending "this build cannot be preloaded, or has no tests"
    end
    local output = script([[
      local began = llmpool.now()
      local ok, err = pcall(http.request, {
        url = "http://slow.invalid/", timeout = { connect = 0.05 } })
      print(err.kind)
      local task = llmpool.spawn(http.request, "http://slower.invalid/")
      llmpool.sleep(0.05)
      task:cancel()
      print(task:pjoin())
      print(llmpool.now() - began < 1)
    ]], preload)
    assert.equal("timeout_connect\nfalse\ttask cancelled\ntrue\n", output)
  end)

  describe("certificates", function()
    local tls, directory

    setup(function()
      directory = world.certificates()
      tls = http_server.start(("--cert %s/cert.pem --key %s/key.pem"):format(
        directory, directory), "https")
    end)

    teardown(function()
      tls.stop { ca_file = directory .. "/ca.pem" }
      shell.run("rm -rf " .. directory)
    end)

    it("are checked", function()
      local ok, err = pcall(http.request, tls.url .. "/echo")
      assert.is_false(ok)
      assert.equal("tls", err.kind)
      assert.equal("connect", err.phase)
      assert.truthy(err.message:find "no trusted connection", err.message)
      ok, err = pcall(http.request, {
        url = ("https://localhost:%d/echo"):format(tls.port),
        ca_file = directory .. "/ca.pem" })
      assert.is_false(ok)
      assert.equal("tls", err.kind) -- the name is another
      ok, err = pcall(http.request, { url = tls.url,
                                      ca_file = directory .. "/none" })
      assert.is_false(ok)
      assert.equal("tls", err.kind)
    end)

    it("may come from a file of one's own", function()
      local first, second
      for _ = 1, 2 do
        local response = http.request { url = tls.url .. "/echo",
                                        ca_file = directory .. "/ca.pem" }
        assert.equal(200, response.status)
        assert.equal("1.1", response.version)
        first, second = second, json.decode(response.body).connection
      end
      assert.equal(first, second)
      -- and is for that request only
      local ok, err = pcall(http.request, tls.url .. "/echo")
      assert.is_false(ok)
      assert.equal("tls", err.kind)
    end)

    it("may come from the environment's file #host", function()
      for _, name in ipairs { "CURL_CA_BUNDLE", "SSL_CERT_FILE" } do
        local output = script(
          ("print(http.request('%s/echo').status)"):format(tls.url),
          ("%s=%s/ca.pem"):format(name, directory))
        assert.equal("200\n", output)
      end
    end)

    it("do not hide a body that is cut off", function()
      local request = tls.raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
                              { then_ = "close" },
                              { ca_file = directory .. "/ca.pem" })
      local ok, err = pcall(http.request, request)
      assert.is_false(ok)
      assert.equal("truncated", err.kind)
      request = tls.raw("HTTP/1.1 200 OK\r\n\r\nab", { then_ = "reset" },
                        { ca_file = directory .. "/ca.pem" })
      ok, err = pcall(http.request, request)
      assert.is_false(ok)
      assert.truthy(err.kind == "truncated" or err.kind == "reset", err.kind)
    end)
  end)

  describe("HTTP/2", function()
    local directory, port

    -- nginx speaks it; its answer is the number of the connection.
    local CONF = [[
      server { listen 127.0.0.1:$port ssl http2;
        ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem;
        location / { return 200 $connection; }
        location /slow { limit_rate 1k; root $dir; } }
    ]]

    setup(function()
      directory = world.certificates()
      files.write(directory .. "/slow", ("\0"):rep(100000))
      port = world.nginx(directory, CONF)
    end)

    teardown(function()
      if port then world.stop_nginx(directory) end
      shell.run("rm -rf " .. directory)
    end)

    local function get(path, options)
      options = options or {}
      options.url = ("https://127.0.0.1:%d%s"):format(port, path)
      options.ca_file = directory .. "/ca.pem"
      return http.request(options)
    end

    it("is spoken where the server does, over one connection", function()
      if not port then return pending "needs nginx" end
      local tasks, seen = {}, {}
      for i = 1, 20 do tasks[i] = llmpool.spawn(get, "/") end
      for i = 1, 20 do
        local response = tasks[i]:join()
        assert.equal("2", response.version)
        assert.equal(200, response.status)
        assert.is_string(response.headers["content-length"])
        seen[response.body] = true
      end
      local connection = next(seen)
      assert.is_nil(next(seen, connection))
      assert.equal("1.1", get("/", { http2 = false }).version)
    end)

    it("loses one stream, not the others", function()
      if not port then return pending "needs nginx" end
      local connection = get("/").body
      local slow = get("/slow", { stream = true })
      assert.equal("2", slow.version)
      assert.is_string(slow:read())
      local other = llmpool.spawn(function()
        local response <close> = get("/slow", { stream = true })
        while response:read() do llmpool.sleep(0) end
      end)
      llmpool.sleep(0.05)
      other:cancel()
      other:pjoin()
      assert.equal(connection, get("/").body)
      slow:close()
      assert.equal(connection, get("/").body)
    end)
  end)

  describe("proxies", function()
    it("are used as an option says", function()
      local response = http.request { url = "http://nothing.invalid/x?a=b",
                                      proxy = server.url }
      assert.equal("http://nothing.invalid/x?a=b",
                   json.decode(response.body).target)
      -- and only for that request
      local ok, err = pcall(http.request, "http://nothing.invalid/x")
      assert.is_false(ok)
      assert.equal("resolve", err.kind)
    end)

    it("are used as the environment says #host", function()
      local code = [[
        local ok, r = pcall(http.request, { url = "http://nothing.invalid/x",
                                            proxy = arg[1] })
        print(ok and r.body:match '"target": "(.-)"' or r.kind)
      ]]
      local proxy = "http_proxy=" .. server.url
      assert.equal("http://nothing.invalid/x\n", script(code, proxy))
      assert.equal("resolve\n", script(code, proxy .. " no_proxy=.invalid"))
      assert.equal("resolve\n", script(code:gsub("arg%[1%]", "''"), proxy))
    end)

    it("are a failure of their own when they are not there", function()
      local ok, err = pcall(http.request, { url = "http://nothing.invalid/x",
                                            proxy = "http://127.0.0.1:1" })
      assert.is_false(ok)
      assert.equal("reset", err.kind)
      ok, err = pcall(http.request, { url = "http://127.0.0.1:1/",
                                      proxy = "http://nothing.invalid:1" })
      assert.is_false(ok)
      assert.equal("resolve", err.kind)
    end)
  end)

  describe("the end of the program #host", function()
    local function hanging()
      return ("local request = { url = %q, method = 'POST', body = %q, " ..
              "stream = arg.stream }\n"):format(server.url .. "/raw?then=hang",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    end

    it("ends requests with it, in whatever way it comes", function()
      for name, case in pairs {
        ["a stream is open"] = { [[
          request.stream = true
          stream = http.request(request)
          print(stream:read()) ]], "abc\n", 0 },
        ["a task waits, os.exit"] = { [[
          llmpool.spawn(http.request, request)
          llmpool.sleep(0.05)
          os.exit(3) ]], "", 3 },
        ["a task waits, os.exit in order"] = { [[
          llmpool.spawn(http.request, request)
          llmpool.sleep(0.05)
          os.exit(3, true) ]], "", 3 },
        ["os.exit in a task"] = { [[
          llmpool.spawn(http.request, request)
          llmpool.spawn(function()
            llmpool.sleep(0.05)
            os.exit(4, true)
          end) ]], "", 4 },
        ["an error"] = { [[
          llmpool.spawn(http.request, request)
          llmpool.sleep(0.05)
          error("over", 0) ]], "over", 1 },
        ["a coroutine is left in a wait"] = { [[
          request.stream = true
          co = coroutine.wrap(function()
            local s <close> = http.request(request)
            coroutine.yield(s:read())
            s:read()
          end)
          print(co()) ]], "abc\n", 0 },
        ["a thread has a stream open"] = { [[
          llmpool.thread(function(r)
            r.stream = true
            s = require "llmpool.http".request(r)
            return s:read()
          end, request):join()
          print "joined" ]], "joined\n", 0 },
        ["a finalizer asks"] = { [[
          request.timeout = 0.01
          setmetatable({}, { __gc = function()
            print(pcall(http.request, request))
          end })
          http.request(request.url:gsub("raw.*", "echo")) ]], "false\t", 0 },
      } do
        local output, _, status = script(hanging() .. case[1])
        assert.equal(case[3], status, name .. ": " .. output)
        assert.truthy(output:find(case[2], 1, true), name .. ": " .. output)
      end
    end)

    it("comes by Ctrl-C while it waits #signals", function()
      local output, _, status = script(hanging() .. [[
        os.execute "(sleep 0.2; kill -INT $PPID) &"
        http.request(request) ]])
      assert.equal(1, status)
      assert.truthy(output:find "interrupted!", output)
    end)
  end)

  it("asks the interpreter for Lua, and curl for nothing else #once", function()
    local build = os.getenv "LLMPOOL_BUILD" or "build"
    local report = shell.run("ldd -r " .. build .. "/modules/llmpool/http.so")
    for symbol in report:gmatch "undefined symbol: ([%w_]+)" do
      assert.truthy(symbol:find "^luaL?_", symbol)
    end
    assert.truthy(report:find "libcurl")
    assert.is_nil(report:find "liblua")
    local exported = shell.run("nm -D --defined-only " .. build ..
                               "/modules/llmpool/http.so")
    assert.equal("luaopen_llmpool_http", exported:match "%S+ T (%S+)")
    -- nor at the start
    assert.is_nil(shell.run("ldd " .. program):find "libcurl")
    assert.equal(llmpool, require "llmpool")
  end)
end)
