-- What becomes of a real provider's client after each kind of failure, whole
-- and streamed: it serves on, rests, or is out of service, as the table of
-- failures says; and the lease is back each time.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local mock = require "spec.support.mock"

local function limit(headers)
  return { status = 429, headers = headers, error = { message = "slow" } }
end

local DAY = { status = 429, body = { error = { code = 429, status =
  "RESOURCE_EXHAUSTED", message = "q", details = { { ["@type"] =
  "type.googleapis.com/google.rpc.QuotaFailure", violations = { { quotaId =
  "RequestsPerDay" } } } } } } }

-- what the upstream does, the client's state after it, seconds of its rest
local ROWS = {
  { { status = 400 }, "idle" },
  { { status = 400, error = { code = "context_length_exceeded",
      message = "long" } }, "idle" },
  { { status = 404 }, "idle" },
  { { status = 401 }, "disabled" }, { { status = 403 }, "disabled" },
  { { status = 402 }, "disabled" },
  { { status = 429, error = { code = "insufficient_quota",
      message = "pay" } }, "disabled" },
  { DAY, "disabled" },
  { limit { ["retry-after"] = "20" }, "resting", 20 },
  { limit { ["retry-after-ms"] = "1500" }, "resting", 1.5 },
  { limit { ["x-ratelimit-remaining-tokens"] = "0",
            ["x-ratelimit-reset-tokens"] = "1m0s" }, "resting", 60 },
  { limit {}, "resting", 1 },
  { { status = 503, headers = { ["retry-after"] = "9" } }, "resting", 9 },
  { { status = 529 }, "idle" }, { { status = 500 }, "idle" },
  { { reset_at = 40 }, "idle" }, { { body = "{" }, "idle" },
  { { wait = 1 }, "idle" },
}

local function stream_through(pool)
  for _ in pool:stream("fast", "q") do end -- luacheck: ignore 542
end

local function generate(pool) pool:generate("fast", "q") end

local function state_of(pool)
  for _, client in ipairs(pool:clients "fast") do
    if client.id == "a" then return client end
  end
end

describe("after a failure", function()
  for i, row in ipairs(ROWS) do
    for how, ask in pairs { whole = generate, streamed = stream_through } do
      it(("%d, %s, its client is %s and another serves"):format(i, how,
        row[2]), function()
        mock.clear()
        local pool = llmpool.new()
        pool:register_model("fast", {
          mock.openai { id = "a", api_key = "sk-the-first-key", timeout =
            { first = 0.1 } },
          mock.openai { id = "b", api_key = "sk-the-second-key" },
        })
        mock.by_key("sk-the-first-key", row[1])
        local ok, err = pcall(function()
          pool:get_client("fast", function(client)
            assert.equal("a", client.id)
            if ask == generate then return client:generate "q" end
            for _ in client:stream "q" do end -- luacheck: ignore 542
          end, { prefer = "a" })
        end)
        assert.is_false(ok)
        ledger.settled(pool)
        local client = state_of(pool)
        assert.equal(row[2], client.state, tostring(err))
        if row[3] then
          local rest = client.rest_until - llmpool.now()
          assert.is_true(math.abs(rest - row[3]) < 0.5, rest)
        end
        ask(pool)
        ledger.settled(pool)
      end)
    end
  end

  it("the later of two rests holds", function()
    mock.clear()
    local pool = llmpool.new()
    pool:register_model("fast", { mock.openai { id = "a", slots = 2 } })
    mock.next(limit { ["retry-after"] = "30" }, limit { ["retry-after"] = "5" })
    llmpool.scope(function(scope)
      for _ = 1, 2 do
        scope:spawn(function() pcall(pool.generate, pool, "fast", "q") end)
      end
    end)
    assert.is_true(state_of(pool).rest_until - llmpool.now() > 29)
    ledger.settled(pool)
  end)

  it("a key that is out serves again when it is replaced", function()
    mock.clear()
    local pool = llmpool.new()
    pool:register_model("fast", { mock.openai { id = "a", api_key =
      "bad-key-1234567" } })
    local ok, err = pcall(generate, pool)
    assert.is_false(ok)
    assert.equal("auth", err.kind)
    ok, err = pcall(generate, pool)
    assert.is_false(ok)
    assert.equal("out_of_service", err.kind)
    assert.is_nil(tostring(err):find("bad-key", 1, true))
    pool:replace_client("fast", mock.openai { id = "a" })
    generate(pool)
    ledger.settled(pool)
  end)
end)
