/*
** value.c - the life of a Value, and unpacking it into a state.
**
** Unpacking reads the block once, from front to back: the values first, in
** which tables appear empty, then the contents of each table. It never
** recurses, and it changes nothing in the block, so that any number of threads
** may unpack the same one.
*/
#include "value.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "value_format.h"

/* ---- life -------------------------------------------------------------- */

Value *value_ref(Value *value) {
  atomic_fetch_add_explicit(&value->refs, 1, memory_order_relaxed);
  return value;
}

void value_unref(Value *value) {
  if (value == NULL) return;
  if (atomic_fetch_sub_explicit(&value->refs, 1, memory_order_acq_rel) == 1)
    value_free(value);
}

void value_free(Value *value) {
  RefRecord record;
  for (size_t at = value->last_ref; at != 0; at = record.previous) {
    memcpy(&record, (char *)value + at, sizeof record);
    if (record.ref.unref) record.ref.unref(record.ref.ptr);
  }
  free(value);
}

size_t value_size(const Value *value) { return value->size; }

/* ---- functions --------------------------------------------------------- */

/* stack: ... value; whether this upvalue is where lua_load puts the globals */
static bool is_environment(lua_State *L, const char *name) {
  if (strcmp(name, "_ENV") == 0) return true;
  if (strcmp(name, "(no name)") != 0) return false; /* not stripped */
  lua_pushglobaltable(L);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 1);
  return same;
}

static bool l_is_library(lua_State *L, int index) {
  if (!value_push_library(L, lua_tocfunction(L, index))) return false;
  bool same = lua_rawequal(L, index, -1); /* else a closure like it */
  lua_pop(L, 1);
  return same;
}

bool value_function_is_sendable(lua_State *L, int index, const char **upvalue) {
  *upvalue = NULL;
  index = lua_absindex(L, index);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (lua_iscfunction(L, index)) return l_is_library(L, index);
  const char *name;
  for (int i = 1; (name = lua_getupvalue(L, index, i)) != NULL; i++) {
    bool environment = is_environment(L, name);
    lua_pop(L, 1);
    if (environment) continue;
    *upvalue = name;
    return false;
  }
  return true;
}

/* stack: ... module; the function goes in the module's place */
static bool find_function(lua_State *L, lua_CFunction function) {
  if (!lua_istable(L, -1)) return false;
  lua_pushnil(L);
  while (lua_next(L, -2)) { /* stack: module key value */
    if (lua_tocfunction(L, -1) == function) {
      lua_replace(L, -3);
      lua_pop(L, 1);
      return true;
    }
    lua_pop(L, 1);
  }
  return false;
}

bool value_push_library(lua_State *L, lua_CFunction function) {
  static const char *const modules[] = {
      LUA_GNAME,     LUA_STRLIBNAME, LUA_MATHLIBNAME, LUA_TABLIBNAME,
      LUA_IOLIBNAME, LUA_OSLIBNAME,  LUA_COLIBNAME,   LUA_UTF8LIBNAME,
      LUA_DBLIBNAME, LUA_LOADLIBNAME};
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    lua_pushstring(L, modules[i]);
    lua_rawget(L, -2); /* stack: loaded module */
    if (find_function(L, function)) {
      lua_remove(L, -2);
      return true;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return false;
}

/* ---- unpacking --------------------------------------------------------- */

typedef struct Reader {
  const char *at;
  const char *end;
  int objects;          /* stack index: number -> object; 0: there are none */
  lua_Integer numbered; /* how many are in it */
} Reader;

static void read_bytes(Reader *r, void *to, size_t len) {
  memcpy(to, r->at, len);
  r->at += len;
}

static size_t read_length(Reader *r) {
  size_t length = 0;
  for (unsigned shift = 0;; shift += 7) {
    unsigned char byte = (unsigned char)*r->at++;
    length |= (size_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return length;
  }
}

static void push_integer(lua_State *L, Reader *r) {
  lua_Integer integer;
  read_bytes(r, &integer, sizeof integer);
  lua_pushinteger(L, integer);
}

static void push_float(lua_State *L, Reader *r) {
  lua_Number number;
  read_bytes(r, &number, sizeof number);
  lua_pushnumber(L, number);
}

static void push_string(lua_State *L, Reader *r) {
  size_t length = read_length(r);
  lua_pushlstring(L, r->at, length);
  r->at += length;
}

/* Gives the object on the top of the stack the next number. */
static void l_keep_object(lua_State *L, Reader *r) {
  lua_pushvalue(L, -1);
  lua_rawseti(L, r->objects, ++r->numbered);
}

static void push_table(lua_State *L, Reader *r) {
  TableHints hints;
  read_bytes(r, &hints, sizeof hints);
  lua_createtable(L, hints.items, hints.others);
  l_keep_object(L, r);
}

static void push_object(lua_State *L, Reader *r) {
  void *key;
  push_table(L, r);
  read_bytes(r, &key, sizeof key);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE)
    lua_setmetatable(L, -2);
  else
    lua_pop(L, 1);
}

static void push_function(lua_State *L, Reader *r) {
  size_t length;
  read_bytes(r, &length, sizeof length);
  if (luaL_loadbufferx(L, r->at, length, "=value", "b") != LUA_OK) lua_error(L);
  r->at += length;
  l_keep_object(L, r);
}

static void push_library(lua_State *L, Reader *r) {
  lua_CFunction function;
  read_bytes(r, &function, sizeof function);
  if (!value_push_library(L, function))
    luaL_error(L, "cannot receive a C function: "
                  "it was removed from this state's standard library");
}

static void push_ref(lua_State *L, Reader *r) {
  RefRecord record;
  read_bytes(r, &record, sizeof record);
  record.ref.push(L, record.ref.ptr);
  l_keep_object(L, r);
}

static void push_value(lua_State *L, Reader *r) {
  switch ((Tag)*r->at++) {
  case TAG_NIL: lua_pushnil(L); break;
  case TAG_FALSE: lua_pushboolean(L, 0); break;
  case TAG_TRUE: lua_pushboolean(L, 1); break;
  case TAG_INTEGER: push_integer(L, r); break;
  case TAG_FLOAT: push_float(L, r); break;
  case TAG_STRING: push_string(L, r); break;
  case TAG_TABLE: push_table(L, r); break;
  case TAG_OBJECT: push_object(L, r); break;
  case TAG_FUNCTION: push_function(L, r); break;
  case TAG_LIBRARY: push_library(L, r); break;
  case TAG_REF: push_ref(L, r); break;
  case TAG_SEEN: lua_rawgeti(L, r->objects, (lua_Integer)read_length(r)); break;
  case TAG_ITEM:
  case TAG_END: break; /* only between the values of a record */
  }
}

static void l_fill_table(lua_State *L, Reader *r) {
  lua_Integer item = 0;
  lua_rawgeti(L, r->objects, (lua_Integer)read_length(r));
  while (*r->at != TAG_END) {
    if (*r->at == TAG_ITEM) {
      r->at++;
      push_value(L, r);
      lua_rawseti(L, -2, ++item);
    } else {
      push_value(L, r);
      push_value(L, r);
      lua_rawset(L, -3);
    }
  }
  r->at++;
  lua_pop(L, 1);
}

int value_unpack(lua_State *L, const Value *value) {
  Reader r = {.at = (const char *)(value + 1),
              .end = (const char *)value + value->size};
  luaL_checkstack(L, value->count + LUA_MINSTACK, "too many values to receive");
  if (value->objects > 0) {
    lua_newtable(L);
    r.objects = lua_gettop(L);
  }
  for (int i = 0; i < value->count; i++) push_value(L, &r);
  while (r.at < r.end) l_fill_table(L, &r);
  if (r.objects) lua_remove(L, r.objects);
  return value->count;
}
