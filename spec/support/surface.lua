-- What the specs of the Lua surface share: small clients, pools of them, and
-- calls that are to fail.

local llmpool = require "llmpool"

local surface = {}

-- A plain-table client that answers its id and the request.
function surface.plain(id)
  return { id = id, generate = function(_, request)
    return id .. tostring(request)
  end }
end

-- A pool with the model "m" of plain clients with these ids.
function surface.pool(options, ...)
  local pool, clients = llmpool.new(), {}
  for i, id in ipairs { ... } do clients[i] = surface.plain(id) end
  if #clients == 0 then clients[1] = surface.plain "a" end
  pool:register_model("m", clients, options)
  return pool
end

-- One whose client is made anew for each use, which takes so many seconds.
function surface.pool_made_in(seconds)
  return surface.pool { max_uses = 1, create = function(spec)
    llmpool.sleep(seconds)
    return spec
  end }
end

-- The error that fn(...) raises; fails if it raises none.
function surface.raised(fn, ...)
  local results = table.pack(pcall(fn, ...))
  if results[1] then
    error("it raised nothing, but returned " .. tostring(results[2]), 2)
  end
  return results[2]
end

-- The same as text, and the error itself.
function surface.message(fn, ...)
  local err = surface.raised(fn, ...)
  return tostring(err), err
end

-- An `it` in virtual time.
function surface.simulated(fn)
  return function() llmpool.simulate({}, fn) end
end

return surface
