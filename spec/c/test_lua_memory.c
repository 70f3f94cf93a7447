/*
** test_lua_memory.c - memory ends at the Nth allocation, for N from 0 until the
** call passes: whatever is called says "not enough memory" (or fails as it does
** where nothing could be made), loses nothing, works when there is memory
** again, and the ledger is closed each time. Under AddressSanitizer nothing has
** leaked at the end.
**
** One idea: a failed attempt leaves the state usable, so the same state is tried
** again and again, with the memory of ending_memory.h.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "ending_memory.h"

int luaopen_llmpool(lua_State *L);

static const char setup_code[] =
    "plain = function(_, request) return 'a' .. request end\n"
    "pool = llmpool.new()\n"
    "pool:register_model('m', {{id = 'a', generate = plain},\n"
    "                          {id = 'b', generate = plain}})\n"
    "pool:register_model('n', {{id = 'a', generate = plain}}, {\n"
    "  max_uses = 1, create = function(spec) return spec end,\n"
    "  on_create = function() end, on_lend = function() end,\n"
    "  on_return = function() end})\n"
    "callback = function(client) return client.id end\n"
    "count = 0\n"
    "function check()\n"
    "  pool:resume()\n"
    "  pcall(pool.retire_client, pool, 'm', 'c')\n"
    "  collectgarbage()\n"
    "  collectgarbage()\n"
    "  llmpool.wait()\n"
    "  for name, s in pairs(pool:stats().models) do\n"
    "    assert(s.acquired == s.returned + s.lent, name .. ': ledger')\n"
    "    assert(s.lent == 0 and s.waiting == 0, name .. ': lent')\n"
    "    assert(s.idle + s.vacant == s.size, name .. ': idle')\n"
    "  end\n"
    "  assert(pool:stats('m').idle == 2, 'idle')\n"
    "  pool:get_client('m', callback)\n"
    "end\n";

static lua_State *open_state(void) {
  lua_State *L = lua_newstate(allocate, NULL);
  assert_non_null(L);
  luaL_openlibs(L);
  luaL_requiref(L, "llmpool", luaopen_llmpool, 1);
  lua_settop(L, 0);
  if (luaL_dostring(L, setup_code)) fail_msg("%s", lua_tostring(L, -1));
  return L;
}

static void run_check(lua_State *L, long n) {
  lua_getglobal(L, "check");
  if (lua_pcall(L, 0, 0, 0) != LUA_OK)
    fail_msg("allocation %ld: %s", n, lua_tostring(L, -1));
}

/* The error on the top says what it is: by its text, or by its object's. */
static void check_message(lua_State *L, long n) {
  const char *text = luaL_tolstring(L, -1, NULL);
  if (strstr(text, "memory") == NULL)
    fail_msg("allocation %ld: unclear error: %s", n, text);
  lua_pop(L, 2);
}

/* Returns how many allocations had to fail before the code passed. */
static long fail_each(const char *code, Memory *memory) {
  lua_State *L = open_state();
  long n = 0;
  for (;; n++) {
    assert_true(n < 20000);
    assert_int_equal(luaL_loadstring(L, code), LUA_OK);
    memory->left = n;
    memory->armed = true;
    int status = lua_pcall(L, 0, 0, 0);
    memory->armed = false;
    if (status != LUA_OK) check_message(L, n);
    run_check(L, n);
    if (status == LUA_OK) break;
  }
  lua_close(L);
  return n;
}

typedef struct Case {
  const char *name, *code;
  bool needs_c; /* it cannot pass without memory of C's */
} Case;

static const Case cases[] = {
    {"get_client", "pool:get_client('m', callback)", false},
    {"get_client, quickly, twice",
     "pool:get_client('m', function()\n"
     "  pool:get_client('m', callback, {timeout = 1})\n"
     "end)",
     false},
    {"get_client that raises",
     "local ok, e = pcall(pool.get_client, pool, 'm', function()\n"
     "  error('mine', 0)\n"
     "end)\n"
     "assert(not ok)\n"
     "if e ~= 'mine' then error(e, 0) end",
     false},
    {"get_client of several models",
     "pool:get_client({'m', 'n'}, callback, {timeout = 1})", false},
    {"get_client with ids",
     "pool:get_client('m', callback, {prefer = {'b', 'a'}, exclude = {'x'}})",
     false},
    {"generate", "assert(pool:generate('m', 'q') == 'aq')", false},
    {"acquire", "local client <close> = pool:acquire('m')", false},
    {"acquire and release", "pool:acquire('m'):release()", false},
    {"acquire that fails",
     "pool:pause('m')\n"
     "local ok, client, e = pcall(pool.acquire, pool, 'm', {timeout = 0})\n"
     "pool:resume('m')\n"
     "if not ok then error(client, 0) end\n"
     "assert(client == nil and e.kind == 'timeout')",
     false},
    {"an unknown model",
     "local ok, e = pcall(pool.acquire, pool, 'nn')\n"
     "assert(not ok)\n"
     "if type(e) ~= 'table' or e.kind ~= 'unknown_model' then error(e, 0) end",
     false},
    {"spawn", "llmpool.spawn(callback, {id = 1}):join()", false},
    {"a task that fails",
     "local ok, e = llmpool.spawn(error, 'mine', 0):pjoin()\n"
     "assert(not ok)\n"
     "if e ~= 'mine' then error(e, 0) end",
     false},
    {"waiting in tasks",
     "local function use()\n"
     "  pool:get_client('m', function() llmpool.sleep(0) end)\n"
     "end\n"
     "llmpool.gather(use, use, use, use)",
     false},
    {"waiting in coroutines",
     "llmpool.spawn(function()\n"
     "  local co = coroutine.wrap(function()\n"
     "    return pool:get_client('m', function()\n"
     "      llmpool.sleep(0)\n"
     "      return 1\n"
     "    end)\n"
     "  end)\n"
     "  assert(co() == 1)\n"
     "end):join()",
     false},
    {"scope, timeout, shield",
     "llmpool.scope(function(s)\n"
     "  s:spawn(llmpool.timeout, 1, llmpool.shield, llmpool.sleep, 0)\n"
     "end)",
     false},
    {"register_model",
     "count = count + 1\n"
     "local name = 'model ' .. count\n"
     "pool:register_model(name, {{id = 'x', generate = function() end},\n"
     "  llmpool.simulated {id = 'y', latency = 1}}, {timeout = 5})\n"
     "pool:unregister_model(name)",
     true},
    {"add, replace and retire",
     "local function client() return {id = 'c', generate = plain} end\n"
     "pool:add_client('m', client())\n"
     "local ok, e = pcall(pool.replace_client, pool, 'm', client())\n"
     "pool:retire_client('m', 'c')\n"
     "if not ok then error(e, 0) end",
     true},
    {"stats", "pool:stats() pool:stats('m') pool:clients('m')", false},
    {"new pools", "llmpool.new():close()", true},
    {"events",
     "local events <close> = pool:events()\n"
     "pool:get_client('m', callback)\n"
     "assert(#events:read() == 2)",
     true},
    {"events with a callback",
     "local heard = 0\n"
     "local events <close> = pool:events {callback = function()\n"
     "  heard = heard + 1\n"
     "end}\n"
     "pool:get_client('m', callback)\n"
     "llmpool.sleep(0)\n"
     "llmpool.sleep(0)\n"
     "assert(heard == 2, 'no memory for the task')",
     true},
    {"simulate",
     "llmpool.simulate({}, function()\n"
     "  local other = llmpool.new()\n"
     "  other:register_model('m', {llmpool.simulated {id = 'a',\n"
     "                                                latency = 1}})\n"
     "  llmpool.gather(function() other:generate('m', 'q') end,\n"
     "                 function() other:generate('m', 'q') end)\n"
     "end)",
     true},
    {"create, with hooks",
     "local ok, e = pcall(pool.generate, pool, 'n', 'q')\n"
     "if not ok then\n"
     "  error(type(e) == 'table' and e.cause or e, 0)\n"
     "end",
     false},
    {"a thread",
     "assert(llmpool.thread(function(x) return x end, 5):join() == 5)", true},
};

static void fail_case(void **state) {
  const Case *one = *state;
  fail_each(one->code, &lua_memory);
  long n = fail_each(one->code, &c_memory);
  if (one->needs_c) assert_true(n > 0);
}

int main(void) {
  enum { COUNT = sizeof cases / sizeof cases[0] };
  struct CMUnitTest tests[COUNT];
  for (size_t i = 0; i < COUNT; i++)
    tests[i] = (struct CMUnitTest){cases[i].name, fail_case, NULL, NULL,
                                   (void *)&cases[i]};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
