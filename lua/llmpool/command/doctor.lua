-- `llmpool doctor`: what is installed, linked and readable here, and, if asked,
-- reachable. It shows no secret: of a key only whether there is one.

local llmpool = require "llmpool"
local commandline = require "llmpool.commandline"
local history = require "llmpool.prompt.history"

local TIMEOUT = 5 -- seconds that a provider may take
local INTERRUPTED = 130 -- as a shell has it

local function first_line(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local line = pipe and pipe:read "l"
  if pipe then pipe:close() end
  return line
end

-- ---- the parts -------------------------------------------------------------

local function program(say, host)
  say("program", ("llmpool %s, %s"):format(host.version, _VERSION))
  say("", host.executable or host.program)
  say("commands", table.concat(commandline.names(), " "))
end

local function version_of(module)
  local version = type(module) == "table" and module._VERSION
  return type(version) == "string" and " (" .. version .. ")" or ""
end

-- Modules that are files of their own; without one, what it is for is missing.
local MODULES = { { "llmpool.http", "real providers; on Debian: libcurl4" } }

local function libraries(say)
  local terminal = require "llmpool.terminal"
  local known = terminal.libraries()
  say("libuv", known.libuv)
  say("readline", known.readline or "not built in: the prompt edits no lines")
  for _, module in ipairs(MODULES) do
    local name, purpose = module[1], module[2]
    local ok, value = pcall(require, name)
    if ok then
      say(name, "loads" .. version_of(value))
    else
      say(name, ("not there (for %s)"):format(purpose))
    end
  end
end

local function tools(say)
  local busted = first_line "command -v busted"
  local version = busted and first_line "busted --version"
  if version then
    say("busted", ("%s, %s"):format(version, busted))
  elseif busted then
    say("busted", busted .. " does not run: see what `busted --version` says")
  else
    say("busted", "not in PATH (on Debian: apt-get install lua-busted)")
  end
end

local function readable(path)
  local file = path and io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- A path of Lua's that is set takes the place of the default, but for its ;;
local function path_words(name)
  local path = os.getenv(name .. "_5_4") or os.getenv(name)
  if not path then return "not set" end
  local whole = (";" .. path .. ";"):find(";;", 1, true)
  return whole and path or path .. " (no ;; in it: Lua's own places are not "
    .. "looked at)"
end

local function files(say)
  local path = history.path()
  say("history", not path and "off" or path .. (readable(path) and ""
    or " (not there yet)"))
  local init = os.getenv "LLMPOOL_INIT"
  local config = os.getenv "XDG_CONFIG_HOME"
    or (os.getenv "HOME" or "") .. "/.config"
  local rc = config .. "/llmpool/init.lua"
  say("rc file", init and "LLMPOOL_INIT is set"
    or rc .. (readable(rc) and "" or " (not there)"))
  say("LUA_PATH", path_words "LUA_PATH")
  say("LUA_CPATH", path_words "LUA_CPATH")
  if os.getenv "LUA_INIT_5_4" or os.getenv "LUA_INIT" then
    say("LUA_INIT", "set: it runs before every script")
  end
end

local function terminal(say)
  local native = require "llmpool.native"
  local width = native.terminal(1)
  local locale = os.getenv "LC_ALL" or os.getenv "LC_CTYPE" or os.getenv "LANG"
  say("terminal", ("%s, TERM=%s, locale %s%s"):format(
    width and width .. " columns" or "none", os.getenv "TERM" or "not set",
    locale or "C", (os.getenv "NO_COLOR" or "") ~= "" and ", NO_COLOR" or ""))
end

local PROVIDERS = {
  { "OPENAI", "https://api.openai.com/v1" },
  { "ANTHROPIC", "https://api.anthropic.com" },
  { "GEMINI", "https://generativelanguage.googleapis.com" },
}

local function url_of(provider)
  local url = os.getenv(provider[1] .. "_BASE_URL")
  return url and url ~= "" and url or provider[2]
end

-- A URL, or a proxy without http://, may hold a password before its @ and a key
-- in its query; it is shown without.
local function shown(url)
  local scheme, rest = url:match "^(%a[%w+.-]*://)(.*)$"
  local text = (rest or url):gsub("^.*@", "***@"):gsub("[?#].*$", "?***")
  return (scheme or "") .. text
end

local PROXIES = { "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                  "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY" }

local function keys(say)
  for _, provider in ipairs(PROVIDERS) do
    local name = provider[1] .. "_API_KEY"
    local key = os.getenv(name)
    say(name, key == nil and "not set" or key == "" and "set, but empty"
      or "set")
  end
  for _, name in ipairs(PROXIES) do
    local value = os.getenv(name)
    if value and value ~= "" then say(name, shown(value)) end
  end
end

-- ---- reaching out ----------------------------------------------------------

-- What a provider's address answers to a request without a key; whether it
-- does.
local function reach(url)
  local found, http = pcall(require, "llmpool.http")
  if not found then return "llmpool.http is not there", false end
  local ok, answer = pcall(http.request, { url = url, timeout = TIMEOUT })
  if ok then return ("answers (HTTP %s)"):format(answer.status), true end
  if llmpool.is_cancelled(answer) then return "interrupted", false end
  return ("%s: %s"):format(type(answer) == "table" and answer.kind or "error",
    tostring(answer)), false
end

-- All side by side, and told in order. Ctrl-C ends it with what is known.
local function reachable(say, live)
  if not live then
    say("providers", "not asked; doctor --live does")
    return true
  end
  local words, answer = {}, {}
  local ok, err = pcall(llmpool.scope, function(scope)
    for i, provider in ipairs(PROVIDERS) do
      scope:spawn(function() words[i], answer[i] = reach(url_of(provider)) end)
    end
  end)
  local interrupted = not ok and tostring(err):find "interrupted!$"
  if not ok and not interrupted then error(err, 0) end
  local all = true
  for i, provider in ipairs(PROVIDERS) do
    say(shown(url_of(provider)), words[i] or "interrupted")
    all = all and answer[i] == true
  end
  return interrupted and INTERRUPTED or all
end

return {
  usage = "[--live]",
  summary = "say what is installed, linked and reachable",
  details = [[
Shows versions, modules, files, and which keys the environment has (never what
they are). It asks nobody but this machine, except with --live: then the status
is 1 if a provider cannot be reached.
]],
  options = { { name = "live", text = "see whether the providers answer" } },
  most = 0,
  run = function(args, host)
    local function say(title, text)
      host.out(("%-18s %s\n"):format(title, text))
    end
    program(say, host)
    libraries(say)
    tools(say)
    files(say)
    terminal(say)
    keys(say)
    return reachable(say, args.live)
  end,
}
