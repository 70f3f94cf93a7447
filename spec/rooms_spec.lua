-- The rooms of the house: which floor may know which, how long a file and a
-- function may get, what may lie at the top. Read from the sources alone.

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local read = files.read

local function lines_of(command)
  local lines = {}
  for line in shell.out(command):gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

local function exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close()
end

local function sources(places, suffixes)
  local names = {}
  for suffix in suffixes:gmatch "%S+" do
    names[#names + 1] = "-name '*." .. suffix .. "'"
  end
  return lines_of("find " .. places .. " -type f '(' " ..
                  table.concat(names, " -o ") .. " ')' | sort")
end

local function none(found)
  assert(#found == 0, "\n  " .. table.concat(found, "\n  "))
end

-- From the ground up; each may include itself and what stands below it.
local FLOORS = { core = 1, runtime = 2, net = 3, lua = 4, host = 5 }

-- What a floor must not reach for among the libraries.
local FORBIDDEN = {
  core = { "^lua", "^lauxlib", "^uv", "^curl/", "^microhttpd", "^jansson",
           "^readline/" },
  runtime = { "^curl/", "^microhttpd", "^jansson", "^readline/" },
  net = { "^readline/", "^microhttpd" },
  lua = { "^curl/", "^jansson", "^readline/" },
  host = { "^curl/", "^microhttpd" },
}

-- The floor of a quoted include, from the file that has it; nil if unknown.
local function floor_of(name, path, floor)
  local base = path:match "^(.*/)"
  local full = base .. name
  local count = 1
  while count > 0 do
    full, count = full:gsub("[^/.]+/%.%./", "", 1)
  end
  if exists(full) then
    return full:match "^src/([^/]+)/"
  end
  for other in pairs(FLOORS) do
    if other ~= floor and exists("src/" .. other .. "/" .. name) then
      return other
    end
  end
  return exists("src/" .. name) and name:match "^([^/]+)/" or nil
end

local function each_include(visit)
  for _, path in ipairs(sources("src", "c h")) do
    local floor = path:match "^src/([^/]+)/"
    for line in read(path):gmatch "[^\n]+" do
      local open, name = line:match '^%s*#%s*include%s*([<"])([^>"]+)[>"]'
      if name then
        visit(path, floor, name, open == '"')
      end
    end
  end
end

describe("the rooms #lint", function()
  it("have only known floors under src", function()
    local found = {}
    for _, name in ipairs(lines_of "ls src") do
      if not FLOORS[name] then
        found[#found + 1] = name
      end
    end
    none(found)
  end)

  it("include only what stands on the same floor or below", function()
    local found, seen = {}, 0
    each_include(function(path, floor, name, quoted)
      if quoted then
        local other = floor_of(name, path, floor)
        seen = seen + 1
        if not other or FLOORS[other] > FLOORS[floor] then
          found[#found + 1] = path .. " includes " .. name
        end
      end
    end)
    none(found)
    assert.is_true(seen > 20)
  end)

  it("keep each library on the floors that may know it", function()
    local found, seen = {}, 0
    each_include(function(path, floor, name, quoted)
      for _, pattern in ipairs(quoted and {} or FORBIDDEN[floor]) do
        if name:find(pattern) then
          found[#found + 1] = path .. " includes " .. name
        end
      end
      seen = seen + 1
    end)
    none(found)
    assert.is_true(seen > 20)
  end)

  -- Its modules link nothing of ours: they reach it through the table.
  it("let net know of the others only runtime/api.h", function()
    local found, seen = {}, 0
    each_include(function(path, floor, name, quoted)
      local other = quoted and floor == "net" and floor_of(name, path, floor)
      if other and other ~= "net" then
        seen = seen + 1
        if name ~= "../runtime/api.h" then
          found[#found + 1] = path .. " includes " .. name
        end
      end
    end)
    none(found)
    assert.is_true(seen > 0)
  end)

  it("let the parser of event streams know neither curl nor Lua", function()
    local found, seen = {}, 0
    each_include(function(path, _, name)
      if not path:find "^src/net/sse%." then return end
      seen = seen + 1
      if name:find "^curl" or name:find "^l[ua]" or name:find "^uv" then
        found[#found + 1] = path .. " includes " .. name
      end
    end)
    none(found)
    assert.is_true(seen > 3)
  end)

  it("have one public header", function()
    local found = {}
    for _, path in ipairs(sources("src", "h")) do
      if path:find "llmpool%.h$" and path ~= "src/core/llmpool.h" then
        found[#found + 1] = path
      end
    end
    none(found)
  end)

  it("have nothing else at the top", function()
    local known = {}
    for name in ([[src lua scripts spec build CMakeLists.txt README.md LICENSE
                   CHANGELOG.md CONTRIBUTING.md CMakePresets.json]])
                :gmatch "%S+" do
      known[name] = true
    end
    local found = {}
    local tracked = "git ls-files 2>/dev/null | cut -d/ -f1 | sort -u"
    local names = lines_of(tracked)
    for _, name in ipairs(#names > 0 and names or lines_of "ls") do
      if not known[name] and not name:find "^%." then
        found[#found + 1] = name
      end
    end
    none(found)
  end)
end)

describe("the map in CONTRIBUTING.md #lint", function()
  it("has every floor, and nothing that is not there", function()
    local map, found = read "CONTRIBUTING.md", {}
    for floor in pairs(FLOORS) do
      if not map:find("`src/" .. floor .. "`", 1, true) then
        found[#found + 1] = "src/" .. floor .. " is not in the map"
      end
    end
    for path in map:gmatch "| `([%w/]+)` |" do
      if path:find "/" and not os.execute("test -d " .. path) then
        found[#found + 1] = path .. " is not there"
      end
    end
    none(found)
  end)
end)

describe("every source #lint", function()
  local all = sources("src lua scripts spec", "c h lua sh awk cmake")

  it("has at most 600 lines", function()
    local found = {}
    for _, path in ipairs(all) do
      local _, count = read(path):gsub("\n", "")
      if count > 600 then
        found[#found + 1] = path .. " has " .. count
      end
    end
    none(found)
  end)

  it("says first what it is", function()
    local found = {}
    for _, path in ipairs(all) do
      local first = read(path):gsub("^#![^\n]*\n", "")
      if not first:find "^%s*/%*" and not first:find "^%-%-"
         and not first:find "^#" then
        found[#found + 1] = path
      end
    end
    none(found)
  end)

  -- The words are put together here so that this file does not have them.
  it("is finished by its own words and belongs to no machine", function()
    local words = { "TO" .. "DO", "FIX" .. "ME", "not " .. "implemented",
                    "/" .. "work/", "/" .. "farm/", "/" .. "root/" }
    local found = {}
    for _, path in ipairs(all) do
      local text = read(path)
      for _, word in ipairs(words) do
        if text:find(word, 1, true) then
          found[#found + 1] = path .. " has " .. word
        end
      end
    end
    none(found)
  end)
end)

describe("every function #lint", function()
  local function tags()
    return lines_of("ctags -x --languages=C --kinds-C=f --fields=+ne " ..
                    "--_xformat='%N %n %{end} %F' -R src")
  end

  it("in C has at most 80 lines", function()
    if not os.execute "command -v ctags >/dev/null" then
      pending "ctags is not installed"
      return
    end
    local found, seen = {}, 0
    for _, tag in ipairs(tags()) do
      local name, first, last, path = tag:match "^(%S+) (%d+) (%d+) (.+)$"
      local length = last and last - first + 1
      if length and length > 80 then
        found[#found + 1] =
          string.format("%s in %s has %d", name, path, length)
      end
      seen = seen + 1
    end
    none(found)
    assert.is_true(seen > 20)
  end)
end)
