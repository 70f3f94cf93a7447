-- A stream of each provider, written down from the description of its format
-- (spec/fixtures), sent in two parts that are cut at every byte in turn: the
-- answer is the same each time.

local llmpool = require "llmpool"
local mock = require "spec.support.mock"

local AT_ONCE = 40

local function fixture(name)
  local file = assert(io.open("spec/fixtures/" .. name .. ".sse", "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function answer_of(pool)
  local texts = {}
  local stream = pool:stream("m", "q")
  for piece in stream do texts[#texts + 1] = piece.text end
  local response = stream.response
  response.timings = nil
  return table.concat(texts), response
end

local function as_expected(pool)
  local text, response = answer_of(pool)
  assert.equal("Grüße 你好", text)
  assert.equal(text, response.text)
  assert.equal("tool_calls", response.finish_reason)
  assert.equal(1, #response.tool_calls)
  assert.same({ name = "f", arguments = '{"x":1}' },
    response.tool_calls[1]["function"])
  assert.equal(9, response.usage.prompt_tokens)
  assert.equal(6, response.usage.completion_tokens)
  assert.equal(15, response.usage.total_tokens)
  assert.equal("m", response.model)
end

-- One request for each place from `first` on, so many at a time.
local function replay(name, bytes, step)
  local pool, clients = llmpool.new(), {}
  for i = 1, AT_ONCE do clients[i] = mock[name] { id = "c" .. i } end
  pool:register_model("m", clients)
  local place = 0
  llmpool.scope(function(scope)
    for _ = 1, AT_ONCE do
      scope:spawn(function()
        while place < #bytes do
          place = place + step
          as_expected(pool)
        end
      end)
    end
  end)
end

for _, name in ipairs { "openai", "anthropic", "gemini" } do
  describe("a written stream of " .. name, function()
    for _, row in ipairs { { "LF", "\n", 7 }, { "CRLF", "\r\n", 5 },
                           { "CR", "\r", 7 },
                           { "CRLF, at each byte, #slow,", "\r\n", 1 } } do
      local what, newline, step = table.unpack(row)
      it("with " .. what .. " is the same answer wherever it is cut",
         function()
        mock.clear()
        local bytes = fixture(name):gsub("\n", newline)
        local scripts = {}
        for cut = 1, #bytes, step do
          scripts[#scripts + 1] = { body = bytes, cut = cut,
                                    content_type = "text/event-stream" }
        end
        for _ = 1, AT_ONCE do
          scripts[#scripts + 1] = { body = bytes,
                                    content_type = "text/event-stream" }
        end
        mock.next(table.unpack(scripts))
        mock.control { keep_log = false }
        replay(name, bytes, step)
      end)
    end
  end)
end
