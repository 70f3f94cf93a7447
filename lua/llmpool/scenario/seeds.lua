-- seeds.lua: a scenario's runs on many seeds, side by side on the machine's
-- processors. One idea: a run depends on its scripts and its seed alone, so
-- each thread loads the scripts for itself, and the reports, in the order of
-- their seeds, are those that one thread makes. It compares nothing.

local native = require "llmpool.native"

local seeds = {}

local MOST_AT_ONCE = 16 -- seeds of one piece of work

-- In a thread of its own, with all that it needs in `work`: the reports of some
-- seeds, up to the first that raises. What the script prints when it is loaded
-- has been printed already.
local function run_piece(work)
  local print = print
  _G.print = function() end
  local scenario = work.replay
    and require "llmpool.scenario.replay".scenario(work.replay)
    or require "llmpool.scenario".load(work.path, work.settings)
  _G.print = print -- what the runs print is told
  local done = { reports = {} }
  for i = 1, work.count do
    local ok, report = pcall(scenario.run, scenario, {
      seed = work.first + i - 1, policy = work.policy })
    if not ok then
      done.failure = tostring(report)
      break
    end
    done.reports[i] = report
  end
  return done
end

-- A function () -> the work to do next; nil: there is no more.
local function pieces(work, count, size)
  local given = 0
  return function()
    if given >= count then return nil end
    local piece = { offset = given, first = work.seed + given,
                    count = math.min(size, count - given) }
    for _, name in ipairs { "path", "settings", "replay", "policy" } do
      piece[name] = work[name]
    end
    given = given + piece.count
    return piece
  end
end

-- One of the hands: takes a piece after the other until one has failed. They
-- are handed out in order, so the first failure is that of the lowest seed. It
-- waits for its thread itself: Ctrl-C in a task between the two, not joined
-- yet, would be told as that task's failure.
local function hand(self)
  return function()
    local piece = self.next()
    while piece and not self.failure do
      local done = native.thread_wait(native.thread_start(run_piece, piece))
      for i, report in ipairs(done.reports) do
        self.reports[piece.offset + i] = report
      end
      self.done = self.done + #done.reports
      self.show(self.done)
      if done.failure and not (self.failure and self.failed < piece.offset) then
        self.failure, self.failed = done.failure, piece.offset
      end
      piece = not self.failure and self.next() or nil
    end
  end
end

--- Whether that many runs are worth a thread, here.
function seeds.pay(count)
  return count > 1 and native.processors() > 1
end

--- Runs a scenario on `count` seeds, from work.seed on; raises what the run of
-- the lowest seed has raised.
-- @param work table: path or replay (a trace), settings, policy, seed
-- @param reports table: where the reports go, in the order of the seeds; what
-- is there is there also if this raises
-- @param show function (done): called whenever some are done
function seeds.run(work, count, reports, show)
  local hands = math.min(native.processors(), count)
  local size = math.ceil(count / hands / 4)
  local self = { reports = reports, done = 0, show = show,
                 next = pieces(work, count, math.min(size, MOST_AT_ONCE)) }
  local functions = {}
  for i = 1, hands do functions[i] = hand(self) end
  require "llmpool".gather(table.unpack(functions))
  if self.failure then error(self.failure, 0) end
end

return seeds
