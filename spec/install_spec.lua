-- cmake --install into an empty place, and from there what users do: run the
-- program, require the module in a plain lua5.4, link a C program.

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local build = os.getenv "LLMPOOL_BUILD" or "build"
local must, run = shell.must, shell.run

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

-- A pool of simulated keys, lent to threads: what a program without Lua does.
local C_POOL = [[
#include <llmpool.h>
#include <pthread.h>
#include <stdio.h>
#ifdef __cplusplus
#define ZERO {}
#else
#define ZERO {0}
#endif

static int create(void *user, llm_place *place, llm_reason reason,
                  int64_t deadline_ns, void **instance, char text[LLM_TEXT]) {
  (void)user; (void)reason; (void)deadline_ns; (void)text;
  *instance = (void *)llm_place_id(place);
  return 0;
}

static void *worker(void *argument) {
  llm_model *model = (llm_model *)argument;
  for (int i = 0; i < 1000; i++) {
    llm_lease lease = ZERO;
    llm_ask ask = ZERO;
    if (llm_acquire(&lease, model, &ask) != LLM_OK) return argument;
    llm_lease_return(&lease, LLM_KEEP);
  }
  return NULL;
}

int main(void) {
  llm_factory factory = ZERO;
  factory.create = create;
  llm_client_spec clients[2] = {{"key-1", NULL, NULL}, {"key-2", NULL, NULL}};
  llm_model *model = NULL;
  llm_pool *pool = llm_pool_new(NULL);
  llm_stats stats;
  pthread_t threads[4];
  void *failed = NULL, *result;
  if (llm_pool_register(pool, "gpt-4", clients, 2, NULL, &factory, &model,
                        NULL) != LLM_OK)
    return 1;
  for (int i = 0; i < 4; i++)
    pthread_create(&threads[i], NULL, worker, model);
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], &result);
    if (result) failed = result;
  }
  llm_model_stats(model, &stats);
  printf("%s %d %d %d\n", failed ? "failed" : "fine", (int)stats.acquired,
         (int)stats.returned, (int)stats.lent);
  llm_model_unref(model);
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

  it("finds them where there is no /proc, and none by the current directory",
     function()
    local without = "unshare -m sh -c 'mount -t tmpfs none /proc && "
    if not select(2, run(without .. "true'")) then
      return pending "/proc cannot be taken away here (only root may)"
    end
    local code = [[ -e "print(pcall(require, [=[llmpool.http]=]))"']]
    must("mkdir -p " .. prefix .. "/trap/modules/llmpool && touch " .. prefix ..
         "/trap/modules/llmpool/http.so")
    assert.matches("^true\ttable", must("cd " .. prefix .. "/trap && " ..
      without .. "PATH=" .. prefix .. "/bin:$PATH llmpool" .. code))
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
      files.write(source, C_PROGRAM)
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

  for _, case in ipairs {
    { "C11", "program.c", "cc -std=c11" },
    { "C17 #slow", "program.c", "cc -std=c17" },
    { "C++11", "program.cc", "c++ -std=c++11" },
    { "C++20 #slow", "program.cc", "c++ -std=c++20" },
  } do
    it("lends to the threads of a program in " .. case[1], function()
      local source = prefix .. "/pool_" .. case[2]
      files.write(source, C_POOL)
      local flags = must("PKG_CONFIG_PATH=" .. prefix ..
        "/lib/pkgconfig pkg-config --cflags --libs llmpool"):gsub("\n", "")
      must(("%s -Wall -Wextra -Wno-missing-field-initializers -pedantic " ..
        "-Werror -o %s/pool %s %s -pthread"):format(case[3], prefix, source,
        flags))
      assert.equal("fine 4000 4000 0\n", must("LD_LIBRARY_PATH=" .. prefix ..
        "/lib " .. prefix .. "/pool"))
    end)
  end

  it("has its man page, completions, manual and annotations", function()
    for _, file in ipairs {
      "man/man1/llmpool.1", "bash-completion/completions/llmpool",
      "zsh/vendor-completions/_llmpool",
      "fish/vendor_completions.d/llmpool.fish",
      "doc/llmpool/manual/reference.md", "doc/llmpool/manual/index.md",
      "doc/llmpool/README.md", "llmpool/meta/pool.lua",
    } do
      must("test -s " .. prefix .. "/share/" .. file)
    end
  end)

  it("tells a new project where the annotations are", function()
    local settings = must("cd " .. prefix .. " && bin/llmpool new demo " ..
                          ">/dev/null && cat demo/.luarc.json")
    assert.truthy(settings:find(prefix .. "/share/llmpool/meta", 1, true))
  end)

  it("is of one version", function()
    local version = must("PKG_CONFIG_PATH=" .. prefix ..
      "/lib/pkgconfig pkg-config --modversion llmpool"):gsub("\n", "")
    local output = must(prefix .. "/bin/llmpool --version")
    assert.equal("llmpool " .. version, output:match "[^\n]*")
    assert.equal("llmpool " .. version .. "\n", must(prefix ..
      [[/bin/llmpool -e 'print(require "llmpool"._VERSION)']]))
    assert.truthy(must("cat " .. prefix .. "/share/man/man1/llmpool.1")
      :find('"llmpool ' .. version .. '"', 1, true))
    assert.truthy(files.read "CHANGELOG.md"
      :find("## [" .. version .. "]", 1, true))
  end)
end)
