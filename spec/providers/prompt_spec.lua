-- A prompt alone: its short way says the same to the provider as a request
-- with one message, whatever is in it.

local json = require "llmpool.json"
local upstream = require "llmpool.providers.upstream"

describe("the body of a prompt", function()
  local sent

  local function client_of(name, config)
    config.base_url = config.base_url or "http://127.0.0.1:1"
    return upstream.new(require("llmpool.providers." .. name), config,
      { id = "a", model = "m" })
  end

  -- What a client would send; nothing answers.
  local function body_of(client, given)
    local http = require "llmpool.http"
    local request = http.request
    http.request = function(order)
      sent = order
      error("sent", 0)
    end
    local ok, err = pcall(client.generate, client, given)
    http.request = request
    assert.is_false(ok)
    return sent and sent.body, err
  end

  before_each(function() sent = nil end)

  local PROMPTS = { "Hello", " ", "a\nb\0c\1", "\"\\u0001", "Grüße 你好 😀",
                    "\1 the prompt \1", ("x"):rep(100000), "" }
  local CLIENTS = {
    openai = { {}, { max_tokens = 7 }, { model = "other" } },
    anthropic = { {}, { max_tokens = 7 } },
    gemini = { {}, { max_tokens = 7 } },
  }

  it("is that of the message", function()
    if not pcall(require, "llmpool.http") then return pending "no http" end
    for name, configs in pairs(CLIENTS) do
      for _, config in ipairs(configs) do
        local client = client_of(name, config)
        for _, prompt in ipairs(PROMPTS) do
          local short = body_of(client, prompt)
          assert.equal(body_of(client, { messages = {
            { role = "user", content = prompt } } }), short)
          assert.truthy(json.decode(short))
        end
      end
    end
  end)

  it("goes the long way where the model's name has the mark in it", function()
    if not pcall(require, "llmpool.http") then return pending "no http" end
    local client = client_of("openai", { model = "\1 the prompt \1" })
    local body = json.decode((body_of(client, "Hello")))
    assert.equal("Hello", body.messages[1].content)
    assert.equal("\1 the prompt \1", body.model)
  end)

  it("is refused as the message is", function()
    if not pcall(require, "llmpool.http") then return pending "no http" end
    local client = client_of("openai", {})
    local body, err = body_of(client, "\xff")
    assert.is_nil(body)
    assert.equal("bad_request", err.kind)
    assert.truthy(err.message:find "messages%[1%].content", err.message)
  end)
end)
