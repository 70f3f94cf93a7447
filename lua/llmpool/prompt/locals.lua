-- locals.lua: names that earlier lines had as locals.
--
-- At a prompt each line is a chunk of its own, so `local x = 1` is gone at the
-- next. That is Lua's way, and everybody falls into it once: where such a name
-- is asked for and nothing is there, it is told.

local locals = {}

local noted = {}

local function add(list)
  for name in list:gsub("<[^>]*>", ""):gmatch "[%a_][%w_]*" do
    noted[name] = true
  end
end

--- Notes the locals that a text leaves behind: those at the margin.
function locals.note(text)
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local name = line:match "^local%s+function%s+([%w_]+)"
    local list = name or line:match "^local%s+([%w_,%s<>]+)"
    if list then add(list) end
  end
end

--- What to say of a global of that name that is nil, or nil.
function locals.lost(name)
  if not (name and noted[name] and rawget(_G, name) == nil) then return nil end
  return ("%s was local to an earlier line; without 'local' it stays")
    :format(name)
end

--- The same for an error that such a global has led to.
function locals.lost_in(err)
  return type(err) == "string" and locals.lost(err:match
    "a nil value %(global '([^']*)'%)")
end

return locals
