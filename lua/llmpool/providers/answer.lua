-- An answer in its one form, put together from pieces.
--
-- One idea: a whole answer is one big piece; so what a stream brings in a
-- hundred pieces and what comes at once go through the same function and end
-- as the same table. A piece has what its event brought: text, reasoning,
-- refusal, tool_calls (fragments with OpenAI's index, from 0), logprobs,
-- finish_reason, usage, and index where it belongs to another choice than the
-- first.

local request = require "llmpool.providers.request"

local given = request.given

local Answer = {}
Answer.__index = Answer

local answer = {}

--- A new answer, of nothing yet.
function answer.new()
  return setmetatable({ choices = {} }, Answer)
end

local MOST_CHOICES = 256 -- nobody gives more; what says so is broken

local function choice_of(self, index)
  local choice = self.choices[index + 1]
  if choice then return choice end
  if index < 0 or index >= MOST_CHOICES then error "a choice beyond belief" end
  for i = #self.choices + 1, index + 1 do
    self.choices[i] = { index = i - 1, text = {}, reasoning = {}, refusal = {},
                        calls = {} }
  end
  return self.choices[index + 1]
end

local function append(list, text)
  if text == nil or text == "" then return end
  if type(text) ~= "string" then error "a text is no text" end
  list[#list + 1] = text
end

local function name_of(value)
  if type(value) ~= "string" then error "a name is no text" end
  return value
end

local function find_call(calls, fragment)
  local index = fragment.index or #calls
  for _, known in ipairs(calls) do
    if known.index == index then return known end
  end
  local call = { index = index, arguments = {} }
  calls[#calls + 1] = call
  return call
end

-- The id and name come once; the arguments in fragments. A custom tool has an
-- input, which is no JSON.
local function add_call(calls, fragment)
  local call = find_call(calls, fragment)
  local custom = given(fragment.custom) and fragment.custom
  local called = custom or fragment["function"] or {}
  call.custom = call.custom or custom ~= false
  if given(fragment.id) and fragment.id ~= "" then
    call.id = call.id or name_of(fragment.id)
  end
  if given(called.name) and called.name ~= "" then
    call.name = call.name or name_of(called.name)
  end
  if given(fragment.extra_content) then
    call.extra_content = fragment.extra_content
  end
  local part = custom and called.input or called.arguments
  append(call.arguments, given(part) and part or nil)
end

-- The lists of tokens go on from piece to piece.
local function add_logprobs(choice, logprobs)
  choice.logprobs = choice.logprobs or {}
  for name, value in pairs(logprobs) do
    local known = choice.logprobs[name]
    if type(known) == "table" and type(value) == "table" then
      for _, token in ipairs(value) do known[#known + 1] = token end
    elseif type(value) == "table" then
      choice.logprobs[name] = request.copy(value)
    elseif given(value) then
      choice.logprobs[name] = value
    end
  end
end

--- Takes in what a piece brought.
function Answer:add(piece)
  local choice = choice_of(self, piece.index or 0)
  append(choice.text, piece.text)
  append(choice.reasoning, piece.reasoning)
  append(choice.refusal, piece.refusal)
  if piece.logprobs then add_logprobs(choice, piece.logprobs) end
  if piece.tool_calls then
    for _, fragment in ipairs(piece.tool_calls) do
      add_call(choice.calls, fragment)
    end
  end
  choice.finish_reason = piece.finish_reason or choice.finish_reason
  self.usage = piece.usage or self.usage
  self.id, self.model = piece.id or self.id, piece.model or self.model
  self.thinking_blocks = piece.thinking_blocks or self.thinking_blocks
  self.extra_content = piece.extra_content or self.extra_content
  self.content_blocks = piece.content_blocks or self.content_blocks
end

local function calls_of(choice, settle)
  if #choice.calls == 0 then return nil end
  local calls = {}
  for i, call in ipairs(choice.calls) do
    local arguments = table.concat(call.arguments)
    if call.custom then
      calls[i] = { id = call.id, type = "custom",
                   custom = { name = call.name, input = arguments } }
    else
      if settle then arguments = settle(arguments) end
      calls[i] = { id = call.id, type = "function",
                   extra_content = call.extra_content,
                   ["function"] = { name = call.name, arguments = arguments } }
    end
  end
  return calls
end

local function text_of(list)
  if list[2] then return table.concat(list) end
  return list[1]
end

-- The assistant's message, ready to be put among the messages of the next
-- request.
local function message_of(self, result)
  return {
    role = "assistant", content = result.text ~= "" and result.text
      or not result.tool_calls and "" or nil,
    tool_calls = result.tool_calls, reasoning_content = result.reasoning,
    thinking_blocks = self.thinking_blocks, extra_content = self.extra_content,
    content_blocks = self.content_blocks,
  }
end

local function settled(choice, settle)
  return {
    index = choice.index, text = text_of(choice.text) or "",
    reasoning = text_of(choice.reasoning), refusal = text_of(choice.refusal),
    tool_calls = calls_of(choice, settle), logprobs = choice.logprobs,
    finish_reason = choice.finish_reason,
  }
end

--- The whole: {text, reasoning, refusal, tool_calls, logprobs, finish_reason,
-- usage, model, id, message}, and choices where there are several.
-- @param settle function or nil: brings the text of a call's arguments into
-- one form, where the provider's own is no text
function Answer:result(settle)
  local result = settled(choice_of(self, 0), settle)
  result.index = nil
  result.usage, result.model, result.id = self.usage, self.model, self.id
  result.message = message_of(self, result)
  if #self.choices > 1 then
    result.choices = {}
    for i, choice in ipairs(self.choices) do
      result.choices[i] = settled(choice, settle)
    end
  end
  return result
end

--- Whether nothing at all was said.
function Answer:is_empty() return #self.choices == 0 end

--- Whether a choice has come to its end.
function Answer:is_finished()
  local first = self.choices[1]
  return first ~= nil and first.finish_reason ~= nil
end

return answer
