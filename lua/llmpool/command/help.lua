-- `llmpool help`: how to call the program, or one of its commands. All that it
-- says of a command stands in that command's own file.

local commandline = require "llmpool.commandline"

-- A screen has 24 lines: what is short stands side by side, in two columns.
local COLUMN = 39

local function in_columns(lines)
  local short, rest = {}, {}
  for _, line in ipairs(lines) do
    local list = #line < COLUMN and short or rest
    list[#list + 1] = line
  end
  local half = (#short + 1) // 2
  for i = half, 1, -1 do
    local right = short[half + i]
    table.insert(rest, 1, right and ("%-" .. COLUMN .. "s%s"):format(short[i],
      right) or short[i])
  end
  return rest
end

-- --help and --version are commands, too, and stand there.
local function options_of(host)
  local title, lines = nil, {}
  for line in host.options:gmatch "[^\n]+" do
    local word = line:match "^%s+%-%-(%w+)"
    if not title then
      title = line
    elseif not (word and commandline.find(word)) then
      lines[#lines + 1] = line
    end
  end
  return title .. "\n" .. table.concat(in_columns(lines), "\n")
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
  words = "commands",
  summary = "show how to call the program, or a command",
  details = "The same as --help.\n",
  options = {},
  most = 1,
  run = function(args, host)
    if not args[1] then return show_all(host) end
    return commandline.help(args[1], host)
  end,
}
