-- own_files.lua: which module of those that travel with the program a chunk is
-- of, by the name of its file. It reads none.

local embedded = require "llmpool.embedded"

local own_files = {}

local modules

--- The module of a file as chunks and tracebacks name it, "llmpool/pool.lua".
-- @param file string or nil
-- @return string, or nil: it is none of ours
function own_files.module(file)
  if not modules then
    modules = {}
    for _, name in ipairs(embedded.names()) do
      local path = name:gsub("%.", "/")
      modules[path .. ".lua"], modules[path .. "/init.lua"] = name, name
    end
  end
  return file and modules[file]
end

return own_files
