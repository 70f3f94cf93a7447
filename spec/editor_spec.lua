-- What an editor makes of the annotations: lua-language-server over a new
-- project, where it must find nothing, and over mistakes, of which it must find
-- each. Only where it is installed (Debian has no package of it); what can be
-- held to without it, meta_spec.lua does.

local shell = require "spec.support.shell"

local must, run = shell.must, shell.run

local SERVER = "lua-language-server"

-- Each line that ends with a comment is wrong, and is to be told so.
local MISTAKES = [[
local llmpool = require "llmpool"
local fallback = require "llmpool.policy.fallback"
local hedge = require "llmpool.policy.hedge"
local pretty = require "llmpool.pretty"
local scenario = require "llmpool.scenario"
local shadow = require "llmpool.policy.shadow"

local pool = llmpool.new()
local plan = hedge { fallback { "a", { model = "b", wait = 2 } }, after = 1 }
hedge(5) -- assign
hedge { "a", after = true } -- assign
fallback "a" -- assign
print(shadow.counts(shadow { plan, "b" }).asked, shadow.bogus) -- bogus
print(pretty.text({}, 5)) -- assign
print(pool:acquire("m", 5)) -- assign
print(pool:stats("m").acquird) -- acquird
print(scenario.new(5)) -- assign
print(llmpool.router { pool = 1 }) -- assign
print(llmpool.router { pool = pool, policy = function(_, view)
  return { view.bogus } -- bogus
end })
print(llmpool.router { pool = pool, policy = function() return "a" end })
print(llmpool.simulated { id = "a", latency = 0.1, slots = 2 })
print(llmpool.openai { id = "a", model = 5 }) -- assign
]]

describe("an editor #once #host #slow", function()
  local place, skipped
  setup(function()
    if not select(2, run("command -v " .. SERVER)) then
      skipped = SERVER .. " is not installed"
      return
    end
    local program = must("realpath " .. (os.getenv "LLMPOOL" or
                                         "build/llmpool")):gsub("\n", "")
    place = must("mktemp -d"):gsub("\n", "")
    must(("cd %s && %s new demo"):format(place, program))
  end)
  teardown(function() if place then must("rm -rf " .. place) end end)

  -- line -> what it says of it, for the files of the project.
  local function complaints()
    local said = run(("%s --check %s/demo --checklevel=Warning " ..
      "--logpath=%s/log"):format(SERVER, place, place))
    said = said:gsub("\27%[[%d;]*m", "")
    assert.matches("Diagnosis complete", said)
    local found, form = {}, "([%w_./]+%.lua):(%d+):%d+ (%[[^\n]*)"
    for file, line, text in said:gmatch(form) do
      found[#found + 1] = { file = file, line = tonumber(line), text = text }
    end
    return found
  end

  it("finds nothing wrong with a new project", function()
    if skipped then return pending(skipped) end
    assert.same({}, complaints())
  end)

  it("knows what the modules take and return", function()
    if skipped then return pending(skipped) end
    local file <close> = assert(io.open(place .. "/demo/wrong.lua", "w"))
    file:write(MISTAKES)
    file:close()
    local wanted, number = {}, 0
    for line in MISTAKES:gmatch "([^\n]*)\n" do
      number = number + 1
      wanted[number] = line:match "%-%- (%w+)$"
    end
    local unwanted = {}
    for _, found in ipairs(complaints()) do
      local word = wanted[found.line]
      if word == nil then
        unwanted[#unwanted + 1] = found
      elseif word and found.text:find(word, 1, true) then
        wanted[found.line] = false -- found
      end
    end
    assert.same({}, unwanted)
    for line = 1, number do
      assert(not wanted[line], "nothing is said of line " .. line)
    end
  end)
end)
