-- Traces of running programs, and what `llmpool sim --replay` makes of them.

local json = require "llmpool.json"
local llmpool = require "llmpool"
local replay = require "llmpool.scenario.replay"

local files = require "spec.support.files"

local function read(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = json.decode(line) end
  return lines
end

local function with_path(body) return files.with("", body) end

-- Twenty requests, one a second, over a model that is down from 5 to 10.
local function record(path, target)
  llmpool.simulate({ seed = 3 }, function()
    local pool = llmpool.new()
    pool:register_model("m", { llmpool.simulated { id = "a", latency = 0.5,
      failures = { after = 0.1,
        outages = { { from = 5, to = 10, kind = "server" } } } } })
    pool:register_model("n", { llmpool.simulated { id = "b", latency = 2 } })
    local router = llmpool.router { pool = pool, policy = llmpool.plan {
      { model = "m" }, { model = "n" } } }
    local trace <close> = llmpool.trace(path, target == "pool" and pool
      or router)
    for i = 0, 19 do
      llmpool.spawn(function()
        llmpool.sleep(i)
        router:generate({ model = "m", max_tokens = 9, messages = { {
          role = "user", content = "a secret" } } }, { tenant = "t" .. i % 2 })
      end)
    end
    llmpool.sleep(60)
    trace:close()
    trace:close()
  end)
end

describe("a trace of a router", function()
  it("has every request with its attempts, and no words", function()
    with_path(function(path)
      record(path)
      local lines = read(path)
      assert.same({ trace = "llmpool", version = 1 }, lines[1])
      assert.equal(21, #lines)
      local failed = 0
      for i = 2, #lines do
        local line = lines[i]
        assert.is_true(line.ok)
        assert.equal("m", line.model)
        assert.equal(9, line.max_tokens)
        assert.equal(2, line.prompt_tokens)
        assert.matches("^t%d$", line.tenant)
        if #line.attempts == 2 then
          failed = failed + 1
          assert.equal("server", line.attempts[1].kind)
          assert.is_true(math.abs(line.attempts[1].seconds - 0.1) < 1e-6)
          assert.equal("b", line.attempts[2].client)
        end
      end
      assert.equal(5, failed)
      local file <close> = assert(io.open(path))
      assert.falsy(file:read "a":find "secret")
    end)
  end)

  it("is replayed with the same times and failures", function()
    with_path(function(path)
      record(path)
      local s = replay.scenario(path)
      assert.equal(2, #s.models)
      local r = s:run()
      assert.equal(20, r.requests)
      assert.equal(5, r.failed.server)
      r = s:run { policy = { { model = "m" }, { model = "n" } } }
      assert.equal(20, r.served)
      assert.equal(5, r.models.n.lends)
      assert.equal(6, r.latency.max // 1 | 0)
      assert.equal(r.hash, s:run { policy = llmpool.plan { { model = "m" },
        { model = "n" } } }.hash)
      assert.equal(10, r.tenants.t0.requests)
    end)
  end)
end)

describe("a trace of a pool", function()
  it("has its leases", function()
    with_path(function(path)
      record(path, "pool")
      local lines = read(path)
      assert.equal(1 + 20 + 5, #lines)
      local r = replay.scenario(path):run()
      assert.equal(25, r.served)
      assert.equal(5, r.models.n.lends)
    end)
  end)
end)

describe("a trace that is wrong", function()
  local function refused(text)
    return files.with(text, function(path)
      return select(2, pcall(replay.scenario, path))
    end)
  end
  local head = '{"trace":"llmpool","version":1}\n'

  it("is named, with the line", function()
    assert.matches("cannot read the trace: /none",
      select(2, pcall(replay.scenario, "/none")))
    assert.matches(":1: no trace of llmpool's", refused "{}\n")
    assert.matches("version 2, which this program does not know",
      refused '{"trace":"llmpool","version":2}\n')
    assert.matches("no requests", refused(head))
    assert.matches(":2: ", refused(head .. "{\n"))
    assert.matches(":2: a request has an instant", refused(head .. "{}\n"))
    assert.matches(":2: a request has a list", refused(head .. '{"at":1}\n'))
    assert.matches(":3: an attempt has", refused(head
      .. '{"at":1,"attempts":[]}\n{"at":1,"attempts":[{"model":1}]}\n'))
    assert.matches("no request of the trace has reached",
      refused(head .. '{"at":1,"attempts":[]}\n'))
  end)

  -- Killed, or a full disk: at every byte.
  it("is replayed up to its last whole line, wherever it is cut", function()
    local line = '{"at":%d,"attempts":[{"model":"m","client":"a","after":0,'
      .. '"seconds":1,"ok":true}],"ok":true}\n'
    local whole = head .. line:format(1) .. line:format(2)
    local first, second = #head + #line - 1, #head + 2 * (#line - 1)
    for size = 0, #whole do
      local text = whole:sub(1, size)
      files.with(text, function(path)
        local ok, lines, torn = pcall(replay.read, path)
        -- a line that lacks its end alone is whole
        local n = size >= second - 1 and 2 or size >= first - 1 and 1 or 0
        assert.equal(n > 0, ok, text)
        if n > 0 then
          local cut = size > first and size < second - 1
          assert.equal(n, #lines)
          assert.equal(cut and path .. ": its last line is cut off and left "
            .. "out: " .. n .. " requests are replayed" or nil, torn)
        else
          local why = size > 0 and size < #head - 1
            and "its first line is cut off: there is nothing to replay"
            or "the trace has no requests"
          assert.equal(path .. ": " .. why, lines)
        end
      end)
    end
    assert.matches(":1: malformed JSON.*; no trace of llmpool's", refused "{x")
  end)

  it("cannot be made of something else", function()
    assert.matches("bad argument #1 to 'trace'",
      select(2, pcall(llmpool.trace, 1, llmpool.new())))
    assert.matches("bad argument #2 to 'trace' %(a router or a pool",
      select(2, pcall(llmpool.trace, "x", {})))
    assert.matches("cannot write the trace: /none/x",
      select(2, pcall(llmpool.trace, "/none/x", llmpool.new())))
  end)
end)
