-- The simulated provider: a client that waits and answers, without a network.
-- All its time goes through llmpool.sleep and all its chance through
-- llmpool.random, so that in a simulation it costs nothing and repeats.

local simulated = {}

local CUT = 40 -- characters of the prompt that the default reply repeats

local function cut(text)
  local stop = utf8.len(text) and utf8.offset(text, CUT + 1)
  if stop then return text:sub(1, stop - 1) end
  return utf8.len(text) and text or text:sub(1, CUT)
end

local draw = {}

function draw.constant(t) return t.value end

function draw.uniform(t, random) return t.min + (t.max - t.min) * random() end

function draw.exponential(t, random)
  return -t.mean * math.log(1 - random())
end

function draw.lognormal(t, random)
  local normal = math.sqrt(-2 * math.log(1 - random()))
    * math.cos(2 * math.pi * random())
  return t.median * math.exp(t.sigma * normal)
end

local function seconds(latency, request, random)
  if type(latency) == "function" then return latency(request) end
  if type(latency) == "table" then
    return draw[latency[1] or latency.distribution](latency, random)
  end
  return latency or 0
end

-- the last message's text of a request in OpenAI's form
local function prompt_of(request)
  if type(request) == "string" then return request end
  if type(request) ~= "table" or type(request.messages) ~= "table" then
    error("generate takes a prompt, or a request with messages", 0)
  end
  local last = request.messages[#request.messages]
  return last and tostring(last.content) or ""
end

local Simulated = {}
Simulated.__index = Simulated

function Simulated:text(request)
  local reply = self.config.reply
  if type(reply) == "string" then return reply end
  if reply then return reply(request, { id = self.id, model = self.model }) end
  return ("[%s:%s] Response to: %s"):format(self.model, self.id,
    cut(prompt_of(request)))
end

--- @return the text, and {text, model, client, latency}
function Simulated:generate(request)
  local llmpool = require "llmpool"
  local wait = seconds(self.config.latency, request, llmpool.random)
  if wait > 0 then llmpool.sleep(wait) end
  local rate = self.config.failure_rate
  if rate and rate > 0 and llmpool.random() < rate then
    error(simulated.failure(self), 0)
  end
  local text = self:text(request)
  return text, { text = text, model = self.model, client = self.id,
                 latency = wait }
end

function simulated.failure(client)
  local object = require "llmpool".error("provider",
    ("client \"%s\" of \"%s\" failed, as simulated"):format(client.id,
      client.model))
  object.client, object.model = client.id, client.model
  return object
end

function simulated.new(config, names)
  return setmetatable({ config = config or {}, id = names.id,
                        model = names.model }, Simulated)
end

return simulated
