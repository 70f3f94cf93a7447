/*
** module.c - what `require "llmpool"` loads: one Binding a state, and the Lua
** half on top of it.
**
** One idea: the functions of C are collected in one table, which init.lua
** turns into the module; opening it again - busted does for every file - gives
** the same module.
*/
#include "../runtime/loop.h"
#include "../runtime/runtime.h"
#include "binding.h"
#include "cmodule.h"
#include "embedded.h"
#include "json.h"
#include "secret.h"

#include <stdlib.h>
#include <string.h>

int luaopen_llmpool(lua_State *L);

static const char binding_key = 'B'; /* registry: the Binding */
static const char at_hand_key = 'G'; /* registry: the second upvalue */
static const char module_key = 'M';  /* registry: what require returns */
static const char helpers_key = 'H'; /* registry: functions of init.lua's */

void push_upvalues(lua_State *L, Binding *b) {
  lua_pushlightuserdata(L, b);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &at_hand_key);
}

void set_functions(lua_State *L, Binding *b, const luaL_Reg *functions) {
  push_upvalues(L, b);
  luaL_setfuncs(L, functions, 2);
}

void new_type(lua_State *L, Binding *b, const char *name,
              const luaL_Reg *methods, const luaL_Reg *metamethods) {
  luaL_newmetatable(L, name);
  set_functions(L, b, metamethods);
  lua_newtable(L);
  if (methods) set_functions(L, b, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  if (methods == NULL) return;
  /* by it, messages and tracebacks know the methods' names */
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

void push_helper(lua_State *L, Helper helper) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &helpers_key);
  lua_rawgeti(L, -1, (lua_Integer)helper + 1);
  lua_remove(L, -2);
}

/* (table of functions by name): those that C calls by name */
static int f_set_helpers(lua_State *L) {
  static const char *const names[HELPER_COUNT] = {
      "check",    "create",  "on_lend", "on_return",
      "instance", "nearest", "outcome", "upkeep"};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_createtable(L, HELPER_COUNT, 0);
  for (int i = 0; i < HELPER_COUNT; i++) {
    lua_getfield(L, 1, names[i]);
    luaL_checktype(L, -1, LUA_TFUNCTION);
    lua_rawseti(L, -2, i + 1);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &helpers_key);
  return 0;
}

static int f_trace_leaks(lua_State *L) {
  Binding *b = binding_of(L);
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  lua_pushboolean(L, b->trace_leaks);
  b->trace_leaks = lua_toboolean(L, 1);
  return 1;
}

/* upvalue 3: the function */
static int framed(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(3));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* (function) -> one that does the same, but as a C function: its caller's
** frame stays also in a tail call, so that an error can name the line of
** `return scenario { ... }` */
static int f_framed(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  push_upvalues(L, binding_of(L));
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, framed, 3);
  return 1;
}

/* ---- opening ----------------------------------------------------------- */

static int binding_gc(lua_State *L) {
  Binding *b = lua_touserdata(L, 1);
  guards_end(L, b);
  simulate_free(b);
  return 0;
}

static Binding *new_binding(lua_State *L) {
  Binding *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  b->worker = worker_of(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, binding_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &binding_key);
  lua_newuserdatauv(L, 0, AT_HAND_SIZE); /* filling it never allocates */
  lua_rawsetp(L, LUA_REGISTRYINDEX, &at_hand_key);
  return b;
}

/* Pushes the table of all that C offers. */
static void push_native(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"set_helpers", f_set_helpers},
                                       {"framed", f_framed},
                                       {"trace_leaks", f_trace_leaks},
                                       {NULL, NULL}};
  lua_newtable(L);
  set_functions(L, b, functions);
  lua_pushliteral(L, LLMPOOL_VERSION);
  lua_setfield(L, -2, "version");
  kept_open(L, b);
  guards_open(L, b);
  clients_open(L, b);
  pools_open(L, b);
  register_open(L, b);
  stats_open(L, b);
  inspect_open(L, b);
  events_open(L, b);
  task_open(L, b);
  scope_open(L, b);
  chance_open(L, b);
  crew_open(L, b);
  recorder_open(L, b);
  recording_open(L, b);
  terminal_open(L, b);
  simulate_open(L, b);
  thread_open(L, b);
  json_open(L);
  secrets_open(L, b);
  signal_open(L, b);
  view_open(L, b);
  attempt_open(L, b);
  answer_open(L, b);
  ties_open(L, b);
  outcome_open(L, b);
}

int luaopen_llmpool(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) != LUA_TNIL) return 1;
  runtime_open(L);
  embedded_preload(L);
  cmodules_preload(L);
  embedded_load(L, "llmpool");
  push_native(L, new_binding(L));
  lua_call(L, 1, 1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}
