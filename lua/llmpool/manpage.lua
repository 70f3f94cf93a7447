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
.TP
.B OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, GOOGLE_API_KEY
the keys of clients that name none
.TP
.B OPENAI_BASE_URL, ANTHROPIC_BASE_URL, GEMINI_BASE_URL
where they are, if not at the provider's own address
.TP
.B http_proxy, https_proxy, all_proxy, no_proxy, CURL_CA_BUNDLE, SSL_CERT_FILE
the way to them, and whom to trust
.SH FILES
.TP
.I $XDG_STATE_HOME/llmpool/history
what was typed at the prompt; only its owner can read it, and lines that set a
key are not in it
.TP
.I $XDG_CONFIG_HOME/llmpool/init.lua
runs before the prompt on a terminal
.SH EXIT STATUS
0; 1 if something failed; 130 if a command was interrupted. A script's own by
os.exit.
.SH EXAMPLES
.nf
llmpool                                  a prompt
llmpool main.lua \-\-verbose              a script, with its arguments
llmpool new shop && cd shop              a project that runs at once
llmpool check main.lua \-\-live           does every key work?
llmpool sim scenario.lua \-\-seeds 20     twenty days of traffic
llmpool \-\-record day.jsonl main.lua     what was asked,
llmpool sim \-\-replay day.jsonl          and what another policy had done
.fi
.SH SEE ALSO
.BR lua (1),
.BR busted (1)
.PP
The manual is beside the package's other documents, in llmpool/manual; at the
prompt, help "tutorial" shows a page of it.
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

-- Paragraphs are filled, to any width; what is indented stands as it is.
local function paragraphs(text)
  local lines = {}
  for paragraph in (text:gsub("\n*$", "\n\n")):gmatch "(.-\n)\n+" do
    local is_fixed = paragraph:find "^  "
    lines[#lines + 1] = (is_fixed and ".PP\n.nf\n%s.fi\n" or ".PP\n%s")
      :format(escape(paragraph))
  end
  return table.concat(lines):gsub("\n$", "")
end

local function command_text(name)
  local command = commandline.find(name)
  local lines = { (".TP\n.B %s\n%s."):format(
    escape((name .. " " .. command.usage):gsub("%s+$", "")),
    escape(command.summary)) }
  lines[#lines + 1] = ".RS\n" .. paragraphs(command.details)
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
