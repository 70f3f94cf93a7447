/*
** json.c - the module llmpool.json: its functions, its marks, null.
**
** One idea: what JSON tells apart and Lua does not - [] and {}, null and
** nothing - is told by a metatable and by one userdata; both go to other
** states. The work is done by json_decode.c and json_encode.c.
*/
#include "json.h"

#include <string.h>

#include "binding.h"

#define NULL_TYPE "llmpool.json.null"

int luaopen_llmpool(lua_State *L);

static const char json_key = 'j';   /* registry: the module */
static const char state_key = 'J';  /* registry: the Json */
static const char array_key = '[';  /* registry: the mark of arrays */
static const char object_key = '{'; /* registry: the mark of objects */
static const char null_key = '0';   /* registry: null */

/* ---- marks and null ---------------------------------------------------- */

static int mm_null_tostring(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

static const void *make_mark(lua_State *L, const char *key, const char *name) {
  lua_createtable(L, 0, 3);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushstring(L, strrchr(name, '.') + 1);
  lua_setfield(L, -2, "__jsontype"); /* for dkjson, which writes it then */
  lua_pushlightuserdata(L, (void *)key);
  lua_setfield(L, -2, "__sendable");
  const void *mark = lua_topointer(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
  return mark;
}

static const void *make_null(lua_State *L) {
  const void *null = lua_newuserdatauv(L, 0, 0);
  luaL_newmetatable(L, NULL_TYPE);
  lua_pushcfunction(L, mm_null_tostring);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__tojson"); /* for dkjson */
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
  return null;
}

void json_open(lua_State *L) {
  Json *json = lua_newuserdatauv(L, sizeof *json, 0);
  json->array_meta = make_mark(L, &array_key, "llmpool.json.array");
  json->object_meta = make_mark(L, &object_key, "llmpool.json.object");
  json->null = make_null(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
}

/* Pushes the functions' upvalues. [-0, +5, m] */
static void push_json(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  lua_pushnil(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &object_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
}

static void push_null(lua_State *L, void *ptr) {
  (void)ptr;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
}

bool json_send_null(lua_State *L, int index, ValueRef *ref) {
  if (luaL_testudata(L, index, NULL_TYPE) == NULL) return false;
  *ref = (ValueRef){(void *)&null_key, NULL, push_null};
  return true;
}

/* ---- options ----------------------------------------------------------- */

/* The options {name = value} at argument 2 know only `name`; pushes it. */
static int check_option(lua_State *L, const char *name) {
  if (lua_isnoneornil(L, 2)) {
    lua_pushnil(L);
    return LUA_TNIL;
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING &&
        strcmp(lua_tostring(L, -1), name) == 0)
      continue;
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "unknown option '%s'; there is %s",
                                  luaL_tolstring(L, -1, NULL), name));
  }
  return lua_getfield(L, 2, name);
}

/* ---- functions --------------------------------------------------------- */

/* (text, {max_depth}) -> value */
static int f_decode(lua_State *L) {
  size_t length;
  luaL_argexpected(L, lua_type(L, 1) == LUA_TSTRING, 1, "string");
  const char *text = lua_tolstring(L, 1, &length);
  lua_Integer depth = JSON_DEPTH;
  if (check_option(L, "max_depth") != LUA_TNIL) {
    int is_integer;
    depth = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || depth < 1 || depth > JSON_MAX_DEPTH)
      wrong_option(L, 2, -1, "max_depth", "a whole number from 1 to 5000");
  }
  lua_settop(L, 1);
  json_decode(L, text, length, (int)depth);
  return 1;
}

/* (value, {pretty}) -> text */
static int f_encode(lua_State *L) {
  luaL_checkany(L, 1);
  if (check_option(L, "pretty") != LUA_TNIL && !lua_isboolean(L, -1))
    wrong_option(L, 2, -1, "pretty", "true or false");
  bool pretty = lua_toboolean(L, -1);
  lua_settop(L, 1);
  json_encode(L, 1, pretty);
  return 1;
}

/* Marks the table at argument 1, or a new one. */
static int mark(lua_State *L, int upvalue) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (lua_getmetatable(L, 1)) {
    const void *present = lua_topointer(L, -1);
    const Json *json = lua_touserdata(L, lua_upvalueindex(JSON_STATE));
    luaL_argcheck(L,
                  present == json->array_meta || present == json->object_meta,
                  1, "the table has a metatable of its own");
  }
  lua_pushvalue(L, upvalue);
  lua_setmetatable(L, 1);
  lua_settop(L, 1);
  return 1;
}

static int f_array(lua_State *L) {
  return mark(L, lua_upvalueindex(JSON_ARRAY));
}

static int f_object(lua_State *L) {
  return mark(L, lua_upvalueindex(JSON_OBJECT));
}

/* Whether encode would write [...] */
static int f_is_array(lua_State *L) {
  const Json *json = lua_touserdata(L, lua_upvalueindex(JSON_STATE));
  luaL_checkany(L, 1);
  bool array = false;
  if (lua_istable(L, 1)) {
    const void *meta = lua_getmetatable(L, 1) ? lua_topointer(L, -1) : NULL;
    array = meta == json->array_meta ||
            (meta != json->object_meta && lua_rawlen(L, 1) > 0);
  }
  lua_pushboolean(L, array);
  return 1;
}

/* ---- without null ------------------------------------------------------ */

static const void *null_of(lua_State *L) {
  return ((const Json *)lua_touserdata(L, lua_upvalueindex(JSON_STATE)))->null;
}

static void l_enter(lua_State *L, int depth) {
  if (depth >= JSON_MAX_DEPTH)
    luaL_argerror(L, 1, "it contains itself, or is nested deeper than 5000");
  luaL_checkstack(L, LUA_MINSTACK, "nested too deep");
}

/* Whether null lies somewhere in the table on the top. */
static bool l_has_null(lua_State *L, const void *null, int depth) {
  int table = lua_gettop(L);
  l_enter(L, depth);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    int type = lua_type(L, -1);
    if ((type == LUA_TUSERDATA && lua_touserdata(L, -1) == null) ||
        (type == LUA_TTABLE && l_has_null(L, null, depth + 1))) {
      lua_settop(L, table);
      return true;
    }
    lua_pop(L, 1);
  }
  return false;
}

/* Replaces the table on the top by a copy without null, its marks kept. */
static void l_copy(lua_State *L, const void *null, int depth) {
  int table = lua_gettop(L), copy = table + 1;
  l_enter(L, depth);
  lua_newtable(L);
  if (lua_getmetatable(L, table)) lua_setmetatable(L, copy);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_touserdata(L, -1) == null) {
      lua_pop(L, 1);
      continue;
    }
    if (lua_istable(L, -1)) l_copy(L, null, depth + 1);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, copy);
  }
  lua_replace(L, table);
}

/* (value) -> the value, or a copy of it without null in its tables */
static int f_without_null(lua_State *L) {
  const void *null = null_of(L);
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  if (lua_touserdata(L, 1) == null)
    lua_pushnil(L);
  else if (lua_istable(L, 1) && l_has_null(L, null, 0))
    l_copy(L, null, 0);
  return 1;
}

int luaopen_llmpool_json(lua_State *L) {
  static const luaL_Reg functions[] = {{"decode", f_decode},
                                       {"encode", f_encode},
                                       {"array", f_array},
                                       {"object", f_object},
                                       {"is_array", f_is_array},
                                       {"without_null", f_without_null},
                                       {NULL, NULL}};
  luaL_requiref(L, "llmpool", luaopen_llmpool, 0);
  lua_pop(L, 1);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &json_key) != LUA_TNIL) return 1;
  luaL_newlibtable(L, functions);
  push_json(L);
  luaL_setfuncs(L, functions, JSON_NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
  lua_setfield(L, -2, "null");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &json_key);
  return 1;
}
