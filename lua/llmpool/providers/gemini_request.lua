-- What a request in OpenAI's form becomes at Gemini.
--
-- One idea: each message becomes a content with parts, each setting a field of
-- generationConfig under its own name; what Gemini has no place for is left
-- out, what this file does not know passes untouched (safetySettings,
-- cachedContent, fields of a generationConfig of the caller's own).

local json = require "llmpool.json"
local request = require "llmpool.providers.request"
local schema = require "llmpool.providers.schema"

local given, bad = request.given, request.bad

local translate = {}

local READ = "messages max_tokens max_completion_tokens stop tools tool_choice "
  .. "response_format reasoning_effort stream model temperature top_p top_k n "
  .. "seed presence_penalty frequency_penalty logprobs top_logprobs "
  .. "generationConfig systemInstruction modalities"
local DROPPED = "stream_options parallel_tool_calls user service_tier "
  .. "logit_bias audio prediction web_search_options verbosity store metadata "
  .. "prompt_cache_key safety_identifier"

-- ---- content ---------------------------------------------------------------

local function blob(url, where)
  local mime, data = request.data_url(url, where)
  if mime then return { inlineData = { mimeType = mime, data = data } } end
  return { fileData = { mimeType = request.type_of_url(url), fileUri = url } }
end

local parts = {}

function parts.text(part) return { text = part.text } end

function parts.refusal(part) return { text = part.refusal } end

function parts.image_url(part, where)
  return blob(request.image_url(part, where), where)
end

function parts.input_audio(part, where)
  local audio = part.input_audio
  if type(audio) ~= "table" or type(audio.data) ~= "string" then
    bad("%s needs input_audio = {data, format}", where)
  end
  return { inlineData = { mimeType = "audio/" .. (audio.format or "wav"),
                          data = audio.data } }
end

function parts.file(part, where)
  local file = type(part.file) == "table" and part.file or {}
  local url = file.file_data or file.file_id
  if type(url) ~= "string" then
    bad("%s needs file = {file_data = ...}, a data URL, or file_id", where)
  end
  return blob(url, where)
end

local function parts_of(content, where)
  return request.convert(content, where, parts)
end

-- ---- messages --------------------------------------------------------------

-- What an answer of Gemini's has left for itself: {thought_signature, id}.
local function own_of(holder)
  local google = type(holder.extra_content) == "table"
    and holder.extra_content.google
  return type(google) == "table" and google or {}
end

-- Gemini 3 refuses a call without the signature of its thought; this is what
-- Google says of those that another model made.
local NOT_OURS = "skip_thought_signature_validator"

local function call_part(call, where, signature)
  local own = own_of(call)
  return {
    functionCall = { id = own.id, name = call["function"].name,
      args = json.object(request.copy(request.arguments(call, where))) },
    thoughtSignature = own.thought_signature or signature,
  }
end

local function assistant(message, where, model)
  local list = parts_of(request.content(message), where)
  if #list > 0 then
    list[#list].thoughtSignature = own_of(message).thought_signature
  end
  local signature = model:find("gemini-3", 1, true) and NOT_OURS or nil
  for i, call in ipairs(request.calls(message, where)) do
    list[#list + 1] = call_part(call, ("%s.tool_calls[%d]"):format(where, i),
      i == 1 and signature or nil)
  end
  return list
end

-- What a tool answered: an object as it is, anything else under a name.
local function result_of(content)
  local text = request.text(given(content) and content or "")
  local ok, value = pcall(json.decode, text)
  if ok and type(value) == "table" and not json.is_array(value) then
    return value
  end
  return { result = text }
end

-- What else it answered: images.
local function blobs_of(content, where)
  if type(content) ~= "table" then return nil end
  local list = {}
  for _, part in ipairs(parts_of(content, where)) do
    if part.inlineData or part.fileData then list[#list + 1] = part end
  end
  return list[1] and list or nil
end

local function tool(message, where, calls)
  local call = calls[message.tool_call_id] or {}
  local name = given(message.name) and message.name or call.name
  if type(name) ~= "string" then
    bad("%s answers the call %s, which no message before it made", where,
      tostring(message.tool_call_id))
  end
  return { { functionResponse = {
    id = call.id, name = name, response = result_of(message.content),
    parts = blobs_of(message.content, where) } } }
end

-- The calls made so far, by their ids: {name, id}, the id being Gemini's own.
local function calls_of(messages)
  local calls = {}
  for _, message in ipairs(messages) do
    for _, call in ipairs(given(message.tool_calls) and message.tool_calls
      or {}) do
      if given(call.id) and type(call["function"]) == "table" then
        calls[call.id] = { name = call["function"].name, id = own_of(call).id }
      end
    end
  end
  return calls
end

local function convert(message, where, calls, model)
  if message.role == "user" then
    return "user", parts_of(message.content, where)
  elseif message.role == "assistant" then
    return "model", assistant(message, where, model)
  elseif message.role == "tool" then
    return "user", tool(message, where, calls)
  end
  request.bad_role(message.role, where)
end

-- The results of one turn's calls must stand in one content.
local function contents_of(messages, model)
  local contents, calls = {}, calls_of(messages)
  local after_tool = false
  request.each_message(messages, false, function(message, where)
    local role, list = convert(message, where, calls, model)
    local is_tool = message.role == "tool"
    if is_tool and after_tool then
      local last = contents[#contents].parts
      last[#last + 1] = list[1]
    elseif #list > 0 then
      contents[#contents + 1] = { role = role, parts = list }
    end
    after_tool = is_tool
  end)
  return contents
end

local function system_of(r)
  local list = {}
  request.each_message(r.messages, true, function(message, where)
    local more = parts_of(message.content, where)
    table.move(more, 1, #more, #list + 1, list)
  end)
  if given(r.systemInstruction) then return r.systemInstruction end
  return #list > 0 and { parts = list } or nil
end

-- ---- tools -----------------------------------------------------------------

local function declaration(f)
  local result = request.rest(f, "parameters strict")
  if given(f.parameters) then
    local cleaned = schema.clean(f.parameters)
    if cleaned then
      result.parameters = cleaned
    else
      result.parametersJsonSchema = f.parameters
    end
  end
  return result
end

local function tools_of(r, names)
  local functions, tools = {}, {}
  for i, entry in ipairs(request.allowed(r.tools, names)) do
    if given(entry.custom) then
      bad("tools[%d] is a custom tool, which Gemini has not", i)
    elseif entry.type == "function" then
      functions[#functions + 1] = declaration(request.tool(entry, i))
    else
      tools[#tools + 1] = entry -- one of Gemini's own
    end
  end
  if #functions > 0 then
    table.insert(tools, 1, { functionDeclarations = functions })
  end
  return #tools > 0 and tools or nil
end

local MODES = { auto = "AUTO", required = "ANY", none = "NONE",
                ["function"] = "ANY" }

local function tool_config(choice, meant, names)
  if not given(choice) then return nil end
  local mode = meant and MODES[meant]
  if not mode then request.bad_choice(choice) end
  return { functionCallingConfig = {
    mode = mode, allowedFunctionNames = mode == "ANY" and names or nil } }
end

local function add_tools(body, r)
  local meant, names = request.choice(r.tool_choice)
  body.tools = tools_of(r, meant and meant ~= "function" and names or nil)
  body.toolConfig = body.toolConfig
    or body.tools and tool_config(r.tool_choice, meant, names) or nil
end

-- ---- settings --------------------------------------------------------------

local RENAMED = {
  temperature = "temperature", top_p = "topP", top_k = "topK", seed = "seed",
  n = "candidateCount", presence_penalty = "presencePenalty",
  frequency_penalty = "frequencyPenalty", logprobs = "responseLogprobs",
  top_logprobs = "logprobs",
}

local function add_format(config, format)
  if type(format) ~= "table" then return end
  if format.type == "json_object" then
    config.responseMimeType = "application/json"
  end
  local wanted = request.schema(format)
  if not wanted then return end
  config.responseMimeType = "application/json"
  local cleaned = schema.clean(wanted)
  if cleaned then
    config.responseSchema = cleaned
  else
    config.responseJsonSchema = wanted
  end
end

-- As Google's own translation of OpenAI's efforts has it.
local BUDGETS = { none = 0, minimal = 1024, low = 1024, medium = 8192,
                  high = 24576, xhigh = 24576, max = 24576 }
local LEVELS = { xhigh = "high", max = "high" } -- no more than high

local function add_thinking(config, effort, model)
  if not given(effort) then return end
  local budget = request.budget(effort, BUDGETS)
  local by_level = model:find("gemini-3", 1, true) and effort ~= "none"
  config.thinkingConfig = by_level
    and { thinkingLevel = LEVELS[effort] or effort }
    or { thinkingBudget = budget }
end

local function settings_of(r, client, model)
  local config = {}
  for name, own in pairs(RENAMED) do
    if given(r[name]) then config[own] = r[name] end
  end
  config.maxOutputTokens = request.max_tokens(r) or client.max_tokens
  config.stopSequences = request.list(r.stop)
  if given(r.modalities) then
    config.responseModalities = {}
    for i, name in ipairs(r.modalities) do
      config.responseModalities[i] = name:upper()
    end
  end
  add_format(config, r.response_format)
  add_thinking(config, r.reasoning_effort, model)
  for name, value in pairs(given(r.generationConfig) and r.generationConfig
    or {}) do
    config[name] = value
  end
  return next(config) and config or nil
end

--- The body of a request for content.
function translate.request(r, client, model)
  local body = request.rest(r, READ, DROPPED)
  body.contents = contents_of(r.messages, model)
  body.systemInstruction = system_of(r)
  add_tools(body, r)
  body.generationConfig = settings_of(r, client, model)
  return body
end

-- ---- embeddings ------------------------------------------------------------

local function embed_one(text, r, model)
  local body = request.rest(r, "input dimensions encoding_format user model")
  body.model = model:find("/", 1, true) and model or "models/" .. model
  body.content = { parts = { { text = text } } }
  body.outputDimensionality = r.dimensions
  return body
end

--- The body of a request for embeddings, and the operation that takes it.
function translate.embed_request(r, _, model)
  if type(r.input) == "string" then return embed_one(r.input, r, model) end
  local requests = {}
  for i, text in ipairs(r.input) do
    requests[i] = embed_one(text, r, model)
  end
  return { requests = requests }, "embed_list"
end

return translate
