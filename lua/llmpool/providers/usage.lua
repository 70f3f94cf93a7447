-- What a request cost in tokens, in OpenAI's names, whoever counted.
--
-- One idea: prompt_tokens is all that was read (what came from a cache
-- included), completion_tokens all that was written (what was only thought
-- included), as OpenAI counts; the details say how much of each. A provider
-- that says nothing gives nil, never zeros that nobody counted.

local json = require "llmpool.json"

local usage = {}

local math_type, without_null = math.type, json.without_null

--- Tokens of a request; more would close a budget for days.
usage.MOST = 100000000

local MOST = usage.MOST

-- A count that is none (negative, beyond belief) was not told.
local function integer(value)
  if math_type(value) == "integer" then
    return value >= 0 and value <= MOST and value or nil
  end
  local number = tonumber(value)
  if not number or number < 0 or number > MOST then return nil end
  return math.floor(number + 0.5)
end

--- OpenAI's own, and of those who speak its format.
function usage.openai(u)
  if type(u) ~= "table" then return nil end
  local result = without_null(u)
  local prompt = integer(u.prompt_tokens)
  local completion = integer(u.completion_tokens)
  result.prompt_tokens, result.completion_tokens = prompt, completion
  result.total_tokens = integer(u.total_tokens)
  if not result.total_tokens and (prompt or completion) then
    result.total_tokens = (prompt or 0) + (completion or 0)
  end
  return result
end

local function given(value)
  if value ~= json.null then return value end
end

--- Anthropic's, which counts what came from the cache apart.
function usage.anthropic(u)
  if type(u) ~= "table" then return nil end
  local read = integer(u.cache_read_input_tokens) or 0
  local created = integer(u.cache_creation_input_tokens) or 0
  local prompt = (integer(u.input_tokens) or 0) + read + created
  local completion = integer(u.output_tokens) or 0
  local details = u.output_tokens_details
  local thought = type(details) == "table"
    and integer(details.thinking_tokens) or nil
  return {
    prompt_tokens = prompt, completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = { cached_tokens = read,
                              cache_creation_tokens = created },
    completion_tokens_details = thought and { reasoning_tokens = thought }
      or nil,
    server_tool_use = given(u.server_tool_use),
    service_tier = given(u.service_tier),
  }
end

--- Gemini's, which counts what was thought apart.
function usage.gemini(u)
  if type(u) ~= "table" then return nil end
  local thought = integer(u.thoughtsTokenCount) or 0
  local prompt = (integer(u.promptTokenCount) or 0)
    + (integer(u.toolUsePromptTokenCount) or 0)
  local completion = (integer(u.candidatesTokenCount) or 0) + thought
  return {
    prompt_tokens = prompt, completion_tokens = completion,
    total_tokens = integer(u.totalTokenCount) or prompt + completion,
    prompt_tokens_details = {
      cached_tokens = integer(u.cachedContentTokenCount) or 0 },
    completion_tokens_details = { reasoning_tokens = thought },
  }
end

return usage
