-- Cancelled requests: in each phase the upstream's socket is closed within 50
-- ms, the client is back, and the next request is answered.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local mock = require "spec.support.mock"

local SOON = 0.05
local TRIES = 5 -- a machine that is busy may be late, but not every time

-- Fails unless the attempt takes less than that, by its own account.
local function soon(attempt)
  local took
  for _ = 1, TRIES do
    mock.clear()
    took = attempt()
    if took < SOON then return end
  end
  error(("took %.3f s, for the %dth time"):format(took, TRIES), 2)
end

local function whole(pool) return (pool:generate("fast", "q")) end

local function streamed(pool)
  local text = {}
  for piece in pool:stream("fast", "q") do text[#text + 1] = piece.text end
  return table.concat(text)
end

-- The task of a request that is cancelled `after` seconds; when that was.
local function cancelled(ask, pool, after)
  local task = llmpool.spawn(ask, pool)
  llmpool.sleep(after)
  local at = llmpool.now()
  task:cancel "enough"
  local ok, err = task:pjoin()
  assert.is_false(ok)
  assert.equal("cancelled", err.kind)
  ledger.settled(pool)
  return at, llmpool.now() - at
end

local PHASES = {
  ["before the headers"] = { wait = 30 },
  ["between headers and body"] = { stall_at = 150 },
  ["in the body"] = { stall_at = 170, text = ("word "):rep(50) },
  ["before the first token"] = { wait_first = 30 },
  ["in the middle of the stream"] = { text = "a b c", wait_piece = 30 },
  ["before the last word"] = { wait_end = 30 },
}

for _, name in ipairs { "openai", "anthropic", "gemini" } do
  describe("a cancelled request at " .. name, function()
    before_each(function() mock.clear() end)

    for what, script in pairs(PHASES) do
      for how, ask in pairs { whole = whole, streamed = streamed } do
        local fits = how == "streamed" or script.wait or script.wait_first
          or script.stall_at
        if fits then
          it(("%s, %s, closes its socket at once"):format(what, how), function()
            soon(function()
              local pool = mock.pool(name)
              mock.next(script, { text = "next" })
              local at, took = cancelled(ask, pool, 0.03)
              local closed = mock.closed_at() - at
              assert.equal("next", ask(pool))
              return math.max(took, closed)
            end)
          end)
        end
      end
    end

    it("that waits for a client sends nothing", function()
      local pool = mock.pool(name)
      mock.next { wait = 0.08, text = "first" }
      local first = llmpool.spawn(whole, pool)
      llmpool.sleep(0.02)
      local second = llmpool.spawn(streamed, pool)
      llmpool.sleep(0.01)
      second:cancel()
      assert.is_false((second:pjoin()))
      assert.equal("first", first:join())
      assert.equal(1, #mock.log())
      ledger.settled(pool)
    end)

    it("that cannot connect gives up at once", function()
      for _, ask in ipairs { whole, streamed } do
        soon(function()
          local port = mock.control({ silent = true }).silent
          local pool = mock.pool(name,
            { base_url = "http://127.0.0.1:" .. port })
          return (select(2, cancelled(ask, pool, 0.03)))
        end)
      end
    end)

    it("by a timeout of llmpool's closes its socket too", function()
      soon(function()
        local pool = mock.pool(name)
        mock.next { wait_first = 30 }
        local ok, err = pcall(llmpool.timeout, 0.03, streamed, pool)
        local at = llmpool.now()
        assert.is_false(ok)
        assert.equal("timeout", err.kind)
        ledger.settled(pool)
        return mock.closed_at() - at
      end)
    end)
  end)
end

describe("a stream that is not read to its end", function()
  before_each(function() mock.clear() end)

  local function closes(finish)
    soon(function()
      local pool = mock.pool "openai"
      mock.next { text = "a b c d", wait_piece = 30 }
      local at = finish(pool) or llmpool.now()
      ledger.settled(pool)
      return mock.closed_at() - at
    end)
  end

  it("closes its socket when it is closed", function()
    closes(function(pool)
      local stream <close> = pool:stream("fast", "q")
      assert.equal("a", stream().text)
    end)
  end)

  it("closes its socket when the lease ends", function()
    closes(function(pool)
      local kept = pool:get_client("fast", function(client)
        local stream = client:stream "q"
        stream()
        return stream
      end)
      local at = llmpool.now()
      local ok, err = pcall(kept)
      assert.is_false(ok)
      assert.matches("its client has ended", tostring(err))
      return at
    end)
  end)

  it("closes its socket when the lease ends while another task reads it",
     function()
    closes(function(pool)
      local lease = pool:acquire "fast"
      local stream = lease:stream "q"
      stream()
      local reader = llmpool.spawn(stream.read, stream)
      llmpool.sleep(0.01)
      lease:release()
      local at = llmpool.now()
      local ok, err = reader:pjoin()
      assert.is_false(ok)
      assert.matches("its client has ended", tostring(err))
      return at
    end)
  end)

  it("closes its socket when it is collected", function()
    closes(function(pool)
      do
        for piece in pool:stream("fast", "q") do
          local seen = function() return piece end
          if seen() then break end
        end
      end
      collectgarbage()
      collectgarbage()
    end)
  end)
end)

describe("a refused connection", function()
  it("is a reset that another client may make good", function()
    local pool = mock.pool("openai", { base_url = "http://127.0.0.1:1/v1" })
    local ok, err = pcall(whole, pool)
    assert.is_false(ok)
    assert.equal("reset", err.kind)
    assert.is_true(err.retryable)
    assert.equal("openai", err.provider)
    assert.equal("a", err.client)
    ledger.settled(pool)
  end)

  it("in silence is a timeout of the connection", function()
    local port = mock.control({ silent = true }).silent
    local pool = mock.pool("openai", { base_url = "http://127.0.0.1:" .. port,
                                     timeout = { connect = 0.05 } })
    for _, ask in ipairs { whole, streamed } do
      local ok, err = pcall(ask, pool)
      assert.is_false(ok)
      assert.equal("timeout_connect", err.kind)
      assert.is_true(err.retryable)
      assert.equal("provider", err.scope)
    end
    ledger.settled(pool)
  end)
end)

describe("draining", function()
  it("reads a cancelled request on, so that its connection is kept",
     function()
    mock.clear()
    local pool = mock.pool("openai", { on_cancel = "drain" })
    mock.next { text = "a b c d", wait_piece = 0.03 }
    local task = llmpool.spawn(streamed, pool)
    llmpool.sleep(0.05)
    task:cancel()
    task:pjoin()
    ledger.settled(pool)
    llmpool.sleep(0.15)
    local entry = mock.last()
    assert.is_number(entry.ended_at) -- it said all it had to say
  end)
end)
