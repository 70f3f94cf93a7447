-- Streams through the router: the states, a stream cut at every piece in every
-- way of committing, a caller who gives up in every state, a slow stream.

local llmpool = require "llmpool"
local routed = require "spec.support.routed"
local scripted = require "spec.support.scripted"

local simulate = routed.each

-- All text of a stream, and the error that ended it.
local function drain(stream)
  local texts = {}
  local ok, err = pcall(function()
    for piece in stream do texts[#texts + 1] = piece.text end
  end)
  return table.concat(texts), not ok and err or nil
end

local function states_of(router)
  local list = { "NEW" }
  router:listen(function(event)
    if event.event == "state" then
      assert(event.from == list[#list] or event.from == nil, event.from)
      list[#list + 1] = event.to
    end
  end)
  return list
end

describe("a stream", function()
  it("gives its pieces as they come, and the response at its end", function()
    local a = scripted("a", { text = "one two three", after = 1, every = 2,
                              usage = { total_tokens = 3 } })
    simulate({ a }, { policy = "a" }, function(router, pool)
      local stream = router:stream "q"
      assert.equal(1, llmpool.now())
      local times = {}
      for piece in stream do
        times[#times + 1] = ("%s@%g"):format(piece.text, llmpool.now())
      end
      assert.equal("one @1 two @3 three@5", table.concat(times, " "))
      assert.equal(3, stream.response.usage.total_tokens)
      assert.equal("stream (a/a, DONE)", tostring(stream))
      assert.is_nil(stream:read())
      assert.equal(0, pool:stats("a").lent)
    end)
  end)

  it("goes through the states, one event each", function()
    local a = scripted("a", { pieces = { { role = "x" }, { text = "1" } } })
    simulate({ a }, { policy = "a" }, function(router)
      local states = states_of(router)
      drain(router:stream "q")
      assert.same({ "NEW", "QUEUED", "CONNECTED", "HEADERS", "PRE_CONTENT",
                    "COMMITTED", "DONE" }, states)
    end)
    simulate({ scripted("a", { text = "1 2", cut = 1 }) }, { policy = "a" },
      function(router)
      local states = states_of(router)
      drain(router:stream "q")
      assert.equal("COMMITTED TRUNCATED",
        table.concat(states, " ", #states - 1))
    end)
    simulate({ scripted("a", { cut = 0 }), scripted("b", { text = "1" }) },
      { policy = { "a", "b" } }, function(router)
      local states = states_of(router)
      drain(router:stream "q")
      assert.same({ "NEW", "QUEUED", "CONNECTED", "HEADERS", "QUEUED",
                    "CONNECTED", "HEADERS", "PRE_CONTENT", "COMMITTED",
                    "DONE" }, states)
    end)
    simulate({ scripted("a", { refuse = "server" }) }, { policy = "a" },
      function(router)
      local states = states_of(router)
      local _, err = pcall(router.stream, router, "q")
      assert.same({ "NEW", "QUEUED", "CONNECTED", "FAILED" }, states)
      assert.equal("FAILED", err.state)
    end)
  end)

  it("of a client that has none is its whole answer in one piece", function()
    local a = { id = "a", generate = function() return "all of it",
      { text = "all of it", finish_reason = "stop" } end }
    simulate({ a }, { policy = "a" }, function(router)
      local stream = router:stream "q"
      assert.same({ text = "all of it", finish_reason = "stop" },
        stream:read())
      assert.is_nil(stream:read())
      assert.equal("all of it", stream.response.text)
    end)
  end)

  it("may give its pieces as strings, from a function", function()
    local a = { id = "a", generate = print, stream = function()
      local n = 0
      return function()
        n = n + 1
        return n <= 3 and tostring(n) or nil
      end
    end }
    simulate({ a }, { policy = "a" }, function(router)
      local stream = router:stream "q"
      assert.equal("123", (drain(stream)))
      assert.equal("123", stream.response.text)
    end)
  end)

  it("that is empty ends well", function()
    simulate({ scripted("a", { pieces = {} }) }, { policy = "a" },
      function(router)
      local text, err = drain(router:stream "q")
      assert.same({ "" }, { text, err })
    end)
  end)
end)

-- N words; the first client's stream is cut after n of them, for every n; the
-- second answers. What the caller gets depends on when the answer counts.
describe("a stream cut after every piece", function()
  local WORDS, N = "a1 a2 a3 a4 a5 a6 a7 a8", 8
  local first_n = function(n)
    local list = {}
    for word in WORDS:gmatch "%S+%s?" do
      if #list < n then list[#list + 1] = word end
    end
    return table.concat(list)
  end

  -- how many pieces commit, for each way of committing
  local modes = { first = 1, [1] = 1, [2] = 2, [5] = 5, [8] = 8, [9] = 9,
                  ["end"] = N + 1 }

  for commit, committed_at in pairs(modes) do
    it("with commit = " .. tostring(commit), function()
      for cut = 0, N do
        local a = scripted("a", { text = WORDS, cut = cut, every = 1 })
        local b = scripted("b", { text = "from b" })
        local policy = { { model = "a", commit = commit }, "b" }
        simulate({ a, b }, { policy = policy },
          function(router, pool)
          local events = pool:events()
          local stream = router:stream "q"
          local text, err = drain(stream)
          -- after N pieces the end has not been told: that is a cut as well
          if cut >= committed_at then
            assert.equal(first_n(cut), text)
            assert.same({ "truncated", true, false, "a", "TRUNCATED" },
              { err.kind, err.committed, err.retryable, err.client, err.state })
            assert.equal("reset", err.cause.kind)
            assert.equal(0, #b.calls)
            -- and again, never a clean end
            local _, again = pcall(stream.read, stream)
            assert.equal(err, again)
          else
            assert.same({ "from b" }, { text, err })
            assert.equal(1, #b.calls)
          end
          local lent, returned = 0, 0
          for _, e in ipairs(events:read()) do
            if e.kind == "lent" then lent = lent + 1 end
            if e.kind == "returned" then returned = returned + 1 end
          end
          assert.equal(lent, returned)
        end)
      end
    end)
  end

  it("tells all that was tried before", function()
    local a = scripted("a", { cut = 0, fail = "overloaded" })
    local b = scripted("b", { text = "x y", cut = 1 })
    simulate({ a, b }, { policy = { "a", "b" } }, function(router)
      local _, err = drain(router:stream "q")
      assert.equal("overloaded", err.attempts[1].kind)
      assert.equal("b/b: the answer was cut off after 1 piece: reset by b",
        tostring(err))
    end)
  end)

  it("with nobody left raises where the stream is asked for", function()
    local a = scripted("a", { text = WORDS, cut = 3 })
    simulate({ a }, { policy = { model = "a", commit = "end" } },
      function(router)
      local ok, err = pcall(router.stream, router, "q")
      assert.is_false(ok)
      assert.same({ "reset", false, "PRE_CONTENT" },
        { err.kind, err.committed, err.attempts[1].state })
    end)
  end)
end)

describe("a caller who gives up", function()
  -- seconds at which a stream of "a" is in each state: in line until 10,
  -- connecting until 20, headers until 30, then one piece every 10 seconds,
  -- of which the second commits
  local moments = {
    QUEUED = 5, CONNECTED = 15, HEADERS = 25, PRE_CONTENT = 35, COMMITTED = 45,
  }
  for state, moment in pairs(moments) do
    it("in state " .. state .. " has given back all", function()
      local a = scripted("a", { connect = 10, after = 10, every = 10,
        text = "1 2 3 4" })
      simulate({ a }, { policy = { model = "a", commit = 2 } },
        function(router, pool)
        local held = pool:acquire "a"
        local seen
        router:listen(function(event)
          if event.to == "CANCELLED" then seen = event.from end
        end)
        local task = llmpool.spawn(function()
          drain(router:stream "q")
          llmpool.sleep(0)
        end)
        llmpool.sleep(10)
        if moment > 10 then held:release() end
        llmpool.sleep(moment > 10 and moment - 10 or 0)
        task:cancel()
        task:pjoin()
        if moment <= 10 then held:release() end
        assert.equal("cancelled", task:status())
        assert.equal(state, seen)
        assert.equal(0, pool:stats("a").lent)
        assert.equal(0, pool:stats("a").waiting)
      end)
    end)
  end

  it("of generate, in line or under way, has given back all", function()
    for _, moment in ipairs { 5, 15 } do
      simulate({ scripted("a", { after = 20 }) }, { policy = "a" },
        function(router, pool)
        local held = pool:acquire "a"
        local task = llmpool.spawn(router.generate, router, "q")
        llmpool.sleep(5)
        if moment == 15 then
          held:release()
          llmpool.sleep(10)
        end
        task:cancel()
        local ok, err = task:pjoin()
        assert.is_false(ok)
        assert.is_true(llmpool.is_cancelled(err))
        if moment == 5 then held:release() end
        assert.equal(0, pool:stats("a").lent)
      end)
    end
  end)

  it("by close has given back all, and reads nil", function()
    local a = scripted("a", { text = "1 2 3", every = 1 })
    simulate({ a }, { policy = "a" }, function(router, pool)
      local stream = router:stream "q"
      stream:read()
      stream:close()
      stream:close()
      assert.is_nil(stream:read())
      assert.equal("closed", a.calls[1].state)
      assert.equal(0, pool:stats("a").lent)
      do
        local other <close> = router:stream "q"
        assert.equal("1 ", other().text)
      end
      assert.equal(0, pool:stats("a").lent)
    end)
  end)

  it("by forgetting the stream has given back all", function()
    local a = scripted("a", { text = "1 2 3", every = 1 })
    simulate({ a }, { policy = "a" }, function(router, pool)
      router:stream "q"
      collectgarbage()
      collectgarbage()
      assert.equal(0, pool:stats("a").lent)
      assert.equal(0, pool:stats("a").leaked)
    end)
  end)
end)

describe("a slow stream", function()
  it("that brings no content in time is asked elsewhere", function()
    local a = scripted("a", { pieces = { {}, { text = "late" } }, every = 60 })
    local b = scripted("b", { text = "from b" })
    simulate({ a, b }, { policy = { { model = "a", first = 5 }, "b" } },
      function(router)
      local stream = router:stream "q"
      assert.equal("from b", (drain(stream)))
      assert.is_true(math.abs(b.calls[1].at - 5) < 0.002)
      assert.equal("timeout_first", stream.r.attempts[1].kind)
    end)
  end)

  it("that stalls before it has committed is asked elsewhere, after it not",
     function()
    local a = scripted("a", { text = "1 2 3", every = 60 })
    local b = scripted("b", { text = "from b" })
    simulate({ a, b }, { policy = { { model = "a", idle = 5, commit = 2 },
      "b" } }, function(router)
      assert.equal("from b", (drain(router:stream "q")))
    end)
    simulate({ a }, { policy = { { model = "a", idle = 5 } } },
      function(router)
      local text, err = drain(router:stream "q")
      assert.same({ "1 ", "truncated", "timeout_idle" },
        { text, err.kind, err.cause.kind })
      assert.is_true(math.abs(llmpool.now() - 5) < 0.002)
    end)
  end)

  it("ends at the request's deadline", function()
    local a = scripted("a", { text = "1 2 3 4 5", every = 2 })
    simulate({ a }, { policy = "a" }, function(router)
      local stream = router:stream("q", { timeout = 5 })
      local text, err = drain(stream)
      assert.same({ "1 2 3 ", "truncated", "timeout_total" },
        { text, err.kind, err.cause.kind })
    end)
  end)
end)
