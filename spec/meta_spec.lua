-- The annotations of lua/llmpool/meta: every public function has one, none is
-- of a function that is not there, and the parameters agree.

local llmpool = require "llmpool"
local annotations = require "llmpool.annotations"
local part = require "llmpool.policy.part"
local policy = require "llmpool.policy"

local items, functions = annotations.all()

local function none(found)
  table.sort(found)
  assert(#found == 0, "\n  " .. table.concat(found, "\n  "))
end

-- The functions that one can call on an object of a type of ours.
local function methods_of(metatable)
  local index = rawget(metatable, "__index")
  if type(index) == "table" then return index end
  for i = 1, 5 do -- a function of C, which keeps them as an upvalue
    local name, value = debug.getupvalue(index, i)
    if not name then return nil end
    if type(value) == "table" and rawget(value, "release") then
      return value
    end
  end
end

-- class -> table of its functions, of all that is there now: the module, and
-- every type that has methods. Other modules are told by their annotations.
local function public()
  local classes = { llmpool = llmpool }
  for key, value in pairs(debug.getregistry()) do
    if type(key) == "string" and key:find "^llmpool%." and
       type(value) == "table" and rawget(value, "__index") then
      local methods = methods_of(value)
      if methods and next(methods) then classes[key] = methods end
    end
  end
  for _, item in ipairs(items) do
    if item.kind == "class" and not classes[item.name] then
      local ok, module = pcall(require, item.name)
      if ok and type(module) == "table" then classes[item.name] = module end
    end
  end
  for _, name in ipairs(policy.names) do -- modules that are functions
    local class, module = "llmpool.policy", require("llmpool.policy." .. name)
    classes[class] = classes[class] or {}
    if type(module) == "function" then classes[class][name] = module end
  end
  return classes
end

local function each_function(visit)
  local seen = 0
  for class, members in pairs(public()) do
    for name, value in pairs(members) do
      if type(name) == "string" and type(value) == "function" and
         not name:find "^_" then
        seen = seen + 1
        visit(class, name, value,
              functions[class .. "." .. name] or
              functions[class .. ":" .. name])
      end
    end
  end
  return seen
end

-- What native.framed has put into a frame of C.
local function unframed(fn)
  if debug.getinfo(fn, "S").what ~= "C" then return fn end
  local _, inner = debug.getupvalue(fn, 3)
  return type(inner) == "function" and inner or fn
end

local function parameters(fn, skip)
  local info, names = debug.getinfo(fn, "u"), {}
  for i = 1 + skip, info.nparams do
    names[#names + 1] = debug.getlocal(fn, i)
  end
  if info.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

describe("the annotations", function()
  it("are there for every public function", function()
    local found = {}
    local seen = each_function(function(class, name, _, item)
      if not item then found[#found + 1] = class .. "." .. name end
    end)
    none(found)
    assert.is_true(seen > 50, seen)
  end)

  it("are of functions that are there", function()
    local classes, found = public(), {}
    for _, item in ipairs(items) do
      local members = classes[item.class]
      if item.kind == "function" and members and
         type(members[item.member]) ~= "function" then
        found[#found + 1] = item.name
      end
    end
    none(found)
  end)

  it("have the parameters of functions that are written in Lua", function()
    local found, seen = {}, 0
    each_function(function(class, name, fn, item)
      fn = unframed(fn)
      if not item or debug.getinfo(fn, "S").what ~= "Lua" then return end
      seen = seen + 1
      local own = parameters(fn, item.method and 1 or 0)
      if own ~= item.signature then
        found[#found + 1] = ("%s.%s(%s), annotated as (%s)"):format(class, name,
          own, item.signature)
      end
    end)
    none(found)
    assert.is_true(seen > 5, seen)
  end)

  it("describe every function and every parameter", function()
    local found = {}
    for _, item in ipairs(items) do
      if item.text == "" then found[#found + 1] = item.name .. ": no text" end
      local known = {}
      for i, param in ipairs(item.params or {}) do known[i] = param.name end
      if item.kind == "function" and
         not item.signature:find(table.concat(known, ", "), 1, true) or
         item.params and #known == 0 and item.signature ~= "" and
         item.signature ~= "..." then
        found[#found + 1] = ("%s(%s): @param %s"):format(item.name,
          item.signature, table.concat(known, ", "))
      end
    end
    none(found)
  end)

  -- lua-language-server takes the module's type from what the file returns.
  it("are what their modules bring", function()
    local found, seen = {}, 0
    for _, file in ipairs(annotations.files()) do
      local name, text = file[1], file[2]
      local module = annotations.module_of(text)
      local returned = text:match "\nreturn ([%w_]+)\n$"
      if module and type(require(module)) == "function" then
        seen = seen + 1
        if not text:find("local function " .. (returned or "?") .. "(", 1, true)
          then
          found[#found + 1] = name .. ": return the function " .. module
        end
      elseif module then
        seen = seen + 1
        local above = text:match("^(.*)\nlocal " .. (returned or "?") ..
                                 " = {}")
        local class = (above or ""):match ".*\n%-%-%-@class ([%w_.]+)"
        if class ~= module then
          found[#found + 1] = name .. ": return the class " .. module
        end
      end
    end
    none(found)
    assert.equal(#annotations.modules(), seen)
  end)

  -- What an editor cannot resolve it does not help with.
  it("are there for every module that users are told of", function()
    local known, found, seen = {}, {}, 0
    for _, name in ipairs(annotations.modules()) do known[name] = true end
    for _, name in ipairs(policy.names) do
      if not known["llmpool.policy." .. name] then found[#found + 1] = name end
    end
    local files = io.popen("cat README.md lua/llmpool/doc/*.md " ..
                           "scripts/*/*.lua")
    local text = files:read "a"
    for _, file in ipairs(require "llmpool.templates".files "x") do
      text = text .. file[2]
    end
    for name in text:gmatch 'require[ %(]*"(llmpool[%w_.]*[%w_])"' do
      seen = seen + 1
      if not known[name] then found[#found + 1] = name end
    end
    files:close()
    none(found)
    assert.is_true(seen > 35, seen)
  end)

  it("have the options that policies know", function()
    local _, _, classes = annotations.all()
    local options, found, seen = part.options, {}, 0
    for _, name in ipairs(policy.names) do
      local module, known = require("llmpool.policy." .. name), {}
      part.options = function(_, _, fields) known = fields; error "seen" end
      pcall(module, {})
      part.options = options
      local class = classes["llmpool.policy." .. name .. ".options"]
      local annotated = {}
      for _, field in ipairs(class and class.fields or {}) do
        annotated[field.name] = true
        if not field.name:find "^%[" and not known[field.name] then
          found[#found + 1] = name .. " knows no " .. field.name
        end
      end
      for field in pairs(known) do
        seen = seen + 1
        if not annotated[field] then
          found[#found + 1] = name .. ": no annotation of " .. field
        end
      end
    end
    none(found)
    assert.is_true(seen > 20, seen)
  end)

  it("are valid Lua that is never run", function()
    local embedded = require "llmpool.embedded"
    local seen = 0
    for _, name in ipairs(embedded.names()) do
      if name:find "^llmpool%.meta%." then
        seen = seen + 1
        local text = embedded.text(name)
        assert(load(text, "=" .. name))
        assert.truthy(text:find "^%-%-%-@meta", name)
        assert.is_nil(package.preload[name])
      end
    end
    assert.is_true(seen >= 2)
  end)
end)

describe("the reader of annotations", function()
  local function read(text) return annotations.read { { "x", text } } end

  it("reads a class that ends its file", function()
    local _, _, classes = read "---@class a.b\n"
    assert.same({}, classes["a.b"].fields)
  end)

  it("reads a method with all that it can have", function()
    local _, named, classes = read [[
--- A thing.
---@class a.b
---@field x? integer|string how many
--- of them
local thing = {}

--- Does it.
--- Twice.
---@async
---@param first string|fun(a: integer, b: string): boolean the first one,
--- goes on here
---@param t { id: string, n?: integer } a table
---@param ... any
---@return any ... what comes
---@return "yes"|"no" answer which
function thing:go(first, t, ...) end
]]
    assert.same({ kind = "class", name = "a.b", text = "A thing.", file = "x",
                  fields = { { name = "x", type = "integer|string",
                               text = "how many of them",
                               optional = true } } }, classes["a.b"])
    local go = named["a.b:go"]
    assert.same("Does it.\nTwice.", go.text)
    assert.is_true(go.async)
    assert.same({ name = "first", optional = false,
                  type = "string|fun(a: integer, b: string): boolean",
                  text = "the first one, goes on here" }, go.params[1])
    assert.same("{ id: string, n?: integer }", go.params[2].type)
    assert.same({ type = "any", name = "...", text = "what comes" },
                go.returns[1])
    assert.same({ type = '"yes"|"no"', name = "answer", text = "which" },
                go.returns[2])
    assert.same("b:go(first, t, ...)", annotations.call_of(go))
  end)

  it("puts the parts of a class together", function()
    local list, named, classes = read [[
---@class a
local a = {}

--- Text.
---@class a
---@field x string a field
local b = {}

--- F.
function b.f() end
]]
    assert.same(2, #list)
    assert.same("Text.", classes.a.text)
    assert.same("x", classes.a.fields[1].name)
    assert.same("a", named["a.f"].class)
  end)
end)
