-- observe.lua: the program's options --timeline and --record: everything that
-- the pools of this process lend, from the first on, drawn or written when the
-- program ends. One idea: the script is not changed and does not know; pools
-- are watched where they are made, routers where they are made. A recording has
-- all traffic once: a router's requests, and the leases that no router asked
-- for, those of other threads too. It decides nothing of how a picture looks
-- (timeline.lua) or a trace reads (trace.lua).

local native = require "llmpool.native"

local observe = {}

-- Events that are kept: beyond them a timeline has bands, and a recording ends.
local DRAWN, RECORDED = 1 << 20, 1 << 24

local state

local function check_writable(path)
  local file, message = io.open(path, "wb")
  if not file then error("cannot write " .. message, 0) end
  file:close()
end

-- Routers that the script makes are followed, one trace for all of them.
local function follow_routers()
  local llmpool = require "llmpool"
  local make = llmpool.router
  function llmpool.router(options)
    local router = make(options)
    if state then state.trace:follow(router) end
    return router
  end
end

-- os.exit ends the program without returning here.
local function hook_exit()
  local exit = os.exit
  function os.exit(...) -- luacheck: ignore 122
    observe.finish()
    return exit(...)
  end
end

--- Begins; called by the program before the script.
-- @param paths table: timeline, record: files, or nil
function observe.start(paths)
  require "llmpool"
  for _, name in ipairs { "timeline", "record" } do
    if paths[name] then check_writable(paths[name]) end
  end
  state = { timeline = paths.timeline,
            record = native.record(paths.record and RECORDED or DRAWN) }
  native.observe(state.record)
  if paths.record then
    native.keep_failures()
    state.trace = require "llmpool.trace".shared(paths.record, state.record)
    follow_routers()
  end
  hook_exit()
end

local function title() return arg and arg[0] or "llmpool" end

--- Ends: draws and writes. A second call does nothing.
function observe.finish()
  local run = state
  if not run then return end
  state = nil
  native.observe()
  run.record:stop(native.now())
  local read = run.record:read()
  if run.timeline then
    require "llmpool.timeline".write(run.timeline, { record = run.record,
      read = read, scenario = title() })
  end
  if not run.trace then return end
  run.trace:close()
  if read.kept < read.total or read.dropped > 0 or read.incomplete then
    io.stderr:write(("llmpool: the recording has the first %d of %d events of "
      .. "its pools; what came later is not in it\n"):format(read.kept,
      read.total + read.dropped))
  end
end

return observe
