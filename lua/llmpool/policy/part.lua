-- part.lua: what the library's policies are composed of. One idea: a policy is
-- made of a choice among candidates, plans that are compiled once for each
-- choice, and other policies that it takes; all three are here.

local fields = require "llmpool.fields"
local plan = require "llmpool.router.plan"
local policy = require "llmpool.policy"

local part = { plan = plan, named = policy.named }

-- ---- arguments --------------------------------------------------------------

--- Checks a policy's table: list entries by `entry`, named fields by `known`.
-- @return a copy
function part.options(t, name, known, entry)
  if type(t) ~= "table" then
    fields.bad(3, "bad argument #1 to policy '%s' (table expected, got %s)",
      name, type(t))
  end
  local named, result = {}, {}
  for key, value in pairs(t) do
    if math.type(key) ~= "integer" then named[key] = value end
    result[key] = value
  end
  fields.check(named, known, "policy '" .. name .. "'", 3)
  for i, value in ipairs(t) do
    local wanted = entry and entry(value)
    if wanted then
      fields.bad(3, "%s", fields.complaint(("entry %d of policy '%s'")
        :format(i, name), wanted, value))
    end
  end
  if #t > 0 and not entry then
    fields.bad(3, "policy '%s' takes no list", name)
  end
  return result
end

function part.model(v)
  if type(v) ~= "string" or v == "" then return "a model's name" end
end

--- The policy that another one is made of: the first of its list.
function part.inner(t, name, position)
  local value = t[position or 1]
  if value == nil then
    fields.bad(3, "policy '%s' needs a policy or a plan to start from: "
      .. "%s { fallback { ... } }", name, name)
  end
  local made = policy.of(value, 3)
  return made
end

--- The plan of a policy's own table; raises where the policy was made.
function part.own_plan(t, name)
  local ok, made = pcall(plan.of, t)
  if not ok then fields.bad(3, "policy '%s': %s", name, made) end
  return made
end

--- The models that are meant: those given, or all that there are.
function part.models(given, view)
  if #given > 0 then return given end
  return view:models()
end

-- ---- plans ------------------------------------------------------------------

local MOST = 5000 -- plans that are kept for one of the first choices

--- A plan for a choice, made once: cache[a][b] = make(a, b). There may be any
-- number of choices: beyond many the cache begins anew.
-- @param mode "k": only as long as a lives
function part.cached(make, mode)
  local cache, counts = setmetatable({}, { __mode = mode }),
    setmetatable({}, { __mode = "k" })
  return function(a, b)
    local known = cache[a]
    if known == nil then
      known = {}
      cache[a] = known
    end
    local made = known[b or 1]
    if not made then
      local n = (counts[known] or 0) + 1
      if n > MOST then
        known, n = {}, 1
        cache[a] = known
      end
      made = make(a, b)
      known[b or 1], counts[known] = made, n
    end
    return made
  end
end

--- The list with that entry first, the others in their order behind it.
function part.first(list, name)
  local result = { name }
  for _, other in ipairs(list) do
    if other ~= name then result[#result + 1] = other end
  end
  return result
end

--- For an attempt's model: the one, and the others where it is not free.
function part.one_of(list, name)
  return #list == 1 and name or part.first(list, name)
end

--- What a policy makes of another's plan, made once for each that comes again.
function part.derived(change)
  local cache = setmetatable({}, { __mode = "k" })
  return function(value)
    local from = plan.of(value)
    local made = cache[from]
    if not made then
      made = change(from)
      cache[from] = made
    end
    return made
  end
end

-- ---- requests ---------------------------------------------------------------

local function text_of(content)
  if type(content) ~= "table" then return tostring(content or "") end
  local parts = {}
  for i, entry in ipairs(content) do
    parts[i] = type(entry) == "table" and tostring(entry.text or "") or ""
  end
  return table.concat(parts, " ")
end

--- All the text of a request.
function part.text(request)
  if type(request) ~= "table" then return request end
  local messages = request.messages
  if type(messages) ~= "table" then return tostring(request.prompt or "") end
  local parts = {}
  for i, message in ipairs(messages) do
    parts[i] = type(message) == "table" and text_of(message.content) or ""
  end
  return table.concat(parts, "\n")
end

--- Tokens of the prompt: what the call said, or a fourth of its bytes.
function part.prompt_tokens(request, options)
  if options and options.tokens then return options.tokens end
  return (#part.text(request) + 3) // 4
end

--- The most tokens that the answer may have.
function part.answer_tokens(request, missing)
  if type(request) ~= "table" then return missing end
  return request.max_tokens or request.max_completion_tokens or missing
end

--- Who asks: the call's tenant, or the request's user.
function part.tenant(request, options)
  if options and options.tenant ~= nil then return options.tenant end
  return type(request) == "table" and request.user or nil
end

--- What a conversation is known by: the call's key, else the request's user.
function part.key(request, options)
  if options and options.key ~= nil then return options.key end
  return type(request) == "table" and request.user or nil
end

--- 32 bits of a text, well mixed.
part.hash = require "llmpool.native".hash

return part
