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

  it("offers what lies in lists, where nothing has to be run", function()
    env.list = { { name = "x", deep = { 7 } }, named = {} }
    env.key = { a = 1 }
    for line, expected in pairs {
      ["list[1].n"] = "name", ["x = {list[1]."] = "deep name",
      ["list[ke"] = "key", ["list[key."] = "a", ["list[key].a"] = "",
      ["list[f()].n"] = "", ["f():a"] = "", ["list['named'].x"] = "",
      ["('x'):re"] = "rep reverse", ["print((\"x\"):re"] = "rep reverse",
      ["f('x'):re"] = "", ["pool :ge"] = "generate get_client",
      ["'a' .. te"] = "text", ["3 ..te"] = "text", ["3.te"] = "",
    } do
      assert.same(expected, (offers(line)), line)
    end
  end)

  it("knows where strings and comments end", function()
    for line, expected in pairs {
      ["-- a comment\nthing.na"] = "name", ["x = 'open\nthing.na"] = "name",
      ["--[[ te"] = "", ["--[[ x ]] te"] = "text", ["[==[ ]] te"] = "",
      ["x = [[ a ]] te"] = "text", ["x = 'it\\'s' .. te"] = "text",
    } do
      assert.same(expected, (offers(line)), line)
    end
  end)

  it("offers the locals of the text", function()
    assert.same("bar baz", (offers "local function f(bar) local baz; f(ba"))
    assert.same("value", (offers "for key, value in pairs(t) do f(va"))
    assert.same("index", (offers "for index = 1, 3 do f(ind"))
    local first, list = complete.line("  f(ba", env, files,
      "function f(bar)\n  local baz <const> = 1")
    assert.same({ 5, { "bar", "baz" } }, { first, list })
  end)

  it("offers the options that a table may have", function()
    env.llmpool = llmpool
    env.hedge = require "llmpool.policy.hedge"
    for line, expected in pairs {
      ["pool:acquire('gpt-4', { ti"] = "timeout = ",
      ["pool:acquire('gpt-4', { timeout = 1, t"] = "tokens = ",
      ["pool:acquire('gpt-4', { timeout = te"] = "text",
      ["unknown:acquire('m', { ti"] = "timeout = ",
      ["llmpool.simulated { la"] = "latency = ",
      ["llmpool.openai { breaker = { fail"] = "failures = ",
      ["pool:register_model('m', { llmpool.simulated { lat"] = "latency = ",
      ["pool:register_model('m', { { gen"] = "generate = ",
      ["pool:register_model('m', {}, { check_i"] = "check_interval = ",
      ["pool:register_model('m', {}, { order = '"] = "fifo lifo",
      ["pool:register_model('m', {}, { order = 'l"] = "lifo'",
      ["pool:generate('gpt-4', { mess"] = "messages = ",
      ["hedge { af"] = "after = ",
      ["require 'llmpool.policy.hedge' { af"] = "after = ",
      ["x = { te"] = "text", ["f { te"] = "text",
    } do
      assert.same(expected, (offers(line)), line)
    end
  end)

  it("offers the clients of a model", function()
    assert.same("a'", (offers "pool:cool_down('gpt-4', '"))
    assert.same("a'", (offers "pool:acquire('gpt-4', { prefer = '"))
    assert.same("a'", (offers "pool:acquire('gpt-4', { exclude = { 'b', '"))
    assert.same("", (offers "pool:cool_down('none', '"))
  end)

  it("writes names as the string has them", function()
    FILES["odd/"] = { "it's.lua", 'q".lua', "two words.lua", "back\\slash" }
    for line, expected in pairs {
      ["dofile 'odd/it"] = [[odd/it\'s.lua']],
      ['dofile "odd/it'] = [[odd/it's.lua"]],
      [ [[dofile 'odd/it\'s]] ] = [[odd/it\'s.lua']],
      ['dofile "odd/q'] = [[odd/q\".lua"]],
      ["dofile 'odd/two w"] = "odd/two words.lua'",
      ["dofile 'odd/ba"] = [[odd/back\\slash']],
      ["dofile [[odd/two"] = "odd/two words.lua]]",
    } do
      assert.same(expected, (offers(line)), line)
    end
  end)

  it("says what need not be shown", function()
    local _, list, hidden = complete.line("dofile 'scripts/", env, files)
    assert.same({ "scripts/demo.sh", "scripts/tour/" }, list)
    assert.same(#"scripts/", hidden)
    assert.same(#"llmpool.policy.", select(3,
      complete.line("require 'llmpool.policy.", env, files)))
    assert.same(0, select(3, complete.line("te", env, files)))
  end)
end)
