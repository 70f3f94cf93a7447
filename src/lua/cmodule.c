/*
** cmodule.c - finds the C modules that come with llmpool but are loaded on
** first use, such as llmpool.http.
**
** One idea: they lie beside what this code is in - the program or llmpool.so -
** so they are found wherever the whole was put, and package.cpath is neither
** read nor changed. It opens no module itself: that is package.loadlib's.
*/
#define _GNU_SOURCE /* dladdr */
#include "cmodule.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "../runtime/executable.h"
#include "json.h"

#ifndef LLMPOOL_MODULES_FROM_PROGRAM /* the build knows better */
#define LLMPOOL_MODULES_FROM_PROGRAM "../lib/lua/5.4"
#endif

typedef struct CModule {
  const char *name;
  const char *library; /* what it stands on, and the Debian packages */
  const char *runtime_package, *build_package;
} CModule;

static const CModule modules[] = {
    {"http", "libcurl", "libcurl4", "libcurl4-openssl-dev"}};

/* Pushes the directory of what this code is in, with its last slash; nothing
** where nobody knows. */
static void push_own_directory(lua_State *L) {
  static const char here = 0;
  Dl_info info;
  char *path = NULL;
  if (dladdr(&here, &info) != 0 && info.dli_fname)
    path = realpath(info.dli_fname, NULL);
  /* the program's own name there is argv[0], be it what it may */
  size_t length = path ? strlen(path) : 0;
  if (length < 3 || strcmp(path + length - 3, ".so") != 0) {
    free(path);
    path = executable_path();
  }
  const char *slash = path ? strrchr(path, '/') : NULL;
  lua_pushlstring(L, path ? path : "", slash ? (size_t)(slash - path) + 1 : 0);
  free(path);
}

/* Pushes the module's file, or fails and pushes the place that was looked at:
** installed beside llmpool.so, in a build, installed beside the program, put
** there by LuaRocks. Never by a path that depends on the current directory. */
static bool push_file(lua_State *L, const CModule *module) {
  static const char *const places[] = {
      "", "modules/", LLMPOOL_MODULES_FROM_PROGRAM "/", "../lib/lua/5.4/"};
  push_own_directory(L);
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    const char *place = places[i];
    const char *base = *place == '/' ? "" : lua_tostring(L, -1);
    if (*place != '/' && *base == '\0') continue;
    lua_pushfstring(L, "%s%sllmpool/%s.so", base, place, module->name);
    if (access(lua_tostring(L, -1), R_OK) == 0) {
      lua_remove(L, -2);
      return true;
    }
    lua_pop(L, 1);
  }
  return false;
}

/* A loader as package.preload has them; upvalue 1: the CModule */
static int load(lua_State *L) {
  const CModule *module = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 1);
  if (!push_file(L, module))
    return luaL_error(
        L,
        "llmpool.%s is not there (no llmpool/%s.so beside %s): it "
        "needs %s; on Debian: apt-get install %s, and build "
        "llmpool again",
        module->name, module->name,
        *lua_tostring(L, -1) ? lua_tostring(L, -1)
                             : "the program, whose place is not known",
        module->library, module->build_package);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "loadlib");
  lua_pushvalue(L, 2);
  lua_pushfstring(L, "luaopen_llmpool_%s", module->name);
  lua_call(L, 2, 2); /* stack: ... function|nil message */
  if (lua_isnil(L, -2))
    return luaL_error(L,
                      "cannot load llmpool.%s: %s (on Debian: apt-get "
                      "install %s)",
                      module->name, lua_tostring(L, -1),
                      module->runtime_package);
  lua_pop(L, 1);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 1);
  return 1;
}

static void push_loader(lua_State *L, const CModule *module) {
  lua_pushlightuserdata(L, (void *)module);
  lua_pushcclosure(L, load, 1);
}

/* stack: preload loader; what the user put there already stays */
static void offer(lua_State *L, const char *name) {
  lua_pushfstring(L, "llmpool.%s", name);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -4) == LUA_TNIL) {
    lua_pushvalue(L, -3);
    lua_remove(L, -2);
    lua_rawset(L, -4); /* stack: preload loader */
    lua_pop(L, 1);
  } else {
    lua_pop(L, 3);
  }
}

void cmodules_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    push_loader(L, &modules[i]);
    offer(L, modules[i].name);
  }
  lua_pushcfunction(L, luaopen_llmpool_json);
  offer(L, "json");
  lua_pop(L, 1);
}

/* For a plain lua5.4 whose cpath leads to llmpool.so only: Lua looks there for
** the submodules too. */
int luaopen_llmpool_http(lua_State *L) {
  push_loader(L, &modules[0]);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}
