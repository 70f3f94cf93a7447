---@meta llmpool.json
-- meta/json.lua - the annotations of llmpool.json: JSON text and Lua values.
-- Read by editors, help() and the reference; never executed.

--- JSON text and Lua values, both ways, with nothing lost: [] stays apart from
--- {}, null from nothing, integers (64 bits) from floats.
---@class llmpool.json
---@field null userdata JSON's null; true in a condition, so compare with it
local json = {}

--- The value that a JSON text says. Arrays carry a mark, so that an empty one
--- stays an array; of equal keys the last wins; an integer beyond 64 bits
--- becomes a float. The text must be UTF-8, and nothing may follow the value.
--- Raises kind "malformed" with `line`, `column` and `position`.
---@param text string
---@param options? {max_depth: integer} nesting allowed: 1000 unless given
---@return any value
---@nodiscard
function json.decode(text, options) end

--- The JSON text of a value. Equal values give equal texts: keys are in order
--- of their bytes, floats have the fewest digits that bring them back. A table
--- with items is an array, another an object; json.array and json.object say it
--- of an empty one. What dkjson has marked (`__jsontype`) is what it says, and
--- null is also that of cjson, lyaml and others (a light userdata, NULL).
--- Raises "bad argument" with the path to what JSON cannot say: nan and inf,
--- functions, a table in itself, missing items, keys that are no strings,
--- strings that are no UTF-8.
---@param value any
---@param options? {pretty: boolean} on lines of their own, indented by two
---@return string text
---@nodiscard
function json.encode(value, options) end

--- Marks a table as an array, `[]` when empty; makes one if none is given.
--- Raises for a table with a metatable of its own.
---@generic T: table
---@param t? T
---@return T t the same table
function json.array(t) end

--- Marks a table as an object, `{}` when empty; makes one if none is given.
--- Raises for a table with a metatable of its own.
---@generic T: table
---@param t? T
---@return T t the same table
function json.object(t) end

--- Whether encode writes the value as an array.
---@param value any
---@return boolean
---@nodiscard
function json.is_array(value) end

--- The value without JSON's null in its tables, at any depth: for who wants to
--- ask `if t.field then`. Where there is none it is the value itself, else a
--- copy, its marks kept. Of an array that had null among its items only the
--- others are there, in their places.
--- Raises "bad argument" for a table that contains itself.
---@param value any
---@return any value nil for null itself
---@nodiscard
function json.without_null(value) end

return json
