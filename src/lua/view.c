/*
** view.c - what a policy sees of a pool: view["gpt-4"], view:model(name), and
** the call of the policy itself, under a bound.
**
** One idea: a decision begins an epoch; whatever the policy reads in it is of
** one moment. The policy runs with its instructions and its memory counted and
** may not wait, so that no script can stop the router.
*/
#include "view.h"

#include "../runtime/bound.h"
#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

static View *check_view(lua_State *L, int index) {
  return view_check(L, index, binding_of(L)->view_types[0], "view");
}

/* ---- models ------------------------------------------------------------ */

/* The one that is kept, if it is of the model that has the name now. */
static ModelView *push_known(lua_State *L, int index, int name) {
  lua_getiuservalue(L, index, VIEW_MODELS);
  lua_pushvalue(L, name);
  if (lua_rawget(L, -2) == LUA_TUSERDATA) {
    ModelView *known = lua_touserdata(L, -1);
    if (known->model && !llm_model_is_closed(known->model)) {
      lua_replace(L, -2);
      return known;
    }
  }
  lua_pop(L, 2);
  return NULL;
}

/* Models that were unregistered: nobody asks for them by their names again. */
static void forget_closed(lua_State *L, int index) {
  lua_getiuservalue(L, index, VIEW_MODELS);
  for (lua_pushnil(L); lua_next(L, -2);) {
    const ModelView *known = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!llm_model_is_closed(known->model)) continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
}

ModelView *push_view_of(lua_State *L, int index, View *view, int name) {
  ModelView *known = push_known(L, index, name);
  if (known) return known;
  if (view->pool->pool == NULL) luaL_error(L, "the view's pool was let go");
  luaL_argexpected(L, lua_type(L, name) == LUA_TSTRING, name, "a model's name");
  ModelView *made = push_model_view(L, index, view);
  made->model = llm_pool_model(view->pool->pool, lua_tostring(L, name));
  if (made->model == NULL) {
    push_unknown_model(L, view->pool, name);
    lua_error(L);
  }
  forget_closed(L, index);
  lua_getiuservalue(L, index, VIEW_MODELS);
  lua_pushvalue(L, name);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return made;
}

static int m_model(lua_State *L) {
  View *view = check_view(L, 1);
  lua_settop(L, 2);
  push_view_of(L, 1, view, 2);
  return 1;
}

/* (view) -> the names of the pool's models, in order of registration */
static int m_models(lua_State *L) {
  check_view(L, 1);
  lua_getiuservalue(L, 1, VIEW_POOL);
  lua_getfield(L, -1, "models");
  lua_insert(L, -2);
  lua_call(L, 1, 1);
  return 1;
}

/* ---- notes ------------------------------------------------------------- */

/* (view, model, client, score, why): kept if somebody wants to know */
static int m_note(lua_State *L) {
  static const char *const names[] = {"model", "client", "score", "why"};
  check_view(L, 1);
  lua_settop(L, 5);
  if (lua_getiuservalue(L, 1, VIEW_NOTES) != LUA_TTABLE) return 0;
  lua_createtable(L, 0, 4);
  for (int i = 0; i < 4; i++) {
    lua_pushvalue(L, 2 + i);
    lua_setfield(L, -2, names[i]);
  }
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  return 0;
}

/* ---- fields ------------------------------------------------------------ */

enum { FIELD_NOW = 1, FIELD_STREAMS, FIELD_PROBE, FIELD_EXPLAINING };

static const char *const field_names[] = {NULL, "now", "streams", "probe",
                                          "explaining"};

/* upvalue 3: key -> a method, or a field's number; what is none is a model */
static int mm_index(lua_State *L) {
  View *view = check_view(L, 1);
  lua_pushvalue(L, 2);
  int type = lua_rawget(L, lua_upvalueindex(3));
  if (type == LUA_TFUNCTION) return 1;
  if (type == LUA_TNIL) {
    push_view_of(L, 1, view, 2);
    return 1;
  }
  switch (lua_tointeger(L, -1)) {
  case FIELD_NOW:
    lua_pushnumber(L, to_seconds(world_now(view->pool->world)));
    break;
  case FIELD_STREAMS: lua_pushboolean(L, view->streams); break;
  case FIELD_PROBE: lua_pushboolean(L, view->probe); break;
  default: lua_pushboolean(L, view->explaining);
  }
  return 1;
}

static int mm_tostring(lua_State *L) {
  check_view(L, 1);
  lua_getiuservalue(L, 1, VIEW_POOL);
  luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L, "view of %s", lua_tostring(L, -1));
  return 1;
}

/* ---- what the router calls --------------------------------------------- */

/* (pool) -> view */
static int f_view(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  View *view = lua_newuserdatauv(L, sizeof *view, 3);
  *view = (View){.binding = binding_of(L), .pool = pool, .epoch = 1};
  luaL_setmetatable(L, VIEW_TYPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, VIEW_POOL);
  lua_newtable(L);
  lua_setiuservalue(L, -2, VIEW_MODELS);
  return 1;
}

/* (view, probe, notes): what is looked at from now on is of this moment; notes
** are kept in the table, if one is given */
static int f_view_begin(lua_State *L) {
  View *view = check_view(L, 1);
  lua_settop(L, 3);
  view->epoch++;
  view->probe = lua_toboolean(L, 2);
  view->explaining = lua_istable(L, 3);
  lua_setiuservalue(L, 1, VIEW_NOTES);
  return 0;
}

static const char *end_name(BoundEnd end) {
  static const char *const names[] = {"ok", "raised", "instructions", "memory"};
  return names[end];
}

/* (what, instructions, bytes, function, ...) -> what the function returns
** first, or nil, the error and why: raised, instructions, memory */
static int f_bounded(lua_State *L) {
  Bound bound = {.what = luaL_checkstring(L, 1),
                 .instructions = luaL_checkinteger(L, 2),
                 .bytes = luaL_checkinteger(L, 3)};
  BoundEnd end =
      bound_call(L, binding_of(L)->worker, &bound, lua_gettop(L) - 4, 1);
  if (end == BOUND_OK) return 1;
  luaL_pushfail(L);
  lua_insert(L, -2);
  lua_pushstring(L, end_name(end));
  return 3;
}

/* (text) -> 32 bits of it: FNV-1a, mixed once more */
static int f_hash(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < length; i++)
    h = (h ^ (unsigned char)text[i]) * 16777619u;
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  lua_pushinteger(L, (lua_Integer)(h ^ h >> 16));
  return 1;
}

/* (view, policy, instructions, bytes, request, options, streams) -> plan, or
** nil, error, why */
static int f_decide(lua_State *L) {
  View *view = check_view(L, 1);
  Bound bound = {.what = "a policy",
                 .instructions = lua_tointeger(L, 3),
                 .bytes = lua_tointeger(L, 4)};
  view->epoch++;
  view->streams = lua_toboolean(L, 7);
  lua_settop(L, 6);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 5);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 6);
  BoundEnd end = bound_call(L, view->binding->worker, &bound, 3, 1);
  if (end == BOUND_OK) return 1;
  luaL_pushfail(L);
  lua_insert(L, -2);
  lua_pushstring(L, end_name(end));
  return 3;
}

void view_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {
      {"view", f_view}, {"view_begin", f_view_begin}, {"bounded", f_bounded},
      {"hash", f_hash}, {"decide", f_decide},         {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"model", m_model}, {"models", m_models}, {"note", m_note}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__tostring", mm_tostring},
                                         {NULL, NULL}};
  set_functions(L, b, functions);
  view_fields_open(L, b);
  int keys = lua_gettop(L);
  new_type(L, b, VIEW_TYPE, methods, metamethods); /* stack: type methods */
  view_choices_open(L, b, keys);
  for (int i = FIELD_NOW; i <= FIELD_EXPLAINING; i++) {
    lua_pushinteger(L, i);
    lua_setfield(L, -2, field_names[i]);
  }
  view_set_index(L, b, mm_index);
  b->view_types[0] = lua_topointer(L, -2);
  lua_pop(L, 3);
}
