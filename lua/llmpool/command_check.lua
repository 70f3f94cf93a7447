-- command_check.lua: what `llmpool check` does: runs a script until it would
-- send something, lists what it has registered, asks each client once.
--
-- One idea: the script is a coroutine, and whatever would send or wait yields
-- out of it for good, so that no pcall of the script's own can go on behind.

local llmpool = require "llmpool"
local native = require "llmpool.native"
local poolview = require "llmpool.poolview"
local progress = require "llmpool.progress"
local reload = require "llmpool.router.reload"

local check = {}

-- ---- loading ---------------------------------------------------------------

local STOP = {}

-- What would send a request, or wait for somebody who does.
local POOL_METHODS = { "get_client", "acquire", "generate", "stream", "drain",
                       "watch" }
local FUNCTIONS = { "sleep", "wait", "scope", "gather", "race", "timeout",
                    "simulate", "thread" }
local ROUTER_METHODS = { "generate", "stream" }

local function where(level)
  for i = level + 1, level + 20 do
    local info = debug.getinfo(i, "Sl")
    if not info then return "?" end
    if info.currentline > 0 and not info.short_src:find "^llmpool/" then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return "?"
end

local function stopper(state, name)
  return function()
    state.stopped = state.stopped or { name = name, where = where(2) }
    if coroutine.isyieldable() then coroutine.yield(STOP) end
    error(STOP, 0)
  end
end

local function replace(undo, t, name, value)
  undo[#undo + 1] = { t, name, rawget(t, name) }
  rawset(t, name, value)
end

local function methods_of(name)
  local metatable = debug.getregistry()[name]
  return metatable.__index
end

-- Puts stoppers and listeners in place; returns what takes them away.
local function arm(state)
  local undo = {}
  local pool_methods = methods_of "llmpool.pool"
  local function listening(name)
    local make = llmpool[name]
    replace(undo, llmpool, name, function(...)
      local pool = make(...)
      state.pools[#state.pools + 1] = pool
      return pool
    end)
  end
  listening "new"
  listening "open"
  replace(undo, native, "router_made", function(router)
    state.routers[#state.routers + 1] = router
  end)
  for _, name in ipairs(POOL_METHODS) do
    if pool_methods[name] then
      replace(undo, pool_methods, name, stopper(state, "pool:" .. name))
    end
  end
  for _, name in ipairs(FUNCTIONS) do
    replace(undo, llmpool, name, stopper(state, "llmpool." .. name))
  end
  -- what is spawned would run at the next wait: behind the script
  replace(undo, llmpool, "spawn", function(fn, ...)
    state.spawned[#state.spawned + 1] = table.pack(fn, ...)
    return setmetatable({}, { __index = function(_, name)
      return stopper(state, "task:" .. name)
    end })
  end)
  local router = require "llmpool.router"
  for _, name in ipairs(ROUTER_METHODS) do
    replace(undo, router, name, stopper(state, "router:" .. name))
  end
  replace(undo, os, "exit", stopper(state, "os.exit"))
  return function()
    for i = #undo, 1, -1 do rawset(undo[i][1], undo[i][2], undo[i][3]) end
  end
end

-- The first frame of a traceback that is a script's: "main.lua:12".
local function frame_of(traceback)
  for frame in traceback:gmatch "[^\n]+" do
    local place = frame:match "^%s*(.-:%d+):"
    if place and not place:find "^llmpool/" then return place end
  end
end

local function message_of(err, traceback)
  local ok, text = pcall(tostring, err)
  if not ok then text = "an error of type " .. type(err) end
  if type(err) == "string" and text:find "^[^\n]-:%d+:" then return text end
  local place = frame_of(traceback)
  return place and ("%s: %s"):format(place, text) or text
end

-- Runs the function until it would send or wait; nil, or what went wrong, and
-- what it returned.
local function run(fn, ...)
  local co = coroutine.create(fn)
  local ok, result = coroutine.resume(co, ...)
  if not ok and result ~= STOP then
    return message_of(result, debug.traceback(co))
  end
  return nil, result
end

-- The script, and what it has spawned, which may spawn more. A task's failure
-- is the script's only where that has ended: else it might have been joined.
local function run_all(state, chunk, arguments)
  local wrong, result = run(chunk, table.unpack(arguments))
  local spawned, i = state.spawned, 0
  while not wrong and spawned[i + 1] do
    i = i + 1
    local failed = run(table.unpack(spawned[i], 1, spawned[i].n))
    wrong = result ~= STOP and failed or nil
  end
  return wrong, result
end

-- The first router whose policy makes no plan: why; else nil. A pool without
-- a model says nothing of a policy.
local function bad_policy(routers)
  for _, router in ipairs(routers) do
    local ok, why = reload.makes_plans(router)
    if not ok and #router.pool:models() > 0 then return why end
  end
end

--- Runs the script until it would send or wait.
-- @param arguments list of strings: what it finds in ... and in arg
-- @return {script, pools, scenario, stopped}, or nil and the message
function check.load(script, arguments)
  local chunk, message = loadfile(script)
  if not chunk then return nil, message end
  local state = { script = script, pools = {}, routers = {},
                  spawned = {} }
  local disarm = arm(state)
  local old_arg = arg
  rawset(_G, "arg", table.move(arguments, 1, #arguments, 1, { [0] = script }))
  local wrong, result = run_all(state, chunk, arguments)
  rawset(_G, "arg", old_arg)
  disarm()
  wrong = wrong or bad_policy(state.routers)
  if wrong then return nil, wrong end
  local found, scenario = pcall(require, "llmpool.scenario")
  if found and result ~= STOP and scenario.is(result) then
    state.scenario = result
  end
  return state
end

-- ---- telling ---------------------------------------------------------------

local COLUMNS = {
  { name = "model", title = "model", rank = 0 },
  { name = "client", title = "client", rank = 0 },
  { name = "provider", title = "provider", rank = 1 },
  { name = "slots", title = "slots", rank = 2, right = true },
  { name = "rpm", title = "rpm", rank = 3, right = true },
  { name = "tpm", title = "tpm", rank = 4, right = true },
  { name = "tags", title = "tags", rank = 5 },
}

local function number(value)
  return value and ("%g"):format(value) or ""
end

local function row_of(model, client)
  return {
    model = model, client = client.id,
    provider = client.provider or "plain table",
    slots = number(client.slots), rpm = number(client.rpm),
    tpm = number(client.tpm),
    tags = client.tags and table.concat(client.tags, " ") or "",
  }
end

local function rows_of_pool(pool)
  local rows = {}
  for _, model in ipairs(pool:models()) do
    for i, client in ipairs(pool:clients(model)) do
      rows[#rows + 1] = row_of(i == 1 and model or "", client)
    end
  end
  return rows
end

local function scenario_rows(scenario)
  local rows = {}
  for _, model in ipairs(scenario.models) do
    for i, client in ipairs(model.clients) do
      local common = client.common or {}
      rows[#rows + 1] = row_of(i == 1 and model.name or "",
        { id = client.id, provider = common.provider or "simulated",
          slots = common.slots, rpm = common.rpm, tpm = common.tpm,
          tags = common.tags })
    end
  end
  return rows
end

local function table_text(rows)
  local width = require "llmpool.native".terminal(1) or 80
  return table.concat(poolview.lines(COLUMNS, rows, { width = width }), "\n")
    .. "\n"
end

--- What the script has registered, as text.
function check.text(found)
  local texts, n = {}, 0
  if found.scenario then
    texts[1] = ("scenario %s\n"):format(found.scenario.name or "")
      .. table_text(scenario_rows(found.scenario))
    n = 1
  end
  for _, pool in ipairs(found.pools) do
    local rows = rows_of_pool(pool)
    n = n + #rows
    if #rows > 0 then texts[#texts + 1] = table_text(rows) end
  end
  if n == 0 then texts[1] = "no model is registered\n" end
  if found.stopped then
    texts[#texts + 1] = ("%s: stopped before %s; what comes after it was not "
      .. "run\n"):format(found.stopped.where, found.stopped.name)
  end
  return table.concat(texts)
end

-- ---- asking ----------------------------------------------------------------

local PLAIN = "Say: ok"
local CHAT = { messages = { { role = "user", content = PLAIN } },
               max_tokens = 8 }

local REAL = { openai = true, anthropic = true, gemini = true }

local function others(pool, model, id)
  local list = {}
  for _, client in ipairs(pool:clients(model)) do
    if client.id ~= id then list[#list + 1] = client.id end
  end
  return list
end

local function ask(pool, model, client, timeout)
  local started = llmpool.now()
  local ok, answer, response = pcall(llmpool.timeout, timeout, function()
    return pool:get_client(model, function(lent)
      return lent:generate(REAL[client.provider] and CHAT or PLAIN)
    end, { prefer = client.id, exclude = others(pool, model, client.id) })
  end)
  local span = poolview.duration(llmpool.now() - started)
  if ok then
    local usage = type(response) == "table" and response.usage
    return true, ("ok, %s%s"):format(span, usage and usage.total_tokens
      and (", %d tokens"):format(usage.total_tokens) or "")
  end
  if llmpool.is_cancelled(answer) then return false, "interrupted" end
  if llmpool.now() - started >= timeout then
    return false, ("timeout: no answer within %g s (--timeout)"):format(timeout)
  end
  local kind = type(answer) == "table" and answer.kind
  return false, ("%s%s"):format(kind and kind .. ": " or "", tostring(answer))
end

local function all_clients(pools)
  local list = {}
  for _, pool in ipairs(pools) do
    for _, model in ipairs(pool:models()) do
      for _, client in ipairs(pool:clients(model)) do
        list[#list + 1] = { pool = pool, model = model, client = client }
      end
    end
  end
  return list
end

local INTERRUPTED = 130 -- as a shell has it

-- Ctrl-C ends the asking: what is known by then is told.
local function ask_all(list, timeout)
  local done = 0
  local show, clear = progress.line "asking"
  show(0, #list)
  local ok, err = pcall(llmpool.scope, function(scope)
    for _, each in ipairs(list) do
      scope:spawn(function()
        each.ok, each.words = ask(each.pool, each.model, each.client, timeout)
        done = done + 1
        show(done, #list, ("%d of %d"):format(done, #list))
      end)
    end
  end)
  clear()
  if ok then return false end
  if not tostring(err):find "interrupted!$" then error(err, 0) end
  return true
end

--- Asks every client once, all side by side.
-- @return the exit status
function check.live(found, timeout, out)
  local list, failed = all_clients(found.pools), 0
  local is_interrupted = ask_all(list, timeout)
  for _, each in ipairs(list) do
    if not each.ok then failed = failed + 1 end
    out(("%s/%s: %s\n"):format(each.model, each.client.id,
      each.words or "interrupted"))
  end
  return is_interrupted and INTERRUPTED or failed > 0 and 1 or 0
end

return check
