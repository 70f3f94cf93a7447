-- commandline.lua: runs a command of the program that is written in Lua.
--
-- A command is a module llmpool.command.NAME, a table with
--   summary  its line in the list of commands
--   usage    what follows its name: "SCENARIO [options]"
--   details  the rest of `help NAME`; ends with a line break
--   options  a list of { name=, short=, value=, text=, many= }, or nil: then
--            the words behind the command are its own business
--   most     with options: how many words may stand there beside them, or nil
--   words    what those are, for completion: "scripts", "files", "directories",
--            "commands"; nil: nothing that could be guessed
--   run      function (args, host) -> exit status
--   is_option  whether --NAME is the same (commands.c); hidden  not listed
-- `args` are the words behind the command; with `options` those have been
-- taken out and are its fields: true, the value's text, or with `many` a list
-- of texts. `host` has program (its name), executable (its path, or nil),
-- version, options (their list), and out and err, functions that write a text.
-- run answers nothing or true (status 0), false (1), a number, or nil and what
-- is wrong (then it is printed, with the command's name; status 1). It runs on
-- the main chunk, so that it may wait; an error in it is printed as a script's.

local embedded = require "llmpool.embedded"
local nearest = require "llmpool.nearest"

local commandline = {}

local PREFIX = "llmpool.command."

--- The names of all commands, in order.
function commandline.names()
  local names = {}
  for _, name in ipairs(embedded.names()) do
    if name:sub(1, #PREFIX) == PREFIX then
      names[#names + 1] = name:sub(#PREFIX + 1)
    end
  end
  table.sort(names)
  return names
end

--- The command of that name, or nil.
function commandline.find(name)
  if not embedded.text(PREFIX .. name) then return nil end
  return require(PREFIX .. name)
end

-- ---- options ---------------------------------------------------------------

local function find_option(options, word)
  for _, option in ipairs(options) do
    if word == "--" .. option.name
      or option.short and word == "-" .. option.short then
      return option
    end
  end
end

local function unknown(options, word)
  local names = {}
  for i, option in ipairs(options) do names[i] = option.name end
  local near = nearest((word:gsub("^%-+", "")), names)
  return ("unknown option '%s'%s"):format(word,
    near and (" (did you mean '--%s'?)"):format(near) or "")
end

-- Of two values one would be dropped without a word: that is wrong. Returns
-- what is.
local function store(args, option, value)
  local list = args[option.name]
  if list and option.value and not option.many then
    return ("--%s is given twice"):format(option.name)
  elseif not option.many then
    args[option.name] = value
  elseif list then
    list[#list + 1] = value
  else
    args[option.name] = { value }
  end
end

-- What stands for a flag, or takes the value that stands in its word or is the
-- next; returns how many words that were, or nil and what is wrong.
local function read_option(args, option, word, value, next_word)
  if not option.value then
    if value then return nil, word:match "^[^=]+" .. " takes no value" end
    store(args, option, true)
    return 1
  end
  local wrong
  if value or next_word then
    wrong = store(args, option, value or next_word)
  else
    wrong = ("%s needs a value (%s)"):format(word, option.value)
  end
  if wrong then return nil, wrong end
  return value and 1 or 2
end

--- Takes the options out of the words behind a command.
-- @return the words that are left, with the options as fields; or nil and
-- what is wrong
function commandline.parse(options, words)
  local args, i = {}, 1
  while i <= #words do
    local word = words[i]
    local name, value = word:match "^(%-%-[^=]+)=(.*)$"
    local option = find_option(options, name or word)
    if word == "--" then
      table.move(words, i + 1, #words, #args + 1, args)
      break
    elseif not option and word:find "^%-." then
      return nil, unknown(options, name or word)
    elseif not option then
      args[#args + 1] = word
      i = i + 1
    else
      local taken, wrong = read_option(args, option, word, value, words[i + 1])
      if not taken then return nil, wrong end
      i = i + taken
    end
  end
  return args
end

--- The options of the program itself, read out of their list in help.
-- @return list of { name = "--timeline" or "-e", value = "FILE" or nil, text },
-- each once
function commandline.program_options(host)
  local list, seen = {}, {}
  for line in host.options:gmatch "[^\n]+" do
    local left, text = line:match "^  (%-.-)%s%s+(.*)$"
    if not left then left, text = line:match "^  (%-%S+)%s(.*)$" end
    for name, value in (left or ""):gmatch "(%-+%w+) ?([^,]*)" do
      if not seen[name] then
        list[#list + 1] = { name = name, text = text,
                            value = value ~= "" and value or nil }
      end
      seen[name] = true
    end
  end
  return list
end

-- ---- help ------------------------------------------------------------------

local function option_line(option)
  local left = (option.short and "-" .. option.short .. ", " or "")
    .. "--" .. option.name .. (option.value and " " .. option.value or "")
  return ("  %-20s %s"):format(left, option.text)
end

--- Prints what there is to know of one command.
function commandline.help(name, host)
  local command = commandline.find(name)
  if not command then
    local near = nearest(name, commandline.names())
    return nil, ("no command '%s'%s; '%s help' lists them"):format(name,
      near and (" (did you mean '%s'?)"):format(near) or "", host.program), ""
  end
  local usage = ("usage: %s [options] %s %s"):format(host.program, name,
    command.usage):gsub(" $", "")
  host.out(("%s\n%s: %s\n\n%s"):format(usage, name, command.summary,
    command.details))
  if not command.options or #command.options == 0 then return end
  host.out "\nOptions:\n"
  for _, option in ipairs(command.options) do
    host.out(option_line(option) .. "\n")
  end
end

-- ---- running ---------------------------------------------------------------

local function status_of(answer)
  if answer == nil or answer == true then return 0 end
  return math.tointeger(answer) or 1
end

-- The words behind a command, its options taken out; nil, and what is wrong.
local function read(name, command, host)
  local words = table.move(host, 1, #host, 1, {})
  if not command.options then return words end
  local args, wrong = commandline.parse(command.options, words)
  if not args then
    return nil, ("%s; see '%s help %s'"):format(wrong, host.program, name)
  end
  local extra = command.most and args[command.most + 1]
  if not extra then return args end
  return nil, ("what is '%s'?"):format(extra)
end

local function complain(host, name, message)
  host.err(host.program .. ": " .. name .. message .. "\n")
  return 1
end

--- Runs the command `name`; `host` has the words behind it, too.
-- @return the exit status
function commandline.run(name, host)
  local command = require(PREFIX .. name)
  host.out = host.out or function(text) io.stdout:write(text) end
  host.err = host.err or function(text) io.stderr:write(text) end
  if host[1] == "--help" or not command.run then
    return status_of(commandline.help(name, host))
  end
  local args, wrong = read(name, command, host)
  if not args then return complain(host, name .. ": ", wrong) end
  local answer, message, prefix = command.run(args, host)
  if answer == nil and message then
    return complain(host, prefix or name .. ": ", tostring(message))
  end
  return status_of(answer)
end

return commandline
