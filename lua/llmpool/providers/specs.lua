-- llmpool.openai, llmpool.anthropic, llmpool.gemini: what a user says of a
-- client, checked, and the key found.
--
-- One idea: a spec is plain data that goes to every thread, so the key is
-- looked for once, where the spec is made, and travels as a secret that shows
-- nothing. It makes no clients and sends nothing.

local client_fields = require "llmpool.client_fields"
local fields = require "llmpool.fields"

local text = fields.text

local specs = {}

-- ---- checks ----------------------------------------------------------------

-- never says what the value is
local function key(v)
  if type(v) ~= "string" then return "!it must be a string, got " .. type(v) end
  if v == "" then return "!it is empty" end
  if v:find "[%c ]" then
    return "!it has spaces or line breaks in it; is all of it the key?"
  end
end

local function url(v)
  if type(v) ~= "string" or not v:find "^https?://[^/]" then
    return "a URL, http://... or https://..."
  end
  if v:match "^https?://([^/]*)":find("@", 1, true) then
    return "!it has a user and a password in it; give headers instead"
  end
  if v:find "[%c ]" then return "!it has spaces in it" end
  if v:find "[%?#]" then return "!it has a ? or # in it; it is a prefix" end
end

local function headers(v)
  if type(v) ~= "table" then return "a table, name -> value" end
  for name, value in pairs(v) do
    if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+%-.^_`|~]+$" then
      return "!" .. tostring(name) .. " is no header's name"
    end
    if type(value) ~= "string" or value:find "[\r\n%z]" then
      return "!" .. name .. " must be a string of one line"
    end
  end
end

local PHASES = { connect = true, first = true, idle = true, total = true }

local function is_span(v) return fields.is_number(v) and v > 0 end

--- A timeout: seconds in all, or a table by phase.
function specs.timeout(v)
  if is_span(v) then return end
  if type(v) ~= "table" then
    return "seconds, or a table {connect=, first=, idle=, total=}"
  end
  for name, value in pairs(v) do
    if not PHASES[name] then
      return ("!unknown field '%s'%s"):format(tostring(name),
        fields.suggestion(name, PHASES))
    end
    if not is_span(value) then
      return "!" .. name .. " must be a number of seconds greater than 0"
    end
  end
end

local function on_cancel(v)
  if v ~= "close" and v ~= "drain" then return '"close" or "drain"' end
end

local function known(more)
  local all = {
    api_key = key, api_key_env = text, api_key_file = text, base_url = url,
    model = text, headers = headers, timeout = specs.timeout, proxy = text,
    ca_file = text, max_bytes = fields.at_least_one, on_cancel = on_cancel,
    max_tokens = fields.at_least_one, api_version = text,
    requires_done = fields.boolean, http2 = fields.boolean,
  }
  for name, check in pairs(more) do all[name] = check end
  return all
end

-- ---- keys ------------------------------------------------------------------

local function trimmed(value) return (value:match "^%s*(.-)%s*$") end

local function read_file(path, what, level)
  local file, why = io.open(path, "r")
  if not file then
    fields.bad(level + 1, "api_key_file of %s: %s", what, why)
  end
  local content = file:read(65536)
  file:close()
  if not content or trimmed(content) == "" then
    fields.bad(level + 1, "api_key_file of %s: %s is empty", what, path)
  end
  return trimmed(content)
end

local function read_variable(name, what, level)
  local value = os.getenv(name)
  if not value or trimmed(value) == "" then
    fields.bad(level + 1, "api_key_env of %s: the environment has no %s",
      what, name)
  end
  return trimmed(value)
end

local function first_variable(names)
  for _, name in ipairs(names) do
    local value = os.getenv(name)
    if value and trimmed(value) ~= "" then return trimmed(value), name end
  end
end

local function only_one(t, what, level)
  local given
  for _, name in ipairs { "api_key", "api_key_env", "api_key_file" } do
    if t[name] and given then
      fields.bad(level + 1, "%s has %s and %s; one of them is the key", what,
        given, name)
    end
    given = t[name] and name or given
  end
end

-- A key from the environment goes to the provider that it is for, not to an
-- address that the spec names: there it has to be asked for.
local function find_key(t, provider, what, level)
  only_one(t, what, level + 1)
  if t.api_key then return t.api_key, "api_key" end
  if t.api_key_env then
    return read_variable(t.api_key_env, what, level + 1), t.api_key_env
  end
  if t.api_key_file then
    return read_file(t.api_key_file, what, level + 1), t.api_key_file
  end
  if t.base_url then return nil end
  local value, name = first_variable(provider.keys)
  if not value then
    fields.bad(level + 1, "%s \"%s\" needs a key: api_key, api_key_env, "
      .. "api_key_file, or %s in the environment", what, t.id,
      table.concat(provider.keys, " or "))
  end
  return value, name
end

local function check_key(value, from, what, level)
  local wanted = value and key(value)
  if wanted then
    fields.bad(level + 1, "the key of %s (from %s): %s", what, from,
      wanted:sub(2))
  end
end

-- ---- addresses -------------------------------------------------------------

local function find_base_url(t, provider, what, level)
  local value, name = t.base_url, "base_url"
  if not value then value, name = first_variable(provider.urls) end
  if not value then return provider.default_url end
  local wanted = url(value)
  if wanted then
    fields.bad(level + 1, "%s of %s must be %s", name, what,
      wanted:sub(1, 1) == "!" and "a URL: " .. wanted:sub(2) or wanted)
  end
  return (value:gsub("/+$", ""))
end

-- ---- the constructors ------------------------------------------------------

local function hide_headers(list)
  local secret, hidden = require "llmpool".secret, {}
  for name, value in pairs(list or {}) do
    hidden[name] = secret(value)
  end
  return next(hidden) and hidden or nil
end

local function make(name, provider, t, level)
  local spec = client_fields.spec(name, "llmpool.providers." .. name, t,
    provider.fields, level + 1)
  local what, config = "llmpool." .. name, spec.config
  local secret = require "llmpool".secret
  if provider.choose then
    provider = provider.choose(t, provider, what, level + 1)
  end
  local value, from = find_key(t, provider, what, level + 1)
  check_key(value, from, what, level + 1)
  config.api_key = value and secret(value)
  config.api_key_env, config.api_key_file = nil, nil
  config.base_url = find_base_url(t, provider, what, level + 1)
  config.headers = hide_headers(t.headers)
  config.proxy = t.proxy and secret(t.proxy)
  config.api_version = t.api_version or (provider.version_variable
    and os.getenv(provider.version_variable)) or nil
  if provider.needs_version and not config.api_version then
    fields.bad(level + 1, "%s with azure needs api_version, or %s in the "
      .. "environment", what, provider.version_variable)
  end
  spec.live = true
  return spec
end

local AZURE = {
  keys = { "AZURE_OPENAI_API_KEY" }, urls = { "AZURE_OPENAI_ENDPOINT" },
  needs_version = true, version_variable = "OPENAI_API_VERSION",
}

local function choose_azure(t, provider, what, level)
  if not t.azure then return provider end
  if not t.base_url and not first_variable(AZURE.urls) then
    fields.bad(level + 1, "%s with azure needs base_url, "
      .. "https://NAME.openai.azure.com, or %s in the environment", what,
      AZURE.urls[1])
  end
  return AZURE
end

local PROVIDERS = {
  openai = {
    keys = { "OPENAI_API_KEY" }, urls = { "OPENAI_BASE_URL" },
    default_url = "https://api.openai.com/v1", choose = choose_azure,
    fields = known { organization = text, project = text,
                     azure = fields.boolean },
  },
  anthropic = {
    keys = { "ANTHROPIC_API_KEY" }, urls = { "ANTHROPIC_BASE_URL" },
    default_url = "https://api.anthropic.com", fields = known {},
  },
  gemini = {
    keys = { "GEMINI_API_KEY", "GOOGLE_API_KEY" },
    urls = { "GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL" },
    default_url = "https://generativelanguage.googleapis.com",
    fields = known {},
  },
}

-- Between the script and `make`: the function here, one of init.lua's that
-- reads this file, and its frame of C.
local SCRIPT = 4

--- A client of OpenAI's chat completions, or of a server that speaks them.
function specs.openai(t)
  local spec = make("openai", PROVIDERS.openai, t, SCRIPT)
  return spec
end

--- A client of Anthropic's messages.
function specs.anthropic(t)
  local spec = make("anthropic", PROVIDERS.anthropic, t, SCRIPT)
  return spec
end

--- A client of Gemini's generateContent.
function specs.gemini(t)
  local spec = make("gemini", PROVIDERS.gemini, t, SCRIPT)
  return spec
end

return specs
