-- check.lua: what a scenario may say, checked before anything runs. One idea:
-- every mistake is an error at the place of the script that made it, and names
-- the nearest thing there is. It runs nothing.

local client_fields = require "llmpool.client_fields"
local expect = require "llmpool.scenario.expect"
local fields = require "llmpool.fields"
local nearest = require "llmpool.nearest"
local traffic = require "llmpool.scenario.traffic"

local check = {}

local text, a_table = fields.text, fields.table

local function integer(v)
  if math.type(v) ~= "integer" then return "a whole number" end
end

local function length(v)
  if fields.positive_amount(v) then
    return "a number of seconds greater than 0"
  end
end

local function policy(v)
  local kind = type(v)
  if kind ~= "function" and kind ~= "table" and (kind ~= "string" or v == "")
  then
    return "a function, a plan, or the name or the file of a policy"
  end
end

local known = {
  name = text, about = text, seed = integer, duration = length,
  models = a_table, traffic = a_table, policy = policy, router = a_table,
  expect = a_table, actions = a_table, prepare = fields.func,
  log = fields.count, make_policy = fields.func,
}

local model_known = {
  name = text, clients = a_table, options = a_table, live = a_table,
}

-- ---- models -----------------------------------------------------------------

-- A client: a simulated one's fields, or what llmpool.simulated made, or the
-- user's own. Errors of its fields are the script's.
local function client(entry, where, level)
  if type(entry) ~= "table" then
    fields.bad(level + 1, "%s must be a table, got %s", where, type(entry))
  end
  if entry[client_fields.MARK] or type(entry.generate) == "function" then
    return entry
  end
  local ok, made = pcall(require "llmpool".simulated, entry)
  if not ok then
    local message = tostring(made):gsub("^%S+:%d+: ", "")
    fields.bad(level + 1, "%s: %s", where, message)
  end
  return made
end

local function model(name, given, level)
  local what = ("model \"%s\""):format(name)
  if type(given) ~= "table" then
    fields.bad(level + 1, "%s must be a table {clients = {...}}, got %s", what,
      type(given))
  end
  -- the list alone, as register_model takes it
  if given[1] ~= nil and next(given, #given) == nil then
    given = { clients = given }
  end
  fields.check(given, model_known, what, level + 1)
  if type(given.clients) ~= "table" or #given.clients == 0 then
    fields.bad(level + 1, "%s has no clients: give it one, as in clients = "
      .. "{{id = \"key-1\", latency = 1}}", what)
  end
  local result = { name = name, options = given.options, live = given.live,
                   clients = {} }
  local places = {}
  for i, entry in ipairs(given.clients) do
    result.clients[i] = client(entry, ("client %d of %s"):format(i, what),
      level + 1)
    local id = result.clients[i].id
    if places[id] then
      fields.bad(level + 1, "client %d of %s has the id \"%s\" of client %d; "
        .. "ids are unique within a model", i, what, tostring(id), places[id])
    end
    places[id] = i
  end
  return result
end

local function by_name(models, level)
  local names, list = {}, {}
  for name in pairs(models) do
    if type(name) ~= "string" then
      fields.bad(level + 1, "models are {name = {clients = ...}}, or a list "
        .. "whose entries have a name")
    end
    names[#names + 1] = name
  end
  table.sort(names) -- the order of registration must not change from run to run
  for i, name in ipairs(names) do
    list[i] = model(name, models[name], level + 1)
  end
  return list
end

local function models(given, level)
  if next(given) == nil then
    fields.bad(level + 1, "a scenario without clients: it needs a model, as in "
      .. "models = {m = {clients = {{id = \"a\", latency = 1}}}}")
  end
  if not given[1] then
    local list = by_name(given, level + 1)
    return list
  end
  local list, seen = {}, {}
  for i, entry in ipairs(given) do
    if type(entry) ~= "table" or text(entry.name) then
      fields.bad(level + 1, "model %d of the list needs a name", i)
    elseif seen[entry.name] then
      fields.bad(level + 1, "model \"%s\" is there twice", entry.name)
    end
    seen[entry.name] = true
    list[i] = model(entry.name, entry, level + 1)
  end
  return list
end

local function check_model_name(name, list, where, level)
  local names = {}
  for i, entry in ipairs(list) do
    if entry.name == name then return end
    names[i] = entry.name
  end
  local near = nearest(name, names)
  fields.bad(level + 1, "%s asks for the model \"%s\"; there %s \"%s\"%s",
    where, tostring(name), #names == 1 and "is" or "are",
    table.concat(names, '", "'),
    near and (" (did you mean \"%s\"?)"):format(near) or "")
end

-- Every source asks for a model that is there; one that asks for none has the
-- only one, or leaves it to the policy.
local function bind_models(sources, list, has_policy, level)
  for i, source in ipairs(sources) do
    local where = "traffic " .. i
    local asked = source.model
    for _, name in ipairs(type(asked) == "table" and asked or { asked }) do
      check_model_name(name, list, where, level + 1)
    end
    if not asked and #list == 1 then
      source.model = list[1].name
    elseif not asked and not has_policy and not source.request
      and source[1] ~= "replay" then
      fields.bad(level + 1, "%s needs model, since there are %d and no policy "
        .. "that chooses", where, #list)
    end
  end
end

-- ---- the rest ---------------------------------------------------------------

local function actions(list, level)
  for i, action in ipairs(list) do
    if type(action) ~= "table" or fields.seconds(action.at)
      or type(action[1]) ~= "function" then
      fields.bad(level + 1, "action %d must be {at = seconds, function (run) "
        .. "... end}", i)
    end
  end
end

local function copy(t)
  local result = {}
  for key, value in pairs(t) do result[key] = value end
  return result
end

local function copies(list)
  local result = {}
  for i, entry in ipairs(list) do result[i] = copy(entry) end
  return result
end

local function bounded(sources, duration)
  for i, source in ipairs(sources) do
    local kind = source[1]
    if not (duration or source.to or source.count or kind == "once"
      or kind == "at" or kind == "replay") then
      return i, kind
    end
  end
end

--- A scenario from what its script has declared; raises at `level`.
function check.scenario(t, level)
  if type(t) ~= "table" then
    fields.bad(level + 1, "bad argument #1 to 'scenario' (table expected, got "
      .. "%s)", type(t))
  end
  fields.check(t, known, "scenario", level + 1)
  if t.models == nil then
    fields.bad(level + 1, "a scenario without clients: it needs models")
  elseif t.traffic == nil then
    fields.bad(level + 1, "a scenario without traffic: it needs a source, as "
      .. "in traffic = {\"poisson\", rate = 10}")
  end
  if t.policy ~= nil and t.make_policy then
    fields.bad(level + 1, "a scenario has policy or make_policy, not both")
  end
  local result = copy(t)
  result.name = t.name or "scenario"
  result.seed = t.seed or 1
  result.models = models(t.models, level + 1)
  result.traffic = copies(traffic.check(t.traffic, level + 1))
  bind_models(result.traffic, result.models,
    t.policy ~= nil or t.make_policy ~= nil, level + 1)
  local i, kind = bounded(result.traffic, t.duration)
  if i then
    fields.bad(level + 1, "traffic %d (%s) would never end: give the scenario "
      .. "a duration, or the source `to` or `count`", i, kind)
  end
  actions(t.actions or {}, level + 1)
  result.expect = expect.check(t.expect or {}, level + 1)
  return result
end

return check
