-- Eight questions at once to a model with two clients. Each client answers
-- one caller at a time and takes 0.3 s, so two run and six wait their turn:
-- four rounds, 1.2 s. The answers come in the order of the questions.
local llmpool = require "llmpool"

local function clients(...)
  local list = {}
  for i, id in ipairs { ... } do
    list[i] = llmpool.simulated { id = id, latency = 0.3 }
  end
  return list
end

local pool = llmpool.new()
pool:register_model("gpt-4", clients("key-1", "key-2"))
pool:register_model("claude", clients("key-a", "key-b", "key-c"))

local questions = {}
for i = 0, 7 do
  questions[#questions + 1] = function()
    return (pool:generate("gpt-4", "Question " .. i))
  end
end

local start = llmpool.now()
local answers = table.pack(llmpool.gather(table.unpack(questions)))
local elapsed = llmpool.now() - start

for i = 1, answers.n do
  print(answers[i])
end
print()
print(string.format("Elapsed: %.1fs", elapsed))
