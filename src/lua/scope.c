/*
** scope.c - blocks that nobody outlives: scope, timeout, shield.
**
** One idea: a block runs under a protected call; whatever it does, the block
** is left only when all its children have ended - that wait is not itself
** cancelled, it cancels - and then what happened is told once: a child's
** failure, the block's own error, the time that ran out, or its results.
*/
#include "../runtime/scope.h"

#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "../runtime/task.h"
#include "binding.h"

/* the stack of scope and timeout: 1 scope, to be closed; 2 message handler;
** 3... what the block left */
enum { SCOPE = 1, HANDLER, RESULTS };

/* The coroutine is killed or closed from outside: the children go on as tasks
** of the root, cancelled. */
static int mm_close(lua_State *L) {
  Scope *scope = lua_touserdata(L, 1);
  if (!scope->open) return 0;
  scope_cancel(scope);
  while (scope->oldest) {
    Task *child = scope->oldest;
    scope_remove(child);
    scope_add(&scope->world->root, child);
  }
  scope_leave(scope);
  forget_scope(L, scope);
  return 0;
}

/* The block's error is the scope's own cancellation coming home. */
static bool came_home(lua_State *L, const Scope *scope) {
  if (!scope->cancelled) return false;
  push_scope_cancellation(L, scope);
  bool same = lua_rawequal(L, -1, RESULTS);
  lua_pop(L, 1);
  return same;
}

static int raise_timeout(lua_State *L) {
  push_error(L, "timeout", "the block did not end within its timeout");
  return lua_error(L);
}

static int raise_again(lua_State *L) {
  rethrow_mark(L);
  return lua_error(L);
}

/* No children are left. `ok`: the block returned. */
static int leave(lua_State *L, Scope *scope, bool ok) {
  bool home = !ok && came_home(L, scope);
  if (scope->failed) {
    push_scope_error(L, scope);
    if (lua_isnil(L, -1)) lua_pushliteral(L, "not enough memory");
    forget_scope(L, scope);
    scope_leave(scope);
    return raise_again(L);
  }
  forget_scope(L, scope);
  scope_leave(scope);
  if (ok) return lua_gettop(L) - HANDLER;
  if (!home) return raise_again(L);
  if (scope->timed_out) return raise_timeout(L);
  return 0; /* cancelled by its own block */
}

static int k_left(lua_State *L, int status, lua_KContext ctx) {
  Scope *scope = lua_touserdata(L, SCOPE);
  Worker *worker = binding_of(L)->worker;
  (void)status;
  /* a deadlock of its own is that of a child, which is told itself */
  worker->current->doomed = false;
  if (scope->children == 0) return leave(L, scope, ctx != 0);
  if (task_is_cancelled(scope->owner)) scope_cancel(scope);
  return task_park(L, worker, WAIT_SCOPE, ctx, k_left);
}

static int k_block(lua_State *L, int status, lua_KContext ctx) {
  Scope *scope = lua_touserdata(L, SCOPE);
  bool ok = status == LUA_OK || status == LUA_YIELD;
  (void)ctx;
  if (!ok) scope_cancel(scope);
  return k_left(L, LUA_OK, ok);
}

/* stack: function arguments...; makes room for the scope and the handler. */
static Scope *open_scope(lua_State *L, lua_CFunction handler) {
  Binding *b = binding_of(L);
  Task *task = check_wait(L, b->worker);
  Scope *scope = lua_newuserdatauv(L, sizeof *scope, 0);
  memset(scope, 0, sizeof *scope);
  luaL_setmetatable(L, SCOPE_TYPE);
  lua_insert(L, SCOPE);
  lua_pushcfunction(L, handler);
  lua_insert(L, HANDLER);
  lua_toclose(L, SCOPE);
  scope_enter(scope, task);
  return scope;
}

static int f_scope(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  open_scope(L, keep_traceback);
  lua_pushvalue(L, SCOPE);
  int status = lua_pcallk(L, 1, LUA_MULTRET, HANDLER, 0, k_block);
  return k_block(L, status, 0);
}

static void on_timeout(Timer *timer) {
  Scope *scope = (Scope *)(void *)((char *)timer - offsetof(Scope, timer));
  scope->timed_out = !scope->cancelled;
  scope_cancel(scope);
}

static int timeout(lua_State *L, lua_CFunction handler) {
  int64_t span = check_seconds(L, 1, 1, "a timeout");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_remove(L, 1);
  Scope *scope = open_scope(L, handler);
  int64_t due = llm_time_after(world_now(scope->world), span);
  scope->timer.fire = on_timeout;
  if (due != LLM_FOREVER && !timer_start(scope->world, &scope->timer, due))
    return luaL_error(L, "not enough memory");
  int status =
      lua_pcallk(L, lua_gettop(L) - RESULTS, LUA_MULTRET, HANDLER, 0, k_block);
  return k_block(L, status, 0);
}

static int f_timeout(lua_State *L) { return timeout(L, keep_traceback); }

/* For our own modules, which catch what comes: a provider's failure and the end
** of the time need no traceback. */
static int f_timeout_inside(lua_State *L) { return timeout(L, keep_of_bugs); }

static const char inside_key = 't'; /* registry: the function */

void push_timeout_inside(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &inside_key);
}

/* ---- shield ------------------------------------------------------------ */

/* stack: 1 a value to be closed that counts the shield down; 2 handler */
static int shield_close(lua_State *L) {
  Task **task = lua_touserdata(L, 1);
  if (*task) (*task)->shields--;
  *task = NULL;
  return 0;
}

static int k_shielded(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  lua_closeslot(L, 1);
  if (status != LUA_OK && status != LUA_YIELD) return raise_again(L);
  return lua_gettop(L) - HANDLER;
}

static int f_shield(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  Task *task = binding_of(L)->worker->current;
  if (task->shields == UINT8_MAX)
    return luaL_error(L, "shields are nested too deep");
  Task **held = lua_newuserdatauv(L, sizeof *held, 0);
  *held = NULL;
  luaL_setmetatable(L, "llmpool.shield");
  lua_insert(L, 1);
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, HANDLER);
  lua_toclose(L, 1);
  *held = task;
  task->shields++;
  int status = lua_pcallk(L, lua_gettop(L) - RESULTS, LUA_MULTRET, HANDLER, 0,
                          k_shielded);
  return k_shielded(L, status, 0);
}

void scope_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"scope", f_scope},
                                       {"timeout", f_timeout},
                                       {"timeout_inside", f_timeout_inside},
                                       {"shield", f_shield},
                                       {NULL, NULL}};
  static const luaL_Reg shield_metamethods[] = {{"__close", shield_close},
                                                {NULL, NULL}};
  set_functions(L, b, functions);
  lua_getfield(L, -1, "timeout_inside");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &inside_key);
  new_type(L, b, "llmpool.shield", NULL, shield_metamethods);
  lua_pop(L, 2);
  luaL_getmetatable(L, SCOPE_TYPE);
  push_upvalues(L, b);
  lua_pushcclosure(L, mm_close, 2);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
}
