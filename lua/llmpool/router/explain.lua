-- explain.lua: why a request goes where it goes: the plan, and of every client
-- of the models it could name what it is like now, its score where the policy
-- gave one, and why it was left out. One idea: it is data, and print shows it
-- as a table. It decides nothing.

local native = require "llmpool.native"
local policies = require "llmpool.policy"

local explain = {}

local Explanation = { __name = "llmpool.explanation" }
Explanation.__index = Explanation

local function list_of(value)
  if value == nil then return {} end
  return type(value) == "table" and value or { value }
end

-- ---- candidates -------------------------------------------------------------

-- Where in the plan a model, or one of its clients, is named: 1 is first.
local function rank_of(plan, model, client)
  for i, attempt in ipairs(plan) do
    for _, name in ipairs(list_of(attempt.model)) do
      if name == model then
        local preferred = list_of(attempt.client)
        for k, id in ipairs(preferred) do
          if id == client then return i, k end
        end
        return i, #preferred > 0 and #preferred + 1 or 1
      end
    end
  end
end

-- At rest, out of service, or with its breaker open; until when, if known.
local function state_of(client, now)
  if client.resting > 0 and client.free == 0 then
    local left = client.rest_until - now
    if left <= 0 then return client.state end
    return ("%s %.3g s more"):format(client.state == "resting" and "rests"
      or client.state, left)
  end
  if client.free == 0 and client.lent > 0 then
    return ("busy, %d of %d lent"):format(client.lent, client.slots)
  end
  return client.state
end

local function note_for(notes, model, client)
  for _, note in ipairs(notes) do
    if note.model == model and (note.client == client or note.client == nil)
    then
      return note
    end
  end
end

local function why(rank, preference, client, note)
  if not rank then return note and note.why or "not in the plan" end
  local place = rank == 1 and "first" or "attempt " .. rank
  if client.resting > 0 and client.free == 0 and client.lent == 0 then
    return place .. ", but it " .. (client.state == "resting" and "rests"
      or "is " .. client.state)
  end
  if client.free == 0 then return place .. ", once it is free" end
  if preference > 1 then return place .. ", if the preferred is busy" end
  return note and note.why and place .. ": " .. note.why or place
end

local function candidates(view, plan, notes)
  local result = {}
  for _, name in ipairs(view:models()) do
    local model = view:model(name)
    for _, client in ipairs(model.clients) do
      local rank, preference = rank_of(plan, name, client.id)
      local note = note_for(notes, name, client.id)
      result[#result + 1] = {
        model = name, client = client.id, state = state_of(client, view.now),
        free = client.free, lent = client.lent, latency = client.latency,
        first_token = client.first_token, error_rate = client.error_rate,
        waiting = model.waiting,
        score = note and note.score, rank = rank, preference = preference,
        why = why(rank, preference, client, note),
      }
    end
  end
  return result
end

local function by_rank(a, b)
  local x, y = a.rank or math.huge, b.rank or math.huge
  if x ~= y then return x < y end
  return (a.preference or 0) < (b.preference or 0)
end

-- Stable, since sort is not: the order of registration stays.
local function sorted(list)
  for i, entry in ipairs(list) do entry.position = i end
  table.sort(list, function(a, b)
    if by_rank(a, b) then return true end
    if by_rank(b, a) then return false end
    return a.position < b.position
  end)
  return list
end

local function remarks(notes)
  local result = {}
  for _, note in ipairs(notes) do
    if note.model == nil and note.why then
      result[#result + 1] = note.score
        and ("%s: %.6g"):format(note.why, note.score) or note.why
    end
  end
  return result
end

-- ---- making -----------------------------------------------------------------

local function text_of(request)
  if type(request) == "string" then return request end
  local messages = type(request.messages) == "table" and request.messages or {}
  local last = messages[#messages]
  return type(last) == "table" and tostring(last.content) or "(a request)"
end

local function short(text)
  text = text:gsub("%s+", " ")
  if #text <= 40 then return text end
  local stop = utf8.len(text) and utf8.offset(text, 40) or 40
  return text:sub(1, stop - 1) .. "..."
end

local function decision(router, request, plan, notes, attempts)
  native.view_begin(router.view, true)
  local chosen = sorted(candidates(router.view, plan, notes))
  native.view_begin(router.view)
  return setmetatable({
    policy = policies.name(router.policy), request = short(text_of(request)),
    plan = plan, refused = plan.refuse, candidates = chosen,
    notes = remarks(notes), attempts = attempts,
    chosen = chosen[1] and chosen[1].rank and chosen[1] or nil,
  }, Explanation)
end

--- Of a request that is on its way, for the event.
function explain.decision(router, r, notes)
  return decision(router, r.request, r.plan, notes)
end

--- Of a plan; attempts: what has been tried.
function explain.plan(router, request, plan, notes, attempts)
  return decision(router, request, plan, notes, attempts)
end

--- Of a policy that made no plan.
function explain.failed(router, request, err, reason)
  return setmetatable({
    policy = policies.name(router.policy), request = short(text_of(request)),
    candidates = {}, notes = {}, error = tostring(err), reason = reason,
  }, Explanation)
end

-- ---- printing ---------------------------------------------------------------

local function pad(text, width)
  return text .. (" "):rep(width - (utf8.len(text) or #text))
end

local function show_table(out, rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, utf8.len(text) or #text)
    end
  end
  for _, row in ipairs(rows) do
    local parts = {}
    for i, text in ipairs(row) do
      parts[i] = i < #row and pad(text, widths[i]) or text
    end
    out[#out + 1] = "  " .. table.concat(parts, "  ")
  end
end

local function number(value, format)
  return value and format:format(value) or "-"
end

local function seconds(value)
  return value > 0 and ("%.3g s"):format(value) or "-"
end

-- First tokens are known only where somebody streams.
local function have_streamed(list)
  for _, entry in ipairs(list) do
    if entry.first_token > 0 then return true end
  end
end

local function show_candidates(out, list)
  local streamed = have_streamed(list)
  local rows = { { "client", "state", "latency", "errors", "score", "why" } }
  for i, entry in ipairs(list) do
    rows[i + 1] = {
      entry.model .. "/" .. entry.client, entry.state, seconds(entry.latency),
      ("%.0f %%"):format(entry.error_rate * 100),
      number(entry.score, "%.4g"), entry.why,
    }
  end
  for i, row in ipairs(streamed and rows or {}) do
    table.insert(row, 4, i == 1 and "first" or seconds(list[i - 1].first_token))
  end
  show_table(out, rows)
end

function Explanation:__tostring()
  local out = { ("\"%s\" by %s"):format(self.request, self.policy) }
  if self.error then
    out[#out + 1] = "  the policy made no plan: " .. self.error
    return table.concat(out, "\n")
  end
  out[#out + 1] = "  " .. tostring(self.plan)
  for _, note in ipairs(self.notes) do out[#out + 1] = "  " .. note end
  show_candidates(out, self.candidates)
  for i, attempt in ipairs(self.attempts or {}) do
    out[#out + 1] = ("  attempt %d failed: %s/%s %s: %s"):format(i,
      attempt.model, attempt.client or "-", attempt.kind, attempt.message)
  end
  return table.concat(out, "\n")
end

return explain
