-- What is taken for a secret, and what is not.

local secrets = require "llmpool.secrets"

describe("secrets", function()
  it("are known by the names of their fields", function()
    for _, name in ipairs { "api_key", "apiKey", "API-KEY", "x-api-key",
                            "openai_api_key", "secret", "client_secret",
                            "password", "Authorization", "token",
                            "access_token" } do
      assert.is_true(secrets.is_name(name), name)
    end
    for _, name in ipairs { "api_key_env", "api_key_file", "key", "tokens",
                            "max_tokens", "per_token", "id", "", 7 } do
      assert.is_false(secrets.is_name(name), name)
    end
  end)

  it("are known by their looks", function()
    for text, masked in pairs {
      ["sk-proj-abcdef123456"] = "***",
      ["key sk-ant-api03-xyzxyz, then"] = "key ***, then",
      ["AIzaSyA1234567890"] = "***",
      ["Authorization: Bearer abc.def"] = "Authorization: ***",
      ["ghp_abcdefghijkl"] = "***",
    } do
      assert.is_true(secrets.is_in(text), text)
      assert.same(masked, secrets.masked(text))
    end
    for _, text in ipairs { "sk-1", "task-oriented programs", "ask-me-anything",
                            "the bearer", "key-1", "" } do
      assert.is_false(secrets.is_in(text), text)
      assert.same(text, secrets.masked(text))
    end
  end)

  it("are seen where a line sets one", function()
    for _, line in ipairs { [[x = { api_key = "abc" }]], [[api_key='abc']],
                            [[t["api-key"] = "abc"]], [[password = [=[a]=] ]],
                            [[f("sk-abcdefghijk")]] } do
      assert.is_true(secrets.is_set_in(line), line)
    end
    for _, line in ipairs { [[x = { api_key_env = "OPENAI_API_KEY" }]],
                            [[api_key = os.getenv "KEY"]], [[id = "key-1"]],
                            [[max_tokens = "7"]], "" } do
      assert.is_false(secrets.is_set_in(line), line)
    end
  end)
end)
