-- shell: commands that a spec gives to the shell.
--
--   shell.run "command"    -- stdout and stderr, whether it went well, and its
--                          -- exit status, or "signal N"
--   shell.must "command"   -- stdout and stderr, or an error with them
--   shell.out "command"    -- stdout without the last line break, or an error
--   shell.serve "command"  -- the first line of a server; see there

local shell = {}

function shell.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1"))
  local output = pipe:read "a"
  local ok, how, code = pipe:close()
  return output, ok == true, how == "exit" and code or how .. " " .. code
end

function shell.must(command)
  local output, ok = shell.run(command)
  assert(ok, command .. "\n" .. output)
  return output
end

function shell.out(command)
  local pipe = assert(io.popen(command))
  local output = pipe:read "a"
  assert(pipe:close(), command)
  return (output:gsub("\n$", ""))
end

--- Starts a server behind the shell's back, which is this process's child: a
-- server that is told $PPID ends with us.
-- @return the line in which it says that it listens, and where
function shell.serve(command)
  local pipe = assert(io.popen(command .. " </dev/null &"))
  local line = pipe:read "l"
  pipe:close()
  return assert(line, "did not start: " .. command)
end

return shell
