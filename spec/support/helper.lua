-- busted's helper, run before any spec: finds llmpool, loads it once, and
-- turns a warning - of a leaked client, say - into a failure of the test that
-- is to blame. A spec that provokes one takes it: require "warnings".take().
--
-- The specs learn from the environment what they test: LLMPOOL (the program),
-- LLMPOOL_BUILD (its build directory) and LLMPOOL_CPATH (for a plain lua5.4).

local build = os.getenv "LLMPOOL_BUILD" or "build"
local cpath = os.getenv "LLMPOOL_CPATH" or (build .. "/?.so")

-- Under the program, its own searcher comes before any path.
package.cpath = table.concat({ cpath, build .. "/spec/?.so", package.cpath },
                             ";")

-- busted reopens modules for every spec file, except those that are there
-- before the first; a C module must not be opened again and again.
local llmpool = require "llmpool"
llmpool.trace_leaks(true)

-- Builds without tests (a bare busted on build/) have no such module.
local found, warnings = pcall(require, "warnings")
if found then
  require("busted").subscribe({ "test", "end" }, function(element)
    collectgarbage() -- what the test let go is to be told of now
    local text = warnings.take()
    if text then
      require("busted").publish({ "error", "file" }, {
        name = element.name, descriptor = "file", trace = element.trace,
      }, nil, element.name .. " was warned: " .. text, {})
    end
  end)
end
