-- `llmpool help`: how to call the program, or one of its commands. All that it
-- says of a command stands in that command's own file.

local commandline = require "llmpool.commandline"

-- --help and --version are commands, too, and stand there.
local function options_of(host)
  local lines = {}
  for line in host.options:gmatch "[^\n]+" do
    local word = line:match "^%s+%-%-(%w+)"
    if not (word and commandline.find(word)) then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

local function show_all(host)
  host.out(([=[
usage: %s [options] [script [args]]
       %s [options] COMMAND [args]
%s
Commands are:
]=]):format(host.program, host.program, options_of(host)))
  for _, name in ipairs(commandline.names()) do
    local command = commandline.find(name)
    local words = command.is_option and name .. ", --" .. name or name
    if not command.hidden then
      host.out(("  %-20s%s\n"):format(words, command.summary))
    end
  end
  host.out "A command's name is never a file: write ./NAME or -- NAME.\n"
end

return {
  is_option = true,
  usage = "[COMMAND]",
  summary = "show how to call the program, or a command",
  details = "The same as --help.\n",
  run = function(args, host)
    if not args[1] then return show_all(host) end
    return commandline.help(args[1], host)
  end,
}
