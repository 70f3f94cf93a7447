/*
** value_support.h - what the tests of values share: fresh states, and chunks
** that make values in one and check them in another.
*/
#ifndef VALUE_SUPPORT_H
#define VALUE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "../../src/runtime/value.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  assert_non_null(L);
  luaL_openlibs(L);
  return L;
}

static inline void must(lua_State *L, int status) {
  if (status != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
}

/* Runs the chunk; its values are left alone on the stack. */
static inline int make(lua_State *L, const char *chunk) {
  lua_settop(L, 0);
  must(L, luaL_loadbuffer(L, chunk, strlen(chunk), "=sender"));
  must(L, lua_pcall(L, 0, LUA_MULTRET, 0));
  return lua_gettop(L);
}

static inline Value *pack_all(lua_State *L, const ValueRules *rules) {
  ValueWhy why;
  int n = lua_gettop(L);
  Value *value = value_pack(L, 1, n, rules, &why);
  assert_int_equal(lua_gettop(L), n);
  if (value == NULL) fail_msg("%s", why.text);
  return value;
}

/* Unpacks into L and calls the chunk with the values. */
static inline void check(lua_State *L, const Value *value, const char *chunk) {
  int top = lua_gettop(L);
  must(L, luaL_loadbuffer(L, chunk, strlen(chunk), "=receiver"));
  int n = value_unpack(L, value);
  assert_int_equal(lua_gettop(L), top + 1 + n);
  must(L, lua_pcall(L, n, 0, 0));
  assert_int_equal(lua_gettop(L), top);
}

#endif
