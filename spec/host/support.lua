-- For the host's specs: runs a command line under the program and under
-- Debian's lua5.4, and compares all that a caller can see of it.
--
-- A row of a spec is a table: a title, then one of
--   args   the words behind the program's name, for a shell
--   sh     a whole shell script; "$LUA" is the program
-- and what it runs in: stdin, files (name to content), env (words of env(1)).
-- Both programs run in directories of the same content; their own names are
-- replaced in what they print. Whoever is called `lua` has to print lua's own
-- usage, so that rows with `as_lua` are compared under that name alone; the
-- others under the name `llmpool`, and under `lua` as well in tests that are
-- `#slow`, as are rows that say so themselves.
--
-- Starting processes is all that these specs cost: a run is a shell, timeout(1)
-- and the program.

local lfs = require "lfs"

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local M = {}

local function quote(text)
  return "'" .. text:gsub("'", [['\'']]) .. "'"
end
M.quote = quote

local read, write = files.read, files.write
M.read, M.write = read, write

local build = os.getenv "LLMPOOL_BUILD" or "build"
local bin = os.getenv "LLMPOOL_BIN" or os.getenv "LLMPOOL"
            or build .. "/llmpool"

-- For setup: a place for the runs, and both programs under the name `lua`.
function M.open()
  assert(lfs.attributes(bin), "build it, or set LLMPOOL: there is no " .. bin)
  M.top = shell.out "mktemp -d"
  local self = quote(shell.out("realpath " .. quote(bin)))
  local function link(name, target, as)
    local path = M.top .. "/" .. name .. "/" .. as
    assert(os.execute(("mkdir %s/%s && ln -s %s %s"):format(
      M.top, name, target, path)))
    return path
  end
  M.program = link("self", self, "llmpool") -- without a space in its path
  M.ours = link("ours", self, "lua")
  M.theirs = link("theirs", '"$(command -v lua5.4)"', "lua")
end

function M.close()
  assert(os.execute("rm -rf " .. quote(M.top)))
end

-- What `llmpool version` prints, by the version that the build has one of.
function M.version(text)
  return text:find "^llmpool %S+\nLua 5%.4%.%d  Copyright [^\n]+\n$"
end

local TIMED_OUT = 124 -- timeout(1)'s own exit status

-- Variables of the caller's that would reach into what is run.
local SURROUNDINGS = "unset LUA_INIT LUA_INIT_5_4 LUA_PATH LUA_PATH_5_4 " ..
                     "LUA_CPATH LUA_CPATH_5_4; export LC_ALL=C TERM=dumb "

local function command_of(program, row)
  local run = row.sh and "sh ./run.sh" or program .. " " .. (row.args or "")
  return ("cd %s/place && %s %s LUA=%s && exec timeout 30 %s <in >out 2>err")
         :format(M.top, SURROUNDINGS, row.env or "", program, run)
end

local places = 0 -- that were used before

-- An empty directory, always of the same name.
local function clean_place()
  local place = M.top .. "/place"
  places = places + 1
  os.rename(place, M.top .. "/place-" .. places)
  assert(lfs.mkdir(place))
  return place .. "/"
end

-- Runs a row; returns what it left: out, err, how it ended, and its files.
function M.run(program, row)
  local place = clean_place()
  for name, text in pairs(row.files or {}) do
    write(place .. name, text)
  end
  write(place .. "in", row.stdin or "")
  if row.sh then write(place .. "run.sh", row.sh) end
  local _, how, code = os.execute(command_of(program, row))
  if code == TIMED_OUT then
    error("still running after 30 s; so far: " .. read(place .. "out") ..
          read(place .. "err"), 0)
  end
  local function plain(text)
    text = text:gsub(program:gsub("%p", "%%%0"), "LUA")
    text = text:gsub("skipping %d+ levels", "skipping levels")
    return (text:gsub("0x%x+", "ADDRESS"))
  end
  return {
    out = plain(read(place .. "out")),
    err = plain(read(place .. "err")),
    ended = how .. " " .. code,
  }
end

local function is_as(got, expected)
  if type(expected) == "function" then return expected(got) end
  return expected == nil or got == expected
end

-- How one run differs from what is expected of it, or nil.
local function difference(got, expected)
  for _, key in ipairs { "ended", "out", "err" } do
    if not is_as(got[key], expected[key]) then
      return ("%s:\n%s\n--- expected:\n%s\n--- (stderr: %s)"):format(
        key, got[key], expected[key], got.err)
    end
  end
end

-- Fails unless the row shows the same under lua5.4 and under the program, by
-- whichever of its names. `row.differs` holds what is known to be better.
function M.compare(row, program)
  local expected = M.run(M.theirs, row)
  for key, value in pairs(row.differs or {}) do
    assert(expected[key] ~= value, "lua5.4 does not differ any more")
    expected[key] = value
  end
  local wrong = difference(M.run(program, row), expected)
  if wrong then error(program .. ": " .. wrong, 0) end
end

-- The title and the test of every row and name, for `it`.
function M.comparisons(rows)
  return coroutine.wrap(function()
    for _, row in ipairs(rows) do
      local slow = row.slow and " #slow" or ""
      if not row.as_lua then
        coroutine.yield(row[1] .. slow,
                        function() M.compare(row, M.program) end)
        slow = " #slow"
      end
      coroutine.yield(row[1] .. ", by the name lua" .. slow,
                      function() M.compare(row, M.ours) end)
    end
  end)
end

-- Fails unless the program itself shows what the row says of ended, out, err.
function M.expect(row)
  local wrong = difference(M.run(M.program, row), row)
  if wrong then error(wrong, 0) end
end

return M
