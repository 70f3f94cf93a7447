-- plan.lua: what a policy returns, checked and brought into one form: a list
-- of attempts, in order, with everything filled in that was left out. One idea:
-- a plan is compiled once; a policy that returns a compiled plan (plan.new)
-- pays for no check again. It knows no pool and runs nothing.

local fields = require "llmpool.fields"
local kinds = require "llmpool.router.kinds"

local plan = {}

local NAME = "llmpool.plan"
local Plan = { __name = NAME }
Plan.__index = Plan

plan.WHAT = "a plan is a model's name, a list of names, or a list of attempts "
  .. "{model = name or {names}, client =, timeout =, retries =, ...}"

local function bad(...) error(string.format(...), 0) end

-- ---- checks: nil, or what is wanted -----------------------------------------

local text, a_table, positive = fields.string, fields.table, fields.positive

local function id_list(v)
  if type(v) == "string" and v ~= "" then return end
  local wanted = "a name that is not empty, or a list of names"
  if type(v) ~= "table" or #v == 0 then return wanted end
  for key, name in pairs(v) do
    if math.type(key) ~= "integer" or type(name) ~= "string" or name == ""
    then
      return wanted
    end
  end
end

local function commit(v)
  if v == "first" or v == "end" then return end
  if math.type(v) == "integer" and v >= 1 then return end
  return '"first", "end", or a number of pieces, 1 or more'
end

local function some_kinds(v)
  local wanted = id_list(v)
  if wanted then return "a list of kinds of failure" end
  for _, kind in ipairs(type(v) == "table" and v or { v }) do
    if not kinds.known[kind] then
      return ("!unknown kind of failure '%s'%s"):format(kind,
        fields.suggestion(kind, kinds.known))
    end
  end
end

local function instant(v)
  if not fields.is_number(v) then return "an instant, in seconds" end
end

local attempt_fields = {
  model = id_list, client = id_list, exclude = id_list, wait = fields.seconds,
  timeout = fields.seconds, deadline = fields.seconds, first = fields.seconds,
  idle = fields.seconds, retries = fields.count, retry_on = some_kinds,
  fallback_on = some_kinds,
  hedge_after = fields.seconds, commit = commit, context = positive,
  priority = fields.priority, backoff = positive, max_backoff = positive,
}

-- What a plan itself may have besides its attempts.
local plan_fields = {
  timeout = fields.seconds, refuse = text, retry_at = instant, why = text,
  gate = a_table, share = fields.any, cost = positive,
  on_attempt = fields.func, on_done = fields.func, hedge_budget = a_table,
  retry_budget = a_table,
}

-- ---- compiling --------------------------------------------------------------

local function list(v)
  if v == nil or type(v) == "table" then return v end
  return { v }
end

local function set(v)
  if v == nil then return nil end
  local result = {}
  for _, name in ipairs(list(v)) do result[name] = true end
  return result
end

local function copy(v)
  if type(v) ~= "table" then return v end
  return table.move(v, 1, #v, 1, {})
end

-- What the pool is asked when nothing but the attempt speaks.
local function ask(attempt)
  if attempt.priority or attempt.client then
    return { priority = attempt.priority, prefer = attempt.client }
  end
end

local function simple(name)
  return { model = name, commit = "first", retries = 0 }
end

-- At the level where no position is put before the sentence.
local function check(t, known, where)
  local ok, err = pcall(fields.check, t, known, where, -2)
  if not ok then bad("%s", err) end
end

-- How a field is taken over, where it is not just the value.
local take = {
  model = copy, retry_on = set, fallback_on = set,
  client = function(v) return copy(list(v)) end,
  exclude = function(v) return copy(list(v)) end,
}

local function compile_attempt(t, where)
  if type(t) == "string" and t ~= "" then return simple(t) end
  if type(t) ~= "table" then
    bad("%s is %s; %s", where, t == "" and "an empty string" or "a "
      .. type(t), plan.WHAT)
  end
  if t.model == nil then
    local ok, misspelt = pcall(check, t, attempt_fields, where)
    bad("%s has no model%s; %s", where, ok and "" or " (" .. misspelt .. ")",
      plan.WHAT)
  end
  local attempt = { commit = "first", retries = 0 }
  for key, value in next, t do
    local wanted = attempt_fields[key]
    if not wanted or wanted(value) then check(t, attempt_fields, where) end
    local how = take[key]
    attempt[key] = how and how(value) or value
  end
  attempt.ask = ask(attempt)
  return attempt
end

local function is_attempt(t) return t.model ~= nil end

local function rest_of(t)
  local rest
  for key, value in pairs(t) do
    if math.type(key) ~= "integer" then
      rest = rest or {}
      rest[key] = value
    end
  end
  return rest
end

-- Neither a list nor a refusal: it was meant to be an attempt.
local function is_misspelt(t, rest)
  if #t > 0 or t.refuse ~= nil then return false end
  for key in pairs(rest) do
    if not plan_fields[key] then return true end
  end
end

local function hooks(result)
  if result.on_attempt then result.on_attempt = { result.on_attempt } end
  if result.on_done then result.on_done = { result.on_done } end
end

local function compile(t)
  local result = setmetatable({}, Plan)
  if is_attempt(t) then
    result[1] = compile_attempt(t, "the plan")
    return result
  end
  local rest = rest_of(t)
  if rest then
    check(rest, is_misspelt(t, rest) and attempt_fields or plan_fields,
      "the plan")
    for key, value in pairs(rest) do result[key] = value end
    hooks(result)
  end
  for i = 1, #t do
    result[i] = compile_attempt(t[i], "attempt " .. i .. " of the plan")
  end
  if #result == 0 and not result.refuse then
    bad("the plan is empty; %s", plan.WHAT)
  end
  return result
end

--- Whether it is a compiled plan. By name, since a spec may load this twice.
function plan.is(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__name == NAME
end

-- ---- plans that come again --------------------------------------------------

-- Most policies write their plan anew for every request, and it is one of a
-- few: plans of names and numbers alone are kept by what is in them, in a tree
-- of steps: kept[a][b][PLAN] for { a, b }. An attempt or a list within one is
-- between BEGIN and END.
local MOST, PLAN, BEGIN, END = 10000, {}, {}, {}
local kept, count = {}, 0

local function step(node, key)
  local deeper = node[key]
  if not deeper then
    deeper = {}
    node[key], count = deeper, count + 1
  end
  return deeper
end

-- Beyond a list of names, or nil if it is something else.
local function step_list(node, names)
  local n = #names
  if n == 0 or getmetatable(names) or next(names, n) ~= nil then return nil end
  node = step(node, BEGIN)
  for i = 1, n do
    if type(names[i]) ~= "string" then return nil end
    node = step(node, names[i])
  end
  return step(node, END)
end

local function step_value(node, value)
  local kind = type(value)
  if kind == "string" or kind == "number" and value == value then
    return step(node, value)
  end
  return kind == "table" and step_list(node, value) or nil
end

-- Beyond an attempt, or nil if there is more to it.
local function step_attempt(node, attempt)
  if type(attempt) ~= "table" or getmetatable(attempt) then return nil end
  node = step(node, BEGIN)
  for key, value in next, attempt do
    if type(key) ~= "string" then return nil end
    node = step_value(step(node, key), value)
    if not node then return nil end
  end
  return step(node, END)
end

-- Of a plan's own fields a time alone.
local function step_timeout(node, t, key, value)
  if key ~= "timeout" or type(value) ~= "number" or value ~= value
    or next(t, key) ~= nil then
    return nil
  end
  return step(step(node, key), value)
end

-- Where the plan of this table is kept, which has no metatable; nil if it is
-- not to be kept.
local function place_of(t)
  local n, node = #t, kept
  if n == 0 then return t.model ~= nil and step_attempt(node, t) or nil end
  for i = 1, n do
    local entry = t[i]
    if type(entry) == "string" then
      node = step(node, entry)
    else
      node = step_attempt(node, entry)
      if not node then return nil end
    end
  end
  local key, value = next(t, n)
  if key == nil then return node end
  return step_timeout(step(node, END), t, key, value)
end

local function of_table(t)
  if count >= MOST then kept, count = {}, 0 end
  local place = not getmetatable(t) and place_of(t)
  if not place then return compile(t) end
  local made = place[PLAN]
  if made then return made end
  made = compile(t)
  place[PLAN] = made
  return made
end

local function what_is(value)
  if value == nil then return "nil" end
  return value == "" and "an empty string" or "a " .. type(value)
end

--- Compiles what a policy returned; raises a sentence if it is no plan.
function plan.of(value)
  if type(value) == "table" then
    return plan.is(value) and value or of_table(value)
  end
  if type(value) ~= "string" or value == "" then
    bad("%s is no plan: %s", what_is(value), plan.WHAT)
  end
  local place = kept[value]
  return place and place[PLAN] or of_table { value }
end

--- What `of` would return and has returned before, or nil.
function plan.quick(value)
  local place
  if type(value) == "table" then
    local meta = getmetatable(value)
    if meta == Plan then return value end
    if meta then return plan.is(value) and value or nil end
    place = place_of(value)
  else
    place = kept[value]
  end
  return place and place[PLAN]
end

--- A compiled plan: checked once, however often a policy returns it. It must
-- not be changed.
function plan.new(value)
  local ok, result = pcall(plan.of, value)
  if not ok then error(result, 2) end
  return result
end

-- ---- plans made of plans ----------------------------------------------------

local function append(hook_list, hook)
  if not hook then return hook_list end
  local result = hook_list and copy(hook_list) or {}
  result[#result + 1] = hook
  return result
end

--- A plan like `from`, with other fields of the plan; hooks are added to those
-- that there are.
function plan.with(from, changes)
  local result = setmetatable({}, Plan)
  for key, value in pairs(from) do result[key] = value end
  result.plain = nil -- looked at anew (quick.lua)
  for key, value in pairs(changes) do
    if key == "on_attempt" or key == "on_done" then
      result[key] = append(from[key], value)
    else
      result[key] = value
    end
  end
  return result
end

--- A plan like `from` with every attempt changed: change(attempt, i) returns
-- the fields that are other, or false for an attempt that is left out.
function plan.map(from, change)
  local result, n = setmetatable({}, Plan), 0
  for key, value in pairs(from) do
    if math.type(key) ~= "integer" then result[key] = value end
  end
  result.plain = nil
  for i, attempt in ipairs(from) do
    local changes = change(attempt, i)
    if changes ~= false then
      local made = {}
      for key, value in pairs(attempt) do made[key] = value end
      for key, value in pairs(changes or {}) do made[key] = value end
      made.ask = ask(made)
      n = n + 1
      result[n] = made
    end
  end
  return result
end

--- Calls visit(name) for every model that the attempt names.
function plan.attempt_models(attempt, visit)
  local model = attempt.model
  if type(model) ~= "table" then return visit(model) end
  for _, name in ipairs(model) do visit(name) end
end

--- ... and that the plan names.
function plan.models(of, visit)
  for _, attempt in ipairs(of) do plan.attempt_models(attempt, visit) end
end

function Plan:__tostring()
  if self.refuse then return "plan (refuse: " .. self.refuse .. ")" end
  local parts = {}
  for i, attempt in ipairs(self) do
    local model = attempt.model
    parts[i] = type(model) == "table" and "{" .. table.concat(model, ", ")
      .. "}" or model
    if attempt.client then
      parts[i] = parts[i] .. "/" .. table.concat(attempt.client, ",")
    end
  end
  return "plan (" .. table.concat(parts, ", then ") .. ")"
end

return plan
