/*
** quick.c - the short way of get_client and acquire, for what most calls are:
** a client is free, no hook runs, nothing has to be waited for or made.
**
** One idea: everything that can fail is done before the client is taken, and
** between taking it and the protected call stands nothing. Where the running
** coroutine is the task's own, or the main chunk, nobody can drop or close it
** from outside, so get_client needs no slot to be closed: the task owns the
** lease, and gives it back where it ends (task_reclaim). All else - another
** coroutine of the user's, a wait, a wrong argument - is NOT_QUICK, and goes
** the way of lease.c from the start.
*/
#include "binding.h"

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "../runtime/site.h"

enum { POOL = 1, MODEL, CALLBACK };

bool is_own_ground(lua_State *L, const Worker *worker, const Task *task) {
  if (task->co == L) {
    if (!lua_isyieldable(L)) return false;
  } else if (task != &worker->world->main || L != worker->L ||
             worker->world->driving) {
    return false;
  }
  return !task->cancelled && (task->scope == NULL || !task_is_cancelled(task));
}

/* The model that may be asked without further checks, or NULL. */
static llm_model *plain_model(lua_State *L, const Binding *b) {
  const LuaPool *pool = lua_touserdata(L, POOL);
  if (pool == NULL || pool != b->recent || pool->world != b->worker->world ||
      !is_own_ground(L, b->worker, b->worker->current))
    return NULL;
  llm_model *model = find_hookless(L, pool, MODEL);
  return model && llm_model_may_lend(model) ? model : NULL;
}

/* ---- get_client -------------------------------------------------------- */

/* stack: pool model callback handler results... */
static int k_called(lua_State *L, int status, lua_KContext ctx) {
  Guard *guard = (Guard *)ctx;
  Binding *b = binding_of(L);
  if (llm_lease_is_held(&guard->lease)) guard_release(L, b, guard, LLM_KEEP);
  guard_free(b, guard);
  if (status == LUA_OK || status == LUA_YIELD)
    return lua_gettop(L) - (CALLBACK + 1);
  rethrow_mark(L);
  return lua_error(L);
}

int quick_get_client(lua_State *L, Binding *b) {
  if (lua_gettop(L) != CALLBACK) return NOT_QUICK;
  llm_model *model = plain_model(L, b);
  if (model == NULL || lua_type(L, CALLBACK) != LUA_TFUNCTION) return NOT_QUICK;
  const char *site = b->trace_leaks ? site_of(L, b->worker, 1) : NULL;
  lua_pushcfunction(L, keep_traceback);
  lua_pushvalue(L, CALLBACK);
  Client *client = new_client(L, 0);
  Guard *guard = guard_take(L, b, true);
  if (!llm_lease_try(&guard->lease, model)) {
    guard_free(b, guard);
    lua_settop(L, CALLBACK);
    return NOT_QUICK;
  }
  name_lease(b, client, guard, site);
  lua_KContext ctx = (lua_KContext)guard;
  int status = lua_pcallk(L, 1, LUA_MULTRET, CALLBACK + 1, ctx, k_called);
  return k_called(L, status, ctx);
}

/* ---- acquire ----------------------------------------------------------- */

/* The client owns the guard through a holder, as hand_over of lend.c has it.
*/
int quick_acquire(lua_State *L, Binding *b, bool told) {
  if (lua_gettop(L) != MODEL) return NOT_QUICK;
  llm_model *model = plain_model(L, b);
  if (model == NULL) return NOT_QUICK;
  const char *site = told ? site_of(L, b->worker, 1) : NULL;
  Client *client = new_client(L, 1);
  Holder *holder = push_holder(L, b);
  lua_setiuservalue(L, -2, 1);
  Guard *guard = guard_take(L, b, false);
  if (!llm_lease_try(&guard->lease, model)) {
    guard_free(b, guard);
    put_holder(b, holder);
    lua_settop(L, MODEL);
    return NOT_QUICK;
  }
  guard->task = NULL;
  hold_guard(holder, guard);
  holder->detached = true;
  name_lease(b, client, guard, site);
  return 1;
}
