-- Callback or <close>: when which?
--
-- get_client(model, callback), where the work is one function: the client is
-- back when the function ends, and a failure to get one is raised with it.
-- acquire with <close>, where the lease spans code that is no function, or the
-- failure to get one is part of the plan: it answers nil and an error object.
local llmpool = require "llmpool"

local pool = llmpool.new()
pool:register_model("gpt-4", { llmpool.simulated { id = "key-1" } })
local function lent() return pool:stats("gpt-4").lent end

print "1. The callback, for one piece of work; its results are the call's:"
local text, count = pool:get_client("gpt-4", function(client)
  return client:generate "Summarize", 2
end)
print("  ", text, count, "lent: " .. lent())

print "2. The variable, for a block that returns, breaks or raises:"
for try = 1, 3 do
  local client <close>, err = pool:acquire("gpt-4", { timeout = 1 })
  if not client then error(err) end
  if try == 2 then break end
  print("   try " .. try, client:generate "Translate", "lent: " .. lent())
end
print("   after the break", "lent: " .. lent())

print "3. The variable, to do without when there is none; nothing is raised:"
do
  local held <close> = pool:acquire "gpt-4" -- luacheck: ignore
  local client <close>, err = pool:acquire("gpt-4", { timeout = 0 })
  print("  ", client, err.kind)
end
print("   the callback raises the same object:",
  select(2, pcall(pool.get_client, pool, "gpt-4", function()
    pool:get_client("gpt-4", print, { timeout = 0 })
  end)).kind)

print "4. A coroutine that is dropped: only its collection can tell."
print "   In both forms the client comes back then, and is reported as a leak:"
for _, form in ipairs {
  function() pool:get_client("gpt-4", coroutine.yield) end,
  function()
    local client <close> = pool:acquire "gpt-4" -- luacheck: ignore
    coroutine.yield()
  end,
} do
  coroutine.wrap(form)()
  collectgarbage()
  collectgarbage()
  local stats = pool:stats "gpt-4"
  print("  ", "leaked: " .. stats.leaked, "lent: " .. stats.lent)
end
