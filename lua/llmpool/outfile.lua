-- outfile.lua: a file that is written whole, or else whoever wants it is told.
--
-- One idea: a full disk shows at some write, or not before the close; the first
-- failure is kept, later writes do nothing, and the close tells it. So whoever
-- writes line by line, perhaps in the middle of a request, need not look.

local outfile = {}

local File = {}
File.__index = File

--- Begins a file anew; raises if it cannot.
-- @param what how an error calls it: "the trace"
function outfile.open(path, what)
  local file, message = io.open(path, "wb")
  if not file then error(("cannot write %s: %s"):format(what, message), 0) end
  file:setvbuf("full", 1 << 16)
  return setmetatable({ file = file, path = path, what = what }, File)
end

function File:write(...)
  if self.failure then return end
  local ok, message = self.file:write(...)
  if not ok then self.failure = message end
end

--- Ends it; raises if not all of it could be written.
function File:close()
  local ok, message = self.file:close()
  local failure = self.failure or not ok and message
  if failure then
    error(("cannot write %s: %s: %s"):format(self.what, self.path, failure), 0)
  end
end

--- A whole file at once.
function outfile.write(path, what, text)
  local file = outfile.open(path, what)
  file:write(text)
  file:close()
end

return outfile
