/*
** task.c - tasks as Lua sees them: spawn, join, cancel, sleep.
**
** It binds src/runtime/task.c; whoever waits here parks and looks again.
*/
#include "../runtime/task.h"

#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/runtime.h"
#include "../runtime/scheduler.h"
#include "../runtime/scope.h"
#include "binding.h"

#define JOIN_TYPE "llmpool.join"

static Task *check_task(lua_State *L, int index) {
  return luaL_checkudata(L, index, TASK_TYPE);
}

static const char *state_name(const Task *task) {
  static const char *const names[] = {"ready", "running", "waiting",
                                      "done",  "failed",  "cancelled"};
  return names[task->state];
}

/* ---- spawn ------------------------------------------------------------- */

/* Starts the function at `index` with what follows as a task of `scope`. */
static int spawn(lua_State *L, Scope *scope, int index) {
  Binding *b = binding_of(L);
  luaL_argexpected(L, lua_type(L, index) == LUA_TFUNCTION, index, "function");
  int nargs = lua_gettop(L) - index;
  luaL_argcheck(L, nargs < 200, index, "more than 200 arguments");
  task_spawn(L, b->worker, scope, nargs);
  return 1;
}

static int f_spawn(lua_State *L) {
  return spawn(L, scope_innermost(binding_of(L)->worker), 1);
}

/* ---- join -------------------------------------------------------------- */

/* Memory errors apart, moves what the ended task left to L. */
static int push_outcome(lua_State *L, const Task *task) {
  lua_State *co = task->co;
  int n = lua_gettop(co);
  luaL_checkstack(L, n + 1, "too many results");
  if (!lua_checkstack(co, n)) luaL_error(L, "not enough memory");
  for (int i = 1; i <= n; i++) lua_pushvalue(co, i);
  lua_xmove(co, L, n);
  return n;
}

static int finish_join(lua_State *L, const Task *task, bool protected) {
  if (protected) lua_pushboolean(L, task->state == TASK_DONE);
  int n = push_outcome(L, task);
  if (protected) return n + 1;
  if (task->state == TASK_DONE) return n;
  rethrow_mark(L);
  return lua_error(L);
}

static int join_close(lua_State *L) {
  join_remove(lua_touserdata(L, 1));
  return 0;
}

static int k_joined(lua_State *L, int status, lua_KContext ctx) {
  Binding *b = binding_of(L);
  Task *target = lua_touserdata(L, 1);
  Task *waiter = b->worker->current;
  Join *join = lua_touserdata(L, 2);
  (void)status;
  if (task_has_ended(target)) return finish_join(L, target, ctx != 0);
  check_cancel(L, waiter);
  if (waiter->doomed) {
    waiter->doomed = false;
    push_error(L, "deadlock",
               "the task that is joined waits for something "
               "that nothing can bring");
    return lua_error(L);
  }
  if (join->target == NULL) join_add(join, target, waiter, ctx != 0);
  return task_park(L, b->worker, WAIT_JOIN, ctx, k_joined);
}

static int join(lua_State *L, bool protected) {
  Binding *b = binding_of(L);
  const Task *target = check_task(L, 1);
  lua_settop(L, 1);
  if (target == b->worker->current)
    return luaL_error(L, "a task cannot join itself");
  if (target->world != b->worker->world)
    return luaL_error(L, "this task belongs to a simulation that is over, or "
                         "is asked for inside one");
  check_wait(L, b->worker);
  if (task_has_ended(target)) return finish_join(L, target, protected);
  memset(lua_newuserdatauv(L, sizeof(Join), 0), 0, sizeof(Join));
  luaL_setmetatable(L, JOIN_TYPE);
  lua_toclose(L, 2);
  return k_joined(L, LUA_OK, protected);
}

static int m_join(lua_State *L) { return join(L, false); }
static int m_pjoin(lua_State *L) { return join(L, true); }

/* ---- cancel and others ------------------------------------------------- */

static int m_cancel(lua_State *L) {
  Task *task = check_task(L, 1);
  bool alive = !task_has_ended(task);
  if (alive) {
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) set_cancellation(L, task, 2);
    task_cancel(task);
  }
  lua_pushboolean(L, alive);
  return 1;
}

static int m_status(lua_State *L) {
  lua_pushstring(L, state_name(check_task(L, 1)));
  return 1;
}

static int mm_tostring(lua_State *L) {
  const Task *task = check_task(L, 1);
  lua_pushfstring(L, "task (%s, spawned at %s)", state_name(task),
                  task->site ? task->site : "?");
  return 1;
}

static int k_slept(lua_State *L, int status, lua_KContext ctx) {
  Binding *b = binding_of(L);
  Task *task = b->worker->current;
  (void)status;
  (void)ctx;
  bool due = lua_toboolean(L, 2) || task->timer.index == 0;
  if (due || task_is_cancelled(task)) timer_stop(task->world, &task->timer);
  check_cancel(L, task);
  if (due) return 0;
  return task_park(L, b->worker, WAIT_SLEEP, 0, k_slept);
}

/* sleep(0) yields the turn: it parks, already made ready, behind the others */
static int f_sleep(lua_State *L) {
  Binding *b = binding_of(L);
  int64_t span = check_seconds(L, 1, 1, "a sleep");
  Task *task = check_wait(L, b->worker);
  lua_settop(L, 1);
  lua_pushboolean(L, span == 0);
  if (span == 0)
    task_enqueue(task);
  else if (!task_set_deadline(task,
                              llm_time_after(world_now(task->world), span)))
    return luaL_error(L, "not enough memory");
  return task_park(L, b->worker, WAIT_SLEEP, 0, k_slept);
}

static int f_now(lua_State *L) {
  lua_pushnumber(L, to_seconds(world_now(binding_of(L)->worker->world)));
  return 1;
}

static int f_wait(lua_State *L) {
  lua_pushinteger(L, runtime_finish(L));
  return 1;
}

static int f_is_cancelled(lua_State *L) {
  const char *kind = error_kind(L, 1);
  lua_pushboolean(L, kind && strcmp(kind, "cancelled") == 0);
  return 1;
}

static int f_traceback(lua_State *L) {
  luaL_checkany(L, 1);
  push_kept_traceback(L, 1);
  return 1;
}

/* The Lua half words errors: (hint or nil, report or nil), as errors.h says. */
static int f_word_by(lua_State *L) {
  lua_settop(L, 2);
  errors_word_by(L, 1, 2);
  return 0;
}

static int f_hint(lua_State *L) {
  luaL_checkany(L, 1);
  push_kept_hint(L, 1);
  return 1;
}

/* An error object for the Lua half: (kind, message) -> object */
static int f_error(lua_State *L) {
  const char *kind = luaL_checkstring(L, 1);
  push_error(L, kind, "%s", luaL_checkstring(L, 2));
  return 1;
}

/* ---- a scope's own spawn ----------------------------------------------- */

static Scope *check_open_scope(lua_State *L) {
  Scope *scope = luaL_checkudata(L, 1, SCOPE_TYPE);
  if (!scope->open) luaL_error(L, "this scope is over; spawn inside its block");
  return scope;
}

static int m_scope_spawn(lua_State *L) {
  Scope *scope = check_open_scope(L);
  return spawn(L, scope, 2);
}

static int m_scope_cancel(lua_State *L) {
  scope_cancel(check_open_scope(L));
  return 0;
}

static int m_scope_detach(lua_State *L) {
  Scope *scope = check_open_scope(L);
  Task *task = check_task(L, 2);
  luaL_argcheck(L, task->parent == scope, 2, "not a task of this scope");
  scope_remove(task);
  scope_add(&scope->world->root, task);
  return 0;
}

static int mm_scope_tostring(lua_State *L) {
  const Scope *scope = luaL_checkudata(L, 1, SCOPE_TYPE);
  lua_pushfstring(L, "scope (%s, %d tasks)", scope->open ? "open" : "over",
                  (int)scope->children);
  return 1;
}

void task_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"spawn", f_spawn},
                                       {"sleep", f_sleep},
                                       {"now", f_now},
                                       {"wait", f_wait},
                                       {"traceback", f_traceback},
                                       {"word_by", f_word_by},
                                       {"hint", f_hint},
                                       {"is_cancelled", f_is_cancelled},
                                       {"error", f_error},
                                       {NULL, NULL}};
  static const luaL_Reg methods[] = {{"join", m_join},
                                     {"pjoin", m_pjoin},
                                     {"cancel", m_cancel},
                                     {"status", m_status},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__tostring", mm_tostring},
                                         {NULL, NULL}};
  static const luaL_Reg join_metamethods[] = {
      {"__close", join_close}, {"__gc", join_close}, {NULL, NULL}};
  static const luaL_Reg scope_methods[] = {{"spawn", m_scope_spawn},
                                           {"cancel", m_scope_cancel},
                                           {"detach", m_scope_detach},
                                           {NULL, NULL}};
  static const luaL_Reg scope_metamethods[] = {
      {"__tostring", mm_scope_tostring}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, TASK_TYPE, methods, metamethods);
  new_type(L, b, JOIN_TYPE, NULL, join_metamethods);
  new_type(L, b, SCOPE_TYPE, scope_methods, scope_metamethods);
  lua_pop(L, 6);
}
