/*
** callopts.c - the options of one call: timeout, priority, prefer.
**
** It checks and converts; every mistake is an argument error that names the
** option and, for an unknown one, the nearest that exists.
*/
#include "binding.h"

#include <math.h>
#include <string.h>

#include "../runtime/scheduler.h"

/* The argument's number as the user sees it: get_client's options are the
** third after self, acquire's the second, though both lie at one index. */
static int argument_number(lua_State *L, int index) {
  return lua_isnil(L, index - 1) ? index - 1 : index;
}

static int bad_option(lua_State *L, int argument, const char *format,
                      const char *name) {
  lua_pushfstring(L, format, name, luaL_typename(L, -1));
  return luaL_argerror(L, argument, lua_tostring(L, -1));
}

int64_t check_seconds(lua_State *L, int argument, int index, const char *name) {
  double s = lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TNUMBER || isnan(s) || s < 0) {
    if (lua_type(L, index) == LUA_TNUMBER)
      lua_pushfstring(L, "%s must be a number of seconds, 0 or more, got %f",
                      name, s);
    else
      lua_pushfstring(L, "%s must be a number of seconds, got %s", name,
                      luaL_typename(L, index));
    luaL_argerror(L, argument, lua_tostring(L, -1));
  }
  return s >= 9.2e9 ? LLM_FOREVER : (int64_t)(s * 1e9);
}

static void unknown_option(lua_State *L, int argument, const char *name) {
  static const char *const known[] = {"timeout", "priority", "prefer", NULL};
  push_helper(L, HELPER_NEAREST);
  lua_pushstring(L, name);
  lua_newtable(L);
  for (int i = 0; known[i]; i++) {
    lua_pushstring(L, known[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_call(L, 2, 1);
  if (lua_isstring(L, -1))
    lua_pushfstring(L, "unknown option '%s'; did you mean '%s'?", name,
                    lua_tostring(L, -1));
  else
    lua_pushfstring(L,
                    "unknown option '%s'; there are timeout, priority and "
                    "prefer",
                    name);
  luaL_argerror(L, argument, lua_tostring(L, -1));
}

static void set_timeout(int64_t timeout_ns, llm_clock *clock, llm_ask *ask) {
  ask->now = timeout_ns == 0;
  ask->deadline_ns = timeout_ns == LLM_FOREVER || timeout_ns == 0
                         ? LLM_FOREVER
                         : llm_time_after(llm_clock_now(clock), timeout_ns);
}

/* stack: ... key value */
static void check_option(lua_State *L, int argument, const char *name,
                         llm_clock *clock, llm_ask *ask) {
  if (strcmp(name, "timeout") == 0) {
    set_timeout(check_seconds(L, argument, -1, "timeout"), clock, ask);
  } else if (strcmp(name, "priority") == 0) {
    int ok;
    lua_Integer level = lua_tointegerx(L, -1, &ok);
    if (!ok || level < 0 || level >= LLM_PRIORITIES)
      bad_option(L, argument, "%s must be 0, 1, 2 or 3 (a %s was given)",
                 "priority");
    ask->priority = (uint8_t)level;
  } else if (strcmp(name, "prefer") == 0) {
    if (lua_type(L, -1) != LUA_TSTRING)
      bad_option(L, argument, "%s must be a client's id, got a %s", "prefer");
    ask->prefer = lua_tostring(L, -1); /* the options table holds it */
  } else {
    unknown_option(L, argument, name);
  }
}

void check_ask(lua_State *L, int index, int64_t timeout_ns, llm_clock *clock,
               llm_ask *ask) {
  *ask = (llm_ask){.deadline_ns = LLM_FOREVER};
  if (timeout_ns != LLM_FOREVER) set_timeout(timeout_ns, clock, ask);
  if (lua_isnil(L, index)) return;
  int argument = argument_number(L, index);
  luaL_argexpected(L, lua_istable(L, index), argument, "table");
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_argerror(L, argument, "options are named: {timeout = seconds, ...}");
    check_option(L, argument, lua_tostring(L, -2), clock, ask);
    lua_pop(L, 1);
  }
}
