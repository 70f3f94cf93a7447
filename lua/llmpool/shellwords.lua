-- shellwords.lua: completions for bash, zsh and fish, made of what the program
-- and its commands say of themselves (commandline.lua): their options, what an
-- option's value is, and what words may stand there besides.
--
-- One idea: a word is of one of a few kinds - a script, any file, a directory,
-- a command, a policy, a shell, nothing - and each shell has its way to offer
-- a kind. Nothing here knows an option or a command by name.

local commandline = require "llmpool.commandline"
local policy = require "llmpool.policy"

local shellwords = {}

-- What an option's value is, by how help calls it.
local VALUES = { FILE = "files", P = "policies", SHELL = "shells" }

local LISTS = { shells = "bash fish zsh",
                policies = table.concat(policy.names, " ") }

local function kind_of(value) return VALUES[value] or "nothing" end

-- All of them: {name, hidden, summary, words, options = {name = "--live",
-- text, value, many}}.
local function commands()
  local list = {}
  for _, name in ipairs(commandline.names()) do
    local command = commandline.find(name)
    local options = {}
    for i, option in ipairs(command.options or {}) do
      options[i] = { name = "--" .. option.name, text = option.text,
                     value = option.value, many = option.many }
    end
    list[#list + 1] = { name = name, hidden = command.hidden,
                        summary = command.summary,
                        words = command.words or "nothing", options = options }
  end
  return list
end

local function names_of(list, want)
  local names = {}
  for _, item in ipairs(list) do
    if not want or want(item) then names[#names + 1] = item.name end
  end
  return table.concat(names, " ")
end

-- What help lists: those that packagers call are not offered.
local function is_listed(command) return not command.hidden end

local function has_value(option) return option.value ~= nil end

local function fill(template, parts)
  return (template:gsub("%%(%u+)%%", parts))
end

-- ---- bash ------------------------------------------------------------------

local BASH = [[
# bash completion for llmpool, made by `llmpool doc --completion bash`

_llmpool_add() {
  local word
  while IFS= read -r word; do
    COMPREPLY+=("$word")
  done < <(compgen "$@" -- "$current")
}

_llmpool_offer() {
  case $1 in
    scripts) _llmpool_add -d; _llmpool_add -f -X '!*.lua' ;;
    files) _llmpool_add -f ;;
    directories) _llmpool_add -d ;;
    commands) _llmpool_add -W '%COMMANDS%' ;;
    policies) _llmpool_add -W '%POLICIES%'; _llmpool_offer scripts ;;
    shells) _llmpool_add -W '%SHELLS%' ;;
  esac
}

_llmpool() {
  local current=${COMP_WORDS[COMP_CWORD]} command= i
  local before=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if [ "$current" = = ]; then
    current=
  elif [ "$before" = = ]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      %VALUED%)
        [ "${COMP_WORDS[i + 1]}" = = ] && ((i++))
        ((i++))
        ;;
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  if [ -z "$command" ]; then
    case $before in
%BEFORE%    esac
    case $current in
      -*) _llmpool_add -W '%OPTIONS%' ;;
      *) _llmpool_offer commands; _llmpool_offer scripts ;;
    esac
    return
  fi
  case $command:$before in
%VALUES%  esac
  local scripts=files # behind a script stand its arguments
  case $before in "$command" | -*) scripts=scripts ;; esac
  case $command:$current in
%WORDS%    *) _llmpool_offer files ;;
  esac
}

complete -o filenames -F _llmpool llmpool
]]

local function bash_lines(options, prefix, indent)
  local lines = {}
  for _, option in ipairs(options) do
    if option.value then
      lines[#lines + 1] = ("%s%s%s) _llmpool_offer %s; return ;;\n"):format(
        indent, prefix, option.name, kind_of(option.value))
    end
  end
  return table.concat(lines)
end

local function bash(options)
  local list, values, words = commands(), {}, {}
  for i, command in ipairs(list) do
    values[i] = bash_lines(command.options, command.name .. ":", "    ")
    if #command.options > 0 then
      words[#words + 1] = ("    %s:-*) _llmpool_add -W '%s' ;;\n"):format(
        command.name, names_of(command.options))
    end
    words[#words + 1] = ("    %s:*) _llmpool_offer %s ;;\n"):format(
      command.name, command.words:gsub("^scripts", "$%0"))
  end
  return fill(BASH, {
    COMMANDS = names_of(list, is_listed), OPTIONS = names_of(options),
    POLICIES = LISTS.policies, SHELLS = LISTS.shells,
    VALUED = names_of(options, has_value):gsub(" ", " | "),
    BEFORE = bash_lines(options, "", "      "),
    VALUES = table.concat(values), WORDS = table.concat(words),
  })
end

-- ---- zsh -------------------------------------------------------------------

local function quoted(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

local function zsh_text(text)
  return (text:gsub("[%[%]:\\]", "\\%0"))
end

local ZSH_KINDS = {
  scripts = "_files -g '*.lua(-.)'", files = "_files",
  directories = "_files -/", commands = "_llmpool_commands", nothing = " ",
  shells = "(" .. LISTS.shells .. ")",
  policies = "_llmpool_policies",
}

local function zsh_option(option)
  local is_long = option.name:sub(1, 2) == "--"
  local action = option.value and ":" .. option.value:lower() .. ":"
    .. ZSH_KINDS[kind_of(option.value)] or ""
  return quoted(("%s%s%s[%s]%s"):format(option.many and "*" or "", option.name,
    option.value and is_long and "=" or "", zsh_text(option.text), action))
end

local function zsh_list(list) return table.concat(list, " \\\n            ") end

local function zsh_options(options)
  local list = {}
  for i, option in ipairs(options) do list[i] = zsh_option(option) end
  return list
end

-- What _arguments is told of a command. Behind a script stand its arguments.
local function zsh_command(command)
  local list, kind = zsh_options(command.options), command.words
  if kind == "scripts" then
    list[#list + 1] = quoted("1: :" .. ZSH_KINDS.scripts)
    kind = "files"
  end
  if kind ~= "nothing" then
    list[#list + 1] = quoted("*: :" .. ZSH_KINDS[kind])
  end
  return zsh_list(list)
end

local ZSH = [[
#compdef llmpool
# zsh completion for llmpool, made by `llmpool doc --completion zsh`

_llmpool_commands() {
  local -a commands
  commands=(
%COMMANDS%  )
  _describe -t commands command commands
}

_llmpool_policies() {
  _alternative 'policies:policy:(%POLICIES%)' \
    'files:file:_files -g "*.lua(-.)"'
}

_llmpool() {
  local curcontext=$curcontext state line
  _arguments -C -A '-*' %OPTIONS% \
            '1: :->command' '*:: :->rest'
  case $state in
    command)
      _llmpool_commands
      _files -g '*.lua(-.)'
      ;;
    rest)
      case $line[1] in
%CASES%        *) _files ;;
      esac
      ;;
  esac
}

_llmpool "$@"
]]

local function zsh(options)
  local lines, cases = {}, {}
  for i, command in ipairs(commands()) do
    lines[i] = is_listed(command) and "    " .. quoted(command.name .. ":"
      .. zsh_text(command.summary)) .. "\n" or ""
    cases[i] = ("        %s)\n          _arguments %s\n          ;;\n")
      :format(command.name, zsh_command(command))
  end
  return fill(ZSH, { COMMANDS = table.concat(lines),
                     OPTIONS = zsh_list(zsh_options(options)),
                     POLICIES = LISTS.policies,
                     CASES = table.concat(cases) })
end

-- ---- fish ------------------------------------------------------------------

local FISH = [[
# fish completion for llmpool, made by `llmpool doc --completion fish`

function __llmpool_command
  set -l words (commandline -opc)
  set -e words[1]
  while set -q words[1]
    switch $words[1]
      case %VALUED%
        set -e words[1]
      case '-*'
      case '*'
        echo $words[1]
        return 0
    end
    set -e words[1]
  end
  return 1
end

function __llmpool_in
  set -l command (__llmpool_command)
  and contains -- $command $argv
end

]]

local FISH_KINDS = {
  scripts = "", files = "", nothing = " -f",
  directories = " -f -a '(__fish_complete_directories)'",
  commands = " -f -a '%COMMANDS%'",
}

local FISH_VALUES = {
  files = " -r -F", nothing = " -x", shells = " -x -a '" .. LISTS.shells .. "'",
  policies = " -r -F -a '" .. LISTS.policies .. "'",
}

local function fish_option(condition, option)
  local sign, word = option.name:match "^(%-+)(.*)$"
  return ("complete -c llmpool -n '%s' -%s %s%s -d %s\n"):format(condition,
    sign == "--" and "l" or "s", word, option.value
    and FISH_VALUES[kind_of(option.value)] or "", quoted(option.text))
end

local function fish(options)
  local lines, list = {}, commands()
  for _, option in ipairs(options) do
    lines[#lines + 1] = fish_option("not __llmpool_command", option)
  end
  for _, command in ipairs(list) do
    local inside = "__llmpool_in " .. command.name
    if is_listed(command) then
      lines[#lines + 1] = ("complete -c llmpool -n '%s' -a %s -d %s\n")
        :format("not __llmpool_command", command.name, quoted(command.summary))
    end
    lines[#lines + 1] = ("complete -c llmpool -n '%s'%s\n"):format(inside,
      FISH_KINDS[command.words])
    for _, option in ipairs(command.options) do
      lines[#lines + 1] = fish_option(inside, option)
    end
  end
  return fill(FISH .. table.concat(lines), {
    COMMANDS = names_of(list, is_listed),
    VALUED = names_of(options, has_value) })
end

local SHELLS = { bash = bash, zsh = zsh, fish = fish }

--- The completions for a shell, or nil and why not.
-- @param host table: options, the list of the program's own
function shellwords.text(shell, host)
  if not SHELLS[shell] then
    return nil, ("no completions for '%s'; there are bash, fish and zsh")
      :format(shell)
  end
  return SHELLS[shell](commandline.program_options(host))
end

return shellwords
