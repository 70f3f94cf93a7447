-- The annotations of what comes out: every field of a value is annotated, and
-- every annotated one comes - what is optional in one of the cases, all else in
-- each.

local annotations = require "llmpool.annotations"
local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"
local surface = require "spec.support.surface"

local simulated = surface.simulated

local _, _, classes = annotations.all()

-- name -> field, of a class and of those it extends
local function fields_of(class)
  local known = {}
  while class do
    local item = assert(classes[class], class)
    for _, field in ipairs(item.fields) do
      known[field.name] = known[field.name] or field
    end
    class = item.parent
  end
  return known
end

local function fits(field, value)
  local types = field.type
  if types == "any" or types:find('"' .. tostring(value) .. '"', 1, true) then
    return true
  end
  if types:find("llmpool.", 1, true) or types:find "%[%]" then
    return type(value) == "table" or types:find(type(value), 1, true)
  end
  return types:find(type(value), 1, true)
    or types:find(math.type(value) or "none", 1, true)
end

-- A watch over the values of some cases: check(class, value), and at their end
-- all_seen(class...).
local function watch()
  local seen = {}
  local function check(class, value)
    local known = fields_of(class)
    for name in pairs(value) do
      assert.truthy(known[name], class .. " without " .. name)
    end
    for name, field in pairs(known) do
      local path = class .. "." .. name
      if value[name] == nil then
        assert.is_true(field.optional, path)
      else
        seen[path] = true
        assert(fits(field, value[name]), ("%s is %s, annotated as %s"):format(
          path, tostring(value[name]), field.type))
      end
    end
  end
  return check, function(...)
    for _, class in ipairs { ... } do
      for name in pairs(fields_of(class)) do
        assert.truthy(seen[class .. "." .. name], class .. "." .. name)
      end
    end
  end
end

describe("annotated are", function()
  it("statistics", simulated(function()
    local check, all_seen = watch()
    local pool = llmpool.new()
    pool:register_model("m", {
      llmpool.simulated { id = "a", rpm = 60, tpm = 1e4, rpm_burst = 2,
        tpm_burst = 1e3, breaker = true, price = { input = 1 }, latency = 1 },
      llmpool.simulated { id = "b", failure_rate = 1 },
    })
    local function look()
      local stats = pool:stats "m"
      check("llmpool.stats", stats)
      check("llmpool.times", stats.wait)
      for _, client in ipairs(stats.clients) do
        check("llmpool.client_stats", client)
      end
      for _, client in ipairs(pool:clients "m") do
        check("llmpool.registered_client", client)
      end
    end
    look()
    pool:generate("m", "q", { prefer = "a" })
    pcall(pool.generate, pool, "m", "q", { prefer = "b" })
    pool:cool_down("m", "b", 60)
    do
      local held <close> = pool:acquire "m" -- luacheck: ignore
      local waiter = llmpool.spawn(pool.acquire, pool, "m", { timeout = 2 })
      llmpool.sleep(1)
      look()
      waiter:join()
    end
    all_seen("llmpool.times", "llmpool.stats", "llmpool.client_stats",
      "llmpool.registered_client")
    ledger.closed(pool)
  end))

  it("events of a pool", simulated(function()
    local check, all_seen = watch()
    local pool = surface.pool({}, "a")
    local events <close> = pool:events()
    local function ask() pool:generate("m", "q") end
    llmpool.gather(ask, ask)
    pool:cool_down("m", "a", 5)
    pool:renew "m"
    ask()
    for _, event in ipairs(events:read()) do check("llmpool.event", event) end
    all_seen "llmpool.event"
    ledger.closed(pool)
  end))

  it("events of a router, and what its hooks get", simulated(function()
    local check, all_seen = watch()
    local pool = llmpool.new()
    pool:register_model("bad", {
      llmpool.simulated { id = "a", latency = 1, failure_rate = 1 } })
    pool:register_model("good", { llmpool.simulated { id = "b", latency = 1 } })
    pool:register_model("limited", { { id = "c", generate = function()
      local err = llmpool.error("rate_limit", "later")
      err.retry_at = 1e6
      error(err, 0)
    end } })
    local results, events = {}, {} -- a hook that raises is only warned of
    local function ask(options, request)
      options.pool = pool
      local router = llmpool.router(options)
      router:listen(function(event) events[#events + 1] = event end)
      local ok, err = pcall(router.generate, router, "q", request)
      if ok then return router end
      check("llmpool.explanation", err.explanation)
      for _, record in ipairs(err.attempts) do
        check("llmpool.attempt_record", record)
      end
      return router
    end

    local plan = { { model = "bad", retries = 1 }, "good",
      on_attempt = function(result) results[#results + 1] = result end }
    local router = ask { policy = plan }
    router:reload "/nowhere.lua"
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write "return function() return 'good' end":close()
    router:reload(path)
    os.remove(path)
    ask { policy = function() return { refuse = "closed" } end }
    check("llmpool.explanation", ask({ default = "good",
      policy = function() error "no idea" end }):explain "q")
    ask { policy = { { model = "bad", retries = 9 } },
          retry_budget = { ratio = 0, burst = 0 } }
    ask({ policy = { { model = "bad" } } }, { timeout = 0.5 })
    ask { policy = require "llmpool.policy.least_busy" { "good" } }
    ask { policy = { { model = "limited" } } }
    for burst = 0, 1 do
      ask({ policy = { { model = "good", hedge_after = 0.5 }, "bad" },
            hedge_budget = { ratio = 0, burst = burst } })
    end

    for _, event in ipairs(events) do
      check("llmpool.router_event", event)
      local explanation = event.explanation
      if explanation then
        check("llmpool.explanation", explanation)
        for _, candidate in ipairs(explanation.candidates) do
          check("llmpool.candidate", candidate)
        end
      end
    end
    for _, result in ipairs(results) do
      check("llmpool.attempt_result", result)
    end
    all_seen("llmpool.router_event", "llmpool.attempt_result",
      "llmpool.explanation", "llmpool.candidate", "llmpool.attempt_record")
    ledger.closed(pool)
  end))
end)
