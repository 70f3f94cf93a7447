-- Gemini's generateContent and embedContent: where they go, how they are
-- answered, streamed or not.
--
-- One idea: an event of a stream has the form of a whole answer, so one
-- function reads both. A call's arguments come whole and have no id; ids are
-- made here. What a request becomes is gemini_request.lua's; sending, errors
-- and timeouts are upstream.lua's.

local json = require "llmpool.json"
local request = require "llmpool.providers.request"
local translate = require "llmpool.providers.gemini_request"
local usage = require "llmpool.providers.usage"

local given = request.given

local gemini = {
  name = "gemini", base_url = "https://generativelanguage.googleapis.com",
  request = translate.request, embed_request = translate.embed_request,
  stream_operation = "stream",
}

-- ---- where to --------------------------------------------------------------

local function path_of(model)
  return model:find("/", 1, true) and model or "models/" .. model
end

local METHODS = {
  chat = ":generateContent", stream = ":streamGenerateContent?alt=sse",
  embed = ":embedContent", embed_list = ":batchEmbedContents",
}

--- @param operation string: "chat", "stream", "embed" or "embed_list"
function gemini.url(config, operation, model)
  local base = config.base_url
  if not base:find "/v%d+%w*$" then
    base = base .. "/" .. (config.api_version or "v1beta")
  end
  return ("%s/%s%s"):format(base, path_of(model), METHODS[operation])
end

function gemini.headers(_, key) return { ["x-goog-api-key"] = key } end

-- ---- answers ---------------------------------------------------------------

local FINISHES = {
  STOP = "stop", MAX_TOKENS = "length", SAFETY = "content_filter",
  RECITATION = "content_filter", BLOCKLIST = "content_filter",
  PROHIBITED_CONTENT = "content_filter", SPII = "content_filter",
  IMAGE_SAFETY = "content_filter", LANGUAGE = "content_filter",
  IMAGE_PROHIBITED_CONTENT = "content_filter",
  IMAGE_RECITATION = "content_filter",
}

local function table_of(value) return type(value) == "table" and value or {} end

-- What says something, or nothing; of another type it is no answer.
local function list_of(value)
  if not given(value) then return {} end
  if type(value) ~= "table" or value[1] == nil and next(value) then
    error "a list is none"
  end
  return value
end

local function text_of(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- What must come back as it was given: the signature of the thought behind a
-- call or a text, and a call's own id.
local function extra_of(signature, id)
  if not signature and not id then return nil end
  return { google = { thought_signature = signature, id = id } }
end

local function add_call(state, piece, part)
  local call = part.functionCall
  local index, id = state.calls, text_of(call.id)
  state.calls = index + 1
  piece.tool_calls = piece.tool_calls or {}
  piece.tool_calls[#piece.tool_calls + 1] = {
    index = index, type = "function",
    extra_content = extra_of(text_of(part.thoughtSignature), id),
    id = id or ("call_%s_%d"):format(state.id or "gemini", index),
    ["function"] = { name = call.name,
                     arguments = json.encode(call.args or json.object {}) },
  }
end

local function add_part(state, piece, part)
  if type(part.functionCall) == "table" then
    add_call(state, piece, part)
  elseif given(part.text) then
    if type(part.text) ~= "string" then error "a text is no text" end
    local field = part.thought == true and "reasoning" or "text"
    if part.text ~= "" then piece[field] = (piece[field] or "") .. part.text end
    if field == "text" and text_of(part.thoughtSignature) then
      piece.extra_content = extra_of(part.thoughtSignature)
    end
  end
end

local function finish_of(candidate, state)
  local reason = candidate.finishReason
  if type(reason) ~= "string" or reason == "FINISH_REASON_UNSPECIFIED" then
    return nil
  end
  if reason == "STOP" and state.calls > 0 then return "tool_calls" end
  return FINISHES[reason] or reason:lower()
end

local function candidate_piece(state, candidate)
  local piece, content = {}, candidate.content
  local index = math.tointeger(candidate.index) or 0
  if index ~= 0 then piece.index = index end
  if type(candidate) ~= "table" or given(content) and type(content) ~= "table"
  then
    error "a candidate is none"
  end
  for _, part in ipairs(list_of(table_of(content).parts)) do
    if type(part) ~= "table" then error "a part is none" end
    add_part(state, piece, part)
  end
  piece.finish_reason = finish_of(candidate, state)
  return piece
end

local function is_blocked(body)
  return type(table_of(body.promptFeedback).blockReason) == "string"
end

-- A prompt that was blocked has no candidate: an answer of nothing.
local function pieces_of(state, body, list)
  state.id = body.responseId or state.id
  for _, candidate in ipairs(table_of(body.candidates)) do
    list[#list + 1] = candidate_piece(state, candidate)
  end
  if #list == 0 and is_blocked(body) then
    list[1] = { finish_reason = "content_filter" }
  end
  local counted = usage.gemini(body.usageMetadata)
  if #list == 0 and not counted then return end
  list[1] = list[1] or {}
  list[1].usage, list[1].id = counted, body.responseId
  list[1].model = body.modelVersion
end

gemini.reader = function() return { calls = 0 } end

--- Takes a decoded answer into `answer`; nil and why, where it is none.
function gemini.read(body, answer)
  local list = {}
  pieces_of(gemini.reader(), body, list)
  local first = table_of(body.candidates)[1]
  if first == nil and not is_blocked(body) then
    return nil, "it has no candidates"
  end
  for _, piece in ipairs(list) do answer:add(piece) end
  return true
end

-- ---- streams ---------------------------------------------------------------

--- Puts the pieces of a decoded event into the list.
function gemini.pieces(state, body, list) pieces_of(state, body, list) end

--- There is no last event: the stream is whole where it was said why it ended.
function gemini.ends_quietly(answer) return answer:is_finished() end

-- ---- embeddings ------------------------------------------------------------

-- @return {embeddings in the order of the inputs}
function gemini.read_embeddings(body)
  local list = body.embeddings or { body.embedding }
  local vectors = {}
  for i, item in ipairs(table_of(list)) do
    vectors[i] = type(item) == "table" and type(item.values) == "table"
      and item.values or nil
  end
  if #vectors == 0 or #vectors ~= #list then
    return nil, "an embedding is missing"
  end
  return { embeddings = vectors, usage = usage.gemini(body.usageMetadata) }
end

function gemini.new(config, names)
  return require "llmpool.providers.upstream".new(gemini, config, names)
end

return gemini
