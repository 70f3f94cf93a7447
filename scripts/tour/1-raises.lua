-- What happens to the client when the callback raises?
--
-- It is back before anybody sees the error, and the error arrives unchanged:
-- the callback runs in a protected call, whose continuation gives the client
-- back and only then raises again. A to-be-closed slot stands behind it, for a
-- coroutine that is closed from outside.
local llmpool = require "llmpool"

local pool = llmpool.new()
pool:register_model("gpt-4", { llmpool.simulated { id = "key-1" } })

local function ledger()
  local s = pool:stats "gpt-4"
  return ("acquired %d, returned %d, lent %d"):format(s.acquired, s.returned,
    s.lent)
end

print "1. An error object goes through untouched; the client is back:"
local problem = { code = 429 }
local ok, err = pcall(pool.get_client, pool, "gpt-4", function()
  error(problem)
end)
print("   same object:", not ok and rawequal(err, problem))
print("   ledger:", ledger())

print "2. Even a close handler on the way out sees it returned already:"
pcall(function()
  local _ <close> = setmetatable({}, { __close = function()
    print("   ledger:", ledger())
  end })
  pool:get_client("gpt-4", function() error "boom" end)
end)

print "3. A task that is cancelled in the middle of a request gives it back:"
local task = llmpool.spawn(pool.get_client, pool, "gpt-4", function()
  llmpool.sleep(60)
end)
llmpool.sleep(0)
print("   while it runs:", ledger())
task:cancel()
task:pjoin()
print("   cancelled:", ledger())

print "4. The next caller finds the client as if nothing had happened:"
print("   " .. pool:generate("gpt-4", "Hello"))
