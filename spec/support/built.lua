-- built: a module that is not built everywhere; where it is not, that is the
-- one test there is, and it is pending.
--
--   local http = require "spec.support.built"("llmpool.http", it, pending)
--   if not http then return end

return function(name, it, pending)
  local found, module = pcall(require, name)
  if found then return module end
  it("needs " .. name, function() pending(module) end)
end
