-- scenario.lua: a scenario is a Lua script that says what there is - models
-- with simulated clients, traffic, a policy - and what must hold of the run.
-- One idea: it is declared as a plain table, checked at once, and can then be
-- run any number of times, with any seed and any policy, at the command line,
-- in a spec, or from a script. The parts are in scenario/.

local check = require "llmpool.scenario.check"
local expect = require "llmpool.scenario.expect"
local fields = require "llmpool.fields"
local native = require "llmpool.native"
local run = require "llmpool.scenario.run"

local scenario = {}

local Scenario = {}
Scenario.__index = Scenario
Scenario.__name = "llmpool.scenario"

-- ---- running ----------------------------------------------------------------

local run_known = {
  seed = fields.any, policy = fields.any, real = fields.any,
  live = fields.any, log = fields.count, trace = fields.func,
  progress = fields.func,
}

local function check_run(options, name)
  if options == nil then return {} end
  if type(options) ~= "table" then
    fields.bad(3, "bad argument #1 to '%s' (table expected, got %s)", name,
      type(options))
  end
  fields.check(options, run_known, "scenario:" .. name, 3)
  if options.seed ~= nil and math.type(options.seed) ~= "integer" then
    fields.bad(3, "seed of scenario:%s must be a whole number, got %s", name,
      tostring(options.seed))
  end
  return options
end

--- Runs the scenario once, and judges its expectations.
-- @param options table: seed, policy (a function, a plan, a name or a file),
-- real, live, log, trace, progress
-- @return the report, with what was expected in `expected` and whether all
-- held in `ok`; and the run, for a timeline or a trace
function Scenario:run(options)
  options = check_run(options, "run")
  local report, ran = run.once(self, options)
  local failed
  report.expected, failed = expect.judge(self.expect, report)
  report.ok = failed == 0
  return report, ran
end

--- Runs the scenario and raises if an expectation does not hold: under busted
-- as a failure of the test.
-- @return the report
function Scenario:verify(options)
  options = check_run(options, "verify")
  local report, ran = self:run(options)
  if report.ok then return report, ran end
  local lines = { ("scenario \"%s\", seed %d:"):format(self.name,
    report.seed) }
  for _, result in ipairs(report.expected) do
    if not result.ok then
      lines[#lines + 1] = ("  %s: %s"):format(result.text, result.message)
    end
  end
  local message = table.concat(lines, "\n")
  local luassert = package.loaded.luassert
  if luassert then luassert(false, message) end
  error(message, 2)
end

function Scenario:__tostring()
  return ("scenario (%s, %d models, %d sources)"):format(self.name,
    #self.models, #self.traffic)
end

-- ---- settings ---------------------------------------------------------------

local given -- the settings of the script that is being loaded
local loading = false

local function convert(name, text, default)
  local kind = type(default)
  if type(text) == kind then return text end
  local value
  if kind == "number" then value = tonumber(text) end
  if kind == "boolean" then
    if text == "true" or text == "false" then value = text == "true" end
  end
  if value == nil then
    fields.bad(4, "setting %s must be %s, got '%s'", name,
      kind == "boolean" and "true or false" or "a " .. kind, tostring(text))
  end
  return value
end

--- The settings of a scenario: defaults that --set, or load, may change.
-- @param defaults table: name -> number, string or boolean
-- @return a table with every one of them
function scenario.settings(defaults)
  if type(defaults) ~= "table" then
    fields.bad(2, "bad argument #1 to 'settings' (table expected, got %s)",
      type(defaults))
  end
  local result = {}
  for name, value in pairs(defaults) do result[name] = value end
  for name, text in pairs(given or {}) do
    if defaults[name] == nil then
      fields.bad(2, "unknown setting '%s'%s", name,
        fields.suggestion(name, defaults))
    end
    result[name] = convert(name, text, defaults[name])
  end
  if given then given = nil end
  return result
end

-- ---- declaring, loading -----------------------------------------------------

local function declare(t, level)
  return setmetatable(check.scenario(t, level + 1), Scenario)
end

-- busted's describe and it, if the caller is a spec file's own chunk.
local function spec_functions(level)
  local info = debug.getinfo(level + 1, "Sf")
  if loading or not info or info.what ~= "main" then return nil end
  local name, env = debug.getupvalue(info.func, 1)
  if name ~= "_ENV" or type(env) ~= "table" then return nil end
  local describe, it = env.describe, env.it
  if describe and it and package.loaded.luassert then return describe, it end
end

-- A test for each expectation of one run.
local function announce(made, describe, it)
  describe("scenario " .. made.name, function()
    local report
    local function result(i)
      report = report or made:run()
      return report.expected[i]
    end
    for i, entry in ipairs(made.expect) do
      it(entry.text, function()
        local judged = result(i)
        require "luassert"(judged.ok, judged.message)
      end)
    end
    if #made.expect == 0 then it("runs", function() made:run() end) end
  end)
end

-- Between the script and here: the function that is called, and its frame of C.
local function declare_and_announce(t)
  local made = declare(t, 4)
  local describe, it = spec_functions(4)
  if describe then announce(made, describe, it) end
  return made
end

--- Declares a scenario; raises on what is wrong with it. In a file that busted
-- runs, each expectation is a test.
-- @param t table: name, models, traffic, and more (see the page simulation)
-- @return the scenario
scenario.new = native.framed(function(t)
  local made = declare_and_announce(t)
  return made
end)

--- Whether a value is a scenario. By name: a spec may load this file twice.
function scenario.is(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__name == Scenario.__name
end

local function run_chunk(chunk, path, settings)
  local before, outer = given, loading
  given, loading = settings, true
  local ok, made = pcall(chunk)
  local unused = given
  given, loading = before, outer
  if not ok then error(made, 0) end
  if not scenario.is(made) then
    error(("%s returns no scenario (%s); end it with: return scenario { ... }")
      :format(path, made == nil and "nothing" or type(made)), 0)
  end
  local name = unused and next(unused)
  if name then
    error(("%s has no settings, so '%s' cannot be set"):format(path, name), 0)
  end
  return made
end

--- The scenario that a script returns.
-- @param path string: the script's file
-- @param settings table: what scenario.settings gives the script
function scenario.load(path, settings)
  if type(path) ~= "string" then
    fields.bad(2, "bad argument #1 to 'load' (a file's name expected, got %s)",
      type(path))
  end
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  local made = run_chunk(chunk, path, settings)
  made.path = path
  return made
end

--- n clients of the same fields: their ids are the prefix and a number.
-- @param n integer
-- @param t table: what llmpool.simulated takes; id is the prefix ("key-")
function scenario.clients(n, t)
  if math.type(n) ~= "integer" or n < 1 then
    fields.bad(2, "bad argument #1 to 'clients' (a whole number, 1 or more, "
      .. "expected, got %s)", tostring(n))
  end
  local list = {}
  for i = 1, n do
    local client = {}
    for key, value in pairs(t or {}) do client[key] = value end
    client.id = (client.id or "key-") .. i
    list[i] = client
  end
  return list
end

return setmetatable(scenario, {
  __call = native.framed(function(_, t)
    local made = declare_and_announce(t)
    return made
  end),
})
