-- A request in its one form, OpenAI's chat request, and what every format
-- needs to read it: messages, the parts of their contents, tools and their
-- calls.
--
-- One idea: what is wrong in a request is said before anything is sent, with
-- the place (messages[2].content[1]); what is not known here is left alone. It
-- writes no format.

local json = require "llmpool.json"

local request = {}

--- Whether a value is there: nil and JSON's null are not.
function request.given(value)
  return value ~= nil and value ~= json.null
end

local given = request.given

--- Raises a mistake in a request, as the kind that an upstream's refusal of it
-- would have.
function request.bad(...)
  local object = require "llmpool".error("bad_request",
    "bad request: " .. string.format(...))
  object.retryable, object.committed = false, false
  error(object, 0)
end

local function describe(value)
  if value == json.null then return "null" end
  return type(value) == "string" and '"' .. value .. '"' or type(value)
end

local function check_message(message, i)
  if type(message) ~= "table" then
    request.bad("messages[%d] must be a table with role and content, got %s",
      i, describe(message))
  end
  if type(message.role) ~= "string" then
    request.bad("messages[%d] needs a role, a string (got %s)", i,
      describe(message.role))
  end
  local content = message.content
  if given(content) and type(content) ~= "string" and type(content) ~= "table"
  then
    request.bad("messages[%d].content must be a string or a list of parts, "
      .. "got %s", i, describe(content))
  end
end

--- The request as a table with messages; a string is a user's message.
-- @param method string: who asks, for the message
function request.normalise(value, method)
  if type(value) == "string" then
    return { messages = { { role = "user", content = value } } }
  end
  if type(value) ~= "table" then
    error(("bad argument #1 to '%s' (a prompt or a request with messages "
      .. "expected, got %s)"):format(method, type(value)), 0)
  end
  if type(value.messages) ~= "table" or #value.messages == 0 then
    request.bad("it needs messages, a list of at least one (got %s)",
      type(value.messages) == "table" and "an empty one"
      or describe(value.messages))
  end
  for i, message in ipairs(value.messages) do check_message(message, i) end
  return value
end

function request.copy(t)
  local copy = {}
  for key, value in pairs(t) do copy[key] = value end
  return copy
end

--- The fields of `from` that are in no list of names: they pass untouched.
function request.rest(from, ...)
  local rest = request.copy(from)
  for _, names in ipairs { ... } do
    for name in names:gmatch "%S+" do rest[name] = nil end
  end
  return rest
end

--- A string or a list as a list (stop, for one); nil, where there is nothing.
function request.list(value)
  if not given(value) then return nil end
  if type(value) ~= "table" then return { value } end
  return next(value) ~= nil and value or nil
end

-- ---- content ---------------------------------------------------------------

--- Visits the parts of a content, a string being one part of text.
-- @param visit function (part, where)
function request.each_part(content, where, visit)
  if not given(content) then return end
  if type(content) == "string" then
    if content ~= "" then visit({ type = "text", text = content }, where) end
    return
  end
  for i, part in ipairs(content) do
    local place = ("%s.content[%d]"):format(where, i)
    if type(part) == "string" then part = { type = "text", text = part } end
    if type(part) ~= "table" then
      request.bad("%s must be a part, a table with a type, got %s", place,
        describe(part))
    end
    visit(part, place)
  end
end

--- What a format makes of a content.
-- @param converters table: by type of part, function (part, where) -> what the
-- format has for it, or nil; a part of another type passes untouched
function request.convert(content, where, converters)
  local list = {}
  request.each_part(content, where, function(part, place)
    local convert = converters[part.type]
    if convert then part = convert(part, place) end
    list[#list + 1] = part
  end)
  return list
end

--- A message's content; what it says where it only refuses.
function request.content(message)
  local content, refusal = message.content, message.refusal
  if given(refusal) and (not given(content) or content == "") then
    return refusal
  end
  return content
end

--- The text of a content, its other parts left out.
function request.text(content)
  if type(content) == "string" then return content end
  local texts = {}
  request.each_part(content, "", function(part)
    texts[#texts + 1] = part.text or part.refusal
  end)
  return table.concat(texts)
end

--- The URL of an image part: {url = } or the URL itself.
function request.image_url(part, where)
  local image = part.image_url
  local url = type(image) == "table" and image.url or image
  if type(url) ~= "string" then
    request.bad("%s needs image_url = {url = ...}, a URL or a data URL", where)
  end
  return url
end

--- The type and the base64 text of a data URL, or nil: it is another URL.
function request.data_url(url, where)
  if url:sub(1, 5):lower() ~= "data:" then return nil end
  local comma = url:find(",", 1, true)
  local head = comma and url:sub(6, comma - 1) or ""
  local mime = head:match "^([^;]*)"
  if not comma or not head:lower():find(";base64$") or mime == "" then
    request.bad("%s: a data URL must be data:TYPE;base64,DATA", where)
  end
  return mime, url:sub(comma + 1)
end

local TYPES = { png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg",
                gif = "image/gif", webp = "image/webp", heic = "image/heic",
                pdf = "application/pdf", mp4 = "video/mp4", mp3 = "audio/mp3",
                wav = "audio/wav", txt = "text/plain" }

--- The type that a URL's ending tells, or nil.
function request.type_of_url(url)
  local ending = url:match "%.(%w+)$" or url:match "%.(%w+)[%?#]"
  return ending and TYPES[ending:lower()]
end

-- ---- messages --------------------------------------------------------------

local function is_system(message)
  return message.role == "system" or message.role == "developer"
end

--- Visits the messages of the system, or those of everybody else.
-- @param visit function (message, where)
function request.each_message(messages, of_system, visit)
  for i, message in ipairs(messages) do
    if is_system(message) == of_system then
      visit(message, ("messages[%d]"):format(i))
    end
  end
end

function request.bad_role(role, where)
  request.bad("%s has the role \"%s\"; there are system, developer, user, "
    .. "assistant and tool", where, role)
end

-- ---- tools -----------------------------------------------------------------

-- The function that a tool, a call or a choice names, or nil.
local function function_of(holder)
  local f = type(holder) == "table" and holder["function"]
  return type(f) == "table" and type(f.name) == "string" and f or nil
end

--- The function that a tool describes.
function request.tool(tool, i)
  return function_of(tool)
    or request.bad("tools[%d] needs function = {name, parameters}", i)
end

--- The calls of a message, each with its function.
function request.calls(message, where)
  local calls = given(message.tool_calls) and message.tool_calls or {}
  for i, call in ipairs(calls) do
    if not function_of(call) then
      request.bad("%s.tool_calls[%d] needs function = {name, arguments}", where,
        i)
    end
  end
  return calls
end

--- The arguments of a tool call as a table; text that is no JSON is a mistake.
function request.arguments(call, where)
  local text = call["function"].arguments
  if type(text) == "table" then return text end
  if not given(text) or text == "" then return {} end
  local ok, value = pcall(json.decode, text)
  if not ok or type(value) ~= "table" then
    request.bad("%s: its arguments are no JSON object: %s", where,
      tostring(text):sub(1, 60))
  end
  return value
end

local function allowed_names(choice)
  local allowed = choice.allowed_tools
  if type(allowed) ~= "table" or type(allowed.tools) ~= "table" then
    request.bad("tool_choice of the type allowed_tools needs allowed_tools = "
      .. "{mode = ..., tools = {...}}")
  end
  local names = {}
  for i, tool in ipairs(allowed.tools) do
    local f = function_of(tool)
    if not f then
      request.bad("tool_choice.allowed_tools.tools[%d] needs function = "
        .. "{name = ...}", i)
    end
    names[i] = f.name
  end
  return allowed.mode or "auto", names
end

--- What a tool_choice means, for formats that are not OpenAI's.
-- @return "auto", "required", "none" or "function", and the names of the
-- functions that are meant, where not all are; nil and the choice itself,
-- where it is none of OpenAI's; nothing where there is none
function request.choice(choice)
  if not given(choice) then return nil end
  if type(choice) == "string" then return choice end
  if choice.type == "allowed_tools" then return allowed_names(choice) end
  if choice.type ~= "function" then return nil, choice end
  local f = function_of(choice)
  if not f then
    request.bad("tool_choice needs function = {name = ...}")
  end
  return "function", { f.name }
end

function request.bad_choice(choice)
  request.bad("tool_choice must be auto, required, none, a function or "
    .. "allowed_tools, got %s", type(choice) == "string" and '"' .. choice
    .. '"' or type(choice) == "table" and '"' .. tostring(choice.type) .. '"'
    or type(choice))
end

--- The tools that are allowed, of those that a request has.
-- @param names list or nil: of all
function request.allowed(tools, names)
  tools = given(tools) and tools or {}
  if not names then return tools end
  local wanted, result = {}, {}
  for _, name in ipairs(names) do wanted[name] = true end
  for _, tool in ipairs(tools) do
    local f = tool["function"]
    if type(f) ~= "table" or wanted[f.name] then result[#result + 1] = tool end
  end
  return result
end

--- The schema that a response_format asks for, and its name; or nil.
function request.schema(format)
  if type(format) ~= "table" or format.type ~= "json_schema" then return nil end
  local wanted = format.json_schema
  if type(wanted) ~= "table" or type(wanted.schema) ~= "table" then
    request.bad("response_format of the type json_schema needs json_schema = "
      .. "{name = ..., schema = {...}}")
  end
  return wanted.schema, wanted.name or "answer"
end

--- The budget of a reasoning_effort; nil where none is given.
-- @param budgets table: by effort
function request.budget(effort, budgets)
  if not given(effort) then return nil end
  return budgets[effort] or request.bad("reasoning_effort must be none, "
    .. "minimal, low, medium, high, xhigh or max, got %s", tostring(effort))
end

--- The most tokens that an answer may have, or nil.
function request.max_tokens(r)
  if given(r.max_completion_tokens) then return r.max_completion_tokens end
  if given(r.max_tokens) then return r.max_tokens end
end

return request
