-- by_request: the first rule that fits the request says which policy decides.
--
-- When: long prompts need a large model, tools a model that has them, and
-- small talk a cheap one.
--   by_request {
--     { tokens_over = 8000, use = "large" },
--     { tools = true, use = fallback { "gpt-4", "claude" } },
--     { language = "de", use = "mixtral" },
--     { tag = "batch", use = "cheap" },
--     { when = function(request, options) return ... end, use = "x" },
--     otherwise = "gpt-4",
--   }
-- A rule with several conditions fits if all do. Tags are the call's `tags`.

local fields = require "llmpool.fields"
local language = require "llmpool.policy.language"
local part = require "llmpool.policy.part"
local policy = require "llmpool.policy"

local known = {
  tokens_over = fields.count, tokens_under = fields.count,
  tools = fields.boolean, language = fields.string, tag = fields.string,
  when = fields.func, use = fields.any,
}

local function has_tools(request)
  return type(request) == "table" and type(request.tools) == "table"
    and next(request.tools) ~= nil
end

local function has_tag(options, tag)
  for _, other in ipairs(options and options.tags or {}) do
    if other == tag then return true end
  end
  return false
end

local conditions = {
  tokens_over = function(limit, request, options)
    return part.prompt_tokens(request, options) > limit
  end,
  tokens_under = function(limit, request, options)
    return part.prompt_tokens(request, options) < limit
  end,
  tools = function(wanted, request) return has_tools(request) == wanted end,
  language = function(code, request)
    return language.of(part.text(request)) == code
  end,
  tag = function(tag, _, options) return has_tag(options, tag) end,
  when = function(fn, request, options) return fn(request, options) end,
}

local function rule_of(t, i)
  local where = "rule " .. i .. " of policy 'by_request'"
  if type(t) ~= "table" then
    fields.bad(3, "%s must be a table {condition =, use =}, got %s", where,
      type(t))
  end
  fields.check(t, known, where, 3)
  if t.use == nil then
    fields.bad(3, "%s needs use, a policy or a plan", where)
  end
  local tests = {}
  for name, test in pairs(conditions) do
    if t[name] ~= nil then tests[#tests + 1] = { name, test, t[name] } end
  end
  return { tests = tests, use = policy.of(t.use, 3) }
end

local function fits(rule, request, options)
  for _, test in ipairs(rule.tests) do
    if not test[2](test[3], request, options) then return false end
  end
  return true
end

return function(t)
  t = part.options(t, "by_request", { otherwise = fields.any }, fields.any)
  local rules = {}
  for i, rule in ipairs(t) do rules[i] = rule_of(rule, i) end
  local otherwise = policy.of(t.otherwise, 2)
  return part.named(function(request, view, options)
    for i, rule in ipairs(rules) do
      if fits(rule, request, options) then
        if view.explaining then view:note(nil, nil, nil, "rule " .. i) end
        return rule.use(request, view, options)
      end
    end
    return otherwise(request, view, options)
  end, "by_request")
end
