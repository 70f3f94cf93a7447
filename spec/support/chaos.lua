-- chaos: a pool under random use, checked after every step.
--
-- One idea: the clients count for themselves who holds them, apart from the
-- pool's own counts, so that the two can be held against each other. Runs are
-- in virtual time; equal seeds give equal runs. It knows nothing of threads
-- and of the network.
--
--   require "spec.support.chaos".run(seed, steps)   -- raises what is wrong;
--   -- answers what happened, as a text

local llmpool = require "llmpool"
local ledger = require "spec.support.ledger"

local chaos = {}

local MODELS = { "m1", "m2", "m3" }
local CLIENTS = { "a", "b", "c", "d" }

-- ---- chance ----------------------------------------------------------------

local function roll(n) return 1 + math.floor(llmpool.random() * n) end

local function chance(p) return llmpool.random() < p end

local function pick(list) return list[roll(#list)] end

-- Seconds, many of them equal, so that things fall together.
local function span(most) return roll(most * 4) / 4 end

-- ---- clients that count ----------------------------------------------------

local function client(run, id)
  local slots = chance(0.3) and roll(3) or 1
  run.made = run.made + 1
  local book = { held = 0, slots = slots, id = id }
  local spec = { id = id, book = book, slots = slots ~= 1 and slots or nil }
  function spec.generate()
    llmpool.sleep(span(2))
    if chance(0.1) then error(llmpool.error("server", "out of order"), 0) end
    return id
  end
  function spec.stream()
    local left = roll(3)
    return function()
      llmpool.sleep(span(1))
      left = left - 1
      if left >= 0 then return { text = "x" } end
    end
  end
  if chance(0.2) then spec.breaker = { failures = 2, open = span(5) } end
  if run.choosy and chance(0.2) then
    spec.rpm, spec.rpm_burst = 60 * roll(4), roll(3)
  end
  return spec
end

local function take(run, lease)
  local book = lease.book
  book.held = book.held + 1
  run.held = run.held + 1
  if book.held > book.slots then
    error(("client %s of %d slots is lent %d times"):format(book.id, book.slots,
      book.held), 0)
  end
  return setmetatable({}, { __close = function()
    book.held = book.held - 1
    run.held = run.held - 1
  end })
end

local function model_options(run)
  local options = {}
  if chance(0.3) then options.max_waiting = roll(5) - 1 end
  if chance(0.2) then options.timeout = span(5) end
  if chance(0.3) then options.order = "fifo" end
  if chance(0.2) then options.max_uses = roll(4) end
  if chance(0.2) then options.max_lifetime = span(10) end
  if chance(0.2) then
    options.idle_timeout, options.min_idle = span(10), roll(2) - 1
  end
  if chance(0.3) then
    options.check_after = chance(0.5) and 0 or span(3)
    options.check = function()
      if chance(0.5) then llmpool.sleep(span(1)) end
      if chance(0.1) then error("sick", 0) end
      return chance(0.8)
    end
    if chance(0.5) then options.check_interval = span(5) end
  end
  if chance(0.5) then
    options.create = function(spec)
      if chance(0.5) then llmpool.sleep(span(2)) end
      if chance(0.2) then error("not now", 0) end
      return client(run, spec.id)
    end
  end
  return options
end

-- ---- callers ---------------------------------------------------------------

local function call_options(run)
  local options = {}
  if chance(0.5) then options.timeout = chance(0.2) and 0 or span(6) end
  if chance(0.3) then options.priority = roll(4) - 1 end
  if chance(0.2) then options.prefer = pick(CLIENTS) end
  if run.choosy and chance(0.3) then options.exclude = { pick(CLIENTS) } end
  if chance(0.2) then options.tokens = roll(100) end
  return options
end

local function which()
  return chance(0.75) and pick(MODELS) or { pick { "m1", "m2" }, "m3" }
end

local caller

-- What one does with a lease; all of it may go on while others come and go.
local function use(run, lease, depth)
  local held <close> = take(run, lease) -- luacheck: ignore
  if chance(0.8) then llmpool.sleep(span(3)) end
  if chance(0.3) then pcall(lease.generate, lease, "q") end
  if chance(0.1) then lease:cool_down(span(3)) end
  if chance(0.03) then lease:retire() end
  if chance(0.03) then lease:disable("no credit", span(4)) end
  if chance(0.1) then lease:report { kind = pick { "success", "failure" } } end
  if chance(0.1) and depth < 3 then pcall(caller, run, depth + 1, true) end
  if chance(0.1) then error("a caller's own", 0) end
end

local ways = {}

function ways.acquire(run, depth, options)
  local lease <close> = run.pool:acquire(which(), options)
  if not lease then return end
  use(run, lease, depth)
  if chance(0.3) then lease:release() end
end

function ways.get_client(run, depth, options)
  run.pool:get_client(which(), function(lease)
    use(run, lease, depth)
  end, options)
end

function ways.generate(run, _, options)
  run.pool:generate(which(), "q", options)
end

function ways.stream(run, _, options)
  local stream <close> = run.pool:stream(which(), "q", options)
  for _ in stream do
    if chance(0.2) then break end
  end
end

-- The callback is in a coroutine that is dropped half-way.
function ways.dropped(run, _, options)
  local co = coroutine.create(function()
    run.pool:get_client(which(), coroutine.yield, options)
  end)
  coroutine.resume(co)
  if coroutine.status(co) == "suspended" and chance(0.5) then
    coroutine.close(co)
  end
end

-- A lease that is forgotten: the collector brings it back.
function ways.forgotten(run, _, options)
  local _ = run.pool:acquire(which(), options)
end

local WAYS = { "acquire", "acquire", "get_client", "get_client", "generate",
               "generate", "stream", "dropped", "forgotten" }

-- A nested one always has a timeout: to hold and wait is to hold each other up.
function caller(run, depth, nested)
  local options = call_options(run)
  if nested then options.timeout = span(3) end
  ways[pick(WAYS)](run, depth, options)
end

-- ---- steps -----------------------------------------------------------------

local steps = {}

local function try(f, ...) return pcall(f, ...) end

function steps.register(run)
  local list = {}
  for i = 1, roll(3) do list[i] = client(run, CLIENTS[i]) end
  try(run.pool.register_model, run.pool, pick(MODELS), list, model_options(run))
end

function steps.unregister(run)
  if chance(0.2) then try(run.pool.unregister_model, run.pool, pick(MODELS)) end
end

function steps.add(run)
  try(run.pool.add_client, run.pool, pick(MODELS), client(run, pick(CLIENTS)))
end

function steps.replace(run)
  try(run.pool.replace_client, run.pool, pick(MODELS),
      client(run, pick(CLIENTS)))
end

function steps.retire(run)
  if chance(0.5) then
    try(run.pool.retire_client, run.pool, pick(MODELS), pick(CLIENTS))
  end
end

function steps.call(run)
  for _ = 1, roll(4) do
    run.tasks[#run.tasks + 1] = run.scope:spawn(function()
      pcall(caller, run, 1)
    end)
  end
end

function steps.cancel(run)
  local task = #run.tasks > 0 and table.remove(run.tasks, roll(#run.tasks))
  if task then task:cancel("chaos") end
end

function steps.pause(run) try(run.pool.pause, run.pool, pick(MODELS)) end

function steps.resume(run) run.pool:resume() end

function steps.renew(run) try(run.pool.renew, run.pool, pick(MODELS)) end

function steps.limit(run)
  local limit = chance(0.3) and 100 or roll(4) - 1
  try(run.pool.limit, run.pool, pick(MODELS), limit)
end

function steps.cool_down(run)
  try(run.pool.cool_down, run.pool, pick(MODELS), pick(CLIENTS), span(4))
end

function steps.disable(run)
  try(run.pool.disable_client, run.pool, pick(MODELS), pick(CLIENTS), "why",
      span(4))
end

function steps.collect() collectgarbage() end

function steps.drain(run) run.pool:drain(span(2)) end

function steps.pass() llmpool.sleep(span(4)) end

local NAMES = { "call", "call", "call", "call", "pass", "pass" }
for name in pairs(steps) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

-- ---- what must hold --------------------------------------------------------

local function fail(run, name, what)
  error(("seed %d, step %d, model %s: %s"):format(run.seed, run.step, name,
    what), 0)
end

local function check_client(run, name, c)
  if c.lent > c.slots then
    fail(run, name, ("%s: %d of %d slots are lent"):format(c.id, c.lent,
      c.slots))
  end
end

-- Somebody waits although a client is free. A caller may exclude it, and its
-- bucket may be too low for the first in line; runs without both tell. Under a
-- limit a check or a creation may have the permit, of which no count tells.
local function check_idle(run, name, stats)
  if run.choosy or stats.paused or stats.limit < stats.size then return end
  if stats.waiting > 0 and stats.idle > 0 then
    fail(run, name, ("%d wait while %d are idle (%d lent)"):format(
      stats.waiting, stats.idle, stats.lent))
  end
end

local function check(run)
  for _ = 1, 8 do llmpool.sleep(0) end
  ledger.closed(run.pool)
  for name, stats in pairs(run.pool:stats().models) do
    for _, c in ipairs(stats.clients) do check_client(run, name, c) end
    check_idle(run, name, stats)
  end
end

-- ---- the run ---------------------------------------------------------------

local function finish(run)
  run.pool:resume()
  for _, name in ipairs(run.pool:models()) do run.pool:limit(name, 1000) end
  llmpool.sleep(60)
  if chance(0.5) then run.pool:close() end
end

local function counts(run)
  local list = {}
  for _, name in ipairs(MODELS) do
    local stats = run.pool:stats().models[name]
    list[#list + 1] = stats and stats.acquired or 0
  end
  return list
end

local function body(seed, count)
  local run = { seed = seed, step = 0, made = 0, held = 0,
                tasks = {}, choosy = chance(0.5), pool = llmpool.new() }
  llmpool.scope(function(scope)
    run.scope = scope
    steps.register(run)
    for step = 1, count do
      run.step = step
      local name = pick(NAMES)
      steps[name](run)
      check(run)
    end
    finish(run)
    llmpool.sleep(600)
    for _, task in ipairs(run.tasks) do task:cancel("the end") end
  end)
  collectgarbage()
  collectgarbage()
  run.step = count + 1
  if run.held ~= 0 then fail(run, "-", run.held .. " are still held") end
  ledger.settled(run.pool)
  return ("%d made, %s at %s"):format(run.made, table.concat(counts(run), " "),
    llmpool.now())
end

-- When the collector runs is no part of a seed: it runs where a step says so.
function chaos.run(seed, count)
  collectgarbage "stop"
  local ok, result = pcall(llmpool.simulate, { seed = seed }, body, seed, count)
  collectgarbage "restart"
  if not ok then error(result, 0) end
  return result
end

return chaos
