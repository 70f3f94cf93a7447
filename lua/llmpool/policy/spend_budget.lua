-- spend_budget: so much money in so much time, and no more.
--
-- When: a team, a key or a night's batch has a sum to spend. What a call cost
-- is reckoned from the client's price and the answer's usage; what it will cost
-- at most is reserved before it is sent, so that many at a time do not pass the
-- limit together. Over it another policy decides, or the request is refused
-- with the instant when the next window begins.
--   spend_budget { "gpt-4", limit = 10, per = 3600, otherwise = "small" }

local fields = require "llmpool.fields"
local part = require "llmpool.policy.part"
local policy = require "llmpool.policy"

local function price(client, prompt, answer)
  return (client.input_price * prompt + client.output_price * answer) / 1e6
end

-- What the plan's first attempt costs at most.
local function most(view, plan, prompt, answer)
  local dearest = 0
  part.plan.models({ plan[1] }, function(name)
    for _, client in ipairs(view[name].clients) do
      dearest = math.max(dearest, price(client, prompt, answer))
    end
  end)
  return dearest
end

-- What a call did cost, from what its provider counted.
local function cost_of(view, result)
  if not (result.usage and result.client) then return 0 end
  local client = view[result.model]:client(result.client)
  if not client then return 0 end
  return price(client, result.usage.prompt_tokens or 0,
    result.usage.completion_tokens or 0)
end

local function window_of(state, now, per)
  local start = now - now % per
  if state.start ~= start then state.start, state.spent = start, 0 end
  return start + per
end

return function(t)
  t = part.options(t, "spend_budget", {
    limit = fields.positive_amount, per = fields.positive_amount,
    otherwise = fields.any, answer_tokens = fields.positive_amount,
  }, fields.any)
  local inner = part.inner(t, "spend_budget")
  local otherwise = t.otherwise ~= nil and policy.of(t.otherwise, 2)
  if not t.limit then
    fields.bad(2, "policy 'spend_budget' needs limit, a sum")
  end
  local per = t.per or math.huge
  local state = { spent = 0, reserved = 0 }
  local function charge(view, plan, reserve)
    state.reserved = state.reserved + reserve
    return part.plan.with(plan, {
      on_attempt = function(result)
        state.spent = state.spent + cost_of(view, result)
      end,
      on_done = function() state.reserved = state.reserved - reserve end,
    })
  end
  return part.named(function(request, view, options)
    local plan = part.plan.of(inner(request, view, options))
    if plan.refuse then return plan end
    local ends = per < math.huge and window_of(state, view.now, per) or nil
    local reserve = most(view, plan, part.prompt_tokens(request, options),
      part.answer_tokens(request, t.answer_tokens or 500))
    local left = t.limit - state.spent - state.reserved
    if view.explaining then
      view:note(nil, nil, left, "left to spend, after what is reserved")
    end
    if reserve <= left + 1e-12 then
      return view.probe and plan or charge(view, plan, reserve)
    end
    if otherwise then return otherwise(request, view, options) end
    return { refuse = ("%.6g of %.6g is spent or reserved, and this request "
      .. "may cost %.6g"):format(t.limit - left, t.limit, reserve),
      retry_at = ends }
  end, "spend_budget")
end
