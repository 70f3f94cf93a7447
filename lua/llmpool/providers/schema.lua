-- JSON Schema as OpenAI takes it, in the subset that Gemini takes.
--
-- One idea: what only tightens (additionalProperties, $schema, strict) is left
-- out, what Gemini says otherwise (a type or null, a constant) is said its way,
-- and what it has no word for (references, exclusiveMinimum) is reported, so
-- that the caller sends the schema as it is, under the name that Gemini has for
-- that.

local schema = {}

local function set(names)
  local result = {}
  for name in names:gmatch "%S+" do result[name] = true end
  return result
end

local DROPPED = set "$schema $id $comment additionalProperties strict examples"

local KNOWN = set [[anyOf const default description enum example format items
  maxItems maxLength maxProperties maximum minItems minLength minProperties
  minimum nullable pattern properties propertyOrdering required title type]]

-- of strings; numbers have their own
local FORMATS = set "date-time enum float double int32 int64"

local clean

local function clean_map(properties)
  local result = {}
  for name, value in pairs(properties) do
    result[name] = clean(value)
    if result[name] == nil then return nil end
  end
  return result
end

local function clean_list(list)
  local result = {}
  for i, value in ipairs(list) do
    result[i] = clean(value)
    if result[i] == nil then return nil end
  end
  return result
end

-- {"string", "null"} is a string that may be null.
local function split_type(list, result)
  local types = {}
  for _, name in ipairs(list) do
    if name == "null" then
      result.nullable = true
    else
      types[#types + 1] = name
    end
  end
  if #types ~= 1 then return false end
  result.type = types[1]
  return true
end

local function are_strings(list)
  if type(list) ~= "table" then return false end
  for _, value in ipairs(list) do
    if type(value) ~= "string" then return false end
  end
  return true
end

local function clean_field(name, value, result)
  if name == "properties" then
    result.properties = clean_map(value)
    return result.properties ~= nil
  elseif name == "items" then
    result.items = clean(value)
    return result.items ~= nil
  elseif name == "anyOf" then
    result.anyOf = clean_list(value)
    return result.anyOf ~= nil
  elseif name == "type" and type(value) == "table" then
    return split_type(value, result)
  elseif name == "const" then
    result.enum = { value }
    return type(value) == "string"
  elseif name == "enum" then
    result.enum = value
    return are_strings(value)
  elseif name ~= "format" or FORMATS[value] then
    result[name] = value
  end
  return true
end

--- The schema in Gemini's subset (a new table), or nil: it does not fit in.
function clean(value)
  if type(value) ~= "table" then return nil end
  local result = {}
  for name, field in pairs(value) do
    if not DROPPED[name]
      and not (KNOWN[name] and clean_field(name, field, result)) then
      return nil
    end
  end
  return result
end

schema.clean = clean

return schema
