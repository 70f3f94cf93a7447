-- `llmpool check`: loads a script up to its first request and tells what it
-- registers; with --live it sends one request through each client, which is as
-- cheap as one can be. All but the command line is command_check.lua's.

local inspection = require "llmpool.command_check"

local OPTIONS = {
  { name = "live", text = "send one cheap request through each client" },
  { name = "timeout", value = "S", text = "seconds that one may take (30)" },
}

local function seconds(args)
  if not args.timeout then return 30 end
  local value = tonumber(args.timeout)
  if value and value > 0 then return value end
  return nil, ("--timeout must be a number of seconds greater than 0, got '%s'")
    :format(args.timeout)
end

return {
  usage = "SCRIPT [ARGS] [options]",
  words = "scripts",
  summary = "load a script and name what it registers",
  details = [[
The script runs until it would send its first request or would wait; what it
has registered by then is listed, and its routers' policies are asked for a
plan. A scenario is checked as it is. The status is 1 if it fails, with the line
that is wrong, or if a client fails with --live.
Options behind -- are the script's own: check main.lua -- --verbose
]],
  options = OPTIONS,
  run = function(args, host)
    local script = table.remove(args, 1)
    if not script or script == "" then
      return nil, "check which script? (check SCRIPT [--live])"
    end
    local timeout, wrong = seconds(args)
    if not timeout then return nil, wrong end
    local found, message = inspection.load(script, args)
    if not found then return nil, message end
    host.out(inspection.text(found))
    if not args.live then return 0 end
    return inspection.live(found, timeout, host.out)
  end,
}
