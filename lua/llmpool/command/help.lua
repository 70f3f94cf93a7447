-- `llmpool help`: how to call the program, or one of its commands. All that it
-- says of a command stands in that command's own file.

local commandline = require "llmpool.commandline"

local function show_all(host)
  host.out(("usage: %s [options] [script [args]]\n       %s [options] COMMAND "
    .. "[args]\n"):format(host.program, host.program))
  host.out(host.options)
  host.out "Commands are:\n"
  for _, name in ipairs(commandline.names()) do
    local command = commandline.find(name)
    host.out(("  %-20s%s\n"):format(name, command.summary))
  end
  host.out "A command's name is never a file: write ./NAME or -- NAME.\n"
end

return {
  usage = "[COMMAND]",
  summary = "show how to call the program, or a command",
  details = "The same as --help.\n",
  run = function(args, host)
    if not args[1] then return show_all(host) end
    return commandline.help(args[1], host)
  end,
}
