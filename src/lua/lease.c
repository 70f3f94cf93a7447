/*
** lease.c - get_client and acquire: the way from a question to a client.
**
** One idea: the core's checkout is a machine of steps, and one function,
** advance, does each step by Lua's means: park, run a check or a creation
** under a protected call, lend, or raise. Each may be left by a yield and is
** continued by a k_ function that calls advance again. The stack of both calls
** is the same:
**   1 pool  2 model(s)  3 callback or nil  4 options, later the guard
**   5 guard, to be closed  6 message handler or client  7... what was called
*/
#include "binding.h"

#include <assert.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "../runtime/site.h"

enum { POOL = 1, MODEL, CALLBACK, OPTIONS, GUARD, HANDLER, RESULTS };
enum { GUARD_COPY = OPTIONS };

static int advance(lua_State *L, Guard *guard, llm_step step);

static Worker *worker(const Guard *guard) { return guard->binding->worker; }

static lua_KContext context(Guard *guard) { return (lua_KContext)guard; }

/* ---- lending ----------------------------------------------------------- */

/* The callback has returned or raised: the client is back before anybody sees
** what. Only a guard whose slot is closed may be reused: on a coroutine that
** died of an error the slot would stay open. */
static int k_called(lua_State *L, int status, lua_KContext ctx) {
  Guard *guard = (Guard *)ctx;
  if (llm_lease_is_held(&guard->lease)) guard_release(L, guard, LLM_KEEP);
  lua_closeslot(L, GUARD);
  guard_recycle(L, guard, GUARD_COPY);
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - HANDLER;
  rethrow_mark(L);
  return lua_error(L);
}

static void run_on_lend(lua_State *L, Guard *guard) {
  const ModelInfo *info = llm_model_user(guard->lease.model);
  if (!info->on_lend) return;
  push_helper(L, HELPER_ON_LEND);
  push_model_info(L, guard->lease.model);
  push_client(L, guard, 0);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  guard_release(L, guard, LLM_POISON);
  lua_error(L); /* unchanged */
}

static int call_back(lua_State *L, Guard *guard) {
  lua_pushvalue(L, GUARD);
  lua_replace(L, GUARD_COPY);
  lua_pushcfunction(L, keep_traceback);
  lua_pushvalue(L, CALLBACK);
  push_client(L, guard, 0); /* stack: ... handler callback client */
  int status = lua_pcallk(L, 1, LUA_MULTRET, HANDLER, context(guard), k_called);
  return k_called(L, status, context(guard));
}

static int hand_over(lua_State *L, Guard *guard) {
  push_client(L, guard, 1);
  lua_pushvalue(L, GUARD);
  lua_setiuservalue(L, -2, 1);
  guard->detached = true;
  return 1;
}

static int lend(lua_State *L, Guard *guard) {
  lua_settop(L, GUARD);
  run_on_lend(L, guard);
  return lua_isnil(L, CALLBACK) ? hand_over(L, guard) : call_back(L, guard);
}

/* ---- waiting ----------------------------------------------------------- */

static int k_waited(lua_State *L, int status, lua_KContext ctx);

static int park(lua_State *L, Guard *guard) {
  return task_park(L, worker(guard), WAIT_LEASE, context(guard), k_waited);
}

static int wait(lua_State *L, Guard *guard) {
  Task *task = worker(guard)->current;
  int64_t deadline = guard->lease.waiter.deadline_ns;
  guard->task = task;
  guard->waiting = true;
  if (deadline != LLM_FOREVER && !task_set_deadline(task, deadline))
    luaL_error(L, "not enough memory");
  return park(L, guard);
}

/* The wait is given up: the client is not wanted even if it comes. */
static void give_up(Guard *guard) {
  if (!guard->woken && llm_lease_withdraw(&guard->lease, LLM_CANCELLED)) return;
  guard_await_wake(guard);
  llm_lease_abort(&guard->lease);
}

/* A timeout that loses to a grant keeps it: the client is worth more than the
** error. */
static llm_step time_out(Guard *guard) {
  if (llm_lease_withdraw(&guard->lease, LLM_TIMEOUT)) return LLM_FAILED;
  guard_await_wake(guard);
  return llm_lease_next(&guard->lease);
}

static bool is_late(const Guard *guard) {
  return guard->lease.waiter.deadline_ns <= world_now(guard->task->world);
}

static int k_waited(lua_State *L, int status, lua_KContext ctx) {
  Guard *guard = (Guard *)ctx;
  Task *task = guard->task;
  (void)status;
  bool cancelled = task_is_cancelled(task);
  bool doomed = task->doomed && !guard->woken;
  if (!cancelled && !doomed && !guard->woken && !is_late(guard))
    return park(L, guard);
  guard->waiting = false;
  task->doomed = false;
  timer_stop(task->world, &task->timer);
  if (cancelled || doomed) {
    if (doomed) push_deadlock(L, guard);
    give_up(guard);
    check_cancel(L, task);
    return lua_error(L);
  }
  if (!guard->woken) return advance(L, guard, time_out(guard));
  guard->woken = false;
  return advance(L, guard, llm_lease_next(&guard->lease));
}

/* ---- checking and creating --------------------------------------------- */

static LuaSpec *new_spec(lua_State *L, int index) {
  return lua_isnil(L, index) ? NULL : make_spec(L, index);
}

static llm_step report_made(lua_State *L, Guard *guard) {
  llm_lease *lease = &guard->lease;
  if (lease->step == LLM_CHECK) {
    guard->making = false;
    return llm_lease_done(lease, LLM_OK, NULL, NULL, NULL);
  }
  LuaSpec *spec = new_spec(L, RESULTS + 1); /* may raise: still making */
  llm_place *place = lease->place;
  guard->making = false;
  llm_step step = llm_lease_done(lease, LLM_OK, (void *)place, spec, NULL);
  if (step == LLM_READY) set_instance(L, place, RESULTS);
  return step;
}

static llm_step report_failed(lua_State *L, Guard *guard) {
  const char *kind = error_kind(L, RESULTS);
  bool late = kind && kind[0] == 't'; /* timeout */
  const char *text = luaL_tolstring(L, RESULTS, NULL);
  guard->making = false;
  llm_step step = llm_lease_done(
      &guard->lease, late ? LLM_TIMEOUT : LLM_CREATE_FAILED, NULL, NULL, text);
  lua_pop(L, 1);
  return step;
}

static int k_made(lua_State *L, int status, lua_KContext ctx) {
  Guard *guard = (Guard *)ctx;
  bool ok = status == LUA_OK || status == LUA_YIELD;
  guard->binding->slots[guard->slot].serial = 0;
  if (task_is_cancelled(guard->task)) {
    guard->making = false;
    llm_lease_abort(&guard->lease);
    if (ok) check_cancel(L, guard->task);
    return lua_error(L);
  }
  llm_step step = ok ? report_made(L, guard) : report_failed(L, guard);
  if (ok || step != LLM_FAILED) lua_settop(L, GUARD);
  return advance(L, guard, step);
}

/* stack: ... guard handler; then helper info client reason */
static int make(lua_State *L, Guard *guard, Helper helper) {
  lua_settop(L, GUARD);
  guard->task = worker(guard)->current;
  guard->making = true;
  lua_pushcfunction(L, keep_traceback);
  push_helper(L, helper);
  push_model_info(L, guard->lease.model);
  push_client(L, guard, 0);
  lua_pushstring(L, llm_reason_name((llm_reason)guard->lease.reason));
  int status = lua_pcallk(L, 3, 2, HANDLER, context(guard), k_made);
  return k_made(L, status, context(guard));
}

/* ---- the steps --------------------------------------------------------- */

static int refuse(lua_State *L, Guard *guard) {
  push_failure(L, guard, lua_gettop(L) >= RESULTS ? RESULTS : 0);
  if (!lua_isnil(L, CALLBACK)) return lua_error(L);
  luaL_pushfail(L);
  lua_insert(L, -2);
  return 2;
}

static int advance(lua_State *L, Guard *guard, llm_step step) {
  switch (step) {
  case LLM_READY: return lend(L, guard);
  case LLM_WAIT: return wait(L, guard);
  case LLM_CHECK: return make(L, guard, HELPER_CHECK);
  case LLM_CREATE: return make(L, guard, HELPER_CREATE);
  default: return refuse(L, guard);
  }
}

/* Several models: the nodes live in a user value of the guard's, so that they
** last as long as it does. */
static llm_step begin_any(lua_State *L, Guard *guard, LuaPool *pool,
                          const llm_ask *ask) {
  uint32_t n = (uint32_t)lua_rawlen(L, MODEL);
  Choice *choice = lua_newuserdatauv(
      L, sizeof *choice + n * (sizeof(llm_model *) + sizeof(llm_waiter)), 0);
  *choice = (Choice){.guard = guard, .n = n};
  choice->nodes = (llm_waiter *)(void *)(choice + 1);
  choice->models = (llm_model **)(void *)(choice->nodes + n);
  lua_setiuservalue(L, GUARD, 1);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, MODEL, i + 1);
    choice->models[i] = check_model(L, pool, -1);
    lua_pop(L, 1);
  }
  return llm_lease_begin_any(&guard->lease, choice->models, choice->nodes,
                             &choice->group, n, ask, guard_wake);
}

static llm_model *first_model(lua_State *L, LuaPool *pool) {
  if (!lua_istable(L, MODEL)) return check_model(L, pool, MODEL);
  luaL_argcheck(L, lua_rawlen(L, MODEL) > 0, MODEL,
                "a model's name or a list of at least one expected");
  lua_rawgeti(L, MODEL, 1);
  llm_model *model = check_model(L, pool, -1);
  lua_pop(L, 1);
  return model;
}

/* Everything is checked before anything is queued. */
static Guard *prepare(lua_State *L, LuaPool *pool, llm_ask *ask) {
  Binding *b = pool->binding;
  llm_model *model = first_model(L, pool);
  const ModelInfo *info = llm_model_user(model);
  check_ask(L, OPTIONS, info->timeout_ns, pool->world->clock, ask);
  check_world(L, pool);
  if (!ask->now) check_wait(L, b->worker);
  Guard *guard = guard_take(L, b, lua_istable(L, MODEL));
  guard->lease.model = model;
  return guard;
}

static llm_step begin(lua_State *L, Guard *guard, LuaPool *pool,
                      const llm_ask *ask) {
  if (lua_istable(L, MODEL)) return begin_any(L, guard, pool, ask);
  return llm_lease_begin(&guard->lease, guard->lease.model, ask, guard_wake);
}

int f_get_client(lua_State *L) {
  llm_ask ask;
  int quick = quick_get_client(L, binding_of(L));
  if (quick != NOT_QUICK) return quick;
  LuaPool *pool = check_pool(L, POOL);
  luaL_argexpected(L, lua_type(L, CALLBACK) == LUA_TFUNCTION, CALLBACK,
                   "function");
  lua_settop(L, OPTIONS);
  Guard *guard = prepare(L, pool, &ask);
  if (guard->binding->trace_leaks) guard->site = site_of(L, worker(guard), 1);
  lua_toclose(L, GUARD);
  return advance(L, guard, begin(L, guard, pool, &ask));
}

int f_acquire(lua_State *L) {
  llm_ask ask;
  int quick = quick_acquire(L, binding_of(L));
  if (quick != NOT_QUICK) return quick;
  LuaPool *pool = check_pool(L, POOL);
  lua_settop(L, CALLBACK);
  lua_pushnil(L);
  lua_insert(L, CALLBACK); /* stack: pool model nil options */
  Guard *guard = prepare(L, pool, &ask);
  guard->site = site_of(L, worker(guard), 1);
  llm_step step = begin(L, guard, pool, &ask);
  if (step != LLM_READY)
    lua_toclose(L, GUARD); /* the guard's __gc is enough
                                                ** for what cannot yield */
  return advance(L, guard, step);
}
