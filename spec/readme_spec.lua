-- The README tells the truth, so do CONTRIBUTING.md and every page of the
-- manual (lua/llmpool/doc): every block of commands (```sh) or of Lua (```lua)
-- that is followed by a block of output (```text) is run, and must print that.
-- In the output, `...` in a line stands for any text, and a line that is only
-- `...` for any lines. A block of Lua without output is compiled.
--
-- sh blocks run with `sh -e`, lua blocks under build/llmpool (LLMPOOL), which
-- sh finds as `llmpool`. The README's run in the root of the checkout, a page's
-- in a directory of that page's own, one after the other; there a block of Lua
-- that begins with the comment `-- NAME.lua` is that file. Only stdout is
-- compared.

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local read = files.read

local program = shell.out("realpath " .. (os.getenv "LLMPOOL"
                                          or "build/llmpool"))

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = (line:gsub("%s+$", ""))
  end
  return lines
end

-- { language, line, text } of every fenced block, with `output` where the
-- next thing after it is a text block.
local function blocks_of(markdown)
  local blocks, open, last, number = {}, nil, nil, 0
  for _, line in ipairs(lines_of(markdown)) do
    number = number + 1
    local language = line:match "^```(%w*)"
    if open and language then
      open.text = table.concat(open, "\n") .. "\n"
      if open.language == "text" and last then
        last.output = open.text
      end
      last, open = open, nil
    elseif open then
      open[#open + 1] = line
    elseif language then
      open = { language = language, line = number }
      blocks[#blocks + 1] = open
    elseif line ~= "" then
      last = nil -- words in between: what follows is not its output
    end
  end
  return blocks
end

local function pattern_of(line)
  line = line:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")
  return "^" .. line:gsub("%%%.%%%.%%%.", ".*") .. "$"
end

-- Whether the lines from `i` on are what is expected from `j` on.
local function fits(actual, expected, i, j)
  if j > #expected then
    return i > #actual
  elseif expected[j] == "..." then
    for next = i, #actual + 1 do
      if fits(actual, expected, next, j + 1) then
        return true
      end
    end
    return false
  end
  return i <= #actual and actual[i]:find(pattern_of(expected[j])) ~= nil
         and fits(actual, expected, i + 1, j + 1)
end

local function write(path, text)
  os.execute("mkdir -p " .. path:match "^(.*)/")
  files.write(path, text)
end

local function file_name(block)
  return block.language == "lua" and block.text:match "^%-%- ([%w_%-/]+%.lua)"
end

-- The block's stdout, and its stderr for the message.
local function run(block, directory)
  local script, out, err = os.tmpname(), os.tmpname(), os.tmpname()
  write(script, block.text)
  local name = directory and file_name(block)
  if name then write(directory .. "/" .. name, block.text) end
  local command = block.language == "sh" and "sh -e" or "'" .. program .. "'"
  local ok, _, status = os.execute(string.format(
    "cd %s && PATH='%s':\"$PATH\" %s %s >%s 2>%s </dev/null", directory or ".",
    program:match "^(.*)/", command, name or script, out, err))
  local printed, complaints = read(out), read(err)
  os.remove(script)
  os.remove(out)
  os.remove(err)
  return printed, ok and complaints or complaints .. "exit status " .. status
end

local function expect(block, directory)
  local printed, complaints = run(block, directory)
  if not fits(lines_of(printed), lines_of(block.output), 1, 1) then
    error("expected:\n" .. block.output .. "\nprinted:\n" .. printed ..
          "\nand on stderr:\n" .. complaints, 0)
  end
end

local function test_of(block, directory)
  local runs = block.output and
               (block.language == "sh" or block.language == "lua")
  if runs then
    it("prints what line " .. block.line .. " says", function()
      expect(block, directory())
    end)
  elseif block.language == "lua" then
    it("has Lua in line " .. block.line, function()
      assert(load(block.text, "=line " .. block.line))
      local name = file_name(block)
      if directory() and name then
        write(directory() .. "/" .. name, block.text)
      end
    end)
  end
  return runs
end

-- A test for every block of code; returns how many have output.
local function test_blocks(markdown, directory)
  local runnable = 0
  for _, block in ipairs(blocks_of(markdown)) do
    if test_of(block, directory or function() end) then
      runnable = runnable + 1
    end
  end
  return runnable
end

describe("README.md #readme", function()
  local markdown = read "README.md"
  local runnable = test_blocks(markdown)

  it("shows commands with their output", function()
    assert.is_true(runnable > 0)
  end)

  it("shows the two commands", function()
    assert.truthy(markdown:find("sh scripts/demo.sh", 1, true))
    assert.truthy(markdown:find("sh scripts/test.sh", 1, true))
  end)
end)

-- The pages of the documentation, and the recipes, are held to the same.
it("the manual's index leads to every page #readme #once", function()
  local index = read "lua/llmpool/doc/index.md"
  for name in shell.out("ls lua/llmpool/doc"):gmatch "(%w+%.md)" do
    if name ~= "index.md" then
      assert.matches("](" .. name .. ")", index, 1, true)
    end
  end
end)

it("every link leads to a page that is there #readme #once", function()
  local seen, lost = 0, {}
  for path in shell.out("ls README.md lua/llmpool/doc/*.md"):gmatch "%S+" do
    local from = path:match "^(.*/)" or ""
    for to in read(path):gmatch "%]%(([%w_/%-.]+%.md)" do
      local file = io.open(from .. to)
      if file then file:close() end
      if not file and not to:find "^reference" then -- that the build makes
        lost[#lost + 1] = path .. ": " .. to
      end
      seen = seen + 1
    end
  end
  assert.same({}, lost)
  assert.is_true(seen > 40, seen)
end)

local pages = shell.out "ls CONTRIBUTING.md lua/llmpool/doc/*.md"
for path in pages:gmatch "%S+" do
  describe(path .. " #once #host #slow", function()
    local place
    setup(function() place = shell.out "mktemp -d" end)
    teardown(function() os.execute("rm -rf " .. place) end)
    test_blocks(read(path), function() return place end)
  end)
end

describe("the reading of a README #once", function()
  it("finds the output of a block", function()
    local blocks = blocks_of [[
```sh
echo a
```

```text
a
```
```lua
print(1)
```
It prints nothing of note.
```text
b
```
]]
    assert.equal(4, #blocks)
    assert.equal("echo a\n", blocks[1].text)
    assert.equal("a\n", blocks[1].output)
    assert.is_nil(blocks[3].output)
  end)

  local function match(printed, output)
    return fits(lines_of(printed), lines_of(output), 1, 1)
  end

  it("compares line by line, with dots for what varies", function()
    assert.is_true(match("a\nb\n", "a\nb\n"))
    assert.is_true(match("a 1.25 s\n", "a ... s\n"))
    assert.is_true(match("a\nx\ny\nb\n", "a\n...\nb\n"))
    assert.is_true(match("a\nb\n", "a\n...\nb\n"))
    assert.is_true(match("50% (of) [x]\n", "50% (of) [x]\n"))
    assert.is_false(match("a\nb\n", "a\n"))
    assert.is_false(match("a\n", "a\nb\n"))
    assert.is_false(match("a\nc\n", "a\n...\nb\n"))
    assert.is_false(match("axc\n", "a.c\n"))
  end)

  it("fails for a block that prints something else", function()
    local block = { language = "sh", text = "echo a; echo b >&2; exit 3\n" }
    block.output = "a\n"
    assert.has_no.errors(function() expect(block) end)
    block.output = "b\n"
    local ok, message = pcall(expect, block)
    assert.is_false(ok)
    assert.truthy(message:find("printed:\na\n", 1, true))
    assert.truthy(message:find("exit status 3", 1, true))
  end)
end)
