/*
** attempt.c - one attempt of a router's at a request: a client is taken, does
** the request, is told of to the pool and the view, and is back.
**
** One idea: it is acquire, generate and close in one call, for what most
** attempts are - one model, without hooks, on a task's own ground. No client is
** made for Lua to see and nothing is left to be closed, since the task owns the
** guard (quick.c). A wait or a check goes the way of lease.c, which comes back
** here with the client. All else is left to the router's long way.
**
** The stack is that of lend.h, with the request where get_client has its
** callback:
**   1 view  2 model  3 request  4 options  5 holder or nil
**   6 when it began  7 whether generate tells of itself  8 message handler
*/
#include "lend.h"

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "view.h"

enum { VIEW = POOL, REQUEST = CALLBACK, ASK = OPTIONS };
enum { BEGAN = HOLDER + 1, TELLS, ON_ERROR };

/* ---- which attempts ---------------------------------------------------- */

static llm_model *plain_model(lua_State *L, const Binding *b) {
  const View *view = lua_touserdata(L, VIEW);
  const LuaPool *pool = view->pool;
  if (b->trace_leaks || pool->pool == NULL || pool->world != b->worker->world ||
      !is_own_ground(L, b->worker, b->worker->current))
    return NULL;
  llm_model *model = find_hookless(L, pool, MODEL);
  return model && !llm_model_is_closed(model) ? model : NULL;
}

/* ---- the end ----------------------------------------------------------- */

int attempt_refused(lua_State *L) {
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

/* (guard, when it began, whether it is told already, error) -> its model's
** name, its id */
static int note_failure(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  int64_t began = (int64_t)lua_tointeger(L, 2);
  if (!lua_toboolean(L, 3)) outcome_failure(L, guard, began);
  lua_pushstring(L, llm_model_name(guard->lease.model));
  lua_pushstring(L, llm_place_id(guard->lease.place));
  return 2;
}

/* The error is on the top. Nothing keeps the client from coming back. */
static int fail(lua_State *L, Guard *guard) {
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  int error = lua_gettop(L);
  lua_pushcfunction(L, note_failure);
  lua_pushlightuserdata(L, guard);
  lua_pushvalue(L, BEGAN);
  lua_pushvalue(L, TELLS);
  lua_pushvalue(L, error);
  if (lua_pcall(L, 4, 2, 0) != LUA_OK) lua_settop(L, error);
  end_lending(L, guard);
  return lua_gettop(L) - error + 2;
}

static int succeed(lua_State *L, Guard *guard) {
  int64_t began = (int64_t)lua_tointeger(L, BEGAN);
  if (!lua_toboolean(L, TELLS)) outcome_success(L, guard, began, ON_ERROR + 2);
  end_lending(L, guard);
  lua_pushboolean(L, 1);
  lua_replace(L, ON_ERROR);
  return lua_gettop(L) - ON_ERROR + 1;
}

static int k_served(lua_State *L, int status, lua_KContext ctx) {
  bool ok = status == LUA_OK || status == LUA_YIELD;
  return ok ? succeed(L, (Guard *)ctx) : fail(L, (Guard *)ctx);
}

/* ---- the request ------------------------------------------------------- */

/* Pushes the field of a table, or of the table that it inherits from, without
** running anything; else nothing. */
static bool push_plain_field(lua_State *L, int index, const char *name) {
  if (!lua_istable(L, index)) return false;
  lua_pushstring(L, name);
  if (lua_rawget(L, index) != LUA_TNIL) return true;
  lua_pop(L, 1);
  if (luaL_getmetafield(L, index, "__index") == LUA_TNIL) return false;
  int type = LUA_TNIL;
  if (lua_istable(L, -1)) {
    lua_pushstring(L, name);
    type = lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  if (type == LUA_TNIL) lua_pop(L, 1);
  return type != LUA_TNIL;
}

/* Pushes the method and the instance; false: it takes a call to find them. */
static bool push_method(lua_State *L, llm_place *place) {
  if (!push_kept_instance(L, place)) return false;
  int instance = lua_gettop(L);
  if (push_plain_field(L, instance, "generate")) {
    lua_insert(L, instance);
    return true;
  }
  lua_pop(L, 1);
  return false;
}

static int k_all(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return lua_gettop(L) - (int)ctx;
}

/* (guard, request): client:generate, as a script would call it */
static int generate_by_name(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  Client *client = new_client_anywhere(L, 0);
  name_lease(worker_of(L)->pools, client, guard, NULL);
  lua_getfield(L, -1, "generate");
  lua_insert(L, -2);
  lua_pushvalue(L, 2);
  lua_callk(L, 2, LUA_MULTRET, 2, k_all);
  return lua_gettop(L) - 2;
}

int attempt_serve(lua_State *L, Guard *guard) {
  Binding *b = binding_of(L);
  name_guard(b, guard, NULL);
  lua_pushinteger(L, (lua_Integer)world_now(b->worker->world));
  lua_pushboolean(L, 0);
  lua_pushcfunction(L, keep_of_bugs);
  if (!push_method(L, guard->lease.place)) {
    lua_pushboolean(L, 1);
    lua_replace(L, TELLS);
    lua_pushcfunction(L, generate_by_name);
    lua_pushlightuserdata(L, guard);
  }
  lua_pushvalue(L, REQUEST);
  lua_KContext ctx = (lua_KContext)guard;
  int status = lua_pcallk(L, 2, LUA_MULTRET, ON_ERROR, ctx, k_served);
  return k_served(L, status, ctx);
}

/* (view, model, request, options) -> true, text, response; false, the error,
** and whose it was: model and id, where there was a client; or nothing: this
** attempt needs the long way, and nothing was done */
static int f_attempt(lua_State *L) {
  Binding *b = binding_of(L);
  llm_model *model = plain_model(L, b);
  if (model == NULL) return 0;
  lua_settop(L, HOLDER);
  Guard *guard = guard_take(L, b, true);
  if (lua_isnil(L, ASK) && llm_lease_try(&guard->lease, model))
    return attempt_serve(L, guard);
  return ask_model(L, guard, model);
}

void attempt_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"attempt", f_attempt}, {NULL, NULL}};
  set_lenders(L, b, functions);
}
