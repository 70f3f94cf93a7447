-- files: what a spec reads and writes.
--
--   files.read(path)          -- all of it
--   files.write(path, text)   -- its whole content
--   files.with(text, fn)      -- fn(path), a file of that text while fn runs

local files = {}

function files.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

function files.exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close()
end

function files.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  assert(file:close())
end

--- @return what fn returns; the file is gone, whatever fn raises
function files.with(text, fn)
  local path = os.tmpname()
  files.write(path, text)
  local results = table.pack(pcall(fn, path))
  os.remove(path)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

return files
