-- OpenAI's chat completions and embeddings, and whoever speaks them: vLLM,
-- llama.cpp, Ollama, OpenRouter, Azure.
--
-- One idea: the request's one form is this format, so it goes out as it came,
-- with only the model, the stream and the usage asked for; and what comes back
-- is read leniently, since every server leaves out something else. Sending,
-- errors and timeouts are upstream.lua's.

local calls = require "llmpool.providers.openai_calls"
local json = require "llmpool.json"
local request = require "llmpool.providers.request"
local usage = require "llmpool.providers.usage"

local given = request.given

local openai = { name = "openai", base_url = "https://api.openai.com/v1" }

-- ---- where to --------------------------------------------------------------

local PATHS = { chat = "/chat/completions", embed = "/embeddings" }

-- Azure's deployments are models in the path.
local function azure_url(config, path, model)
  return ("%s/openai/deployments/%s%s?api-version=%s"):format(config.base_url,
    model, path, config.api_version)
end

--- @param operation string: "chat" or "embed"
function openai.url(config, operation, model)
  local path = PATHS[operation]
  if config.azure then return azure_url(config, path, model) end
  local url = config.base_url .. path
  if config.api_version then
    url = url .. "?api-version=" .. config.api_version
  end
  return url
end

function openai.headers(config, key)
  local headers = {
    ["OpenAI-Organization"] = config.organization,
    ["OpenAI-Project"] = config.project,
  }
  if config.azure then
    headers["api-key"] = key
  elseif key then
    headers.Authorization = "Bearer " .. key
  end
  return headers
end

-- ---- requests --------------------------------------------------------------

local function list_or_nil(value)
  return type(value) == "table" and #value > 0 and value or nil
end

local function is_empty_list(value)
  return type(value) == "table" and next(value) == nil
end

-- Those who speak the format may want back what they gave; OpenAI refuses a
-- field that it does not know.
local function is_openai(config)
  return config.azure or config.base_url == openai.base_url
end

local function own_calls(list)
  local result = {}
  for i, call in ipairs(list) do
    result[i] = type(call) == "table" and request.rest(call, "extra_content")
      or call
  end
  return result
end

local function has_foreign(message, strict)
  return message.thinking_blocks ~= nil or message.content_blocks ~= nil
    or strict and
    (message.reasoning_content or message.extra_content
      or list_or_nil(message.tool_calls)) ~= nil
end

-- A message without what answers of other providers carry for themselves.
local function own_message(message, strict)
  local copy = request.rest(message, "thinking_blocks content_blocks")
  if not strict then return copy end
  copy.reasoning_content, copy.extra_content = nil, nil
  if list_or_nil(copy.tool_calls) then
    copy.tool_calls = own_calls(copy.tool_calls)
  end
  return copy
end

local function own_messages(messages, strict)
  local result = messages
  for i = 1, #messages do
    local message = messages[i]
    if message.role == "assistant" and has_foreign(message, strict) then
      if result == messages then result = request.copy(messages) end
      result[i] = own_message(message, strict)
    end
  end
  return result
end

local function stream_options(options)
  if options == nil then return { include_usage = true } end
  return options or nil
end

--- The body of a chat request. What is not touched here passes untouched;
-- stream_options = false leaves them out, for a server that knows none.
function openai.request(r, config, model, streamed)
  local body = { messages = nil, model = nil, stream = nil, max_tokens = nil }
  local strict = is_openai(config)
  for name, value in next, r do body[name] = value end
  body.model = model
  body.stream = streamed or nil
  body.stream_options = streamed and stream_options(r.stream_options) or nil
  if body.tools and is_empty_list(body.tools) then body.tools = nil end
  if body.stop and is_empty_list(body.stop) then body.stop = nil end
  body.messages = own_messages(r.messages, strict)
  if config.max_tokens and not request.max_tokens(body) then
    body[strict and "max_completion_tokens" or "max_tokens"] =
      config.max_tokens
  end
  return body
end

-- ---- answers ---------------------------------------------------------------

local function text_or_nil(value)
  return type(value) == "string" and value or nil
end

local function filled(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function table_or_nil(value)
  return type(value) == "table" and value or nil
end

-- What was refused is the text too: nothing else is said then.
local function text_of(choice, message)
  local content = message.content
  return type(content) == "table" and request.text(content) or filled(content)
    or filled(message.refusal) or text_or_nil(content)
    or text_or_nil(choice.text)
end

-- A choice without an index is known by its place.
local function piece_of(choice, message, i)
  local index = given(choice.index) and math.tointeger(choice.index) or i - 1
  return {
    index = index ~= 0 and index or nil, text = text_of(choice, message),
    refusal = filled(message.refusal),
    reasoning = filled(message.reasoning_content) or filled(message.reasoning),
    logprobs = table_or_nil(choice.logprobs),
    finish_reason = text_or_nil(choice.finish_reason),
  }
end

local function add_whole(piece, body)
  piece.usage = usage.openai(body.usage)
  piece.id, piece.model = text_or_nil(body.id), text_or_nil(body.model)
  return piece
end

local null = json.null

-- usage.openai of a usage that has the three counts; it, or raises, of others.
local function counted(u)
  if u == nil or u == null then return nil end
  local prompt, completion = u.prompt_tokens, u.completion_tokens
  local total, most = u.total_tokens, usage.MOST
  if not (prompt and completion and total) or prompt | 0 ~= prompt
    or completion | 0 ~= completion or total | 0 ~= total
    or (prompt | completion | total) < 0
    or prompt > most or completion > most or total > most then
    return usage.openai(u)
  end
  local result = json.without_null(u)
  result.prompt_tokens, result.completion_tokens = prompt | 0, completion | 0
  result.total_tokens = total | 0
  return result
end

--- The result of an answer as almost all are - one choice, a text and nothing
-- else - as answer.lua would put it together, at a fifth of the cost. Of any
-- other, and of an error, it is nil, or raises: only texts are compared with
-- texts, which says what is one without a call.
-- @param client, provider, timings: what else is known of it
function openai.result(body, client, provider, timings)
  local choice = body.choices[1]
  local message, reason = choice.message, choice.finish_reason
  if body.choices[2] or choice.index ~= 0 or reason == "error"
    or (message.tool_calls or null) ~= null
    or (message.refusal or null) ~= null
    or (message.reasoning_content or null) ~= null
    or (message.reasoning or null) ~= null
    or (choice.logprobs or null) ~= null
    or (body.error or null) ~= null or body.type == "error" then
    return nil
  end
  local text, id, model = message.content, body.id, body.model
  if text <= "" or reason and reason < "" or id and id < ""
    or model and model < "" then
    return nil
  end
  return {
    text = text, finish_reason = reason, usage = counted(body.usage),
    model = model, id = id, message = { role = "assistant", content = text },
    client = client, provider = provider, timings = timings, raw = nil,
  }
end

-- A text, a list of parts, or nothing.
local function is_content(value)
  return not given(value) or type(value) == "string"
    or type(value) == "table" and (value[1] ~= nil or not next(value))
end

-- Whether somebody speaks in it. A filter may have left nothing.
local function is_answer(choice, message)
  if message then return is_content(message.content) end
  return type(choice) == "table"
    and (choice.text or choice.finish_reason == "content_filter") and true
end

--- Takes a decoded answer into `answer`; nil and why, where it is none.
function openai.read(body, answer)
  if not list_or_nil(body.choices) then return nil, "it has no choices" end
  for i, choice in ipairs(body.choices) do
    local message = type(choice) == "table" and table_or_nil(choice.message)
    if not is_answer(choice, message) then
      return nil, ("choice %d has no message"):format(i)
    end
    message = message or {}
    local piece = piece_of(choice, message, i)
    local called = list_or_nil(message.tool_calls)
    piece.tool_calls = called and calls.whole(called)
    answer:add(add_whole(piece, body))
  end
  return true
end

--- The error that an answer without one of its own is, as vLLM has told it, or
-- brings in a choice, as OpenRouter tells that a model behind it has failed; or
-- nil.
function openai.error_in(body)
  if body.object == "error" then return body end
  local choices = table_or_nil(body.choices)
  local first = choices and choices[1]
  if type(first) ~= "table" or first.finish_reason ~= "error" then
    return nil
  end
  return table_or_nil(first.error)
    or { message = "the answer was broken off by an error" }
end

--- A tool that takes nothing is called with nothing by some: it is JSON all the
-- same.
function openai.settle(arguments)
  return arguments:find "%S" and arguments or "{}"
end

-- ---- streams ---------------------------------------------------------------

--- Whether the text of an event, no JSON, ends the stream.
function openai.is_done(data) return data:find "^%s*%[DONE%]" ~= nil end

--- What a stream's reader remembers from event to event: the calls of each
-- choice.
function openai.reader() return {} end

local function fragments_of(state, piece, delta)
  local list = list_or_nil(delta.tool_calls)
  if not list then return nil end
  local index = piece.index or 0
  state[index] = state[index] or {}
  return calls.fragments(state[index], list)
end

--- Puts the pieces of a decoded event into the list.
function openai.pieces(state, chunk, list)
  local choices = list_or_nil(chunk.choices) or {}
  for i, choice in ipairs(choices) do
    if type(choice) ~= "table" then error "a choice is no table" end
    local delta = table_or_nil(choice.delta) or table_or_nil(choice.message)
      or {}
    if not is_content(delta.content) then error "a content is none" end
    local piece = piece_of(choice, delta, i)
    piece.tool_calls = fragments_of(state, piece, delta)
    list[#list + 1] = piece
  end
  if #choices == 0 and type(chunk.usage) ~= "table" then return end
  list[1] = list[1] or {}
  add_whole(list[1], chunk)
end

--- Whether a stream that ends without [DONE] has ended well: only where the
-- client says that its server sends none, and it was said why it ended.
function openai.ends_quietly(answer, _, config)
  return config.requires_done == false and answer:is_finished()
end

-- ---- embeddings ------------------------------------------------------------

function openai.embed_request(r, _, model)
  local body = request.copy(r)
  body.model = model
  return body
end

local ALPHABET =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUES = {}
for i = 1, #ALPHABET do VALUES[ALPHABET:byte(i)] = i - 1 end

-- Bytes of base64; nil if it is none.
local function from_base64(text)
  local bits, count, bytes = 0, 0, {}
  for i = 1, #text do
    local value = VALUES[text:byte(i)]
    if not value then
      if text:sub(i):find "^=*$" then break end
      return nil
    end
    bits, count = (bits << 6 | value) & 0xffffff, count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(bits >> count & 0xff)
    end
  end
  return table.concat(bytes)
end

local function vector_of(embedding)
  if type(embedding) == "table" then return embedding end
  local bytes = type(embedding) == "string" and from_base64(embedding)
  if not bytes or #bytes % 4 ~= 0 then return nil end
  local vector = {}
  for at = 1, #bytes, 4 do
    vector[#vector + 1] = (string.unpack("<f", bytes, at))
  end
  return vector
end

-- @return {embeddings in the order of the inputs, usage, model}
function openai.read_embeddings(body)
  if not list_or_nil(body.data) then return nil, "it has no data" end
  local vectors = {}
  for i, item in ipairs(body.data) do
    local index = math.tointeger(item.index) or i - 1
    vectors[index + 1] = vector_of(item.embedding)
  end
  if #vectors ~= #body.data then return nil, "an embedding is missing" end
  return { embeddings = vectors, usage = usage.openai(body.usage),
           model = text_or_nil(body.model) }
end

function openai.new(config, names)
  return require "llmpool.providers.upstream".new(openai, config, names)
end

return openai
