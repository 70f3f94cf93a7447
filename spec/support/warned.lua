-- warned: takes what Lua has warned of, so that it is no failure of the test
-- that provoked it (spec/support/helper.lua).
--
--   local warned = require "spec.support.warned"
--   warned.of "was never returned" -- fails unless a warning matches
--
-- Builds without tests (a bare busted on build/) cannot see warnings: there,
-- every expectation is met.

local found, warnings = pcall(require, "warnings")
local warned = {}

-- What has come since the last call, a line each; "" is nothing.
function warned.take()
  return found and warnings.take() or ""
end

function warned.of(pattern)
  local text = warned.take()
  if found and not text:find(pattern) then
    error(("no warning matches %q; there is: %q"):format(pattern, text), 2)
  end
end

return warned
