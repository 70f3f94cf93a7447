-- llmpool.http over TLS: through proxies that help, refuse or break off, with
-- certificates that are out of date, and over HTTP/2 connections that end in
-- the midst of many requests.

local llmpool = require "llmpool"
local built = require "spec.support.built"
local shell = require "spec.support.shell"
local world = require "spec.support.world"

describe("llmpool.http over TLS", function()
  local http = built("llmpool.http", it, pending)
  if not http then return end

  local json = require "llmpool.json"
  local http_server = require "spec.support.http_server"
  local directory, ca_file, server

  local function serve(certificate)
    return http_server.start(("--cert %s/%s --key %s/key.pem"):format(directory,
      certificate, directory), "https")
  end

  setup(function()
    directory = world.certificates()
    ca_file = directory .. "/ca.pem"
    server = serve "cert.pem"
  end)

  teardown(function()
    server.stop { ca_file = ca_file }
    shell.run("rm -rf " .. directory)
  end)

  -- The error of a request.
  local function failure(request)
    request.ca_file = ca_file
    local ok, err = pcall(http.request, request)
    assert.is_false(ok)
    return err
  end

  it("believes no certificate that has expired", function()
    local old = serve "expired.pem"
    local err = failure { url = old.url .. "/echo" }
    shell.run(([[printf 'GET /quit HTTP/1.1\r\n\r\n' |
      openssl s_client -quiet -connect 127.0.0.1:%d]]):format(old.port))
    old.stop()
    assert.equal("tls", err.kind)
    assert.equal("connect", err.phase)
    assert.truthy(err.message:find "expired", err.message)
  end)

  describe("through a proxy", function()
    local pipe, open, guarded

    setup(function()
      pipe = assert(io.popen "exec python3 spec/support/proxy.py")
      open, guarded = pipe:read("n", "n")
    end)

    -- It ends with whoever started it, but its end is waited for here.
    teardown(function()
      pcall(http.request, ("http://127.0.0.1:%d/quit"):format(open))
      pipe:close()
    end)

    local function through(port, user)
      return ("http://%s127.0.0.1:%d"):format(user and user .. "@" or "", port)
    end

    local function tunnels()
      return #json.decode(http.request(through(open) .. "/log").body)
    end

    it("goes by a tunnel that the proxy sees nothing of", function()
      local before = tunnels()
      for _ = 1, 2 do
        local response = http.request { url = server.url .. "/echo",
          headers = { authorization = "secret" }, proxy = through(open),
          ca_file = ca_file }
        local got = json.decode(response.body)
        assert.equal("/echo", got.target)
        assert.equal("secret", got.headers.authorization)
      end
      assert.equal(before + 1, tunnels()) -- and keeps it
    end)

    it("shows the proxy its user and password", function()
      local response = http.request { url = server.url .. "/echo",
        proxy = through(guarded, "user:pa%3Ass%20word"), ca_file = ca_file }
      assert.is_nil(json.decode(response.body).headers["proxy-authorization"])
      response = http.request { url = "http://x.invalid/a",
        proxy = through(guarded, "user:pa%3Ass%20word") }
      assert.equal("proxied http://x.invalid/a", response.body)
    end)

    it("says what the proxy said, and no password", function()
      for _, user in ipairs { "", "user:wrong", "other:pa%3Ass%20word" } do
        local err = failure { url = server.url .. "/echo",
          proxy = through(guarded, user ~= "" and user or nil) }
        assert.equal("proxy", err.kind)
        assert.equal("connect", err.phase)
        assert.equal(407, err.proxy_status)
        assert.is_nil(err.status)
        assert.truthy(err.message:find "user and password")
        for _, value in pairs(err) do
          assert.is_nil(tostring(value):find "wrong")
          assert.is_nil(tostring(value):find "word[@\"]")
        end
      end
      local err = failure { url = "https://forbidden.invalid/",
                            proxy = through(open) }
      assert.equal("proxy", err.kind)
      assert.equal(403, err.proxy_status)
    end)

    it("has a kind for every way in which a proxy breaks off", function()
      for host, kind in pairs { half = "reset", drop = "reset",
                                silent = "timeout_connect" } do
        local err = failure { url = "https://" .. host .. ".invalid/",
          proxy = through(open), timeout = { connect = 0.2 } }
        assert.equal(kind, err.kind)
        assert.equal("connect", err.phase)
      end
      local err = failure { url = server.url, proxy = "http://x:y@127.0.0.1:1" }
      assert.equal("reset", err.kind)
      err = failure { url = server.url, proxy = "http://x:y@nothing.invalid:1" }
      assert.equal("resolve", err.kind)
      assert.is_nil(err.message:find("x:y", 1, true))
    end)

    it("refuses a proxy that cannot be one, and shows nothing of it", function()
      for _, wrong in ipairs { "http://user:secret@host:bad",
                               "http://user:secret@ho st", "http://",
                               "user:secret@host:99999" } do
        local err = failure { url = server.url, proxy = wrong }
        assert.truthy(tostring(err):find "proxy has no proper host or port")
        assert.is_nil(tostring(err):find "secret")
      end
    end)

    it("is asked for by the environment, credentials and all #host", function()
      local code = ([[
        local ok, r = pcall(http.request, { url = %q, ca_file = %q })
        print(ok and r.status or r.kind, ok or r.message)
      ]]):format(server.url .. "/echo", ca_file)
      local before = tunnels()
      for _, name in ipairs { "https_proxy", "HTTPS_PROXY", "all_proxy" } do
        assert.equal("200\ttrue\n", world.script(code, name .. "=" ..
          through(guarded, "user:pa%3Ass%20word")))
      end
      assert.equal(before + 3, tunnels())
      assert.equal("200\ttrue\n", world.script(code, "no_proxy=127.0.0.1 " ..
        "https_proxy=" .. through(guarded)))
      assert.equal(before + 3, tunnels())
      assert.truthy(world.script(code, "https_proxy=" .. through(guarded,
        "user:secret")):find "^proxy\t")
      local output = world.script(code, "https_proxy=http://user:secret@h:bad")
      assert.truthy(output:find "^resolve\t", output)
      assert.is_nil(output:find "secret", output)
    end)
  end)

  describe("and HTTP/2", function()
    local port

    setup(function()
      port = world.nginx(directory, [[
        server { listen 127.0.0.1:$port ssl http2; keepalive_requests 10;
          ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem;
          location / { return 200 yes; } } ]])
    end)

    teardown(function() if port then world.stop_nginx(directory) end end)

    -- After ten requests nginx serves no more on a connection (GOAWAY): those
    -- on their way it never looked at.
    it("loses no request where the server ends a connection", function()
      if not port then return pending "needs nginx" end
      for _, body in ipairs { false, "a body" } do
        local answered = 0
        llmpool.scope(function(scope)
          for _ = 1, 120 do
            scope:spawn(function()
              local response = http.request { body = body or nil,
                url = ("https://127.0.0.1:%d/"):format(port),
                ca_file = ca_file, timeout = 20 }
              assert.equal("2", response.version)
              assert.equal("yes", response.body)
              answered = answered + 1
            end)
          end
        end)
        assert.equal(120, answered)
      end
    end)
  end)
end)
