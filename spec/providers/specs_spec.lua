-- llmpool.openai, anthropic and gemini: what a spec may say, where the key
-- comes from, and that it is seen nowhere.

local llmpool = require "llmpool"

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local program = os.getenv "LLMPOOL" or "build/llmpool"

local KEY = "sk-live-0123456789abcdef"
local URL = "http://127.0.0.1:1/v1"

local function refusal(make, t)
  local ok, err = pcall(make, t)
  assert.is_false(ok)
  assert.is_nil(tostring(err):find(KEY, 1, true))
  return tostring(err)
end

describe("a provider's client", function()
  it("is plain data with the key as a secret", function()
    local spec = llmpool.openai { id = "a", api_key = KEY, base_url = URL
      .. "/", slots = 4, rpm = 10, headers = { ["X-Extra"] = KEY } }
    assert.equal("a", spec.id)
    assert.equal("***", tostring(spec.config.api_key))
    assert.equal(KEY, spec.config.api_key:reveal())
    assert.equal(URL, spec.config.base_url)
    assert.same({ slots = 4, rpm = 10 }, spec.common)
    assert.equal("***", tostring(spec.config.headers["X-Extra"]))
  end)

  it("goes to other threads, key and all", function()
    local spec = llmpool.anthropic { id = "a", api_key = KEY, base_url = URL }
    assert.equal(KEY, llmpool.thread(function(sent)
      return sent.config.api_key:reveal()
    end, spec):join())
    assert.equal(KEY, spec.config.api_key:reveal())
  end)

  it("can be registered", function()
    local pool = llmpool.new()
    pool:register_model("m", {
      llmpool.openai { id = "a", api_key = KEY, base_url = URL },
      llmpool.anthropic { id = "b", api_key = KEY, base_url = URL },
      llmpool.gemini { id = "c", api_key = KEY, base_url = URL },
    })
    assert.equal(3, pool:stats("m").size)
  end)

  it("reads its key from a file", function()
    local path = files.with(KEY .. "\n", function(path)
      local spec = llmpool.gemini { id = "a", api_key_file = path }
      assert.equal(KEY, spec.config.api_key:reveal())
      assert.is_nil(spec.config.api_key_file)
      files.write(path, "")
      assert.matches("api_key_file of llmpool.gemini: .* is empty",
        refusal(llmpool.gemini, { id = "a", api_key_file = path }))
      return path
    end)
    assert.matches("api_key_file of llmpool.gemini: .*No such file",
      refusal(llmpool.gemini, { id = "a", api_key_file = path }))
  end)

  it("needs no key where its address is given", function()
    assert.is_nil(llmpool.openai { id = "a", base_url = URL }.config.api_key)
  end)

  local function says(sentence, make, t)
    it("says: " .. sentence, function()
      local text = refusal(make, t)
      assert.truthy(text:find(sentence, 1, true), text)
    end)
  end

  says("unknown option 'api_kee' of llmpool.openai; did you mean 'api_key'?",
    llmpool.openai, { id = "a", api_kee = KEY })
  says("llmpool.openai has api_key and api_key_env; one of them is the key",
    llmpool.openai, { id = "a", api_key = KEY, api_key_env = "X" })
  says("api_key of llmpool.openai: it is empty",
    llmpool.openai, { id = "a", api_key = "" })
  says("api_key of llmpool.openai: it has spaces or line breaks in it",
    llmpool.openai, { id = "a", api_key = KEY .. "\n" })
  says("api_key of llmpool.openai: it must be a string, got number",
    llmpool.openai, { id = "a", api_key = 5 })
  says("api_key_env of llmpool.openai: the environment has no LLMPOOL_NO_KEY",
    llmpool.openai, { id = "a", api_key_env = "LLMPOOL_NO_KEY" })
  says("base_url of llmpool.openai must be a URL, http://... or https://...",
    llmpool.openai, { id = "a", base_url = "localhost:8080" })
  says("base_url of llmpool.openai: it has a user and a password in it",
    llmpool.openai, { id = "a", base_url = "http://u:" .. KEY .. "@h/v1" })
  says("timeout of llmpool.openai: unknown field 'conect'; did you mean "
    .. "'connect'?", llmpool.openai, { id = "a", base_url = URL,
                                       timeout = { conect = 1 } })
  says("timeout of llmpool.openai must be seconds, or a table",
    llmpool.openai, { id = "a", base_url = URL, timeout = "x" })
  says("on_cancel of llmpool.openai must be \"close\" or \"drain\"",
    llmpool.openai, { id = "a", base_url = URL, on_cancel = "stop" })
  says("headers of llmpool.openai: X must be a string of one line",
    llmpool.openai, { id = "a", base_url = URL, headers = { X = "a\r\nb" } })
  says("llmpool.openai with azure needs api_version",
    llmpool.openai, { id = "a", azure = true, api_key = KEY, base_url = URL })
  says("unknown option 'azure' of llmpool.gemini",
    llmpool.gemini, { id = "a", azure = true })
  says("llmpool.gemini needs an id", llmpool.gemini, { api_key = KEY })
  says("bad argument #1 to 'anthropic' (table expected, got nil)",
    llmpool.anthropic, nil)
end)

describe("a provider's client in an environment #host", function()
  local function run(environment, code)
    return (shell.run(("env -u OPENAI_API_KEY -u OPENAI_BASE_URL "
      .. "-u GEMINI_API_KEY -u GOOGLE_API_KEY %s %s -e '%s'"):format(
      environment, program, code)))
  end

  it("finds key and address as the providers' own libraries do", function()
    local show = [[local c = require "llmpool".openai { id = "a" }.config
      print(c.api_key:reveal(), c.base_url)]]
    assert.equal("k1\thttps://api.openai.com/v1\n",
      run("OPENAI_API_KEY=k1", show))
    assert.equal("k1\thttp://h:1/v1\n",
      run("OPENAI_API_KEY=k1 OPENAI_BASE_URL=http://h:1/v1/", show))
    assert.matches('llmpool.openai "a" needs a key: api_key, api_key_env, '
      .. 'api_key_file, or OPENAI_API_KEY in the environment', run("", show))
    assert.matches("OPENAI_BASE_URL of llmpool.openai must be a URL",
      run("OPENAI_API_KEY=k1 OPENAI_BASE_URL=h", show))
    assert.equal("k2\thttps://generativelanguage.googleapis.com\n",
      run("GOOGLE_API_KEY=k2", (show:gsub("openai", "gemini"))))
  end)

  it("gives its key to no address that the spec names, unasked", function()
    assert.equal("nil\n", run("OPENAI_API_KEY=k1", [[
      print(require "llmpool".openai { id = "a", base_url = "http://h" }
        .config.api_key)]]))
  end)
end)

describe("a secret", function()
  it("shows nothing unless it is asked", function()
    local secret = llmpool.secret(KEY)
    assert.equal("***", tostring(secret))
    assert.equal(KEY, secret:reveal())
    assert.is_false(pcall(llmpool.secret))
    assert.is_false(pcall(llmpool.secret, 5))
    assert.is_false(pcall(secret.reveal, {}))
    assert.equal("a\0b", llmpool.secret("a\0b"):reveal())
  end)

  it("is refused by JSON, and says no more than what it is", function()
    local ok, err = pcall(require "llmpool.json".encode,
      { key = llmpool.secret(KEY) })
    assert.is_false(ok)
    assert.is_nil(tostring(err):find(KEY, 1, true))
  end)
end)
