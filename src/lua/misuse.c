/*
** misuse.c - an argument error, told where the user made it.
**
** One idea: generate, stream, embed and clients are Lua functions of ours that
** call one of C's with what they were given, so that an error of that one would
** name a function that the user never called, and a line of ours. The look at
** who called costs nothing where nothing is wrong.
*/
#include "binding.h"

#include <string.h>

#include "../runtime/errors.h"
#include "embedded.h"

/* The functions of ours have a request, or an input, before the options. */
enum { OPTIONS_OF_C = 3, OPTIONS = 4 };

static bool is_ours(const lua_Debug *caller) {
  const llmpool_embedded_file *file = llmpool_embedded;
  while (file->name && strcmp(file->chunkname, caller->source) != 0) file++;
  return file->name != NULL;
}

/* The name of the function on the top, as its caller or its module has it. */
static const char *name_of(lua_State *L, const lua_Debug *caller) {
  if (caller->name != NULL) return caller->name;
  const char *name = push_library_name(L, -1);
  return name != NULL ? name : "?";
}

static int raise(lua_State *L, const lua_Debug *caller, int argument,
                 const char *message) {
  const char *name = name_of(L, caller);
  if (strcmp(caller->namewhat, "method") == 0) argument--; /* not the self */
  luaL_where(L, 2);
  if (argument == 0)
    lua_pushfstring(L, "calling '%s' on bad self (%s)", name, message);
  else
    lua_pushfstring(L, "bad argument #%d to '%s' (%s)", argument, name,
                    message);
  lua_concat(L, 2);
  return lua_error(L);
}

int misused(lua_State *L, int argument, const char *message) {
  lua_Debug caller;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (!lua_getstack(L, 1, &caller) || !lua_getinfo(L, "Snf", &caller) ||
      !is_ours(&caller))
    return luaL_argerror(L, argument, message);
  if (argument == OPTIONS_OF_C) argument = OPTIONS;
  return raise(L, &caller, argument, message);
}

/* Pushes a wrong value as fields.lua describes it. */
static const char *push_described(lua_State *L, int index) {
  int type = lua_type(L, index);
  if (type == LUA_TNUMBER) return luaL_tolstring(L, index, NULL);
  if (type == LUA_TSTRING)
    return lua_pushfstring(L, "\"%s\"", push_shown(L, lua_tostring(L, index)));
  return lua_pushstring(L, luaL_typename(L, index));
}

int wrong_option(lua_State *L, int argument, int index, const char *name,
                 const char *wanted) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  const char *got = push_described(L, index);
  return misused(
      L, argument,
      lua_pushfstring(L, "%s must be %s, got %s", name, wanted, got));
}

int misled(lua_State *L, const char *message) {
  lua_Debug caller;
  bool is_inside = lua_getstack(L, 1, &caller) &&
                   lua_getinfo(L, "S", &caller) && is_ours(&caller);
  luaL_where(L, is_inside ? 2 : 1);
  lua_pushstring(L, message);
  lua_concat(L, 2);
  return lua_error(L);
}

int mistyped(lua_State *L, int argument, int index, const char *wanted) {
  const char *got = luaL_typename(L, index);
  if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING)
    got = lua_tostring(L, -1);
  return misused(L, argument,
                 lua_pushfstring(L, "%s expected, got %s", wanted, got));
}
