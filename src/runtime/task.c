/*
** task.c - tasks: spawned, run by the drive loop, joined, cancelled, ended.
**
** One idea: a task's function runs inside a protected call of its own, so that
** an error unwinds inside the coroutine - close handlers may wait - and the
** coroutine itself always returns. What it returned, or the error, stays on
** its stack until nobody refers to the task any more.
*/
#include "task.h"

#include <assert.h>
#include <string.h>

#include <lauxlib.h>

#include "errors.h"
#include "fields.h"
#include "scheduler.h"
#include "scope.h"
#include "site.h"

static const char tasks_key = 'T';   /* registry: ref -> userdata, alive */
static const char cancels_key = 'C'; /* registry: userdata -> object, weak */
static const char dates_key = 'D';   /* registry: userdata -> ns, weak */
static const char scopes_key = 'S';  /* registry: address -> value, open */

void tasks_open(lua_State *L, Worker *worker) {
  (void)worker;
  const char *const keys[] = {&tasks_key, &scopes_key};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, keys[i]);
  }
  push_weak_table(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cancels_key);
  push_weak_table(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &dates_key);
  errors_open(L);
}

/* ---- spawn ------------------------------------------------------------- */

/* The function has returned or raised; the coroutine returns what it left. */
static int body_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  if (status != LUA_OK && status != LUA_YIELD)
    worker_here()->current->state = TASK_FAILED;
  lua_remove(L, 1); /* the message handler */
  return lua_gettop(L);
}

/* The coroutine's outermost function: runs the one given, with its arguments */
static int body(lua_State *L) {
  lua_pushcfunction(L, keep_unless_cancelled);
  lua_insert(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_done);
  return body_done(L, status, 0);
}

/* The userdata exists, ended, before anything can fail. */
static Task *new_task(lua_State *L, World *world) {
  Task *task = lua_newuserdatauv(L, sizeof *task, 1);
  memset(task, 0, sizeof *task);
  task->world = world;
  task->state = TASK_DONE;
  luaL_setmetatable(L, TASK_TYPE);
  return task;
}

/* When the task at `index` was spawned: apart, since only a prompt asks. */
static void date(lua_State *L, int index, int64_t now_ns) {
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &dates_key);
  lua_pushvalue(L, index);
  lua_pushinteger(L, now_ns);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

int64_t task_spawned_ns(lua_State *L, const Task *task) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &dates_key);
  task_push(L, task);
  lua_rawget(L, -2);
  int64_t spawned_ns = lua_tointeger(L, -1);
  lua_pop(L, 2);
  return spawned_ns;
}

Task *task_spawn(lua_State *L, Worker *worker, Scope *scope, int nargs) {
  luaL_checkstack(L, LUA_MINSTACK, "too many arguments");
  if (nargs >= UINT8_MAX) luaL_error(L, "a task takes at most 254 arguments");
  const char *site = site_of(L, worker, 1);
  Task *task = new_task(L, scope->world);
  lua_State *co = lua_newthread(L);
  lua_setiuservalue(L, -2, 1); /* stack: function args task */
  lua_insert(L, -(nargs + 2)); /* stack: task function args */
  luaL_checkstack(co, nargs + LUA_MINSTACK, "too many arguments");
  if (worker->dates_tasks) date(L, -(nargs + 2), world_now(scope->world));
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
  lua_pushvalue(L, -(nargs + 3));
  task->ref = luaL_ref(L, -2);
  lua_pop(L, 1);
  /* nothing below can fail */
  lua_pushcfunction(co, body);
  lua_xmove(L, co, nargs + 1);
  task->co = co;
  task->site = site;
  task->nargs = (uint8_t)(nargs + 1);
  scope_add(scope, task);
  task->cancelled = scope->cancelled;
  task_enqueue(task);
  return task;
}

void task_push(lua_State *L, const Task *task) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
  lua_rawgeti(L, -1, task->ref);
  lua_remove(L, -2);
}

bool task_has_ended(const Task *task) { return task->state >= TASK_DONE; }

/* ---- joins ------------------------------------------------------------- */

void join_add(Join *join, Task *target, Task *waiter, bool claims) {
  join->waiter = waiter;
  join->target = target;
  join->claims = claims;
  join->next = target->joins;
  join->link = &target->joins;
  if (join->next) join->next->link = &join->next;
  target->joins = join;
}

void join_remove(Join *join) {
  if (join->target == NULL) return;
  *join->link = join->next;
  if (join->next) join->next->link = join->link;
  join->target = NULL;
}

static void wake_joiners(Task *task) {
  while (task->joins) {
    Join *join = task->joins;
    join_remove(join);
    task_ready(join->waiter);
  }
}

/* ---- cancellation ------------------------------------------------------ */

void task_cancel(Task *task) {
  if (task_has_ended(task)) return;
  task->cancelled = true;
  for (Scope *s = task->scope; s; s = s->outer)
    if (s->shields == 0) scope_cancel(s);
  if (task_is_cancelled(task)) task_ready(task);
}

/* stack: ... object; makes it if it is nil, with the reason given */
static void make_cancellation(lua_State *L, const char *what, int reason) {
  bool text = reason != 0 && lua_type(L, reason) == LUA_TSTRING;
  push_error(L, "cancelled", "%s%s%s", what, text ? ": " : "",
             text ? lua_tostring(L, reason) : "");
  if (reason != 0) {
    lua_pushvalue(L, reason);
    lua_setfield(L, -2, "reason");
  }
}

/* Pushes the cancellation of `task`, which has not ended; makes it with the
** value at `reason` (0: none) if it is not there. */
static void push_task_cancellation(lua_State *L, Task *task, int reason) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cancels_key);
  task_push(L, task);
  lua_pushvalue(L, -1); /* stack: cancels task task */
  if (lua_rawget(L, -3) == LUA_TNIL) {
    lua_pop(L, 1);
    make_cancellation(L, "task cancelled", reason);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "task");
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void set_cancellation(lua_State *L, Task *task, int reason) {
  push_task_cancellation(L, task, lua_absindex(L, reason));
  lua_pop(L, 1);
}

void push_scope_cancellation(lua_State *L, const Scope *scope) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key);
  if (lua_rawgetp(L, -1, &scope->cancelled) == LUA_TNIL) {
    lua_pop(L, 1);
    make_cancellation(L, "scope cancelled", 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &scope->cancelled);
  }
  lua_remove(L, -2);
}

void push_scope_error(lua_State *L, const Scope *scope) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key);
  lua_rawgetp(L, -1, scope);
  lua_remove(L, -2);
}

void forget_scope(lua_State *L, const Scope *scope) {
  if (!scope->cancelled && !scope->failed) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key);
  lua_pushnil(L);
  lua_rawsetp(L, -2, scope);
  lua_pushnil(L);
  lua_rawsetp(L, -2, &scope->cancelled);
  lua_pop(L, 1);
}

/* Keeps the error on top of the stack (popped) as the scope's failure. */
static void fail_scope(lua_State *L, Scope *scope) {
  if (!scope->failed) {
    scope->failed = true;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, scope);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  scope_cancel(scope);
}

void push_cancellation(lua_State *L, Task *task) {
  if (task->cancelled && task->shields == 0) {
    push_task_cancellation(L, task, 0);
    return;
  }
  const Scope *outermost = NULL;
  for (const Scope *s = task->scope; s; s = s->outer)
    if (s->cancelled && s->shields == task->shields) outermost = s;
  assert(outermost);
  push_scope_cancellation(L, outermost);
}

/* ---- the end ----------------------------------------------------------- */

static bool is_claimed(const Task *task, bool by_join_too) {
  for (const Join *j = task->joins; j; j = j->next)
    if (j->claims || by_join_too) return true;
  return false;
}

/* The error is on top of the task's stack. */
static void fail(lua_State *L, Task *task) {
  Scope *scope = task->parent;
  if (scope_is_root(scope)) {
    if (is_claimed(task, true)) return;
    task->world->failures++;
    lua_pushvalue(task->co, -1);
    lua_xmove(task->co, L, 1);
    report_error(L, "task failed", -1, task->site);
    lua_pop(L, 1);
  } else if (!is_claimed(task, false)) {
    lua_pushvalue(task->co, -1);
    lua_xmove(task->co, L, 1);
    fail_scope(L, scope);
  }
}

/* Whether a cancelled task has ended by that: by its own cancellation, or by
** that of a task it joined, which was cancelled with it. */
static bool is_cancellation(const Task *task) {
  if (!task->cancelled) return false;
  const char *kind = error_kind(task->co, -1);
  return kind && strcmp(kind, "cancelled") == 0;
}

/* What needs memory of an ending: the outcome, and telling who is to know.
** stack: task (light); under lua_pcall */
static int settle(lua_State *L) {
  Task *task = lua_touserdata(L, 1);
  bool failed = task->state == TASK_FAILED;
  luaL_checkstack(task->co, LUA_MINSTACK, NULL);
  if (failed && is_cancellation(task)) failed = false;
  if (task->cancelled && !failed) {
    push_task_cancellation(L, task, 0); /* what join raises */
    lua_settop(task->co, 0);
    lua_xmove(L, task->co, 1);
    task->state = TASK_CANCELLED;
  } else {
    task->state = failed ? TASK_FAILED : TASK_DONE;
  }
  if (failed) fail(L, task);
  return 0;
}

/* No memory for that: it has failed, and its scope with it. */
static void settle_poorly(Task *task) {
  task->state = TASK_FAILED;
  if (scope_is_root(task->parent)) {
    task->world->failures++;
  } else {
    task->parent->failed = true;
    scope_cancel(task->parent);
  }
}

void task_reclaim(Task *task) {
  Worker *worker = task->world->worker;
  if (task->leases) worker->pools_reclaim(worker, task);
}

/* Never raises: it runs in the drive loop. */
static void end(lua_State *L, Task *task) {
  if (task->state != TASK_FAILED) task->state = TASK_DONE;
  if (task->state == TASK_FAILED || task->cancelled) {
    lua_pushcfunction(L, settle);
    lua_pushlightuserdata(L, task);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      lua_pop(L, 1);
      settle_poorly(task);
    }
  }
  timer_stop(task->world, &task->timer);
  task_reclaim(task);
  scope_remove(task);
  wake_joiners(task);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
  luaL_unref(L, -1, task->ref);
  lua_pop(L, 1);
}

void task_run(lua_State *L, Task *task) {
  Worker *worker = task->world->worker;
  Task *outer = worker->current;
  int nargs = task->nargs, nresults;
  task->nargs = 0; /* a stale count would be handed to the next resume */
  task->state = TASK_RUNNING;
  worker->current = task;
  int status = coroutine_resume(worker, task->co, L, nargs, &nresults, true);
  worker->current = outer;
  if (status == LUA_YIELD) {
    if (coroutine_is_parked(task->co)) return;
    /* a C function yielded on its own account: the turn passes */
    lua_pop(task->co, nresults);
    task_enqueue(task);
    return;
  }
  if (status != LUA_OK) { /* no memory even for the protected call */
    task->state = TASK_FAILED;
    lua_resetthread(task->co);
  }
  end(L, task);
}

/* ---- the state closes -------------------------------------------------- */

/* The coroutine that a parked one has resumed: the first argument of the
** patched resume, which is its running function. */
static lua_State *inner_coroutine(lua_State *co) {
  lua_Debug ar;
  if (!coroutine_is_parked(co) || !lua_getstack(co, 0, &ar)) return NULL;
  if (lua_getlocal(co, &ar, 1) == NULL) return NULL;
  lua_State *inner = lua_tothread(co, -1);
  lua_pop(co, 1);
  return inner && inner != co && coroutine_is_parked(inner) ? inner : NULL;
}

static void kill_chain(lua_State *co) {
  lua_State *inner = inner_coroutine(co);
  if (inner) kill_chain(inner);
  lua_resetthread(co);
}

static void kill_task(Task *task, void *ud) {
  (void)ud;
  task->state = TASK_CANCELLED;
  timer_stop(task->world, &task->timer);
  kill_chain(task->co);
  task_reclaim(task);
}

static void count_task(Task *task, void *ud) {
  (void)task;
  ++*(int *)ud;
}

void tasks_kill(Worker *worker) {
  lua_State *L = worker->L;
  int count = 0;
  worker->closing = true;
  scope_each(&worker->real.root, count_task, &count);
  if (count == 0) return;
  lua_pushfstring(L,
                  "llmpool: %d tasks were left at the end of the program "
                  "and have been cancelled; end a script with "
                  "llmpool.wait()",
                  count);
  lua_warning(L, lua_tostring(L, -1), 0);
  lua_pop(L, 1);
  scope_each(&worker->real.root, kill_task, NULL);
}
