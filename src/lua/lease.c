/*
** lease.c - get_client and acquire: the way from a question to a client.
**
** One idea: the core's checkout is a machine of steps, and one function,
** advance, does each step by Lua's means: park, run a check or a creation
** under a protected call, lend, or raise. Each may be left by a yield and is
** continued by a k_ function that calls advance again. The stack is that of
** lend.h; what is done with a client that is there is lend.c's.
*/
#include "lend.h"
#include "spec.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

static int advance(lua_State *L, Guard *guard, llm_step step);

/* ---- waiting ----------------------------------------------------------- */

static int k_waited(lua_State *L, int status, lua_KContext ctx);

static int park(lua_State *L, Guard *guard) {
  return task_park(L, binding_of(L)->worker, WAIT_LEASE, context(guard),
                   k_waited);
}

/* The wait is given up: the client is not wanted even if it comes. */
static void give_up(Guard *guard) {
  if (!guard->woken && llm_lease_withdraw(&guard->lease, LLM_CANCELLED)) return;
  guard_await_wake(guard);
  llm_lease_abort(&guard->lease);
}

static int wait(lua_State *L, Guard *guard) {
  int64_t deadline = guard->lease.waiter.deadline_ns;
  if (deadline != LLM_FOREVER && !task_set_deadline(guard->task, deadline)) {
    give_up(guard);
    let_go(L, guard);
    return luaL_error(L, "not enough memory");
  }
  guard->waiting = true;
  guard_keep(guard);
  if (guard->woken) return k_waited(L, LUA_OK, context(guard));
  return park(L, guard);
}

/* A timeout that loses to a grant keeps it: the client is worth more than the
** error. */
static llm_step time_out(Guard *guard) {
  if (llm_lease_withdraw(&guard->lease, LLM_TIMEOUT)) return LLM_FAILED;
  guard_await_wake(guard);
  return llm_lease_next(&guard->lease);
}

static bool is_late(const Guard *guard) {
  return guard->lease.waiter.deadline_ns != LLM_FOREVER &&
         guard->lease.waiter.deadline_ns <= world_now(guard->task->world);
}

/* Raises the cancellation, or a deadlock. */
static int abandon(lua_State *L, Guard *guard, bool doomed) {
  Task *task = guard->task;
  llm_model *model = guard->lease.model;
  llm_stats stats;
  if (doomed) llm_model_stats(model, &stats);
  give_up(guard);
  if (doomed) push_deadlock(L, model, &stats); /* the guard keeps the model */
  let_go(L, guard);
  check_cancel(L, task);
  return is_attempt(L) ? attempt_refused(L) : lua_error(L);
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
  if (cancelled || doomed) return abandon(L, guard, doomed);
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

#define SLACK_NS 1000 /* seconds as floats are not quite nanoseconds */

/* What is left of the call's own time; LLM_FOREVER: no end to it. */
static int64_t time_left(const Guard *guard) {
  int64_t deadline = guard->lease.waiter.deadline_ns;
  if (deadline == LLM_FOREVER) return LLM_FOREVER;
  int64_t left = deadline - world_now(guard->task->world);
  return left > SLACK_NS ? left : 0;
}

/* It may have run into the call's timeout, into its own, or simply failed. */
static llm_step report_failed(lua_State *L, Guard *guard) {
  const char *kind = error_kind(L, RESULTS);
  bool timed_out = kind && strcmp(kind, "timeout") == 0;
  bool late = timed_out && time_left(guard) == 0;
  const char *text = push_error_text(L, RESULTS);
  if (timed_out && !late)
    text = guard->lease.step == LLM_CREATE
               ? "it took longer than create_timeout"
               : "it took longer than check_timeout";
  guard->making = false;
  llm_step step = llm_lease_done(
      &guard->lease, late ? LLM_TIMEOUT : LLM_CREATE_FAILED, NULL, NULL, text);
  lua_pop(L, 1);
  return step;
}

static int k_made(lua_State *L, int status, lua_KContext ctx) {
  Guard *guard = (Guard *)ctx;
  bool ok = status == LUA_OK || status == LUA_YIELD;
  guard_unname(guard);
  if (task_is_cancelled(guard->task)) {
    Task *task = guard->task;
    guard->making = false;
    llm_lease_abort(&guard->lease);
    let_go(L, guard);
    if (ok) check_cancel(L, task);
    return lua_error(L);
  }
  llm_step step = ok ? report_made(L, guard) : report_failed(L, guard);
  if (ok || step != LLM_FAILED) lua_settop(L, HOLDER);
  return advance(L, guard, step);
}

static int make_holder(lua_State *L) {
  new_holder(L);
  return 1;
}

/* What follows may raise anywhere: a slot to be closed takes the guard over
** from the task. */
static void take_hold(lua_State *L, Guard *guard) {
  if (!guard->is_owned) return;
  lua_pushcfunction(L, make_holder);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    llm_lease_abort(&guard->lease);
    let_go(L, guard);
    lua_error(L);
  }
  lua_replace(L, HOLDER);
  lua_toclose(L, HOLDER);
  guard_disown(guard);
  hold_guard(lua_touserdata(L, HOLDER), guard);
}

/* stack: ... holder handler; then helper info client reason seconds-left */
static int make(lua_State *L, Guard *guard, Helper helper) {
  lua_settop(L, HOLDER);
  take_hold(L, guard);
  guard_keep(guard);
  guard->task = binding_of(L)->worker->current;
  guard->making = true;
  lua_pushcfunction(L, keep_traceback);
  push_helper(L, helper);
  push_model_info(L, guard->lease.model);
  name_lease(binding_of(L), new_client(L, 0), guard, NULL);
  lua_pushstring(L, llm_reason_name((llm_reason)guard->lease.reason));
  int64_t left = time_left(guard);
  if (left == LLM_FOREVER)
    lua_pushnil(L);
  else
    lua_pushnumber(L, to_seconds(left));
  int status = lua_pcallk(L, 4, 2, HANDLER, context(guard), k_made);
  return k_made(L, status, context(guard));
}

/* ---- the steps --------------------------------------------------------- */

static int refuse(lua_State *L, Guard *guard) {
  push_failure(L, guard, lua_gettop(L) >= RESULTS ? RESULTS : 0);
  let_go(L, guard);
  if (is_attempt(L)) return attempt_refused(L);
  if (!lua_isnil(L, CALLBACK)) return lua_error(L);
  luaL_pushfail(L);
  lua_insert(L, -2);
  return 2;
}

/* A check or a creation in the background is over: nobody is lent it. */
static int end_upkeep(lua_State *L, Guard *guard) {
  llm_lease_return(&guard->lease, LLM_KEEP);
  let_go(L, guard);
  lua_pushboolean(L, 1);
  return 1;
}

static int advance(lua_State *L, Guard *guard, llm_step step) {
  switch (step) {
  case LLM_READY:
    return llm_lease_is_background(&guard->lease) ? end_upkeep(L, guard)
                                                  : lend(L, guard);
  case LLM_WAIT: return wait(L, guard);
  case LLM_CHECK: return make(L, guard, HELPER_CHECK);
  case LLM_CREATE: return make(L, guard, HELPER_CREATE);
  default: return refuse(L, guard);
  }
}

/* ---- asking ------------------------------------------------------------ */

/* Room for n models. The core's group leads to the guard. */
static Choice *new_choice(Guard *guard, uint32_t n) {
  Choice *choice =
      malloc(sizeof *choice + n * (sizeof(llm_model *) + sizeof(llm_waiter)));
  if (choice == NULL) return NULL;
  *choice = (Choice){.guard = guard, .n = n};
  choice->nodes = (llm_waiter *)(void *)(choice + 1);
  choice->models = (llm_model **)(void *)(choice->nodes + n);
  return choice;
}

/* Several models; they lie on the stack, checked, from `first` on. */
static llm_step begin_any(lua_State *L, Guard *guard, const llm_ask *ask,
                          int first) {
  uint32_t n = (uint32_t)(lua_gettop(L) - first + 1);
  Choice *choice = new_choice(guard, n);
  if (choice == NULL) {
    let_go(L, guard);
    luaL_error(L, "not enough memory");
    return LLM_FAILED;
  }
  for (uint32_t i = 0; i < n; i++)
    choice->models[i] = lua_touserdata(L, first + (int)i);
  lua_settop(L, HOLDER);
  choice->nodes[0].group = &choice->group; /* so that it is freed */
  return llm_lease_begin_any(&guard->lease, choice->models, choice->nodes,
                             &choice->group, n, ask, guard_wake);
}

static llm_step begin(lua_State *L, Guard *guard, const llm_ask *ask) {
  if (lua_istable(L, MODEL)) return begin_any(L, guard, ask, HOLDER + 1);
  return llm_lease_begin(&guard->lease, guard->lease.model, ask, guard_wake);
}

/* Pushes the models asked for, looked up, and returns the first of them. */
static llm_model *check_models(lua_State *L, LuaPool *pool) {
  if (!lua_istable(L, MODEL)) return check_model(L, pool, MODEL);
  lua_Unsigned n = lua_rawlen(L, MODEL);
  if (n == 0)
    misused(L, MODEL, "a model's name or a list of at least one expected");
  luaL_checkstack(L, n < INT_MAX / 2 ? (int)n + LUA_MINSTACK : INT_MAX / 2,
                  "too many models");
  for (lua_Unsigned i = 1; i <= n; i++) {
    lua_rawgeti(L, MODEL, (lua_Integer)i);
    llm_model *model = check_model(L, pool, -1);
    lua_pop(L, 1);
    lua_pushlightuserdata(L, model);
  }
  return lua_touserdata(L, HOLDER + 1);
}

/* So that a grant needs no memory, most times. */
static void keep_spare(lua_State *L, Binding *b) {
  if (b->has_spare) return;
  new_client(L, 0);
  lua_setiuservalue(L, AT_HAND, SPARE_CLIENT);
  b->has_spare = true;
}

/* A guard that a holder owns, in its slot. */
static Guard *take_held(lua_State *L, Binding *b) {
  Holder *holder = push_holder(L, b);
  lua_replace(L, HOLDER);
  Guard *guard = guard_take(L, b, false);
  hold_guard(holder, guard);
  lua_toclose(L, HOLDER);
  return guard;
}

/* Everything is checked before anything is queued. stack: pool model callback
** options */
static int ask_for(lua_State *L, LuaPool *pool, uint8_t tag) {
  Binding *b = pool->binding;
  llm_ask ask;
  lua_pushnil(L); /* where the holder goes */
  llm_model *model = check_models(L, pool);
  const ModelInfo *info = llm_model_user(model);
  check_ask(L, OPTIONS, info->timeout_ns, pool->world->clock, &ask);
  ask.tag = tag;
  check_world(L, pool);
  if (!ask.now) check_wait(L, b->worker);
  keep_spare(L, b);
  bool owned = b->worker->current->co == L;
  Guard *guard = owned ? guard_take(L, b, true) : take_held(L, b);
  guard->lease.model = model;
  return advance(L, guard, begin(L, guard, &ask));
}

/* The options lie checked in their place. */
int ask_model(lua_State *L, Guard *guard, llm_model *model, int64_t wait_ns) {
  const ModelInfo *info = llm_model_user(model);
  llm_ask ask;
  check_ask(L, OPTIONS, wait_ns >= 0 ? wait_ns : info->timeout_ns,
            guard->task->world->clock, &ask);
  guard->lease.model = model;
  return advance(L, guard, begin(L, guard, &ask));
}

/* (pool) -> whether there was something to do in the background, of which the
** first is done then; raises if that failed */
static int f_upkeep(lua_State *L) {
  LuaPool *pool = check_pool(L, POOL);
  Binding *b = pool->binding;
  lua_settop(L, HOLDER);
  lua_pushboolean(L, 1);
  lua_replace(L, CALLBACK); /* a failure is raised */
  check_world(L, pool);
  check_wait(L, b->worker);
  bool owned = b->worker->current->co == L;
  Guard *guard = owned ? guard_take(L, b, true) : take_held(L, b);
  llm_step step = llm_pool_background(pool->pool, &guard->lease);
  if (step != LLM_FAILED) return advance(L, guard, step);
  let_go(L, guard);
  lua_pushboolean(L, 0);
  return 1;
}

static int f_get_client(lua_State *L) {
  int quick = quick_get_client(L, binding_of(L));
  if (quick != NOT_QUICK) return quick;
  LuaPool *pool = check_pool(L, POOL);
  luaL_argexpected(L, lua_type(L, CALLBACK) == LUA_TFUNCTION, CALLBACK,
                   "function");
  lua_settop(L, OPTIONS);
  return ask_for(L, pool, 0);
}

/* What a call that waits is told when the pool closes: nil and the error. */
static int refuse_closed(lua_State *L, const LuaPool *pool) {
  llm_ask ask;
  if (lua_type(L, MODEL) != LUA_TTABLE)
    if (lua_type(L, MODEL) != LUA_TSTRING)
      mistyped(L, MODEL, MODEL, "a model's name");
  check_ask(L, OPTIONS, LLM_FOREVER, pool->world->clock, &ask);
  lua_pushnil(L);
  push_error(L, "closed", "the pool is closed");
  return 2;
}

static int acquire_slowly(lua_State *L, uint8_t tag) {
  LuaPool *pool = check_pool(L, POOL);
  lua_settop(L, CALLBACK);
  lua_pushnil(L);
  lua_insert(L, CALLBACK); /* stack: pool model nil options */
  if (llm_pool_is_closed(pool->pool)) return refuse_closed(L, pool);
  return ask_for(L, pool, tag);
}

static int acquire(lua_State *L, bool told) {
  int quick = quick_acquire(L, binding_of(L), told);
  return quick != NOT_QUICK ? quick : acquire_slowly(L, 0);
}

static int f_acquire(lua_State *L) { return acquire(L, true); }

/* For our own modules, which hold a lease no longer than their call: where it
** was asked for is looked up, through their frames, only if leaks are traced */
static int f_acquire_inside(lua_State *L) {
  return acquire(L, binding_of(L)->trace_leaks);
}

/* The same for a router whose requests are recorded. */
static int f_acquire_tagged(lua_State *L) {
  return acquire_slowly(L, tag_of_routers(binding_of(L)->worker));
}

void set_lenders(lua_State *L, Binding *b, const luaL_Reg *functions) {
  push_upvalues(L, b);
  push_shelf(L);
  luaL_getmetatable(L, CLIENT_TYPE);
  luaL_setfuncs(L, functions, 4);
}

void leases_open(lua_State *L, Binding *b, int functions) {
  static const luaL_Reg inner[] = {{"upkeep", f_upkeep},
                                   {"acquire", f_acquire_inside},
                                   {"acquire_tagged", f_acquire_tagged},
                                   {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"get_client", f_get_client}, {"acquire", f_acquire}, {NULL, NULL}};
  set_lenders(L, b, methods);
  lua_pushvalue(L, functions);
  set_lenders(L, b, inner);
  lua_pop(L, 1);
}
