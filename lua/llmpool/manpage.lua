-- manpage.lua: llmpool(1), made of what `help` says, so that it is never
-- another story. Written in man(7)'s macros, for groff and mandoc.

local commandline = require "llmpool.commandline"

local manpage = {}

-- What roff would take for its own: backslashes, minus signs, and a dot or an
-- apostrophe at the beginning of a line.
local function escape(text)
  return (text:gsub("\\", "\\e"):gsub("%-", "\\-")
    :gsub("\n([%.'])", "\n\\&%1"):gsub("^([%.'])", "\\&%1"))
end

local HEAD = [=[
.TH LLMPOOL 1 %s "llmpool %s" "User Commands"
.SH NAME
llmpool \- Lua with a pool of LLM clients
.SH SYNOPSIS
.B llmpool
[options] [script [args]]
.br
.B llmpool
[options] COMMAND [args]
.SH DESCRIPTION
A drop\-in
.BR lua (1)
5.4 with a pool in it that lends LLM clients to many callers, one caller per
client at a time. Without arguments, on a terminal, it is a prompt.
.SH OPTIONS
]=]

local TAIL = [[
.SH ENVIRONMENT
.TP
.B LUA_INIT, LUA_PATH, LUA_CPATH
as for
.BR lua (1)
.TP
.B LLMPOOL_INIT
Lua code, or the name of a file behind @, that runs before the prompt on a
terminal, in the place of llmpool/init.lua in the configuration directory
.TP
.B LLMPOOL_HISTORY
the file of the prompt's history; empty: none
.TP
.B NO_COLOR
if not empty, nothing is coloured
.SH FILES
.TP
.I $XDG_STATE_HOME/llmpool/history
what was typed at the prompt; only its owner can read it, and lines that set a
key are not in it
.TP
.I $XDG_CONFIG_HOME/llmpool/init.lua
runs before the prompt on a terminal
.SH EXIT STATUS
0; 1 if something failed. A script's own by os.exit.
.SH SEE ALSO
.BR lua (1),
.BR busted (1)
]]

local function options(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do
    local option, words = line:match "^  (%-.-)%s%s+(.*)$"
    if not option then option, words = line:match "^  (%-%S+)%s(.*)$" end
    if option then
      lines[#lines + 1] = (".TP\n.B %s\n%s"):format(escape(option),
        escape(words))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function command_text(name)
  local command = commandline.find(name)
  local lines = { (".TP\n.B %s\n%s."):format(
    escape((name .. " " .. command.usage):gsub("%s+$", "")),
    escape(command.summary)) }
  lines[#lines + 1] = ".RS\n.nf\n" .. escape(command.details:gsub("\n$", ""))
    .. "\n.fi"
  for _, option in ipairs(command.options or {}) do
    local word = (option.short and "-" .. option.short .. ", " or "")
      .. "--" .. option.name .. (option.value and " " .. option.value or "")
    lines[#lines + 1] = (".TP\n.B %s\n%s"):format(escape(word),
      escape(option.text))
  end
  return table.concat(lines, "\n") .. "\n.RE"
end

--- The page.
-- @param host table: version, options
function manpage.text(host)
  -- builds that are to be the same again say when they were
  local when = tonumber(os.getenv "SOURCE_DATE_EPOCH") or os.time()
  local head = HEAD:format(os.date("!%Y-%m-%d", when), host.version)
  local lines = { head .. options(host.options) .. ".SH COMMANDS" }
  for _, name in ipairs(commandline.names()) do
    lines[#lines + 1] = command_text(name)
  end
  return table.concat(lines, "\n") .. "\n" .. TAIL
end

return manpage
