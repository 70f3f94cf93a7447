-- scripts/chat.lua against the mock: piped, and at a terminal with Ctrl-C and
-- Ctrl-D.

local json = require "llmpool.json"
local llmpool = require "llmpool"

-- Everything it needs is the program's own; in a plain lua5.4 there is none.
local program = os.getenv "LLMPOOL" or "build/llmpool"

describe("scripts/chat.lua #host", function()
  local mock = require "spec.support.mock"

  local function run(input, words, environment)
    local errors = os.tmpname()
    local pipe = assert(io.popen(("printf '%%s' '%s' | env -u OPENAI_API_KEY "
      .. "-u OPENAI_BASE_URL -u ANTHROPIC_API_KEY -u GEMINI_API_KEY %s %s "
      .. "scripts/chat.lua %s 2>%s; echo \"status $?\""):format(input,
      environment or "", program, words or "", errors)))
    -- the mock is another process: waiting for this one is no deadlock
    local text = pipe:read "a"
    pipe:close()
    local file = assert(io.open(errors))
    local complaints = file:read "a"
    file:close()
    os.remove(errors)
    return text, complaints
  end

  local function openai(more)
    return ("OPENAI_API_KEY=k OPENAI_BASE_URL=%s/v1 %s"):format(mock.url(),
      more or "")
  end

  before_each(function() mock.clear() end)

  it("answers each line that is piped in, and remembers", function()
    local text, complaints = run("hello\n\nhow are you", "--system be-brief",
      openai())
    assert.equal("You said: hello\nYou said: how are you\nstatus 0\n", text)
    assert.equal("", complaints)
    local sent = mock.last().json
    assert.is_true(sent.stream)
    assert.equal("gpt-4o-mini", sent.model)
    assert.same({
      { role = "system", content = "be-brief" },
      { role = "user", content = "hello" },
      { role = "assistant", content = "You said: hello" },
      { role = "user", content = "how are you" },
    }, sent.messages)
  end)

  it("takes the provider whose key is there, and a model", function()
    run("hi", "--model=m1", "ANTHROPIC_API_KEY=k ANTHROPIC_BASE_URL="
      .. mock.url())
    assert.equal("/v1/messages", mock.last().path)
    assert.equal("m1", mock.last().json.model)
    run("hi", "--provider gemini --model m2", openai(
      "GEMINI_API_KEY=k GEMINI_BASE_URL=" .. mock.url()))
    assert.equal("/v1beta/models/m2:streamGenerateContent", mock.last().path)
  end)

  it("needs no key where an address is given", function()
    mock.next { text = "hi" }
    assert.equal("hi\nstatus 0\n", (run("q", "", "OPENAI_BASE_URL="
      .. mock.url() .. "/v1")))
  end)

  it("says what failed, goes on, and fails in the end", function()
    mock.next({ status = 500 }, { text = "a b", error_at = 1,
      error = { message = "broken" } }, { text = "good" })
    local text, complaints = run("one\ntwo\nthree", "", openai())
    assert.equal("a\ngood\nstatus 1\n", text)
    assert.matches("chat: openai client \"chat\" of \"chat\": 500",
      complaints)
    assert.matches("broken", complaints)
    assert.same({ "two", "a", "three" }, (function()
      local contents = {}
      for i, message in ipairs(mock.last().json.messages) do
        contents[i] = message.content
      end
      return contents
    end)())
  end)

  it("explains itself, and what is wrong with its arguments", function()
    assert.matches("^usage: llmpool scripts/chat.lua", (run("", "--help")))
    for words, sentence in pairs {
      ["--modle x"] = "unknown option '--modle'; did you mean '--model'?",
      ["--provider gemni"] = "unknown provider 'gemni'; did you mean 'gemini'?",
      ["--model"] = "--model needs a value",
      [""] = "llmpool.openai \"chat\" needs a key",
    } do
      local text, complaints = run("", words)
      assert.equal("status 2\n", text)
      assert.truthy(complaints:find("chat: " .. sentence, 1, true), complaints)
    end
  end)

  it("at a terminal ends an answer by Ctrl-C, and itself by Ctrl-D", function()
    local found, tmux = pcall(require, "spec.support.tmux")
    if not found or not os.execute "command -v tmux >/dev/null" then
      pending "tmux is not installed"
      return
    end
    local here = io.popen("pwd"):read "l"
    local host = require "spec.host.support"
    host.open()
    finally(host.close)
    local terminal <close> = tmux.open {
      args = "'" .. here .. "/scripts/chat.lua'", env = openai(),
    }
    terminal:prompt()
    mock.next { text = "one two three", wait_piece = 30 }
    terminal:line "hello"
    terminal:await "one"
    terminal:press "C-c"
    terminal:await "(interrupted)"
    terminal:prompt()
    assert.is_true(mock.closed_at() <= llmpool.now())
    terminal:line "again"
    terminal:await "You said: again"
    terminal:prompt()
    local contents = {}
    for i, message in ipairs(json.decode(mock.last().body).messages) do
      contents[i] = message.content
    end
    assert.same({ "hello", "one", "again" }, contents)
    terminal:press "C-d"
    terminal:await "status 0"
  end)
end)
