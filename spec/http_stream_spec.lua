-- llmpool.http: streams, event streams, and how they end: read whole, closed,
-- cancelled in any phase, or forgotten.

local llmpool = require "llmpool"
local built = require "spec.support.built"

describe("llmpool.http's streams", function()
  local http = built("llmpool.http", it, pending)
  if not http then return end

  local server =
    require("spec.support.http_server").around(setup, teardown)

  local function answer(headers, body)
    return "HTTP/1.1 200 OK\r\n" .. headers .. "\r\n\r\n" .. (body or "")
  end

  local function chunked(...)
    local parts = {}
    for i, part in ipairs { ... } do
      parts[i] = ("%x\r\n%s\r\n"):format(#part, part)
    end
    return answer("Transfer-Encoding: chunked",
                  table.concat(parts) .. "0\r\n\r\n")
  end

  local function stream(bytes, options, more)
    more = more or {}
    more.stream = true
    return http.request(server.raw(bytes, options, more))
  end

  local function failure(kind, fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok, kind)
    assert.equal(kind, type(err) == "table" and err.kind or err, tostring(err))
    return err
  end

  -- Waits until the server saw a connection end after `since`; how long after
  -- that was, in seconds.
  local function closed_after(since)
    for _ = 1, 200 do
      for _, connection in ipairs(server.connections()) do
        local closed = connection.closed
        if type(closed) == "number" and closed >= since then
          return closed - since
        end
      end
      llmpool.sleep(0.005)
    end
    error "the server saw no connection end"
  end

  -- The attempt answers how long its connection lived on. One within 50 ms is
  -- enough: the machine may be busy with other things.
  local function at_once(attempt)
    local least = math.huge
    for _ = 1, 5 do
      least = math.min(least, attempt())
      if least < 0.05 then return end
    end
    error(("closed after %g s at the soonest"):format(least))
  end

  describe("bytes", function()
    it("come in pieces, as they come", function()
      local response <close> = stream(chunked("abc", "def", "ghi"),
                                      { drip = 60, pause = 0.02 })
      assert.equal(200, response.status)
      assert.equal("http response (200, open)", tostring(response))
      assert.is_nil(response.body)
      local pieces = {}
      while true do
        local piece = response:read()
        if not piece then break end
        pieces[#pieces + 1] = piece
      end
      assert.equal("abcdefghi", table.concat(pieces))
      assert.is_true(#pieces > 1)
      assert.equal("http response (200, complete)", tostring(response))
      assert.is_nil(response:read())
      assert.is_true(response.timings.total >= response.timings.first)
    end)

    it("may be read at once", function()
      local response = stream(chunked("abc", "def"),
                              { drip = 55, pause = 0.01 })
      assert.equal("abcdef", response:read "a")
      assert.is_nil(response:read())
      assert.equal("", response:read "a")
      response = stream(answer("Content-Length: 0"))
      assert.equal("", response:read "a")
      assert.has_error(function() response:read "l" end)
    end)

    it("are no more than allowed, whoever reads how slowly", function()
      local began = llmpool.now()
      local response <close> = stream(answer("Content-Length: 200000",
        ("x"):rep(200000)), {}, { max_bytes = 100000, timeout = { idle = 5 } })
      llmpool.sleep(0.02) -- what has come waits
      local err = failure("too_large", function()
        while response:read() do llmpool.sleep(0.001) end
      end)
      assert.matches("larger than max_bytes, 100000", tostring(err))
      assert.is_true(llmpool.now() - began < 2)
    end)

    it("are there before an error is", function()
      local response = stream(answer("Content-Length: 10", "abc"),
                              { then_ = "close" })
      assert.equal("abc", response:read())
      local err = failure("truncated", response.read, response)
      assert.equal("body", err.phase)
      assert.equal(err, failure("truncated", response.read, response))
      assert.equal("http response (200, failed)", tostring(response))
      response = stream(answer("Content-Length: 10", "abc"),
                        { then_ = "hang" }, { timeout = { idle = 0.03 } })
      assert.equal("abc", response:read())
      failure("timeout_idle", response.read, response)
      failure("too_large", function()
        stream(answer("Content-Length: 10", "abcdef"), {},
               { max_bytes = 5 }):read "a"
      end)
    end)

    it("use the connection again after the end only", function()
      local count = #server.connections()
      for _ = 1, 3 do stream(chunked "abc"):read "a" end
      assert.equal(count, #server.connections())
      local response = stream(chunked "abc", { drip = 52, pause = 0.05 })
      local since = llmpool.now()
      response:close()
      assert.is_number(closed_after(since))
      failure("closed", response.read, response)
      assert.equal("http response (200, closed)", tostring(response))
      response:close()
    end)

    it("are for streams, and for one reader", function()
      local response = http.request(server.raw(chunked "abc"))
      assert.has_error(function() response:read() end,
        "this response is no stream: its body is response.body " ..
        "(ask with stream = true to read it in pieces)")
      assert.has_error(function() response:events() end)
      local slow <close> = stream(answer("Content-Length: 1"),
                                  { then_ = "hang" })
      local reader = llmpool.spawn(function() return slow:read() end)
      llmpool.sleep(0)
      assert.has_error(function() slow:read() end,
                       "another task is reading this response already")
      reader:cancel()
      reader:pjoin()
    end)

    it("may be closed while another task reads them", function()
      for _, reads in ipairs { function(r) return r:read() end,
                               function(r) return r:events()() end } do
        local since = llmpool.now()
        local slow <close> = stream(answer("Content-Length: 1"),
                                    { then_ = "hang" })
        local reader = llmpool.spawn(reads, slow)
        llmpool.sleep(0.01)
        slow:close()
        local ok, err = reader:pjoin()
        assert.is_false(ok)
        assert.equal("closed", err.kind)
        assert.is_number(closed_after(since))
      end
    end)
  end)

  describe("events", function()
    local TEXT = ": hi\r\nevent: start\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n" ..
      "id: 7\ndata: \u{1f600}\n\nretry: 10\rdata: x\r\rdata: [DONE]\n\n"
    local EVENTS = {
      { event = "start", data = '{"a":\n1}' },
      { id = "7", data = "\u{1f600}" },
      { id = "7", data = "x", retry = 10 },
      { id = "7", data = "[DONE]" },
    }

    local function collect(response)
      local events = {}
      for event in response:events() do events[#events + 1] = event end
      return events
    end

    it("are those of the stream, however it is cut", function()
      for cut = 1, #TEXT - 1 do
        local response = stream(chunked(TEXT:sub(1, cut), TEXT:sub(cut + 1)))
        assert.same(EVENTS, collect(response))
      end
      local response = stream(chunked(TEXT), { drip = 3, pause = 0.0001 })
      assert.same(EVENTS, collect(response))
    end)

    it("may be left and gone on with", function()
      local response <close> = stream(chunked(TEXT))
      for event in response:events() do
        assert.same(EVENTS[1], event)
        if event then break end
      end
      assert.same(EVENTS[2], response:events()())
      assert.same({ EVENTS[3], EVENTS[4] }, collect(response))
    end)

    it("are bounded", function()
      local response = stream(chunked("data: " .. ("x"):rep(100)))
      local err = failure("too_large", response:events(50))
      assert.truthy(err.message:find "larger than 50 bytes")
      assert.equal(err, failure("too_large", response:events(50)))
      response = stream(chunked("data: " .. ("x"):rep(1100000) .. "\n\n"))
      failure("too_large", response:events())
      response = stream(chunked("data: " .. ("x"):rep(1100000) .. "\n\n"))
      assert.equal(1100000, #response:events(2000000)().data)
      assert.has_error(function() response:events(0) end)
    end)

    it("without an empty line are none, but told beside the nil", function()
      local next_event = stream(chunked("data: a\n\nda", "ta: b\nevent: x"))
        :events()
      assert.equal("a", next_event().data)
      assert.same({ nil, "b" }, { next_event() })
      assert.same({ n = 1 }, table.pack(next_event()))
      next_event = stream(chunked("data: a\n\n", '{"b":1}')):events()
      assert.equal("a", next_event().data)
      assert.same({ nil, '{"b":1}\n' }, { next_event() })
      assert.same({ n = 1 }, table.pack(next_event()))
      next_event = stream(answer("Content-Length: 99", "data: a"),
                          { then_ = "close" }):events()
      failure("truncated", next_event)
    end)

    it("end with the error that ends the stream", function()
      local response = stream(answer("Content-Length: 99",
        "data: a\n\ndata: b\n"), { then_ = "close" })
      local next_event = response:events()
      assert.same({ data = "a" }, next_event())
      failure("truncated", next_event)
    end)
  end)

  describe("a reader that is behind", function()
    it("is waited for, by the kernel's buffers", function()
      local response = http.request { url = server.url .. "/flood",
                                      stream = true }
      assert.is_string(response:read())
      local function sent()
        local most = 0
        for _, c in ipairs(server.connections()) do
          if c.closed == require("llmpool.json").null and c.sent > most then
            most = c.sent
          end
        end
        return most
      end
      local before, now = -1, sent()
      for _ = 1, 100 do -- until the server finds no more room
        if before == now then break end
        llmpool.sleep(0.02)
        before, now = now, sent()
      end
      assert.equal(before, now)
      assert.is_string(response:read())
      llmpool.sleep(0.05)
      assert.is_true(#response:read() <= 64 * 1024)
      response:close()
    end)

    it("is not idle", function()
      local response = stream(answer("Content-Length: 40000",
        ("x"):rep(40000)), {}, { timeout = { idle = 0.05 } })
      llmpool.sleep(0.2)
      assert.equal(40000, #response:read "a")
    end)
  end)

  describe("closing", function()
    it("is seen by the server at once", function()
      at_once(function()
        local response = stream(answer("Content-Length: 9", "abc"),
                                { then_ = "hang" })
        local since = llmpool.now()
        response:close()
        return closed_after(since)
      end)
    end)

    it("is done by a to-be-closed variable", function()
      at_once(function()
        local since
        do
          local response <close> = stream(answer("Content-Length: 9", "abc"),
                                          { then_ = "hang" })
          assert.equal("abc", response:read())
          since = llmpool.now()
        end
        return closed_after(since)
      end)
    end)

    it("is told to a task that reads at the time", function()
      for _, how in ipairs { "read", "events" } do
        local reader
        do
          local response <close> = stream(answer("Content-Length: 9", "a"),
                                          { then_ = "hang" })
          assert.equal("a", response:read())
          reader = llmpool.spawn(function()
            if how == "read" then return response:read() end
            return response:events()()
          end)
          llmpool.sleep(0.01)
        end
        local ok, err = reader:pjoin()
        assert.is_false(ok)
        assert.equal("closed", err.kind)
      end
    end)

    it("is done for a response that nobody has", function()
      at_once(function()
        local response = stream(answer("Content-Length: 9", "abc"),
                                { then_ = "hang" })
        assert.equal("abc", response:read())
        response = nil -- luacheck: ignore
        local since = llmpool.now()
        collectgarbage()
        collectgarbage()
        return closed_after(since)
      end)
    end)
  end)

  describe("a cancelled task", function()
    -- Cancels what runs `fn` after `delay`; how long the connection lived on.
    local function cancelled_once(fn)
      local task = llmpool.spawn(fn)
      llmpool.sleep(0.03)
      for _ = 1, 500 do -- on a busy machine something may just have come
        if task:status() == "waiting" then break end
        llmpool.sleep(0.002)
      end
      assert.equal("waiting", task:status())
      local since = llmpool.now()
      task:cancel "enough"
      local ok, err = task:pjoin()
      assert.is_false(ok)
      assert.equal("cancelled", err.kind)
      assert.equal("enough", err.reason)
      return closed_after(since)
    end

    local function cancelled(fn)
      at_once(function() return cancelled_once(fn) end)
    end

    it("closes while it connects", function()
      cancelled(function()
        http.request { url = "https" .. server.url:sub(5) }
      end)
    end)

    it("closes before the first byte", function()
      cancelled(function()
        http.request(server.raw("", { then_ = "hang" }))
      end)
    end)

    it("closes in the middle of a body", function()
      cancelled(function()
        http.request(server.raw(answer("Content-Length: 9", "abc"),
                                { then_ = "hang" }))
      end)
    end)

    it("closes in the middle of a stream", function()
      cancelled(function()
        local response = stream(answer("Content-Length: 9", "abc"),
                                { then_ = "hang" })
        response:read()
        response:read()
      end)
      cancelled(function()
        local response = stream(answer("Content-Length: 99", "data: a\n\n"),
                                { then_ = "hang" })
        for _ in response:events() do end
      end)
    end)

    it("closes when its time is up, too", function()
      at_once(function()
        local since = llmpool.now()
        failure("timeout", llmpool.timeout, 0.03, http.request,
                server.raw("", { then_ = "hang" }))
        return closed_after(since + 0.03)
      end)
    end)

    it("drains if it was told to", function()
      local count = #server.connections()
      local task = llmpool.spawn(http.request, server.raw(
        answer("Content-Length: 9", "abcdefghi"), { drip = 44, pause = 0.05 },
        { on_cancel = "drain" }))
      llmpool.sleep(0.02)
      task:cancel()
      task:pjoin()
      llmpool.sleep(0.1)
      local connections = server.connections()
      assert.equal(count, #connections) -- the same one serves again
    end)

    it("sends nothing when it is cancelled before", function()
      local task = llmpool.spawn(function() http.request(server.url) end)
      task:cancel()
      local ok, err = task:pjoin()
      assert.is_false(ok)
      assert.equal("cancelled", err.kind)
    end)

    it("may go on with others", function()
      local kept = stream(chunked("abc", "def"), { drip = 56, pause = 0.05 })
      cancelled(function()
        http.request(server.raw("", { then_ = "hang" }))
      end)
      assert.equal("abcdef", kept:read "a")
    end)
  end)
end)
