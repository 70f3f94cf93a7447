-- A client of a real provider: sends a request, reads the answer.
--
-- One idea: everything that the formats have in common is here - the request
-- over HTTP, its timeouts, what a bad status or a broken body means - and all
-- that they have not is a format's table of functions (openai.lua has the
-- list). It retries nothing and waits for nothing but the answer.

local answer = require "llmpool.providers.answer"
local failure = require "llmpool.providers.failure"
local fields = require "llmpool.fields"
local json = require "llmpool.json"
local request = require "llmpool.providers.request"
local secrets = require "llmpool.secrets"

local upstream = {}

local Upstream = {}
Upstream.__index = Upstream

-- An answer that comes at once may be written for minutes before its first
-- byte; a stream may go on as long as it goes on. For the rest http.request's
-- own limits are right.
local WHOLE = { total = 600 }
local STREAMED = { first = 600 }
local MAX_BYTES = 64 << 20 -- of a stream in all, as of a whole answer

--- A client as the pool wants one.
-- @param format table: openai.lua, anthropic.lua, gemini.lua
function upstream.new(format, config, names)
  return setmetatable({
    format = format, config = config, provider = format.name,
    id = names.id, model = names.model,
    upstream_model = config.model or names.model,
  }, Upstream)
end

--- The key, for those who must keep it out of what they say, and then the
-- values of headers that hold one by their name.
function Upstream:secret()
  local list, config = {}, self.config
  for name, value in pairs(config.headers or {}) do
    if secrets.is_name(name) then list[#list + 1] = value:reveal() end
  end
  return config.api_key and config.api_key:reveal(), table.unpack(list)
end

-- ---- requests --------------------------------------------------------------

local OPTIONS = { timeout = true }

local function check_options(options, method)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("bad argument #2 to '%s' (table expected, got %s)"):format(method,
      type(options)), 0)
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      error(("bad argument #2 to '%s' (unknown option '%s'%s)"):format(method,
        tostring(name), fields.suggestion(name, OPTIONS)), 0)
    end
  end
  local wanted = options.timeout ~= nil
    and require "llmpool.providers.specs".timeout(options.timeout)
  if wanted then
    error(("bad argument #2 to '%s' (%s)"):format(method,
      fields.complaint("timeout", wanted, options.timeout)), 0)
  end
  return options
end

--- The provider's name of the model that a request is for.
function Upstream:model_of(asked)
  return request.given(asked.model) and asked.model or self.upstream_model
end

-- What a client's requests have in common, made once: {headers, whole,
-- streamed, urls, around}. Kept apart from the client, so that nothing shows
-- its key.
local common = setmetatable({}, { __mode = "k" })

local function add_timeouts(result, given)
  if type(given) == "number" then given = { total = given } end
  for name, value in pairs(given or {}) do
    result[name] = value < math.huge and value or nil
  end
  return result
end

local function make_headers(self)
  local config = self.config
  local headers = self.format.headers(config, (self:secret()))
  headers["Content-Type"] = "application/json"
  headers["User-Agent"] = require "llmpool"._VERSION:gsub(" ", "/")
  for name, value in pairs(config.headers or {}) do
    headers[name] = value:reveal()
  end
  return headers
end

local function common_of(self)
  local known = common[self]
  if not known then
    local timeout = self.config.timeout
    known = {
      headers = require "llmpool.http".headers(make_headers(self)),
      whole = add_timeouts(request.copy(WHOLE), timeout),
      streamed = add_timeouts(request.copy(STREAMED), timeout), urls = {},
    }
    common[self] = known
  end
  return known
end

-- What the call says goes before what the client says; seconds are the total.
local function timeouts(known, streamed, options)
  local own = streamed and known.streamed or known.whole
  if not options.timeout then return own end
  return add_timeouts(request.copy(own), options.timeout)
end

local function encode(body)
  local ok, text = pcall(json.encode, body)
  if ok then return text end
  request.bad("%s", (tostring(text):gsub("^bad argument #1 to '[%w_.]+' ", "")))
end

local MARK = "\1 the prompt \1"

-- What stands around a prompt in the body of a request that is nothing else;
-- false where that cannot be told.
local function around_prompt(self)
  local whole = encode(self.format.request(request.normalise(MARK),
    self.config, self.upstream_model, false))
  local mark = json.encode(MARK)
  local first, last = whole:find(mark, 1, true)
  if not first or whole:find(mark, last, true) then return false end
  return { whole:sub(1, first - 1), whole:sub(last + 1) }
end

-- The body of such a request, at a sixth of what the long way costs; nil where
-- that is to be gone.
local function prompt_body(self, prompt)
  if prompt == "" then return nil end -- some formats have no place for it
  local known = common[self] or common_of(self)
  if known.around == nil then known.around = around_prompt(self) end
  local around = known.around
  local ok, text = pcall(json.encode, prompt)
  return ok and around and around[1] .. text .. around[2] or nil
end

-- Of the client's own model it is kept; a request may ask for any other.
local function url_of(self, known, operation, model)
  if model ~= self.upstream_model then
    return self.format.url(self.config, operation, model)
  end
  local url = known.urls[operation]
  if not url then
    url = self.format.url(self.config, operation, model)
    known.urls[operation] = url
  end
  return url
end

-- What is left to http.request - a body is posted, so many bytes are too many -
-- it need not check.
local function order_of(self, operation, model, body, streamed, options)
  local config, known = self.config, common[self] or common_of(self)
  return {
    url = url_of(self, known, operation, model),
    headers = known.headers, body = body,
    timeout = timeouts(known, streamed, options),
    max_bytes = config.max_bytes or streamed and MAX_BYTES or nil,
    ca_file = config.ca_file, proxy = config.proxy and config.proxy:reveal(),
    http2 = config.http2, on_cancel = config.on_cancel,
    stream = streamed or nil,
  }
end

local loaded = package.loaded

local function send(self, order)
  local http = loaded["llmpool.http"] or require "llmpool.http"
  local ok, reply = pcall(http.request, order)
  if ok then return reply end
  error(failure.cut(self, reply) or failure.transport(self, reply), 0)
end

-- ---- whole answers ---------------------------------------------------------

-- JSON's null, false and "" say that there is none.
local function says_error(value)
  return request.given(value) and value ~= false and value ~= ""
end

--- What a decoded body that came with a good status says of a failure: the
-- body as failure.lua takes it, or nil.
function Upstream:error_in(body)
  if type(body) ~= "table" then return nil end
  local first = type(body[1]) == "table" and body[1] or body
  if says_error(first.error) or first.type == "error" then return body end
  local find = self.format.error_in
  local found = find and find(first)
  return found and { error = found }
end

--- The decoded body of an answer that is none of an error.
-- @param body any: the decoded text, if somebody has it
function Upstream:decode(reply, text, body)
  if body == nil then body = failure.decode(text) end
  local failed = reply.status >= 300
  local wrong = failed and body or self:error_in(body)
  if failed or wrong then
    error(failure.refused(self, {
      status = failed and reply.status or nil,
      headers = reply.headers, body = wrong == nil and text or wrong,
    }), 0)
  end
  if type(body) ~= "table" then
    error(failure.new(self, "malformed", "the answer is no JSON: "
      .. failure.excerpt(self, text, 80)), 0)
  end
  return body
end

function Upstream:malformed(why)
  return failure.new(self, "malformed", "the answer is malformed: " .. why)
end

--- Adds what the client knows of an answer: who gave it, and how long it took.
function Upstream:sign(result, timings)
  result.client, result.provider = self.id, self.provider
  result.model = result.model or self.upstream_model
  result.timings = timings
  return result
end

local function read(self, body, asked)
  local format = self.format
  local whole = answer.new()
  local ok, why = format.read(body, whole, asked)
  return ok and whole:result(format.settle), why
end

--- The answer in a decoded body. The formats read what is there; what is of a
-- type that it cannot be fails in them.
function Upstream:read(body, asked)
  local ok, result, why = pcall(read, self, body, asked)
  if ok and result then return result end
  if not ok and result == "not enough memory" then error(result, 0) end
  error(self:malformed(why or "it has another form than its format"), 0)
end

-- The answer and what it was read from, where the format has a short way for
-- what almost all are; else at most the latter.
local function read_ordinary(self, text, timings)
  local body = json.decode(text)
  local result = self.format.result(body, self.id, self.provider, timings)
  if result then result.raw = body end
  return result, body
end

local function ordinary(self, reply, text)
  if not self.format.result or reply.status >= 300 then return nil end
  local ok, result, body = pcall(read_ordinary, self, text, reply.timings)
  if not ok then return nil end
  if result and not result.model then result.model = self.upstream_model end
  return result, body
end

local function read_whole(self, reply, given)
  local text = reply.body
  local result, body = ordinary(self, reply, text)
  if result then return result end
  body = self:decode(reply, text, body)
  local asked = request.normalise(given, "generate")
  result = self:sign(self:read(body, asked), reply.timings)
  result.raw = body
  return result
end

--- Asks for a whole answer.
-- @param given string or table: a prompt, or a request in OpenAI's form
-- @param options table: timeout
-- @return the text, and the response
function Upstream:generate(given, options)
  local asked = type(given) ~= "string" and request.normalise(given, "generate")
  options = check_options(options, "generate")
  local model = asked and self:model_of(asked) or self.upstream_model
  local body = not asked and prompt_body(self, given) or encode(
    self.format.request(asked or request.normalise(given, "generate"),
      self.config, model, false))
  local reply = send(self, order_of(self, "chat", model, body, false, options))
  local result = read_whole(self, reply, asked or given)
  return result.text, result
end

-- ---- streams ---------------------------------------------------------------

--- Asks for an answer piece by piece.
-- @return a stream: called, it gives the next piece, nil at the end
function Upstream:stream(given, options)
  local asked = request.normalise(given, "stream")
  options = check_options(options, "stream")
  local format, started = self.format, require "llmpool".now()
  local model = self:model_of(asked)
  local body = format.request(asked, self.config, model, true)
  local order = order_of(self, format.stream_operation or "chat", model,
    encode(body), true, options)
  local reply = send(self, order)
  return require "llmpool.providers.stream".open(self, asked, reply,
    { started = started, first = order.timeout.first })
end

-- ---- embeddings ------------------------------------------------------------

local function check_input(given)
  if type(given) == "string" then return { input = given } end
  if type(given) ~= "table" then
    error(("bad argument #1 to 'embed' (a text, a list of texts or a request "
      .. "with input expected, got %s)"):format(type(given)), 0)
  end
  local asked = given.input == nil and { input = given } or given
  if type(asked.input) == "string" then return asked end
  if type(asked.input) ~= "table" or #asked.input == 0 then
    request.bad("input must be a text or a list of at least one")
  end
  for i, text in ipairs(asked.input) do
    if type(text) ~= "string" then
      request.bad("input[%d] must be a string, got %s", i, type(text))
    end
  end
  return asked
end

--- Asks for embeddings.
-- @param given string, list of strings, or a table {input = , dimensions = ...}
-- @return one vector for a string, a list of them for a list; and the response
function Upstream:embed(given, options)
  local format = self.format
  if not format.embed_request then
    error(failure.new(self, "bad_request", self.provider
      .. " has no embeddings"), 0)
  end
  local asked = check_input(given)
  options = check_options(options, "embed")
  local model = self:model_of(asked)
  local body, operation = format.embed_request(asked, self.config, model)
  local reply = send(self, order_of(self, operation or "embed", model,
    encode(body), false, options))
  local decoded = self:decode(reply, reply.body)
  local ok, result, why = pcall(format.read_embeddings, decoded)
  if not ok or not result then
    error(self:malformed(why or "it has another form than its format"), 0)
  end
  local wanted = type(asked.input) == "string" and 1 or #asked.input
  if #result.embeddings ~= wanted then
    error(self:malformed(("%d embeddings for %d texts"):format(
      #result.embeddings, wanted)), 0)
  end
  self:sign(result, reply.timings)
  result.raw = decoded
  return type(asked.input) == "string" and result.embeddings[1]
    or result.embeddings, result
end

return upstream
