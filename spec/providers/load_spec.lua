-- Many requests at once: four threads with up to a thousand requests in flight
-- against the mock, whole, streamed and cancelled; the ledger is closed.

local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local mock = require "spec.support.mock"

local THREADS = 4

-- runs in a thread: no upvalues
local function work(pool, each)
  local llmpool = require "llmpool" -- luacheck: ignore 431
  local good, cancelled, wrong = 0, 0, {}
  local function check(i, text)
    if text == "You said: question " .. i then
      good = good + 1
    else
      wrong[#wrong + 1] = text
    end
  end
  local function streamed(i)
    local text = {}
    for piece in pool:stream("fast", "question " .. i) do
      text[#text + 1] = piece.text
    end
    check(i, table.concat(text))
  end
  llmpool.scope(function(scope)
    for i = 1, each do
      local task = scope:spawn(function()
        if i % 2 == 0 then return streamed(i) end
        check(i, (pool:generate("fast", "question " .. i)))
      end)
      if i % 10 == 0 then
        scope:spawn(function()
          llmpool.sleep(0.05)
          task:cancel()
          if not task:pjoin() then cancelled = cancelled + 1 end
        end)
      end
    end
  end)
  return good, cancelled, wrong[1]
end

describe("many requests in flight on four threads", function()
  local function are_answered(each)
    mock.clear()
    mock.control { default = { wait = each / 400, wait_piece = 0.01 },
                   keep_log = false }
    local pool, clients = llmpool.new(), {}
    for i = 1, THREADS * each do
      clients[i] = mock[i % 3 == 0 and "anthropic" or i % 3 == 1 and "gemini"
        or "openai"] { id = "key-" .. i }
    end
    pool:register_model("fast", clients)
    local threads = {}
    for i = 1, THREADS do threads[i] = llmpool.thread(work, pool, each) end
    local good, cancelled = 0, 0
    for _, thread in ipairs(threads) do
      local g, c, wrong = thread:join()
      assert.is_nil(wrong)
      good, cancelled = good + g, cancelled + c
    end
    assert.equal(THREADS * each, good + cancelled)
    assert.is_true(cancelled > 0)
    ledger.settled(pool)
    local state = mock.state()
    assert.is_true(state.most_in_flight > THREADS * each * 0.7,
      state.most_in_flight .. " were in flight")
    mock.clear()
  end

  it("are all answered, a hundred, and every client is back", function()
    are_answered(25)
  end)

  it("are all answered, a thousand, and every client is back #slow", function()
    are_answered(250)
  end)
end)
