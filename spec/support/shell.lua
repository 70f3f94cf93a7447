-- shell: commands that a spec gives to the shell.
--
--   local output, ok = shell.run "command"   -- stdout and stderr
--   shell.must "command"                     -- its output, or an error with it

local shell = {}

function shell.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1"))
  local output = pipe:read "a"
  return output, pipe:close() == true
end

function shell.must(command)
  local output, ok = shell.run(command)
  assert(ok, command .. "\n" .. output)
  return output
end

return shell
