-- tmux: a real terminal with the program in it, for specs of the prompt.
--
--   local terminal <close> = tmux.open { width = 80, height = 24 }
--   terminal:prompt()            -- waits until the prompt is ready
--   terminal:line "1 + 1"        -- types it, and Enter
--   terminal:await "2"           -- waits until that is on the screen
--   terminal:press("C-c", "Tab") -- keys by tmux's names
--
-- Nothing sleeps for a fixed time: whatever is expected is waited for, long
-- enough for a busy machine, and a failure shows the screen. Each call of
-- tmux is a process, so that one call does all that can be done at once.

local llmpool = require "llmpool"

local host = require "spec.host.support"
local shell = require "spec.support.shell"

local tmux = {}

local Terminal = {}
Terminal.__index = Terminal

local PATIENCE = tonumber(os.getenv "LLMPOOL_PATIENCE") or 30 -- seconds
local count = 0

local quote = host.quote

local function now() return os.time() end

function Terminal:run(words)
  local text, ok = shell.run(("tmux -S %s %s"):format(self.socket, words))
  if not ok then error("tmux " .. words .. ": " .. text, 2) end
  return text
end

--- What is on the screen, without the empty lines beneath.
function Terminal:screen(options)
  local text = self:run("capture-pane -p " .. (options or ""))
  return (text:gsub("%s+$", ""))
end

function Terminal:press(...)
  local keys = {}
  for i, key in ipairs { ... } do keys[i] = quote(key) end
  self:run("send-keys " .. table.concat(keys, " "))
end

local function typing(text)
  text = text:gsub(";$", "\\;") -- else tmux takes it for its own
  return "send-keys -l -- " .. quote(text)
end

function Terminal:type(text) self:run(typing(text)) end

function Terminal:line(text)
  self:run(typing(text) .. " \\; send-keys Enter")
end

--- Pastes a text as a terminal does, with or without brackets around it.
function Terminal:paste(text, bracketed)
  self:run("set-buffer -- " .. quote(text))
  self:run("paste-buffer " .. (bracketed and "-p" or ""))
end

function Terminal:resize(width, height)
  self:run(("resize-window -x %d -y %d"):format(width, height))
end

--- Waits until `is_there` holds of the screen's text.
function Terminal:until_screen(is_there, what)
  local deadline = now() + PATIENCE
  local screen
  repeat
    screen = self:screen()
    if is_there(screen) then return screen end
    llmpool.sleep(0.01)
  until now() > deadline
  error(("waited in vain for %s; the screen is:\n%s"):format(what, screen), 3)
end

--- Waits until the text is on the screen; returns the screen.
function Terminal:await(text)
  return self:until_screen(function(screen)
    return screen:find(text, 1, true) ~= nil
  end, "'" .. text .. "'")
end

--- Waits until the last line is that.
function Terminal:await_last(line)
  return self:until_screen(function(screen)
    return screen:match "[^\n]*$" == line
  end, "the last line to be '" .. line .. "'")
end

--- Waits until the prompt is ready, with nothing typed.
function Terminal:prompt() return self:await_last ">" end

--- Clears the screen and the line being typed.
function Terminal:clear()
  self:run([[send-keys C-a C-k \; send-keys -R \; clear-history \; ]] ..
           "send-keys C-l")
  self:prompt()
end

--- Types a line, waits for the next prompt, returns what came in between.
function Terminal:answer(text)
  self:clear()
  self:line(text)
  local screen = self:until_screen(function(shown)
    return shown:match "[^\n]*$" == ">" and shown:find("\n", 1, true)
  end, "an answer to " .. text)
  return (screen:gsub("^[^\n]*\n", "", 1):gsub("\n?>$", ""))
end

function Terminal:__close()
  shell.run(("tmux -S %s kill-server"):format(self.socket))
end
Terminal.close = Terminal.__close

--- A terminal for all tests of a block, cleared before each; `prepare` gets it
-- once, with its first prompt.
function tmux.around(setup, teardown, before_each, prepare)
  local shared = setmetatable({}, Terminal)
  setup(function()
    host.open()
    for name, value in pairs(tmux.open {}) do shared[name] = value end
    shared:prompt()
    if prepare then prepare(shared) end
  end)
  teardown(function()
    shared:close()
    host.close()
  end)
  before_each(function() shared:clear() end)
  return shared
end

--- Starts the program in a terminal of its own.
-- @param options table: width, height, args (words for the shell), env (words
-- of env(1)), home (a directory), program (instead of ours); the status is
-- shown when it has ended
function tmux.open(options)
  count = count + 1
  local home = options.home or host.top
  local self = setmetatable({
    socket = ("%s/tmux-%d"):format(host.top, count), home = home,
  }, Terminal)
  local command = ("cd %s && trap : INT; env HOME=%s XDG_STATE_HOME= "
    .. "XDG_CONFIG_HOME= LC_ALL=C.UTF-8 -u LLMPOOL_HISTORY -u LLMPOOL_INIT "
    .. "-u NO_COLOR %s %s %s; echo status $?; exec cat"):format(home, home,
    options.env or "", options.program or host.program, options.args or "")
  -- env's own options come first
  command = command:gsub("env (.-)(%-u LLMPOOL_HISTORY.-NO_COLOR)",
    "env %2 %1")
  self:run(("-f /dev/null new-session -d -x %d -y %d %s"):format(
    options.width or 80, options.height or 24, quote(command)))
  return self
end

return tmux
