-- ledger: what was lent is returned or still lent, of every model, always.
--
--   local ledger = require "spec.support.ledger"
--   ledger.closed(pool)   -- acquired = returned + lent
--   ledger.settled(pool)  -- and nothing is lent and nobody waits

local ledger = {}

local function check(holds, name, stats, what)
  if not holds then
    error(string.format(
      "%s: %s (acquired %s, returned %s, lent %s, waiting %s)", name, what,
      stats.acquired, stats.returned, stats.lent, stats.waiting), 4)
  end
end

local function each_model(pool, visit)
  for name, stats in pairs(pool:stats().models) do
    visit(name, stats)
  end
end

local function add_up(name, stats)
  check(stats.acquired == stats.returned + stats.lent, name, stats,
        "the ledger is open")
end

-- Raises unless acquired == returned + lent for every model of the pool.
function ledger.closed(pool)
  each_model(pool, add_up)
end

-- Raises unless, besides, every client is back and the line is empty.
function ledger.settled(pool)
  each_model(pool, function(name, stats)
    add_up(name, stats)
    check(stats.lent == 0, name, stats, "clients are still lent")
    check(stats.waiting == 0, name, stats, "callers still wait")
  end)
end

return ledger
