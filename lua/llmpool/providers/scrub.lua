-- Takes keys out of what others have written.
--
-- One idea: a provider repeats a key whole, cut or half masked, so a client's
-- own is looked for in parts, and what only looks like one goes as well. Every
-- pattern begins where a word does: a megabyte of x is read once, not a million
-- times. It knows no clients.

local ECHOES = {
  "%f[%w]sk%-[%w%-_%*%.]+", "AIza[%w%-_%*]+", "Bearer%s+[^%s\"',]+",
  "%f[%w%-_%*][%w%-_]*%*%*%*+[%w%-_%*]*", -- what the provider masked itself
}

-- No key is shorter; one of a local server may be "x", and words have that.
local SHORTEST = 6
-- So many bytes of a key in a row are no accident: it was cut.
local PART = 10

local function plain_replace(text, find)
  local at, parts = 1, {}
  local first, last = text:find(find, 1, true)
  while first do
    parts[#parts + 1] = text:sub(at, first - 1) .. "***"
    at = last + 1
    first, last = text:find(find, at, true)
  end
  return table.concat(parts) .. text:sub(at)
end

-- The text without what is the key from `at` on.
local function hide_part(text, key, at)
  local part = key:sub(at, at + PART - 1)
  local first, last = text:find(part, 1, true)
  while first do
    local n = at + PART
    while n <= #key and text:byte(last + 1) == key:byte(n) do
      n, last = n + 1, last + 1
    end
    text = text:sub(1, first - 1) .. "***" .. text:sub(last + 1)
    first, last = text:find(part, first + 3, true)
  end
  return text
end

local function hide(text, key)
  if #key < SHORTEST then return text end
  text = plain_replace(text, key)
  for at = 1, #key - PART + 1 do text = hide_part(text, key, at) end
  return text
end

--- The text without the keys, or parts of them, and without anything that
-- looks like one.
-- @param ... strings or nils: the client's own
local function scrub(text, ...)
  for i = 1, select("#", ...) do
    local key = select(i, ...)
    if key then text = hide(text, key) end
  end
  for _, pattern in ipairs(ECHOES) do text = text:gsub(pattern, "***") end
  return text
end

return scrub
