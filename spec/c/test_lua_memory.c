/*
** test_lua_memory.c - the Nth allocation of Lua fails, for N from 1 until the
** call passes: get_client, acquire, spawn and register_model raise "not enough
** memory", lose nothing, and the ledger is closed each time.
**
** One idea: an allocator that counts down while it is armed. A failed attempt
** leaves the state usable, so the same state is tried again and again.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

int luaopen_llmpool(lua_State *L);

typedef struct Allocator {
  bool armed;
  long left; /* until it fails once */
} Allocator;

static void *allocate(void *ud, void *block, size_t old, size_t size) {
  Allocator *allocator = ud;
  (void)old;
  if (size == 0) {
    free(block);
    return NULL;
  }
  /* an emergency collection has been tried when it asks a second time */
  if (allocator->armed && allocator->left-- <= 0) return NULL;
  return realloc(block, size);
}

static const char setup_code[] =
    "pool = llmpool.new()\n"
    "pool:register_model('m', {{id = 'a', generate = function() end},\n"
    "                          {id = 'b', generate = function() end}})\n"
    "callback = function(client) return client.id end\n"
    "count = 0\n"
    "function check()\n"
    "  collectgarbage()\n"
    "  local s = pool:stats('m')\n"
    "  assert(s.acquired == s.returned + s.lent, 'ledger')\n"
    "  assert(s.lent == 0, 'lent')\n"
    "  assert(s.idle == 2, 'idle')\n"
    "  assert(s.waiting == 0, 'waiting')\n"
    "end\n";

static lua_State *open_state(Allocator *allocator) {
  lua_State *L = lua_newstate(allocate, allocator);
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

/* Returns how many allocations had to fail before the code passed. */
static long fail_each(const char *code) {
  Allocator allocator = {false, 0};
  lua_State *L = open_state(&allocator);
  long n = 0;
  for (;; n++) {
    assert_true(n < 2000);
    assert_int_equal(luaL_loadstring(L, code), LUA_OK);
    allocator = (Allocator){true, n};
    int status = lua_pcall(L, 0, 0, 0);
    allocator.armed = false;
    lua_settop(L, 0);
    run_check(L, n);
    if (status == LUA_OK) break;
  }
  lua_close(L);
  return n;
}

static void get_client(void **state) {
  (void)state;
  assert_true(fail_each("pool:get_client('m', callback)") > 0);
}

static void acquire(void **state) {
  (void)state;
  assert_true(fail_each("local client <close> = pool:acquire('m')") > 0);
}

static void acquire_that_fails(void **state) {
  (void)state;
  assert_true(fail_each("pool:pause('m')\n"
                        "local ok, e = pcall(pool.acquire, pool, 'm',\n"
                        "                    {timeout = 0})\n"
                        "pool:resume('m')\n"
                        "if not ok then error(e) end\n"
                        "assert(e == nil)") > 0);
}

static void spawn(void **state) {
  (void)state;
  assert_true(fail_each("llmpool.spawn(callback, {id = 1}):join()") > 0);
}

static void wait_in_tasks(void **state) {
  (void)state;
  assert_true(fail_each("local function use()\n"
                        "  pool:get_client('m', function()\n"
                        "    llmpool.sleep(0)\n"
                        "  end)\n"
                        "end\n"
                        "llmpool.gather(use, use, use, use)") > 0);
}

static void register_model(void **state) {
  (void)state;
  assert_true(fail_each("count = count + 1\n"
                        "local name = 'model ' .. count\n"
                        "pool:register_model(name, {{id = 'x',\n"
                        "  generate = function() end}})\n"
                        "pool:unregister_model(name)") > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(get_client),         cmocka_unit_test(acquire),
      cmocka_unit_test(acquire_that_fails), cmocka_unit_test(spawn),
      cmocka_unit_test(wait_in_tasks),      cmocka_unit_test(register_model)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
