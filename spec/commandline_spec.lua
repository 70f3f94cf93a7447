-- Commands of the program that are written in Lua: options, help, statuses.
-- What the program does before it has a Lua state is spec/host's business.

local commandline = require "llmpool.commandline"

local OPTIONS = {
  { name = "seed", value = "N", text = "a seed" },
  { name = "out", short = "o", value = "FILE", text = "a file", many = true },
  { name = "json", text = "as JSON" },
}

local function parse(...) return commandline.parse(OPTIONS, { ... }) end

describe("options of a command", function()
  it("are taken out of the words", function()
    assert.same({ "a", "b", seed = "7", json = true },
                parse("a", "--seed", "7", "--json", "b"))
    assert.same({ seed = "=x=" }, parse("--seed==x="))
    assert.same({ seed = "" }, parse("--seed="))
    assert.same({ "-" }, parse "-")
  end)

  it("come as a list where they may be many", function()
    assert.same({ out = { "a", "b", "c" } },
                parse("-o", "a", "--out", "b", "--out=c"))
  end)

  it("end at --", function()
    assert.same({ "a", "--json", "--" }, parse("a", "--", "--json", "--"))
  end)

  it("that are wrong say what is right", function()
    local function wrong(...) return (select(2, parse(...))) end
    assert.same("unknown option '--sed' (did you mean '--seed'?)",
                wrong("--sed", "7"))
    assert.same("unknown option '--sed' (did you mean '--seed'?)",
                wrong "--sed=7")
    assert.same("unknown option '-x'", wrong "-x")
    assert.same("--seed needs a value (N)", wrong "--seed")
    assert.same("-o needs a value (FILE)", wrong "-o")
    assert.same("--json takes no value", wrong "--json=1")
    assert.same("--seed is given twice", wrong("--seed", "1", "--seed=2"))
    assert.same("--seed is given twice", wrong("--seed=", "--seed", "2"))
  end)
end)

describe("a command", function()
  local printed

  before_each(function() printed = { out = "", err = "" } end)
  after_each(function() package.loaded["llmpool.command.x"] = nil end)

  local function writer(name)
    return function(text) printed[name] = printed[name] .. text end
  end

  local function run(command, ...)
    package.loaded["llmpool.command.x"] = command
    return commandline.run("x", { program = "P", out = writer "out",
                                  err = writer "err", ... })
  end

  it("gets its words and answers with a status", function()
    local seen
    local function answer(value)
      return { run = function(args, host)
        seen = { args, host }
        return value
      end }
    end
    assert.same(0, run(answer(nil), "a", "--b"))
    assert.same({ "a", "--b" }, seen[1])
    assert.same("P", seen[2].program)
    assert.same(0, run(answer(true)))
    assert.same(1, run(answer(false)))
    assert.same(3, run(answer(3)))
    assert.same({ out = "", err = "" }, printed)
  end)

  it("gets its options read", function()
    local seen
    assert.same(0, run({ options = OPTIONS, run = function(args)
      seen = args
    end }, "a", "--json"))
    assert.same({ "a", json = true }, seen)
    assert.same(1, run({ options = OPTIONS, run = error }, "--jsn"))
    assert.same("P: x: unknown option '--jsn' (did you mean '--json'?); " ..
                "see 'P help x'\n", printed.err)
  end)

  it("may have a number of words and no more", function()
    local function run_with(...)
      return run({ options = OPTIONS, most = 1, run = function() end }, ...)
    end
    assert.same(0, run_with())
    assert.same(0, run_with("a", "--json"))
    assert.same(1, run_with("a", "--json", "b", "c"))
    assert.same("P: x: what is 'b'?\n", printed.err)
  end)

  it("answers nil and what is wrong", function()
    assert.same(1, run { run = function() return nil, "no such file" end })
    assert.same("P: x: no such file\n", printed.err)
  end)

  it("raises as a script does", function()
    assert.has_error(function() run { run = function() error("no", 0) end } end,
                     "no")
  end)
end)

describe("every command #once", function()
  local function help_of(name)
    local text = ""
    commandline.help(name, { program = "llmpool", version = "0",
                             out = function(more) text = text .. more end })
    return text
  end

  for _, name in ipairs(commandline.names()) do
    it("has help that fits a screen: " .. name, function()
      local help, lines = help_of(name), 0
      for line in help:gmatch "([^\n]*)\n" do
        lines = lines + 1
        assert.is_true(utf8.len(line) <= 80, line)
      end
      assert.is_true(lines <= 24, lines .. " lines")
      assert.is_true(#commandline.find(name).summary <= 57)
      assert.truthy(help:find("\n$"))
    end)
  end
end)
