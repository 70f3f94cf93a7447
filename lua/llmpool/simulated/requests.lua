-- requests.lua: what a simulated client reads of a request: its prompt, how
-- many tokens that is, the limit of the answer. It answers nothing.

local requests = {}

local function text_of(content)
  if type(content) ~= "table" then return tostring(content or "") end
  local parts = {}
  for i, part in ipairs(content) do
    parts[i] = type(part) == "table" and part.text or ""
  end
  return table.concat(parts, " ")
end

--- The text of the last message.
function requests.prompt(request)
  if type(request) == "string" then return request end
  if type(request) ~= "table" or type(request.messages) ~= "table" then
    error("generate takes a prompt, or a request with messages", 0)
  end
  local last = request.messages[#request.messages]
  return last and text_of(last.content) or ""
end

--- Tokens of the prompt: what the request's own prompt_tokens says, or a
-- fourth of its characters.
function requests.prompt_tokens(request)
  if type(request) == "string" then return (#request + 3) // 4 end
  if type(request) ~= "table" then return 0 end
  if request.prompt_tokens then return request.prompt_tokens end
  local characters = 0
  for _, message in ipairs(request.messages or {}) do
    characters = characters + #text_of(message.content)
  end
  return (characters + 3) // 4
end

--- The most tokens that the answer may have, or nil.
function requests.max_tokens(request)
  if type(request) ~= "table" then return nil end
  return request.max_tokens or request.max_completion_tokens
end

return requests
