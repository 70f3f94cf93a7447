-- `llmpool doctor`: what is installed, linked and readable here, and, if asked,
-- reachable. It shows no secret: of a key only whether there is one.

local commandline = require "llmpool.commandline"
local history = require "llmpool.prompt.history"

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
  say("busted", busted and ("%s, %s"):format(first_line "busted --version"
    or "?", busted) or "not in PATH (on Debian: apt-get install lua-busted)")
end

local function readable(path)
  local file = path and io.open(path)
  if file then file:close() end
  return file ~= nil
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
  say("LUA_PATH", os.getenv "LUA_PATH_5_4" or os.getenv "LUA_PATH" or "not set")
  say("LUA_CPATH", os.getenv "LUA_CPATH_5_4" or os.getenv "LUA_CPATH"
    or "not set")
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

-- A URL may hold a password, and is shown without.
local function shown(url) return (url:gsub("//[^/@]*@", "//***@")) end

local function keys(say)
  for _, provider in ipairs(PROVIDERS) do
    local name = provider[1] .. "_API_KEY"
    local key = os.getenv(name)
    say(name, key == nil and "not set" or key == "" and "set, but empty"
      or "set")
  end
  for _, name in ipairs { "https_proxy", "HTTPS_PROXY", "http_proxy",
                          "no_proxy" } do
    local value = os.getenv(name)
    if value and value ~= "" then say(name, shown(value)) end
  end
end

-- ---- reaching out ----------------------------------------------------------

local function reach(url, timeout)
  local found, http = pcall(require, "llmpool.http")
  if not found then return "llmpool.http is not there" end
  local ok, answer = pcall(http.request, { url = url, timeout = timeout })
  if ok then return ("answers (HTTP %s)"):format(answer.status), true end
  return ("%s: %s"):format(type(answer) == "table" and answer.kind or "error",
    tostring(answer))
end

local function reachable(say, live)
  if not live then
    say("providers", "not asked; doctor --live does")
    return true
  end
  local all = true
  for _, provider in ipairs(PROVIDERS) do
    local url = url_of(provider)
    local words, ok = reach(url, 5)
    all = all and ok == true
    say(shown(url), words)
  end
  return all
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
  run = function(args, host)
    if args[1] then return nil, ("what is '%s'?"):format(args[1]) end
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
