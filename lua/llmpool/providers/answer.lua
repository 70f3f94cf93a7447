-- An answer in its one form, put together from pieces.
--
-- One idea: a whole answer is one big piece; so what a stream brings in a
-- hundred pieces and what comes at once go through the same function and end
-- as the same table. A piece has what its event brought: text, reasoning,
-- tool_calls (fragments with OpenAI's index, from 0), finish_reason, usage,
-- and index where it belongs to another choice than the first.

local request = require "llmpool.providers.request"

local given = request.given

local Answer = {}
Answer.__index = Answer

local answer = {}

--- A new answer, of nothing yet.
function answer.new()
  return setmetatable({ choices = {}, seen = false }, Answer)
end

local function choice_of(self, index)
  local choice = self.choices[index + 1]
  if choice then return choice end
  choice = { index = index, text = {}, reasoning = {}, calls = {} }
  for i = #self.choices + 1, index do
    self.choices[i] = { index = i - 1, text = {}, reasoning = {}, calls = {} }
  end
  self.choices[index + 1] = choice
  return choice
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

-- The id and name come once; the arguments in fragments.
local function add_call(calls, fragment)
  local index = fragment.index or #calls
  local call
  for _, known in ipairs(calls) do
    if known.index == index then call = known end
  end
  if not call then
    call = { index = index, arguments = {} }
    calls[#calls + 1] = call
  end
  local called = fragment["function"] or {}
  if given(fragment.id) and fragment.id ~= "" then
    call.id = name_of(fragment.id)
  end
  if given(called.name) and called.name ~= "" then
    call.name = name_of(called.name)
  end
  if given(fragment.extra_content) then
    call.extra_content = fragment.extra_content
  end
  append(call.arguments, given(called.arguments) and called.arguments or nil)
end

--- Takes in what a piece brought.
function Answer:add(piece)
  local choice = choice_of(self, piece.index or 0)
  append(choice.text, piece.text)
  append(choice.reasoning, piece.reasoning)
  if piece.tool_calls then
    for _, fragment in ipairs(piece.tool_calls) do
      add_call(choice.calls, fragment)
    end
  end
  choice.finish_reason = piece.finish_reason or choice.finish_reason
  self.usage = piece.usage or self.usage
  self.id, self.model = piece.id or self.id, piece.model or self.model
  self.thinking_blocks = piece.thinking_blocks or self.thinking_blocks
end

local function calls_of(choice, settle)
  if #choice.calls == 0 then return nil end
  local calls = {}
  for i, call in ipairs(choice.calls) do
    local arguments = table.concat(call.arguments)
    if settle then arguments = settle(arguments) end
    calls[i] = { id = call.id, type = "function",
                 extra_content = call.extra_content,
                 ["function"] = { name = call.name, arguments = arguments } }
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
    thinking_blocks = self.thinking_blocks,
  }
end

local function settled(choice, settle)
  return {
    index = choice.index, text = text_of(choice.text) or "",
    reasoning = text_of(choice.reasoning),
    tool_calls = calls_of(choice, settle), finish_reason = choice.finish_reason,
  }
end

--- The whole: {text, reasoning, tool_calls, finish_reason, usage, model, id,
-- message}, and choices where there are several.
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

--- Whether a choice has come to its end.
function Answer:is_finished()
  local first = self.choices[1]
  return first ~= nil and first.finish_reason ~= nil
end

return answer
