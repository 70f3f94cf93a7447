-- faults: what the catalogue of faults is written with, and how a row of it
-- is tried: answers as bytes, clients of the raw server, what must hold after.

local assert = require "luassert"
local ledger = require "spec.support.ledger"
local llmpool = require "llmpool"
local pretty = require "llmpool.pretty"
local raw = require "spec.support.raw"

local faults = {}

faults.KEY = "sk-raw-7d1f0c9b8a6e5432"

-- ---- bytes -----------------------------------------------------------------

faults.TEXT = '{"id":"i","model":"m","choices":[{"index":0,"message":{"role":'
  .. '"assistant","content":"ab"},"finish_reason":"stop"}],"usage":'
  .. '{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'

faults.CHUNKED = "Transfer-Encoding: chunked\r\n"

function faults.answer(headers, body, status)
  return ("HTTP/1.1 %s\r\n%s\r\n%s"):format(status or "200 OK", headers,
    body or "")
end

--- A whole answer with its length.
function faults.whole(body, status, more)
  return faults.answer(("Content-Type: application/json\r\n%sContent-Length: "
    .. "%d\r\n"):format(more or "", #body), body, status)
end

function faults.chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end

--- The steps of a refusal; what it says has the key in it.
function faults.refusal(status, body, headers)
  return { "<body", faults.whole(body or '{"error":{"message":"for '
    .. faults.KEY .. '"}}', status, headers) }
end

-- ---- a row -----------------------------------------------------------------

--- A pool with one client, whose answer the plan is.
-- @param name string or nil: the provider, openai
function faults.pool(plan, name)
  local pool = llmpool.new()
  pool:register_model("m", { llmpool[name or "openai"] {
    id = "a", api_key = faults.KEY, base_url = raw.url(),
    headers = raw.plan(plan), max_bytes = 1000000, breaker = false,
    timeout = { connect = 2, first = 0.1, idle = 0.05 },
  } })
  return pool
end

--- That neither the key nor its middle can be seen in a value.
function faults.assert_clean(what)
  local text = type(what) == "table" and pretty(what) or tostring(what)
  assert.is_nil(text:find(faults.KEY, 1, true), text)
  assert.is_nil(text:find("7d1f0c9b", 1, true), text)
end

--- @param wanted string or table: a kind, or a set of them
function faults.check_kind(wanted, err)
  assert.is_table(err, tostring(err))
  if type(wanted) == "table" then
    assert.is_true(wanted[err.kind], err.kind .. ": " .. err.message)
  else
    assert.equal(wanted, err.kind, err.message)
  end
  faults.assert_clean(err)
  faults.assert_clean(err.message)
end

--- That the client is back, idle or in the state, for so many seconds.
function faults.check_client(pool, state, rest)
  ledger.settled(pool)
  local client = pool:clients "m"[1]
  assert.equal(state or "idle", client.state)
  if rest then
    -- a second that has begun counts as a whole one where a date is meant
    assert.near(rest, client.rest_until - llmpool.now(), rest == 60 and 1.5
      or 0.5)
  end
  faults.assert_clean(client)
  faults.assert_clean(pool:stats "m")
end

return faults
