-- cmake --install into an empty place, and from there what users do: run the
-- program, require the module in a plain lua5.4, link a C program.

local build = os.getenv "LLMPOOL_BUILD" or "build"

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read "a"
  return output, pipe:close()
end

local function must(command)
  local output, ok = run(command)
  assert(ok, command .. "\n" .. output)
  return output
end

local C_PROGRAM = [[
#include <llmpool.h>
#include <stdio.h>
int main(void) {
  llm_pool *pool = llm_pool_new(NULL);
  if (!pool) return 1;
  printf("%zu lent, %s\n", llm_pool_lent(pool), llm_err_name(LLM_TIMEOUT));
  llm_pool_unref(pool);
  return 0;
}
]]

describe("an installed llmpool #once", function()
  local prefix

  setup(function()
    prefix = must("mktemp -d"):gsub("\n", "")
    must("cmake --install " .. build .. " --prefix " .. prefix)
  end)

  teardown(function()
    must("rm -rf " .. prefix)
  end)

  it("has a program that runs anywhere", function()
    assert.equal("table\n", must("cd / && " .. prefix ..
      [[/bin/llmpool -e 'print(type(require "llmpool"))']]))
  end)

  it("loads into a plain lua5.4", function()
    assert.equal("table\n", must("cd / && LUA_CPATH='" .. prefix ..
      [[/lib/lua/5.4/?.so' lua5.4 -e 'print(type(require "llmpool"))']]))
  end)

  it("finds its C modules from both", function()
    local built = io.open(build .. "/modules/llmpool/http.so")
    if not built then return pending "built without libcurl" end
    built:close()
    local code = [[ -e 'print(type(require "llmpool.http".request))']]
    assert.equal("function\n", must("cd / && " .. prefix .. "/bin/llmpool" ..
                                    code))
    assert.equal("function\n", must("cd / && LUA_CPATH='" .. prefix ..
                                    "/lib/lua/5.4/?.so' lua5.4" .. code))
  end)

  it("puts nothing before the module in Lua's path", function()
    local _, found = run("test -e " .. prefix ..
                         "/share/lua/5.4/llmpool/init.lua")
    assert.falsy(found)
  end)

  it("asks only lua5.4 for symbols that no library has", function()
    local missing = 0
    local report = must("ldd -r " .. prefix .. "/lib/lua/5.4/llmpool.so")
    for symbol in report:gmatch "undefined symbol: ([%w_]+)" do
      assert.truthy(symbol:find "^luaL?_", symbol)
      missing = missing + 1
    end
    assert.is_true(missing > 0) -- else it brings a Lua of its own
  end)

  local function exported(file)
    local names = {}
    for name in must("nm -D --defined-only " .. prefix .. file)
                  :gmatch "%x+ %u ([%w_]+)" do
      names[#names + 1] = name
    end
    assert.is_true(#names > 0)
    return names
  end

  it("shows llm_* of the library and luaopen_* of the module", function()
    for _, name in ipairs(exported "/lib/libllmpool.so") do
      assert.truthy(name:find "^llm_", name)
    end
    for _, name in ipairs(exported "/lib/lua/5.4/llmpool.so") do
      assert.truthy(name:find "^luaopen_", name)
    end
  end)

  for _, how in ipairs { "", "--static" } do
    it("serves a C program by pkg-config " .. how, function()
      local source = prefix .. "/program.c"
      local file <close> = assert(io.open(source, "w"))
      file:write(C_PROGRAM)
      file:close()
      local flags = must("PKG_CONFIG_PATH=" .. prefix ..
        "/lib/pkgconfig pkg-config --cflags --libs " .. how .. " llmpool")
      flags = flags:gsub("\n", "")
      if how ~= "" then
        flags = flags:gsub("%-lllmpool", "-l:libllmpool.a")
      end
      must(string.format("cc -std=c11 -Wall -Werror -o %s/program %s %s",
                         prefix, source, flags))
      assert.equal("0 lent, timeout\n", must("LD_LIBRARY_PATH=" .. prefix ..
                                             "/lib " .. prefix .. "/program"))
    end)
  end

  it("is of one version", function()
    local version = must("PKG_CONFIG_PATH=" .. prefix ..
      "/lib/pkgconfig pkg-config --modversion llmpool"):gsub("\n", "")
    local output = must(prefix .. "/bin/llmpool --version")
    assert.equal("llmpool " .. version, output:match "[^\n]*")
    local file <close> = assert(io.open "CHANGELOG.md")
    assert.truthy(file:read("a"):find("## [" .. version .. "]", 1, true))
  end)
end)
