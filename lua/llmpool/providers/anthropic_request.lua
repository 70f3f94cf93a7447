-- What a request in OpenAI's form becomes at Anthropic.
--
-- One idea: each message becomes a list of blocks; what the formats have in
-- common is renamed, what Anthropic cannot do (penalties, logprobs, a seed) is
-- left out, what this file does not know passes untouched, so that Anthropic's
-- own fields (top_k, thinking, cache_control, its own tools) can be given.

local request = require "llmpool.providers.request"

local given, bad = request.given, request.bad

local translate = {}

local MAX_TOKENS = 4096 -- Anthropic wants a limit; this one where none is given

-- read here, and given out under other names
local READ = "messages max_tokens max_completion_tokens stop tools tool_choice "
  .. "parallel_tool_calls response_format reasoning_effort user stream system "
  .. "stream_options service_tier"
-- OpenAI's, without a counterpart
local DROPPED = "n logprobs top_logprobs logit_bias frequency_penalty "
  .. "presence_penalty seed modalities audio prediction web_search_options "
  .. "verbosity store prompt_cache_key safety_identifier"

-- ---- content ---------------------------------------------------------------

local function source_of(url, where)
  local mime, data = request.data_url(url, where)
  if mime then return { type = "base64", media_type = mime, data = data } end
  return { type = "url", url = url }
end

local parts = {}

function parts.text(part)
  if part.text == "" then return nil end
  return part
end

function parts.refusal(part) return { type = "text", text = part.refusal } end

function parts.image_url(part, where)
  return { type = "image", cache_control = part.cache_control,
           source = source_of(request.image_url(part, where), where) }
end

function parts.file(part, where)
  local file = type(part.file) == "table" and part.file or {}
  if type(file.file_data) == "string" then
    return { type = "document", title = file.filename,
             source = source_of(file.file_data, where) }
  end
  return { type = "document", title = file.filename,
           source = { type = "file", file_id = file.file_id } }
end

function parts.input_audio(_, where)
  bad("%s is audio, which Anthropic does not take", where)
end

local function blocks_of(content, where)
  return request.convert(content, where, parts)
end

local function append(list, more)
  return table.move(more, 1, #more, #list + 1, list)
end

local function is_bare(block)
  for name in pairs(block) do
    if name ~= "type" and name ~= "text" then return false end
  end
  return block.type == "text"
end

-- A single text goes as a string, as most do; and so does nothing.
local function plain(blocks)
  if #blocks == 0 then return "" end
  return #blocks == 1 and is_bare(blocks[1]) and blocks[1].text or blocks
end

-- ---- messages --------------------------------------------------------------

local function assistant(message, where)
  if given(message.content_blocks) then -- an answer of Anthropic's, all of it
    return request.copy(message.content_blocks)
  end
  local blocks = append({}, given(message.thinking_blocks)
    and message.thinking_blocks or {})
  append(blocks, blocks_of(request.content(message), where))
  for i, call in ipairs(request.calls(message, where)) do
    local input = request.arguments(call,
      ("%s.tool_calls[%d]"):format(where, i))
    blocks[#blocks + 1] = { type = "tool_use", id = call.id,
                            name = call["function"].name, input = input }
  end
  return blocks
end

local function tool_result(message, where)
  if not given(message.tool_call_id) then
    bad("%s needs the tool_call_id that it answers", where)
  end
  return { { type = "tool_result", tool_use_id = message.tool_call_id,
             content = plain(blocks_of(message.content, where)),
             is_error = message.is_error } }
end

local ROLES = { user = "user", assistant = "assistant", tool = "user" }

local function convert(message, where)
  if message.role == "user" then return blocks_of(message.content, where) end
  if message.role == "assistant" then return assistant(message, where) end
  return tool_result(message, where)
end

-- The results of several calls, and what the user says after them, are one
-- message.
local function put(messages, role, blocks, merges)
  local last = messages[#messages]
  if merges and last and last.role == role then
    append(last.content, blocks)
  elseif #blocks > 0 then
    messages[#messages + 1] = { role = role, content = blocks }
  end
end

local function messages_of(list)
  local messages, after_tool = {}, false
  request.each_message(list, false, function(message, where)
    local role = ROLES[message.role] or request.bad_role(message.role, where)
    put(messages, role, convert(message, where), after_tool)
    after_tool = message.role == "tool"
  end)
  for _, message in ipairs(messages) do
    message.content = plain(message.content)
  end
  return messages
end

-- Texts become one text; blocks with fields of their own stay blocks.
local function joined(blocks)
  local texts = {}
  for i, block in ipairs(blocks) do
    if not is_bare(block) then return blocks end
    texts[i] = block.text
  end
  return texts[1] and table.concat(texts, "\n\n") or nil
end

local function system_of(r, extra)
  local blocks = given(r.system) and blocks_of(r.system, "system") or {}
  request.each_message(r.messages, true, function(message, where)
    append(blocks, blocks_of(message.content, where))
  end)
  if extra then blocks[#blocks + 1] = { type = "text", text = extra } end
  return joined(blocks)
end

-- ---- tools and JSON --------------------------------------------------------

local function tool_of(tool, i)
  if given(tool.custom) then
    bad("tools[%d] is a custom tool, which Anthropic has not", i)
  end
  if tool.type ~= "function" then return tool end -- one of Anthropic's own
  local f = request.tool(tool, i)
  local result = request.rest(tool, "type function")
  result.name, result.description = f.name, f.description
  result.input_schema = given(f.parameters) and f.parameters
    or { type = "object", properties = {} }
  return result
end

local CHOICES = { auto = "auto", required = "any", none = "none" }

-- Anthropic's own pass.
local function choice_of(choice, meant, names)
  if meant == "function" then return { type = "tool", name = names[1] } end
  if meant and CHOICES[meant] then return { type = CHOICES[meant] } end
  if meant or type(choice) ~= "table" or given(choice.custom) then
    request.bad_choice(choice)
  end
  return request.copy(choice)
end

--- The name of the tool whose input is the answer in JSON, or nil.
function translate.json_name(r)
  local _, name = request.schema(r.response_format)
  return name
end

-- The answer by a schema is one more tool; one of them must be called.
local function add_schema(body, r, tools)
  local schema, name = request.schema(r.response_format)
  if not schema then return end
  local kind = body.tool_choice and body.tool_choice.type
  if #tools == 0 or kind == "none" then
    body.tool_choice = { type = "tool", name = name }
  elseif kind ~= "tool" then
    body.tool_choice = { type = "any" }
  end
  tools[#tools + 1] = { name = name, input_schema = schema,
    description = "Give the answer by calling this tool." }
  -- thinking and a tool that must be called exclude each other
  if body.thinking and body.thinking.type ~= "disabled" then
    body.tool_choice = { type = "auto" }
  end
end

local function add_tools(body, r)
  local meant, names = request.choice(r.tool_choice)
  local tools = {}
  for i, tool in ipairs(request.allowed(r.tools, meant ~= "function"
    and meant and names or nil)) do
    tools[i] = tool_of(tool, i)
  end
  if #tools > 0 and given(r.tool_choice) then
    body.tool_choice = choice_of(r.tool_choice, meant, names)
  end
  add_schema(body, r, tools)
  if #tools > 0 then body.tools = tools end
  if r.parallel_tool_calls == false and #tools > 0 then
    body.tool_choice = body.tool_choice or { type = "auto" }
    if body.tool_choice.type ~= "none" then
      body.tool_choice.disable_parallel_tool_use = true
    end
  end
end

local ONLY_JSON = "Answer with one JSON object and with nothing else."

local function wants_json(r)
  return type(r.response_format) == "table"
    and r.response_format.type == "json_object"
end

-- ---- the rest --------------------------------------------------------------

local BUDGETS = { minimal = 1024, low = 1024, medium = 4096, high = 16384,
                  xhigh = 24576, max = 32768 }

-- What is thought counts as output here, so the room for it is added. Thinking
-- leaves no choice of a temperature, and little of top_p.
local function add_thinking(body, effort)
  if body.thinking ~= nil or effort == "none" then return end
  local budget = request.budget(effort, BUDGETS)
  if not budget then return end
  body.thinking = { type = "enabled", budget_tokens = budget }
  body.temperature, body.top_k = nil, nil
  if given(body.top_p) and body.top_p < 0.95 then body.top_p = nil end
  body.max_tokens = body.max_tokens + budget
end

local TIERS = { default = "standard_only", auto = "auto",
                standard_only = "standard_only" }

--- The body of a request for messages.
function translate.request(r, config, model, streamed)
  if given(r.n) and r.n ~= 1 then
    bad("n is %s, and Anthropic gives one choice", tostring(r.n))
  end
  local body = request.rest(r, READ, DROPPED)
  body.model = model
  body.max_tokens = request.max_tokens(r) or config.max_tokens or MAX_TOKENS
  body.messages = messages_of(r.messages)
  body.system = system_of(r, wants_json(r) and ONLY_JSON or nil)
  body.stop_sequences = body.stop_sequences or request.list(r.stop)
  body.stream = streamed or nil
  body.service_tier = given(r.service_tier) and TIERS[r.service_tier] or nil
  if given(r.user) and body.metadata == nil then
    body.metadata = { user_id = r.user }
  end
  add_thinking(body, r.reasoning_effort)
  add_tools(body, r)
  return body
end

return translate
