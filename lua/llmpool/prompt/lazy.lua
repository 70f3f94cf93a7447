-- lazy.lua: a module that is read when one of its functions is first asked for,
-- so that the prompt is there before what may be needed behind it.

return function(name)
  return setmetatable({}, { __index = function(self, key)
    local value = require(name)[key]
    rawset(self, key, value)
    return value
  end })
end
