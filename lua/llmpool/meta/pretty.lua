---@meta llmpool.pretty
-- meta/pretty.lua - the annotations of llmpool.pretty: values as text, as the
-- prompt shows them. Never executed.

--- Values as text that one can read: tables with their keys in order, on one
--- line where they fit, with an end; what looks like a secret as ***. The
--- module itself may be called: print(pretty(value)).
---@class llmpool.pretty
---@overload fun(value: any, options?: llmpool.pretty.options): string, boolean
---@field colours table<string, string> what begins a colour on a terminal
---@field plain string what ends it
local pretty = {}

--- How much is shown.
---@class llmpool.pretty.options
---@field depth? integer tables in tables; default 4
---@field items? integer of one table; default 40
---@field width? integer columns of a line; default 80
---@field length? integer bytes of a string; default 1000
---@field colour? boolean for a terminal
---@field name? string what the value is called where it contains itself

--- The text of a value. No metamethod but __tostring and __name is asked.
---@param value any
---@param options? llmpool.pretty.options
---@return string text
---@return boolean cut whether something was left out
---@nodiscard
function pretty.text(value, options) end

--- How many columns of a terminal a text takes.
---@param text string
---@return integer columns
---@nodiscard
function pretty.width_of(text) end

return pretty
