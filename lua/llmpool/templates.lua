-- templates.lua: the files of a new project (`llmpool new`): small, whole, and
-- each with a line that says what it is for.

local annotations = require "llmpool.annotations"

local templates = {}

local FILES = {}

FILES["main.lua"] = [[
-- NAME: sends a few requests over the pool, as policy.lua says.
--
--   llmpool main.lua

package.path = (arg[0]:match "^(.*/)" or "./") .. "?.lua;" .. package.path

local llmpool = require "llmpool"
local models = require "models"

local pool = models.register(llmpool.new())
local router = llmpool.router {
  pool = pool, policy = require "policy",
  strict = true, -- a mistake in it is an error; else any model would serve
}

for i = 1, 3 do
  print((router:generate("Question " .. i)))
end
]]

FILES["models.lua"] = [[
-- The models and their clients. These pretend; a real one is, for instance,
--   llmpool.openai { id = "key-1", api_key_env = "OPENAI_API_KEY",
--                    model = "gpt-4o-mini" }

local llmpool = require "llmpool"

local models = {}

function models.register(pool)
  pool:register_model("fast", {
    llmpool.simulated { id = "fast-1", latency = 0.2 },
    llmpool.simulated { id = "fast-2", latency = 0.2 },
  })
  pool:register_model("careful", {
    llmpool.simulated { id = "careful-1", latency = 0.8 },
  })
  return pool
end

return models
]]

FILES["policy.lua"] = [[
-- Where a request goes: the fast model first; if no client of it is free
-- within two seconds, or if it fails, the careful one.

local fallback = require "llmpool.policy.fallback"

return fallback { { model = "fast", wait = 2 }, "careful" }
]]

FILES["scenario.lua"] = [[
-- A rush hour, in no time: ten minutes of it, and what must hold.
--
--   llmpool sim scenario.lua

local here = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path

local scenario = require "llmpool.scenario"

return scenario {
  name = "rush hour",
  models = {
    fast = { clients = scenario.clients(2, {
      id = "fast-", latency = { "lognormal", median = 0.2, sigma = 0.3 },
    }) },
    careful = { clients = { {
      id = "careful-1",
      latency = { "lognormal", median = 0.8, sigma = 0.3 },
    } } },
  },
  traffic = { "poisson", rate = 6 },
  policy = require "policy",
  duration = 600,
  expect = { "served_rate == 1", "latency.p95 < 2" },
}
]]

FILES["spec/policy_spec.lua"] = [[
-- llmpool test

local here = (debug.getinfo(1, "S").source:match "^@(.*/)" or "./") .. "../"
package.path = here .. "?.lua;" .. package.path

local llmpool = require "llmpool"
local models = require "models"

describe("the policy", function()
  it("asks the fast model first", function()
    local model = llmpool.simulate({}, function()
      local pool = models.register(llmpool.new())
      local router = llmpool.router { pool = pool, policy = require "policy",
                                      strict = true }
      local _, response = router:generate "Hello"
      return response.model
    end)
    assert.equal("fast", model)
  end)

  it("takes the careful one when the fast one fails", function()
    local text = llmpool.simulate({}, function()
      local pool = llmpool.new()
      pool:register_model("fast", {
        { id = "broken", generate = function()
          error(llmpool.error("server", "out of order"))
        end },
      })
      pool:register_model("careful", {
        llmpool.simulated { id = "careful-1" },
      })
      local router = llmpool.router { pool = pool, policy = require "policy",
                                      strict = true }
      return (router:generate "Hello")
    end)
    assert.equal("[careful:careful-1] Response to: Hello", text)
  end)

  it("gets through the rush hour", function()
    require "llmpool.scenario".load(here .. "scenario.lua"):verify()
  end)
end)
]]

FILES[".busted"] = [[
-- `llmpool test` finds the specs by this.
return { default = { ROOT = { "spec" } } }
]]

local LUARC = [[
{
  "runtime.version": "Lua 5.4",
  "workspace.library": [
    "%s", "${3rd}/busted/library", "${3rd}/luassert/library"
  ],
  "diagnostics.globals": ["describe", "it", "before_each", "after_each"]
}
]]

local ORDER = { "main.lua", "models.lua", "policy.lua", "scenario.lua",
                "spec/policy_spec.lua", ".busted" }

-- The annotations for editors, as installed beside the program; nil: they are
-- not there.
local function installed_annotations(executable)
  local prefix = executable and executable:match "^(.*)/bin/[^/]*$"
  local path = prefix and prefix .. "/share/llmpool/meta"
  local file = path and io.open(path .. "/pool.lua")
  if not file then return nil end
  file:close()
  return path
end

--- The files of a project: list of {name, text}.
-- @param executable string or nil: the program's path
function templates.files(name, executable)
  local files = {}
  for i, file in ipairs(ORDER) do
    files[i] = { file, (FILES[file]:gsub("NAME", name)) }
  end
  local meta = installed_annotations(executable)
  files[#files + 1] = { ".luarc.json", LUARC:format(meta or "meta") }
  if meta then return files end
  for _, file in ipairs(annotations.files()) do -- a copy of its own, then
    files[#files + 1] = { "meta/" .. file[1]:gsub("%.", "/") .. ".lua",
                          file[2] }
  end
  return files
end

return templates
