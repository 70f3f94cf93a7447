/*
** embedded.c - the files of lua/, which travel inside the program.
**
** Modules are found through package.preload, so that package.path stays the
** user's. Annotations (llmpool.meta.*) and the manual's pages are no modules:
** they are text, which help and completion read through the little module
** llmpool.embedded.
*/
#include "embedded.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

static const llmpool_embedded_file *find(const char *name) {
  const llmpool_embedded_file *file = llmpool_embedded;
  while (file->name && strcmp(file->name, name) != 0) file++;
  return file->name ? file : NULL;
}

static bool begins_with(const char *name, const char *prefix) {
  return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_module(const char *name) {
  return strchr(name, '/') == NULL && !begins_with(name, "llmpool.meta.");
}

/* ---- globals ----------------------------------------------------------- */

/* A script may do with its globals what it likes - set `string` to nil, give _G
** a metatable that refuses unknown names: our files have their own names of
** the standard functions. print, warn and arg are the script's on purpose. */
static const char *const standard[] = {
    "_G",       "assert",       "collectgarbage", "coroutine", "debug",
    "dofile",   "error",        "getmetatable",   "io",        "ipairs",
    "load",     "loadfile",     "math",           "next",      "os",
    "package",  "pairs",        "pcall",          "rawequal",  "rawget",
    "rawlen",   "rawset",       "require",        "select",    "string",
    "table",    "tonumber",     "tostring",       "type",      "utf8",
    "_VERSION", "setmetatable", "xpcall"};

static const char globals_key = 'G'; /* registry: what our files see */

/* (table, name) -> the script's global of that name, past its metatable */
static int mm_other(lua_State *L) {
  lua_pushglobaltable(L);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

/* What the script has lost or hidden by now is not to be had. */
static void make_globals(lua_State *L) {
  lua_newtable(L);
  lua_pushglobaltable(L);
  for (size_t i = 0; i < sizeof standard / sizeof standard[0]; i++) {
    lua_pushstring(L, standard[i]);
    lua_rawget(L, -2);
    lua_setfield(L, -3, standard[i]);
  }
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, mm_other);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

static void push_globals(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &globals_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  make_globals(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &globals_key);
}

/* ---- loading ----------------------------------------------------------- */

static void load(lua_State *L, const llmpool_embedded_file *file) {
  if (luaL_loadbufferx(L, (const char *)file->text, file->length,
                       file->chunkname, "t") != LUA_OK)
    lua_error(L);
  push_globals(L);
  lua_setupvalue(L, -2, 1);
}

void embedded_load(lua_State *L, const char *module) {
  const llmpool_embedded_file *file = find(module);
  if (file == NULL) luaL_error(L, "%s: built without its Lua half", module);
  load(L, file);
}

/* upvalue 1: the embedded file */
static int load_module(lua_State *L) {
  load(L, lua_touserdata(L, lua_upvalueindex(1)));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* ---- the module llmpool.embedded --------------------------------------- */

/* () -> the names of all files, in order */
static int f_names(lua_State *L) {
  lua_Integer n = 0;
  lua_newtable(L);
  for (const llmpool_embedded_file *f = llmpool_embedded; f->name; f++) {
    lua_pushstring(L, f->name);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* (name) -> the file's text, or nil */
static int f_text(lua_State *L) {
  const llmpool_embedded_file *file = find(luaL_checkstring(L, 1));
  if (file)
    lua_pushlstring(L, (const char *)file->text, file->length);
  else
    luaL_pushfail(L);
  return 1;
}

static int open_embedded(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"names", f_names}, {"text", f_text}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

/* ---- package.preload --------------------------------------------------- */

/* stack: preload loader; what the user put there already stays */
static void offer(lua_State *L, const char *module) {
  if (lua_getfield(L, -2, module) == LUA_TNIL) {
    lua_pushvalue(L, -2);
    lua_setfield(L, -4, module);
  }
  lua_pop(L, 2);
}

void embedded_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const llmpool_embedded_file *f = llmpool_embedded; f->name; f++) {
    if (strcmp(f->name, "llmpool") == 0 || !is_module(f->name)) continue;
    lua_pushlightuserdata(L, (void *)f);
    lua_pushcclosure(L, load_module, 1);
    offer(L, f->name);
  }
  lua_pushcfunction(L, open_embedded);
  offer(L, "llmpool.embedded");
  lua_pop(L, 1);
}
