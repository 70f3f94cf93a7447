-- shellwords.lua: completions for bash, zsh and fish, made of the commands and
-- their options: what may stand behind `llmpool`, and behind each command.

local commandline = require "llmpool.commandline"

local shellwords = {}

local OPTIONS = "-e -i -l -v -E -W --help --norc --version"

local function names()
  local list = {}
  for _, name in ipairs(commandline.names()) do
    if not commandline.find(name).hidden then list[#list + 1] = name end
  end
  return list
end

local function option_words(name)
  local words = {}
  for _, option in ipairs(commandline.find(name).options or {}) do
    words[#words + 1] = "--" .. option.name
    if option.short then words[#words + 1] = "-" .. option.short end
  end
  return table.concat(words, " ")
end

-- Of the names of scripts and directories; busted's own files for `test`.
local BASH = [[
# bash completion for llmpool, made by `llmpool doc --completion bash`

_llmpool_files() {
  local file
  while IFS= read -r file; do
    COMPREPLY+=("$file")
  done < <(compgen -d -- "$1"; compgen -f -X '!*.lua' -- "$1")
}

_llmpool() {
  local current=${COMP_WORDS[COMP_CWORD]} command= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -e | -l) ((i++)) ;;
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  case $command in
    '')
      case $current in
        -*) COMPREPLY=($(compgen -W '%OPTIONS%' -- "$current")) ;;
        *)
          COMPREPLY=($(compgen -W '%COMMANDS%' -- "$current"))
          _llmpool_files "$current"
          ;;
      esac
      ;;
%CASES%    *) _llmpool_files "$current" ;;
  esac
}

complete -o filenames -F _llmpool llmpool
]]

local function bash_case(name)
  local words = name == "help" and table.concat(names(), " ")
    or option_words(name)
  return ([[
    %s)
      case $current in
        %s) COMPREPLY=($(compgen -W '%s' -- "$current")) ;;
        *) _llmpool_files "$current" ;;
      esac
      ;;
]]):format(name, name == "help" and "?*|''" or "-*", words)
end

local function bash()
  local cases = {}
  for i, name in ipairs(names()) do cases[i] = bash_case(name) end
  local parts = { OPTIONS = OPTIONS, COMMANDS = table.concat(names(), " "),
                  CASES = table.concat(cases) }
  return (BASH:gsub("%%(%u+)%%", parts))
end

local function quoted(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

local function zsh_text(text)
  return (text:gsub("[%[%]:\\]", "\\%0"))
end

local function zsh_options(name)
  local lines = {}
  for _, option in ipairs(commandline.find(name).options or {}) do
    lines[#lines + 1] = quoted(("%s--%s%s[%s]%s"):format(
      option.many and "*" or "", option.name, option.value and "=" or "",
      zsh_text(option.text), option.value and ":" .. option.value:lower()
      .. ":_files" or ""))
  end
  return table.concat(lines, " ")
end

local ZSH = [[
#compdef llmpool
# zsh completion for llmpool, made by `llmpool doc --completion zsh`

_llmpool() {
  local -a commands
  commands=(
%COMMANDS%  )
  local context state line
  _arguments -C \
    '*-e[execute a string]:code:' '-i[enter interactive mode]' \
    '*-l[require a library]:module:' '-v[show version information]' \
    '-E[ignore environment variables]' '-W[turn warnings on]' \
    '--help[show how to call the program]' \
    '--norc[run no init.lua at the prompt]' \
    '--version[show the versions]' \
    '1: :->command' '*:: :->rest'
  case $state in
    command)
      _describe -t commands command commands
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

local function zsh()
  local commands, cases = {}, {}
  for i, name in ipairs(names()) do
    commands[i] = "    " .. quoted(name .. ":"
      .. zsh_text(commandline.find(name).summary)) .. "\n"
    local options = zsh_options(name)
    cases[i] = name == "help"
      and "        help) _describe -t commands command commands ;;\n"
      or ("        %s) _arguments %s '*:file:_files' ;;\n"):format(name,
      options)
  end
  local parts = { COMMANDS = table.concat(commands),
                  CASES = table.concat(cases) }
  return (ZSH:gsub("%%(%u+)%%", parts))
end

local function fish_line(condition, words)
  return ("complete -c llmpool -n %s %s\n"):format(quoted(condition), words)
end

local FISH = [[
# fish completion for llmpool, made by `llmpool doc --completion fish`

complete -c llmpool -s e -x -d 'execute a string'
complete -c llmpool -s i -d 'enter interactive mode'
complete -c llmpool -s l -x -d 'require a library'
complete -c llmpool -s v -d 'show version information'
complete -c llmpool -s E -d 'ignore environment variables'
complete -c llmpool -s W -d 'turn warnings on'
complete -c llmpool -l help -d 'show how to call the program'
complete -c llmpool -l norc -d 'run no init.lua at the prompt'
complete -c llmpool -l version -d 'show the versions'
]]

local function fish()
  local lines = { FISH }
  for _, name in ipairs(names()) do
    local command = commandline.find(name)
    lines[#lines + 1] = fish_line("__fish_use_subcommand", ("-a %s -d %s")
      :format(name, quoted(command.summary)))
    for _, option in ipairs(command.options or {}) do
      lines[#lines + 1] = fish_line("__fish_seen_subcommand_from " .. name,
        ("-l %s%s%s -d %s"):format(option.name, option.short and " -s "
        .. option.short or "", option.value and " -r" or "",
        quoted(option.text)))
    end
  end
  lines[#lines + 1] = fish_line("__fish_seen_subcommand_from help", ("-x -a %s")
    :format(quoted(table.concat(names(), " "))))
  return table.concat(lines)
end

local SHELLS = { bash = bash, zsh = zsh, fish = fish }

--- The completions for a shell, or nil and why not.
function shellwords.text(shell)
  if SHELLS[shell] then return SHELLS[shell]() end
  return nil, ("no completions for '%s'; there are bash, fish and zsh")
    :format(shell)
end

return shellwords
