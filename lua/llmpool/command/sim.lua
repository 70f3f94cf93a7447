-- `llmpool sim`: runs a scenario and reports. All that it knows itself is its
-- options; the run is scenario.lua's, the words scenario/text.lua's.

local progress = require "llmpool.progress"

local INTERRUPTED = 130 -- as shells have it: 128 and SIGINT

-- Set options are checked before anything runs.
local function integer(args, name, least, most)
  local text = args[name]
  if not text then return nil end
  local value = math.tointeger(tonumber(text))
  if not value or least and value < least or most and value > most then
    error({ usage = ("--%s must be a whole number%s, got '%s'"):format(name,
      most and (" from %d to %d"):format(least, most)
      or least and (", %d or more"):format(least) or "", text) }, 0)
  end
  return value
end

local function settings(list)
  local result
  for _, text in ipairs(list or {}) do
    local name, value = text:match "^([%w_]+)=(.*)$"
    if not name then
      error({ usage = ("--set takes NAME=VALUE, got '%s'"):format(text) }, 0)
    end
    result = result or {}
    if result[name] then
      error({ usage = ("--set %s is given twice"):format(name) }, 0)
    end
    result[name] = value
  end
  return result
end

local function check_files(args)
  for _, name in ipairs { "timeline", "trace", "replay" } do
    if args[name] == "" then
      error({ usage = ("--%s needs the name of a file"):format(name) }, 0)
    end
  end
end

local function check(args)
  check_files(args)
  local plan = {
    seed = integer(args, "seed"), seeds = integer(args, "seeds", 1) or 1,
    width = integer(args, "width", 40, 200), settings = settings(args.set),
    policies = args.policy or {}, replay = args.replay,
  }
  if args.real and args.live then
    error({ usage = "--real and --live exclude each other" }, 0)
  elseif args.replay and (args[1] or args.live or args.set) then
    error({ usage = "--replay takes its traffic from the trace: no scenario, "
      .. "no --set and no --live beside it" }, 0)
  elseif (args[1] or "") == "" and not args.replay then
    error({ usage = "which scenario? (sim SCENARIO.lua [options])" }, 0)
  elseif args[2] then
    error({ usage = ("one scenario at a time; what is '%s'?"):format(args[2])
    }, 0)
  end
  return plan
end

-- ---- running ----------------------------------------------------------------

-- On a terminal, how far it is; on a pipe nothing, and no task for it.
local function progress_line(name)
  local format = require "llmpool.scenario.format"
  if not progress.is_seen() then return nil, function() end end
  local show, clear = progress.line(name)
  return function(share, requests)
    show(share, 1, format.count(requests) .. " requests")
  end, clear
end

-- How a policy is called in a table: the name, or the file without the path.
local function title(policy)
  if not policy then return nil end
  return (policy:match "([^/\\]+)$":gsub("%.lua$", ""))
end

-- Where the picture of the nth policy goes.
local function file_for(name, n, policy)
  if n == 1 then return name end
  local stem, ending = name:match "^(.*)(%.%w+)$"
  return ("%s-%s%s"):format(stem or name, title(policy), ending or "")
end

local function write_pictures(args, n, policy, ran)
  if args.timeline then
    require "llmpool.timeline".write(file_for(args.timeline, n, policy), ran)
  end
  if args.trace then
    require "llmpool.chrome_trace".write(file_for(args.trace, n, policy), ran)
  end
end

local KEPT = 1 << 20 -- events that a picture is drawn from

local function run_here(scenario, args, plan, n, reports)
  local policy = plan.policies[n]
  for i = 1, plan.seeds do
    local show, clear = progress_line(scenario.name)
    local pictures = i == 1 and (args.timeline or args.trace)
    local report, ran = scenario:run {
      seed = (plan.seed or scenario.seed) + i - 1, policy = policy,
      real = args.real, live = args.live, progress = show,
      log = pictures and KEPT or nil,
    }
    clear()
    if pictures then write_pictures(args, n, policy, ran) end
    reports[i] = report
  end
end

-- Runs that take no time of ours and draw no pictures need not be one after the
-- other.
local function run_in_threads(scenario, args, plan, n, reports)
  local show, clear = progress.line(scenario.name)
  local ok, err = pcall(require "llmpool.scenario.seeds".run, {
    path = args[1], replay = plan.replay, settings = plan.settings,
    policy = plan.policies[n], seed = plan.seed or scenario.seed,
  }, plan.seeds, reports, function(done)
    show(done, plan.seeds, ("%d seeds"):format(done))
  end)
  clear()
  if not ok then error(err, 0) end
end

local function is_interrupt(err)
  return type(err) == "string" and err:find "interrupted!$" ~= nil
end

-- How many reports there are from the first seed on without a gap.
local function done_of(reports)
  local n = 0
  while reports[n + 1] do n = n + 1 end
  return n
end

-- A column of reports, one a seed. Ctrl-C leaves those that are done: then the
-- plan is for so many seeds, and says that it was interrupted. Returns nil if
-- there is none, and other columns to be told of.
local function column(scenario, args, plan, n)
  local reports = {}
  local in_threads = not (args.real or args.live or args.timeline or args.trace)
    and require "llmpool.scenario.seeds".pay(plan.seeds)
  local ok, err = pcall(in_threads and run_in_threads or run_here, scenario,
    args, plan, n, reports)
  if not ok then
    local done = done_of(reports)
    if not is_interrupt(err) or done == 0 and n == 1 then error(err, 0) end
    plan.interrupted = plan.seeds
    if done == 0 then return nil end
    plan.seeds = done
  end
  return { name = title(plan.policies[n]) or reports[1].policy,
           reports = reports }
end

-- All of them, or as far as they have come: each with the same seeds.
local function columns_of(scenario, args, plan)
  local columns = {}
  for n = 1, math.max(1, #plan.policies) do
    columns[n] = column(scenario, args, plan, n)
    if plan.interrupted then break end
  end
  for _, c in ipairs(columns) do
    c.reports = table.move(c.reports, 1, plan.seeds, 1, {})
  end
  return columns
end

-- ---- telling ----------------------------------------------------------------

local function have_failed(columns)
  for _, c in ipairs(columns) do
    for _, report in ipairs(c.reports) do
      for _, result in ipairs(report.expected) do
        if not result.ok then return true end
      end
    end
  end
  return false
end

local function as_json(columns)
  local json = require "llmpool.json"
  local list = {}
  for _, c in ipairs(columns) do
    for _, report in ipairs(c.reports) do
      report.policy = c.name
      list[#list + 1] = report
    end
  end
  local value = #list == 1 and list[1] or {
    reports = list, comparison = require "llmpool.scenario.compare".rows(
      columns),
  }
  io.write(json.encode(value, { pretty = true }), "\n")
end

local function as_text(columns, width, many)
  if not many then
    io.write(require "llmpool.scenario.text".report(columns[1].reports[1],
      width))
    return
  end
  local compare = require "llmpool.scenario.compare"
  io.write(compare.text(columns, width))
  local lines = compare.failed(columns)
  if #lines > 0 then io.write("\n", table.concat(lines, "\n"), "\n") end
end

local function scenario_of(args, plan, host)
  if not plan.replay then
    return require "llmpool.scenario".load(args[1], plan.settings)
  end
  local scenario, torn =
    require "llmpool.scenario.replay".scenario(plan.replay)
  if torn then host.err(("%s: sim: %s\n"):format(host.program, torn)) end
  return scenario
end

local function run(args, host)
  local plan = check(args)
  local scenario = scenario_of(args, plan, host)
  local columns = columns_of(scenario, args, plan)
  local many = #columns > 1 or plan.seeds > 1
  if args.json then
    as_json(columns)
  else
    local native = require "llmpool.native"
    as_text(columns, plan.width or native.terminal(1)
      or math.tointeger(tonumber(os.getenv "COLUMNS")) or 80, many)
  end
  if plan.interrupted then
    host.err(("%s: sim: interrupted after %d of %d seeds\n"):format(
      host.program, plan.seeds, plan.interrupted))
    return INTERRUPTED
  end
  return not have_failed(columns)
end

-- The sentence of an error, with its place in the user's script.
local function sentence(err)
  if type(err) == "table" and err.usage then
    return err.usage .. "; see 'llmpool help sim'"
  end
  return tostring(err)
end

return {
  usage = "SCENARIO.lua [options]",
  words = "scripts",
  summary = "run a scenario, in virtual time, and report",
  details = [[
A scenario is a Lua script that returns scenario { models =, traffic =, ... };
see the page simulation, and scripts/scenarios. Equal seeds give equal runs.
The exit status is 1 when an expectation fails or the policy raises.
]],
  options = {
    { name = "seed", value = "N", text = "the seed, not the scenario's" },
    { name = "seeds", value = "N", text = "so many runs, from that seed on" },
    { name = "policy", value = "P", many = true,
      text = "a policy's file or name; several are compared" },
    { name = "set", value = "K=V", many = true,
      text = "change a setting of the scenario" },
    { name = "json", text = "the report as JSON" },
    { name = "timeline", value = "FILE", text = "who held which client when, "
      .. "as SVG" },
    { name = "trace", value = "FILE", text = "the same for Chrome's tracing "
      .. "and Perfetto" },
    { name = "replay", value = "FILE", text = "the traffic of a recorded "
      .. "trace, no scenario" },
    { name = "real", text = "in real time, with simulated clients" },
    { name = "live", text = "in real time, against the live clients" },
    { name = "width", value = "N", text = "columns of the report, 40 to 200" },
  },
  run = function(args, host)
    local ok, answer = pcall(run, args, host)
    if ok then return answer end
    if is_interrupt(answer) then
      host.err(host.program .. ": sim: interrupted\n")
      return INTERRUPTED
    end
    return nil, sentence(answer)
  end,
}
