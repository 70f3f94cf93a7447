/*
** tie.c - what must not outlive a lease: its streams.
**
** One idea: an object may be tied to a lease; when the lease ends, in whatever
** way, the object's method lease_ended is called before the client is back. The
** tie does not keep the object alive, and the object need not know the lease.
*/
#include "../runtime/fields.h"
#include "binding.h"

static const char ties_key = 'T'; /* registry: guard -> weak set of objects */

/* Pushes the guard's set, or nil. */
static void push_set(lua_State *L, const Guard *guard) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ties_key);
  lua_rawgetp(L, -1, guard);
  lua_remove(L, -2);
}

static void new_set(lua_State *L, const Guard *guard) {
  push_weak_table(L, "k");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ties_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, guard);
  lua_pop(L, 1);
}

/* (client, object): raises if the lease has ended */
static int f_tie(lua_State *L) {
  Guard *guard = check_client(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  push_set(L, guard);
  if (lua_isnil(L, -1)) new_set(L, guard);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  guard->tied = true;
  return 0;
}

/* (guard): what one object raises keeps no other from being told */
static int end_all(lua_State *L) {
  const Guard *guard = lua_touserdata(L, 1);
  push_set(L, guard); /* stack: guard set */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ties_key);
  lua_pushnil(L);
  lua_rawsetp(L, -2, guard);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) return 0;
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    lua_settop(L, 3); /* stack: guard set object */
    lua_getfield(L, 3, "lease_ended");
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_settop(L, 3);
  }
  return 0;
}

void ties_end(lua_State *L, Guard *guard) {
  if (!guard->tied) return;
  guard->tied = false;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, end_all);
  lua_pushlightuserdata(L, guard);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

void ties_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"tie", f_tie}, {NULL, NULL}};
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ties_key);
  set_functions(L, b, functions);
}
