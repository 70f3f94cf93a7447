-- observe.lua: the program's options --timeline and --record: everything that
-- the pools of this process lend, from the first on, drawn or written when the
-- program ends, or as it goes. One idea: the script is not changed and does not
-- know; pools are watched where they are made, routers where they are made. A
-- recording has all traffic once: routers' requests, and the leases that no
-- router asked for, those of other threads too. It decides nothing of how a
-- picture looks (timeline.lua) or a trace reads (trace.lua).

local native = require "llmpool.native"

local observe = {}

local DRAWN = 1 << 20 -- events that are kept; beyond, a timeline has bands

local state

local function check_writable(path)
  local file, message = io.open(path, "wb")
  if not file then error("cannot write " .. message, 0) end
  file:close()
end

-- os.exit ends the program without returning here. What was well is not, if the
-- recording is not.
local function hook_exit()
  local exit = os.exit
  function os.exit(code, close) -- luacheck: ignore 122
    local done = observe.finish()
    if not done and (code == nil or code == true or code == 0) then
      code = false
    end
    return exit(code, close)
  end
end

--- Begins; called by the program before the script.
-- @param paths table: timeline, record: files, or nil; program: its name
function observe.start(paths)
  require "llmpool"
  if paths.timeline then check_writable(paths.timeline) end
  local record = native.record(paths.timeline and DRAWN or 0)
  state = { timeline = paths.timeline, record = record }
  if paths.record then
    state.tape = require "llmpool.trace".share(paths.record, paths.program,
      record)
  end
  native.observe(record)
  hook_exit()
end

local function title() return arg and arg[0] or "llmpool" end

-- A failure has been told when it happened.
local function end_recording(tape)
  require "llmpool.trace".cut_off()
  local lost = tape:close()
  if lost and lost > 0 then
    io.stderr:write(("llmpool: the recording is without %d lines or events, "
      .. "which came faster than they could be written\n"):format(lost))
  end
  return lost ~= nil
end

--- Ends: draws and writes. A second call does nothing.
-- @return whether all could be written
function observe.finish()
  local run = state
  if not run then return true end
  state = nil
  native.observe()
  run.record:stop(native.now())
  local done = not run.tape or end_recording(run.tape)
  if run.timeline then
    require "llmpool.timeline".write(run.timeline, { record = run.record,
      read = run.record:read(), scenario = title() })
  end
  return done
end

return observe
