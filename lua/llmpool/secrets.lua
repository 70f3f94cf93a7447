-- secrets.lua: what must not be shown or written down: API keys, by the name of
-- the field that holds one or by their own looks. It hides; it forgets nothing.

local secrets = {}

-- of whole names, in lower case, with - and _ taken out
local NAMES = {
  "^apikey$", "^xapikey$", "apikey$", "secret", "passw", "^authorization$",
  "authtoken$", "accesstoken$", "^token$", "^bearer$", "credential",
}

-- keys of OpenAI and Anthropic, Google, GitHub, AWS; bearer tokens
local LOOKS = {
  "%f[%w]sk%-[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]+",
  "%f[%w]AIza[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]+",
  "%f[%w]gh[pousr]_%w%w%w%w%w%w+",
  "%f[%w]AKIA%w%w%w%w%w%w+",
  "[Bb]earer%s+[%w_%-%.]+",
}

--- Whether a field of that name holds something secret.
function secrets.is_name(name)
  if type(name) ~= "string" then return false end
  local plain = name:lower():gsub("[_%-]", "")
  for _, pattern in ipairs(NAMES) do
    if plain:find(pattern) then return true end
  end
  return false
end

--- Whether there is a key in the text, by its looks.
function secrets.is_in(text)
  for _, pattern in ipairs(LOOKS) do
    if text:find(pattern) then return true end
  end
  return false
end

--- The text with *** where a key was.
function secrets.masked(text)
  for _, pattern in ipairs(LOOKS) do text = text:gsub(pattern, "***") end
  return text
end

--- Whether a line of Lua has a secret: api_key = "...", ["api-key"] = ...,
-- llmpool.secret "..."
function secrets.is_set_in(line)
  if secrets.is_in(line) or line:find "secret%s*%(?%s*[\"'%[]" then
    return true
  end
  for name, rest in line:gmatch "([%a_][%w_%-]*)[\"']?%]?%s*=()" do
    if secrets.is_name(name) and line:find("^%s*[\"'%[]", rest) then
      return true
    end
  end
  return false
end

return secrets
