/*
** attempt.c - one attempt of a router's at a request: a client is taken, does
** the request, is told of to the pool and the view, and is back.
**
** One idea: it is acquire, generate and close in one call, for what most
** attempts are - one model, without hooks, on a task's own ground. No client is
** made for Lua to see and nothing is left to be closed, since the task owns the
** guard (quick.c). One that has a time for itself is a block of a timeout's
** (scope.c) in the same place. A wait or a check goes the way of lease.c, which
** comes back here with the client. All else is left to the router's long way.
**
** The stack is that of lend.h, with the request where get_client has its
** callback:
**   1 view  2 model  3 request  4 options  5 holder or nil
**   6 when it began  7 whether generate tells of itself  8 message handler
*/
#include "lend.h"

#include <stdio.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
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

/* ---- the end of its time ----------------------------------------------- */

/* A client that is told its time gets so much more to end by itself, and to say
** what was slow. */
#define GRACE 0.001

static double time_left(const Guard *guard, int64_t now) {
  double left = guard->till - to_seconds(now);
  return left > 0 ? left : 0;
}

/* stack: guard began tells error. The error says that the attempt took all of
** its time; else the block that ended was the client's own. */
static bool was_too_slow(lua_State *L, const Guard *guard, int64_t began,
                         int64_t now) {
  if (guard->till == 0 || !lua_istable(L, 4)) return false;
  lua_pushliteral(L, "kind");
  lua_rawget(L, 4);
  const char *kind = lua_tostring(L, -1);
  bool is_late = kind && strcmp(kind, "timeout") == 0 &&
                 to_seconds(now) - to_seconds(began) >= time_left(guard, began);
  lua_pop(L, 1);
  return is_late;
}

/* The error becomes what a provider says of it, and is told of the client. */
static void blame(lua_State *L, Guard *guard, int64_t began, int64_t now) {
  const char *id = llm_place_id(guard->lease.place);
  const char *model = llm_model_name(guard->lease.model);
  char left[32];
  snprintf(left, sizeof left, "%g", time_left(guard, began));
  push_error(L, "timeout_total",
             "client \"%s\" of \"%s\": no answer within %s s", id, model, left);
  lua_pushstring(L, id);
  lua_setfield(L, -2, "client");
  lua_pushstring(L, model);
  lua_setfield(L, -2, "model");
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "retryable");
  lua_replace(L, 4);
  outcome_failure(L, guard, to_seconds(now) - to_seconds(began));
}

/* ---- the end ----------------------------------------------------------- */

int attempt_refused(lua_State *L) {
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

/* (guard, when it began, whether it is told already, error) -> error, its
** model's name, its id */
static int note_failure(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  int64_t began = (int64_t)lua_tointeger(L, 2);
  int64_t now = world_now(worker_of(L)->world);
  if (was_too_slow(L, guard, began, now))
    blame(L, guard, began, now);
  else if (!lua_toboolean(L, 3))
    outcome_failure(L, guard, to_seconds(now - began));
  lua_settop(L, 4);
  lua_pushstring(L, llm_model_name(guard->lease.model));
  lua_pushstring(L, llm_place_id(guard->lease.place));
  return 3;
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
  if (lua_pcall(L, 4, 3, 0) == LUA_OK)
    lua_remove(L, error);
  else
    lua_settop(L, error);
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

/* (guard, request, options or nothing): client:generate, as a script would call
** it */
static int generate_by_name(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  int nargs = lua_gettop(L);
  Client *client = new_client_anywhere(L, 0);
  name_lease(worker_of(L)->pools, client, guard, NULL);
  lua_replace(L, 1);
  lua_getfield(L, 1, "generate");
  lua_insert(L, 1); /* stack: generate client request ... */
  lua_callk(L, nargs, LUA_MULTRET, 0, k_all);
  return lua_gettop(L);
}

/* (guard, request): the same, within what is left of its time */
static int generate_within(lua_State *L) {
  const Guard *guard = lua_touserdata(L, 1);
  double left = time_left(guard, world_now(worker_of(L)->world));
  push_timeout_inside(L);
  lua_pushnumber(L, left + GRACE);
  lua_pushcfunction(L, generate_by_name);
  lua_rotate(L, 1, 3); /* stack: timeout seconds function guard request */
  lua_createtable(L, 0, 1);
  lua_createtable(L, 0, 1);
  lua_pushnumber(L, left);
  lua_setfield(L, -2, "total");
  lua_setfield(L, -2, "timeout");
  lua_callk(L, 5, LUA_MULTRET, 0, k_all);
  return lua_gettop(L);
}

/* Pushes what is called with the guard and tells of itself. */
static void push_teller(lua_State *L, Guard *guard, lua_CFunction by) {
  lua_pushboolean(L, 1);
  lua_replace(L, TELLS);
  lua_pushcfunction(L, by);
  lua_pushlightuserdata(L, guard);
}

int attempt_serve(lua_State *L, Guard *guard) {
  Binding *b = binding_of(L);
  name_guard(b, guard, NULL);
  lua_pushinteger(L, (lua_Integer)world_now(b->worker->world));
  lua_pushboolean(L, 0);
  lua_pushcfunction(L, keep_of_bugs);
  if (guard->till > 0)
    push_teller(L, guard, generate_within);
  else if (!push_method(L, guard->lease.place))
    push_teller(L, guard, generate_by_name);
  lua_pushvalue(L, REQUEST);
  lua_KContext ctx = (lua_KContext)guard;
  int status = lua_pcallk(L, 2, LUA_MULTRET, ON_ERROR, ctx, k_served);
  return k_served(L, status, ctx);
}

/* stack: view model request options */
static int begin(lua_State *L, llm_model *model, double till, int64_t wait_ns) {
  lua_settop(L, HOLDER);
  Guard *guard = guard_take(L, binding_of(L), true);
  guard->till = till;
  if (lua_isnil(L, ASK) && llm_lease_try(&guard->lease, model))
    return attempt_serve(L, guard);
  return ask_model(L, guard, model, wait_ns);
}

/* (view, model, request, options) -> true, text, response; false, the error,
** and whose it was: model and id, where there was a client; or nothing: this
** attempt needs the long way, and nothing was done */
static int f_attempt(lua_State *L) {
  llm_model *model = plain_model(L, binding_of(L));
  if (model == NULL) return 0;
  return begin(L, model, 0, -1);
}

/* (view, model, request, options, seconds to wait or nil, when its time is over
** or nil): the same */
static int f_attempt_within(lua_State *L) {
  llm_model *model = plain_model(L, binding_of(L));
  if (model == NULL) return 0;
  int64_t wait_ns =
      lua_isnoneornil(L, 5) ? -1 : check_seconds(L, 5, 5, "a wait");
  double till = luaL_optnumber(L, 6, 0);
  lua_settop(L, ASK);
  return begin(L, model, till, wait_ns);
}

void attempt_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"attempt", f_attempt},
                                       {"attempt_within", f_attempt_within},
                                       {NULL, NULL}};
  set_lenders(L, b, functions);
}
