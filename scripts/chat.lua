#!/usr/bin/env llmpool
-- chat.lua - a conversation with a model at the terminal, streamed.
--
--   OPENAI_API_KEY=... llmpool scripts/chat.lua [--model NAME] [--help]
--
-- One idea: the conversation is a list of messages; each line that is read is
-- one more, each answer another. Ctrl-C ends an answer, not the conversation;
-- Ctrl-D ends that. From a pipe it reads lines and writes answers.

local llmpool = require "llmpool"
local nearest = require "llmpool.nearest"

local USAGE = [[
usage: llmpool scripts/chat.lua [options]

  --provider NAME   openai, anthropic or gemini; default: the first whose key
                    is in the environment
  --model NAME      the provider's name of a model
  --system TEXT     what the model is told first
  --help            this

The key is read from OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, the
address from OPENAI_BASE_URL, ANTHROPIC_BASE_URL or GEMINI_BASE_URL, where it
is not the provider's own. A server at such an address may need no key.
At the prompt, Ctrl-C ends the answer, Ctrl-D the conversation.
]]

local PROVIDERS = {
  openai = { "OPENAI_API_KEY", "OPENAI_BASE_URL", "gpt-4o-mini" },
  anthropic = { "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL",
                "claude-3-5-haiku-latest" },
  gemini = { "GEMINI_API_KEY", "GEMINI_BASE_URL", "gemini-2.5-flash" },
}
local ORDER = { "openai", "anthropic", "gemini" }

-- ---- the command line ------------------------------------------------------

local function die(...)
  io.stderr:write("chat: ", string.format(...), "\n")
  os.exit(2, true)
end

local OPTIONS = { "--provider", "--model", "--system", "--help" }

local function did_you_mean(word, list)
  local near = nearest(word, list)
  return near and ("; did you mean '%s'?"):format(near) or ""
end

local function parse(words)
  local options, i = {}, 1
  while words[i] do
    local name, value = words[i]:match "^(%-%-%w+)=(.*)$"
    name = name or words[i]
    if name == "--help" then
      io.write(USAGE)
      os.exit(0, true)
    end
    if name ~= "--provider" and name ~= "--model" and name ~= "--system" then
      die("unknown option '%s'%s", name, did_you_mean(name, OPTIONS))
    end
    if not value then
      i, value = i + 1, words[i + 1]
    end
    options[name:sub(3)] = value or die("%s needs a value", name)
    i = i + 1
  end
  return options
end

local function has(variable)
  local value = os.getenv(variable)
  return value ~= nil and value ~= ""
end

local function choose(name)
  if name and not PROVIDERS[name] then
    die("unknown provider '%s'%s", name, did_you_mean(name, ORDER))
  end
  if name then return name end
  for _, candidate in ipairs(ORDER) do
    if has(PROVIDERS[candidate][1]) or has(PROVIDERS[candidate][2]) then
      return candidate
    end
  end
  return ORDER[1]
end

-- A server of one's own may need no key; the providers' do.
local function client_of(name, model)
  local key, url = PROVIDERS[name][1], PROVIDERS[name][2]
  local ok, client = pcall(llmpool[name], {
    id = "chat", model = model or PROVIDERS[name][3],
    api_key_env = has(key) and key or nil,
    base_url = has(url) and os.getenv(url) or nil,
  })
  if ok then return client end
  die("%s", (tostring(client):gsub("^[^:]+:%d+: ", "")))
end

-- ---- the conversation ------------------------------------------------------

local function is_interrupt(err)
  return tostring(err):find("interrupted!", 1, true) ~= nil
    or llmpool.is_cancelled(err)
end

-- Writes the answer as it comes; what came before an interruption counts as
-- said.
local function answer(pool, messages)
  local said = {}
  local ok, err = pcall(function()
    local stream <close> = pool:stream("chat", { messages = messages })
    for piece in stream do
      if piece.text then
        said[#said + 1] = piece.text
        io.write(piece.text)
        io.flush()
      end
    end
    messages[#messages + 1] = stream.response.message
  end)
  local text = table.concat(said)
  if ok or text ~= "" then io.write "\n" end
  if ok then return true end
  if text ~= "" then
    messages[#messages + 1] = { role = "assistant", content = text }
  else
    messages[#messages] = nil
  end
  io.stderr:write(is_interrupt(err) and "(interrupted)\n"
    or "chat: " .. tostring(err) .. "\n")
  return is_interrupt(err)
end

-- The next line; a Ctrl-C while it is typed is for nobody.
local function read_line(prompt)
  while true do
    if prompt then
      io.write(prompt)
      io.flush()
    end
    local ok, line = pcall(io.read, "l")
    if ok then return line end
    io.write("\n")
  end
end

local function converse(pool, messages, prompt)
  local good = true
  for line in read_line, prompt do
    if line:find "%S" then
      messages[#messages + 1] = { role = "user", content = line }
      good = answer(pool, messages) and good
    end
  end
  return good
end

local options = parse(arg)
local provider = choose(options.provider)
local pool = llmpool.new()
pool:register_model("chat", { client_of(provider, options.model) })
local at_terminal = os.execute "test -t 0" == true
local messages = {}
if options.system then
  messages[1] = { role = "system", content = options.system }
end
local good = converse(pool, messages, at_terminal and "> " or nil)
if at_terminal then io.write "\n" end
if not good then os.exit(1, true) end
