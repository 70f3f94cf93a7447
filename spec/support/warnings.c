/*
** warnings.c - a Lua module for the specs: keeps what Lua warns of in this
** state, so that the helper can make a failure of it.
**
** The text stands in a buffer of fixed size, since a warning may come out of a
** finalizer or without memory; what does not fit is cut off.
*/
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#define TEXT_SIZE 4096

typedef struct Warnings {
  size_t length;
  int continues; /* the last piece is not the last of its message */
  char text[TEXT_SIZE];
} Warnings;

int luaopen_warnings(lua_State *L);

static void keep(void *user, const char *message, int to_continue) {
  Warnings *warnings = user;
  size_t room = TEXT_SIZE - 1 - warnings->length;
  size_t length = strlen(message);
  int is_control = !warnings->continues && !to_continue && *message == '@';
  warnings->continues = to_continue;
  if (is_control) return;
  if (length > room) length = room;
  memcpy(warnings->text + warnings->length, message, length);
  warnings->length += length;
  if (!to_continue && length < room) warnings->text[warnings->length++] = '\n';
}

/* Pushes what was warned of since the last call, a line each, or nil. */
static int f_take(lua_State *L) {
  Warnings *warnings = lua_touserdata(L, lua_upvalueindex(1));
  if (warnings->length == 0) {
    luaL_pushfail(L);
  } else {
    lua_pushlstring(L, warnings->text, warnings->length);
    warnings->length = 0;
  }
  return 1;
}

/* The state ends: others may warn after this. */
static int mm_gc(lua_State *L) {
  lua_setwarnf(L, NULL, NULL);
  return 0;
}

int luaopen_warnings(lua_State *L) {
  Warnings *warnings;
  lua_createtable(L, 0, 1);
  warnings = lua_newuserdatauv(L, sizeof *warnings, 0);
  memset(warnings, 0, sizeof *warnings);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, mm_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_setwarnf(L, keep, warnings);
  lua_pushcclosure(L, f_take, 1);
  lua_setfield(L, -2, "take");
  return 1;
}
