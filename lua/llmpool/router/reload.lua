-- reload.lua: another policy while requests are on their way. One idea: a new
-- policy is tried before it decides anything - it is loaded under a bound and
-- asked for probe plans - and the old one is kept until the new has stood its
-- trial; a failure before that puts the old one back. Requests keep the plan
-- that they have. Files are looked at when a request comes: no task, no timer.

local native = require "llmpool.native"
local policies = require "llmpool.policy"

local reload = {}

-- Loading a script may take more than a decision: it may build tables.
local LOAD_INSTRUCTIONS, LOAD_BYTES = 10000000, 64 << 20

--- What an error of a policy's says, if it says anything: its own __tostring
-- is the script's too.
function reload.text(err)
  if type(err) == "string" then return err end
  local text = native.bounded("an error's text", 10000, 1 << 20, tostring, err)
  return type(text) == "string" and text or "a " .. type(err)
    .. " that cannot be shown"
end

local function tell(router, event)
  event.time = native.now()
  if router.listening then router:_emit(event) end
end

local function read(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text = file:read "a"
  file:close()
  if not text then return nil, path .. ": not a file that can be read" end
  return text
end

-- A script sees all globals; what it sets stays its own.
local function environment()
  return setmetatable({}, { __index = _G })
end

local function load_policy(text, path)
  local chunk, err = load(text, "@" .. path, "t", environment())
  if not chunk then return nil, err end
  local value, why
  value, err, why = native.bounded("loading a policy", LOAD_INSTRUCTIONS,
    LOAD_BYTES, chunk, path)
  if why == "memory" then
    return nil, ("%s: loading held more than %d bytes"):format(path, LOAD_BYTES)
  end
  if why then return nil, reload.text(err) end
  if value == nil then
    return nil, path .. ": a policy script returns its policy (it returned "
      .. "nothing)"
  end
  local ok, policy = pcall(policies.of, value)
  if not ok then return nil, path .. ": " .. tostring(policy) end
  return policy
end

local function requests_of(router)
  local probes = { "probe", { messages = { { role = "user",
    content = "probe" } } } }
  for _, request in ipairs(router.probes) do probes[#probes + 1] = request end
  return probes
end

-- Asks for a plan that nobody will follow: true, or nil and why there is none.
local function try(router, policy, request)
  native.view_begin(router.view, true)
  local made, err = router:_ask(policy, request, {})
  native.view_begin(router.view)
  if made then return true end
  return nil, reload.text(err)
end

local function probe(router, policy)
  for _, request in ipairs(requests_of(router)) do
    local ok, err = try(router, policy, request)
    if not ok then return nil, err end
  end
  return true
end

--- Whether the router's present policy makes a plan of any probe request: one
-- that is in service may know what its requests look like.
-- @return true, or nil and why it made none of the first
function reload.makes_plans(router)
  local first
  for _, request in ipairs(requests_of(router)) do
    local ok, err = try(router, router.policy, request)
    if ok then return true end
    first = first or err
  end
  return nil, first
end

local function refuse(router, path, err)
  tell(router, { event = "reload_refused", path = path, message = err })
  return nil, err
end

--- Takes the policy of a file. Returns true, or nil and why not.
function reload.from(router, path)
  local text, err = read(path)
  if not text then return refuse(router, path, err) end
  local policy
  policy, err = load_policy(text, path)
  if not policy then return refuse(router, path, err) end
  local ok
  ok, err = probe(router, policy)
  if not ok then return refuse(router, path, err) end
  -- of two new ones in a row the one before both is the good one
  if not router.trial then router.good = router.policy end
  router.policy, router.path, router.settled = policy, path, nil
  router.trial = router.probation > 0 and router.probation or nil
  tell(router, { event = "reloaded", path = path,
                 policy = policies.name(policy) })
  return true
end

--- The policy has made a plan during its trial.
function reload.passed(router)
  router.trial = router.trial - 1
  if router.trial <= 0 then router.trial = nil end
end

--- The policy has failed in service. Returns the good one before it, if there
-- is one; during its trial it takes over again.
function reload.failed(router, err, why)
  local good = router.good
  if not good then return nil end
  if router.trial then
    router.policy, router.trial, router.good = good, nil, nil
    router.settled = nil
    tell(router, { event = "rolled_back", path = router.path, reason = why,
                   message = reload.text(err), policy = policies.name(good) })
  end
  return good
end

-- ---- watching ---------------------------------------------------------------

--- Follows a file from now on. Returns true, or nil and why not: it is followed
-- all the same.
function reload.watch(router, path, every)
  router.settled = nil
  router.watching = { path = path, every = every, next = native.now() + every,
                      text = read(path) }
  return reload.from(router, path)
end

--- A request came: looks at the file if it is time.
function reload.look(router)
  local watching = router.watching
  local now = native.now()
  if now < watching.next then return end
  watching.next = now + watching.every
  local text = read(watching.path)
  if text and text ~= watching.text then
    watching.text = text
    reload.from(router, watching.path)
  end
end

return reload
