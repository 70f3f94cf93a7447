-- What Tab offers, by the end of the line; and that looking runs nothing.

local complete = require "llmpool.prompt.complete"
local llmpool = require "llmpool"

local FILES = { ["."] = { "scripts/", "a.lua", "ab.lua", ".hidden" },
                ["scripts/"] = { "demo.sh", "tour/" },
                ["./"] = { "mine.lua", "min.txt", "my-own.lua", "mind/" },
                ["./mind/"] = { "part.lua", "other.lua" },
                ["/usr/lib/lua/5.4/"] = { "mimed.so", "mi.lua" } }

local function files(directory) return FILES[directory] or {} end

local env

-- "line|" -> what the line could become, without its beginning
local function offers(line)
  local first, list = complete.line(line, env, files)
  return table.concat(list, " "), first
end

describe("completion", function()
  before_each(function()
    env = {
      string = string, print = print, pool = llmpool.new(), text = "abc",
      thing = { name = "x", nested = { deep = 1, depth = 2 }, go = print,
                [1] = 2, ["not a name"] = 3, _hidden = 4 },
    }
    env.pool:register_model("gpt-4", { llmpool.simulated { id = "a" } })
    env.pool:register_model("claude", { llmpool.simulated { id = "a" } })
  end)

  it("offers globals and keywords", function()
    assert.same("pool print", (offers "p"))
    assert.same("then thing", (offers "x = th"))
    assert.same("text", (offers "f(te"))
    assert.same("", (offers "nothing"))
    local list, first = offers "x = pri"
    assert.same("print", list)
    assert.same(5, first)
  end)

  it("offers fields, by way of tables", function()
    assert.same("go name nested", (offers "thing."))
    assert.same("_hidden", (offers "thing._"))
    assert.same("deep depth", (offers "thing.nested.de"))
    assert.same("", (offers "thing.nothing.x"))
    assert.same("rep reverse", (offers "string.re"))
    local _, first = offers "x = thing.na"
    assert.same(11, first)
  end)

  it("offers methods, of tables, strings and userdata", function()
    assert.same("go", (offers "thing:"))
    assert.same("rep reverse", (offers "text:re"))
    assert.same("generate get_client", (offers "pool:ge"))
    env.client = env.pool:acquire "gpt-4"
    assert.same("release report retire", (offers "client:re"))
    env.client:release()
  end)

  it("goes through __index tables and runs no function", function()
    local function never() error "ran" end
    local base = setmetatable({ basic = 1 }, { __index = never })
    env.object = setmetatable({ own = 1 },
      { __index = base, __pairs = never, __len = never })
    assert.same("basic own", (offers "object."))
    local ring = {}
    ring.__index = setmetatable({}, ring)
    env.ring = setmetatable({ a = 1 }, ring)
    assert.same("a", (offers "ring."))
  end)

  it("offers nothing behind what it cannot know", function()
    assert.same("", (offers "f().x"))
    assert.same("", (offers "t[1]:x"))
    assert.same("", (offers "3."))
    assert.same("", (offers "-- pr"))
    assert.same("", (offers ""))
  end)

  it("offers models where a model is asked for", function()
    assert.same("claude gpt-4", (offers 'pool:generate("'))
    assert.same('gpt-4"', (offers 'pool:get_client("g'))
    assert.same("gpt-4'", (offers "pool:stats 'g"))
    assert.same('claude"', (offers 'pool:acquire({"gpt-4", "c'))
    assert.same('claude"', (offers 'unknown.pool:acquire("c'))
  end)

  it("offers modules that are not loaded yet", function()
    assert.same('llmpool.scenario"', (offers 'require "llmpool.sc'))
    assert.same('llmpool.policy.least_busy"',
                (offers 'require "llmpool.policy.le'))
    local path, cpath = package.path, package.cpath
    package.path, package.cpath = "./?.lua;/none/?/init.lua;odd",
                                  "/usr/lib/lua/5.4/?.so"
    local found = { offers 'require "mi', offers 'require "mind.',
                    offers "require 'mind.o" }
    package.path, package.cpath = path, cpath
    assert.same({ "mimed mine", "mind.other mind.part", "mind.other'", 10 },
                found)
  end)

  it("offers modules, topics and files in strings", function()
    assert.same('string"', (offers 'require "stri'))
    assert.same("llmpool.scenario'", (offers "x = require('llmpool.s"))
    assert.same("", (offers 'require "llmpool.nea')) -- nobody's but ours
    assert.same("", (offers 'require "llmpool.policy.lang'))
    assert.same('llmpool.pretty"', (offers 'require "llmpool.pr'))
    assert.same('llmpool.pool:acquire"', (offers 'help "llmpool.pool:acq'))
    assert.same("a.lua ab.lua scripts/", (offers 'dofile "'))
    assert.same('.hidden"', (offers 'dofile ".h'))
    assert.same("scripts/", (offers 'dofile "s'))
    assert.same('scripts/demo.sh"', (offers 'dofile "scripts/d'))
    assert.same("", (offers 'dofile "nowhere/d'))
    assert.same("print", (offers [["a \" b" .. pri]]))
  end)
end)
