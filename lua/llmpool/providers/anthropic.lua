-- Anthropic's messages: where they go, how they are answered, streamed or not.
--
-- One idea: an answer is a list of blocks, and a stream is the same list told
-- block by block; both are read into pieces. What a request becomes is
-- anthropic_request.lua's; sending, errors and timeouts are upstream.lua's.

local json = require "llmpool.json"
local translate = require "llmpool.providers.anthropic_request"
local request = require "llmpool.providers.request"
local usage = require "llmpool.providers.usage"

local given = request.given

local anthropic = {
  name = "anthropic", base_url = "https://api.anthropic.com",
  request = translate.request,
}

function anthropic.url(config)
  -- its own libraries take the address without /v1, others write it with it
  local base = config.base_url:gsub("/v1$", "")
  return base .. "/v1/messages"
end

function anthropic.headers(config, key)
  return {
    ["x-api-key"] = key,
    ["anthropic-version"] = config.api_version or "2023-06-01",
  }
end

-- ---- answers ---------------------------------------------------------------

local FINISHES = {
  end_turn = "stop", stop_sequence = "stop", max_tokens = "length",
  model_context_window_exceeded = "length", tool_use = "tool_calls",
  refusal = "content_filter",
}

local function finish_of(reason, state)
  if type(reason) ~= "string" then return nil end
  local finish = FINISHES[reason] or reason
  -- the answer in JSON came as a tool's input: no tool is called
  if finish == "tool_calls" and state.json_name and state.calls == 0 then
    return "stop"
  end
  return finish
end

local function call_piece(state, id, name, arguments)
  local index = state.calls
  state.calls = index + 1
  return { tool_calls = { { index = index, id = id, type = "function",
    ["function"] = { name = name, arguments = arguments } } } }
end

local function arguments_of(input)
  if type(input) ~= "table" then return "{}" end
  return json.encode(input)
end

-- A whole block, as a piece.
local function block_piece(state, block)
  if type(block) ~= "table" then error "a block is none" end
  if block.type == "text" then return { text = block.text } end
  if block.type == "thinking" then return { reasoning = block.thinking } end
  if block.type ~= "tool_use" then return nil end
  if block.name == state.json_name then
    return { text = arguments_of(block.input) }
  end
  return call_piece(state, block.id, block.name, arguments_of(block.input))
end

local function is_thinking(block)
  return block.type == "thinking" or block.type == "redacted_thinking"
end

local SAID = { text = true, tool_use = true }

-- Whether a message in the one form says less than its blocks: what Anthropic's
-- own tools did, who is quoted, thoughts between the texts.
local function is_more(blocks, json_name)
  local after = false
  for _, block in ipairs(blocks) do
    if json_name and block.name == json_name then return false end
    local quotes = type(block.citations) == "table"
      and next(block.citations) ~= nil
    if not SAID[block.type] and not is_thinking(block) or quotes
      or after and is_thinking(block) then
      return true
    end
    after = after or SAID[block.type] or false
  end
  return false
end

local function new_state(asked)
  return { calls = 0, json_name = asked and translate.json_name(asked),
           entries = {}, blocks = {}, thoughts = {}, usage = {} }
end

--- Takes a decoded answer into `answer`; nil and why, where it is none.
-- @param asked table: the request, in its one form
function anthropic.read(body, answer, asked)
  local content = body.content
  if type(content) ~= "table" or content[1] == nil and next(content) then
    return nil, "it has no content"
  end
  local state = new_state(asked)
  for _, block in ipairs(body.content) do
    local piece = block_piece(state, block)
    if piece then answer:add(piece) end
    if is_thinking(block) then
      state.thoughts[#state.thoughts + 1] = block
    end
  end
  answer:add {
    finish_reason = finish_of(body.stop_reason, state),
    usage = usage.anthropic(body.usage), id = body.id, model = body.model,
    thinking_blocks = state.thoughts[1] and state.thoughts or nil,
    content_blocks = is_more(body.content, state.json_name) and body.content
      or nil,
  }
  return true
end

local function canonical(text)
  if text == "" then return "{}" end
  local ok, value = pcall(json.decode, text)
  return ok and type(value) == "table" and json.encode(value) or text
end

--- The one form of a call's arguments: an object has no text of its own here.
anthropic.settle = canonical

-- ---- streams ---------------------------------------------------------------

anthropic.reader = new_state

local events = {}

local function add_usage(state, counts)
  for name, value in pairs(given(counts) and counts or {}) do
    if given(value) then state.usage[name] = value end
  end
end

function events.message_start(state, data)
  local message = type(data.message) == "table" and data.message or {}
  add_usage(state, message.usage)
  return { id = message.id, model = message.model }
end

-- Some backends give the input whole, where the block starts.
local function begun(input)
  return type(input) == "table" and next(input) ~= nil and json.encode(input)
    or ""
end

function events.content_block_start(state, data)
  local block = type(data.content_block) == "table" and data.content_block
    or {}
  local entry = { block = block, texts = {}, inputs = {} }
  state.entries[data.index or 0] = entry
  state.blocks[#state.blocks + 1] = block
  if is_thinking(block) then
    state.thoughts[#state.thoughts + 1] = block
    return { reasoning = block.thinking }
  elseif block.type == "tool_use" and block.name ~= state.json_name then
    entry.call = state.calls
    return call_piece(state, block.id, block.name, begun(block.input))
  elseif block.type == "tool_use" then
    return { text = begun(block.input) }
  elseif block.type == "text" and block.text ~= "" then
    return { text = block.text }
  end
end

local deltas = {}

function deltas.text_delta(_, entry, delta)
  entry.texts[#entry.texts + 1] = delta.text
  return { text = delta.text }
end

function deltas.thinking_delta(_, entry, delta)
  local block = entry.block
  block.thinking = (block.thinking or "") .. (delta.thinking or "")
  return { reasoning = delta.thinking }
end

function deltas.signature_delta(_, entry, delta)
  local block = entry.block
  block.signature = (block.signature or "") .. (delta.signature or "")
end

function deltas.citations_delta(_, entry, delta)
  local block = entry.block
  block.citations = given(block.citations) and block.citations or {}
  block.citations[#block.citations + 1] = delta.citation
end

function deltas.input_json_delta(state, entry, delta)
  local part, name = delta.partial_json, entry.block.name
  if part == "" then return nil end
  entry.inputs[#entry.inputs + 1] = part
  if state.json_name and name == state.json_name then return { text = part } end
  if not entry.call then return nil end -- of a tool of Anthropic's own
  return { tool_calls = { { index = entry.call,
    ["function"] = { arguments = part } } } }
end

function events.content_block_delta(state, data)
  local delta = type(data.delta) == "table" and data.delta or {}
  local read = deltas[delta.type]
  local entry = state.entries[data.index or 0]
  if not entry then
    entry = { block = {}, texts = {}, inputs = {} }
    state.entries[data.index or 0] = entry
  end
  return read and read(state, entry, delta)
end

-- The block is as a whole answer would have it.
function events.content_block_stop(state, data)
  local entry = state.entries[data.index or 0]
  if not entry then return end
  local block = entry.block
  if entry.texts[1] then
    block.text = (block.text or "") .. table.concat(entry.texts)
  end
  if entry.inputs[1] then
    local ok, input = pcall(json.decode, table.concat(entry.inputs))
    block.input = ok and input or block.input
  end
end

-- The counts are of the whole so far. Some backends tell only here what was
-- read.
function events.message_delta(state, data)
  add_usage(state, data.usage)
  local delta = type(data.delta) == "table" and data.delta or {}
  return { finish_reason = finish_of(delta.stop_reason, state),
           usage = usage.anthropic(state.usage),
           thinking_blocks = state.thoughts[1] and state.thoughts or nil,
           content_blocks = is_more(state.blocks, state.json_name)
             and state.blocks or nil }
end

--- Puts the pieces of a decoded event into the list.
-- @return true where the event is the last
function anthropic.pieces(state, data, list)
  if data.type == "message_stop" then return true end
  local read = events[data.type]
  list[1] = read and read(state, data) or nil
end

--- Nothing but message_stop ends a stream well.
function anthropic.ends_quietly(answer, _, config)
  return config.requires_done == false and answer:is_finished()
end

function anthropic.new(config, names)
  return require "llmpool.providers.upstream".new(anthropic, config, names)
end

return anthropic
