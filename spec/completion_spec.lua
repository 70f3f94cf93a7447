-- The completions for shells, driven in bash, zsh and fish themselves: what is
-- offered behind a line. Every command and every option must be, in all three;
-- what they are is read from the commands, so that none can be forgotten.

local commandline = require "llmpool.commandline"
local policy = require "llmpool.policy"
local shell = require "spec.support.shell"
local shellwords = require "llmpool.shellwords"

local must, run = shell.must, shell.run

local program = must("realpath " .. (os.getenv "LLMPOOL" or "build/llmpool"))
  :gsub("\n", "")

local BASH = [[
. d/.w/words
while IFS= read -r line; do
  COMP_WORDS=($line)
  case $line in *' ') COMP_WORDS+=('') ;; esac
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _llmpool
  echo "== $line"
  printf '%s\n' "${COMPREPLY[@]}"
done <d/.w/lines
]]

-- An interactive zsh of its own, in which a key puts all matches on the line;
-- `llmpool` then prints them.
local ZSH = [[
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; fpath=($PWD/d/.w $fpath); autoload -Uz compinit; compinit -u -D
llmpool() { print -rl -- BEGIN "$@" END }
zle -C all complete-word _generic; bindkey "^T" all
zstyle ":completion:all:*" completer _all_matches _complete
zstyle ":completion:all:*" insert true
print READY'
zpty -r -m z said '*READY*READY*'
while IFS= read -r line; do
  zpty -w z "$line"$'\x14'
  zpty -r -m z said '*END*'
  print -r -- "== $line"
  said=${said//$'\r'/}
  said=${said#*BEGIN}
  print -r -- "${said%END*}"
done <d/.w/lines
]]

local FISH = [[
source d/.w/words
while read -l line
  echo "== $line"
  complete -C "$line" | cut -f 1
end <d/.w/lines
]]

-- What is offered behind each line: line -> list of words.
local function read_offers(text)
  local offers, line = {}, nil
  for each in text:gmatch "[^\n]+" do
    local begun = each:match "^== (.*)$"
    if begun then
      line = begun
      offers[line] = {}
    elseif line then
      table.insert(offers[line], (each:gsub("/$", "")))
    end
  end
  return offers
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, " ")
end

-- Each word once, in order. Of zsh's, which come with the line that was typed,
-- without as many as were whole words of it.
local function words_of(list, typed)
  local set, names = {}, {}
  for i, word in ipairs(list) do
    if i > typed and word ~= "" and not set[word] then
      set[word] = true
      names[#names + 1] = word
    end
  end
  return sorted(names)
end

local names, listed = commandline.names(), {}
for _, name in ipairs(names) do
  if not commandline.find(name).hidden then listed[#listed + 1] = name end
end

local FILES = "a.lua b.txt d"
local CASES = { -- line, what is offered
  { "llmpool si", "sim" },
  { "llmpool sim --json --tr", "--trace" },
  { "llmpool help ", sorted(listed) },
  { "llmpool doc --completion ", "bash fish zsh" },
  { "llmpool sim --timeline b", "b.txt" },
  { "llmpool --record ", FILES },
  { "llmpool a.lua b", "b.txt" },
  { "llmpool --record x doct", "doctor" },
  { "llmpool sim --seed ", "" },
  { "llmpool new ", "" },
  { "llmpool run a.lua ", FILES },
}

local function option_names(list)
  local options = {}
  for i, option in ipairs(list) do
    options[i] = (option.name:gsub("^%w", "--%0"))
  end
  return sorted(options)
end

for _, name in ipairs(names) do
  local options = commandline.find(name).options or {}
  if #options > 0 then
    CASES[#CASES + 1] = { "llmpool " .. name .. " --", option_names(options) }
  end
end

CASES[#CASES + 1] = { "llmpool -", option_names(commandline.program_options {
  options = run(program .. " -x") }) } -- who is wrong is told all
CASES[#CASES + 1] = { "llmpool sim --policy ",
  sorted { "a.lua", "d", table.unpack(policy.names) } }

describe("the completions #once #host", function()
  local place

  setup(function()
    place = must("mktemp -d"):gsub("\n", "")
    must(("cd %s && touch a.lua b.txt && mkdir d d/.w"):format(place))
  end)
  teardown(function() must("rm -rf " .. place) end)

  local function write(name, content)
    local file <close> = assert(io.open(place .. "/d/.w/" .. name, "w"))
    file:write(content)
  end

  -- What is offered behind these lines, in a directory of two files and one
  -- directory.
  local function offers_of(name, with, lines)
    write(with.words, must(program .. " doc --completion " .. name))
    write("script", with.script)
    write("lines", table.concat(lines, "\n") .. "\n")
    return read_offers(must(("cd %s && TERM=xterm timeout 30 %s d/.w/script")
      :format(place, with.run)))
  end

  for name, with in pairs {
    bash = { script = BASH, words = "words", run = "bash" },
    zsh = { script = ZSH, words = "_llmpool", run = "zsh -f" },
    fish = { script = FISH, words = "words", run = "fish -N" },
  } do
    it("offer every command and every option in " .. name, function()
      if not select(2, run("command -v " .. name)) then
        return pending(name .. " is not installed")
      end
      local lines, found = {}, {}
      for i, case in ipairs(CASES) do lines[i] = case[1] end
      local offers = offers_of(name, with, lines)
      for _, case in ipairs(CASES) do
        local typed = name == "zsh" and select(2, case[1]:gsub(" ", "")) - 1
          or 0
        local got = words_of(offers[case[1]] or { "nothing at all" }, typed)
        if name == "fish" and case[1]:find "policy" then
          got = got:gsub("b.txt ", "") -- it puts others behind, all the same
        end
        if got ~= case[2] then
          found[#found + 1] = ("%s<Tab>\n    %s\n    and not %s"):format(
            case[1], got, case[2])
        end
      end
      assert(#found == 0, "\n  " .. table.concat(found, "\n  "))
    end)
  end

  it("know no shell but these", function()
    assert.same({ nil, "no completions for 'csh'; there are bash, fish and " ..
                       "zsh" }, { shellwords.text("csh", { options = "" }) })
  end)
end)
