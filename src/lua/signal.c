/*
** signal.c - a wait that other Lua code ends: signal:wait, signal:set.
**
** One idea: one task waits, anyone sets; a signal that was set stays so. It is
** what the router's gates are made of, and no part of the module's surface.
*/
#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "binding.h"

#define SIGNAL_TYPE "signal" /* not public: no llmpool. before it */

typedef struct Signal {
  Task *task; /* who waits */
  int64_t deadline_ns;
  bool is_set;
} Signal;

static Signal *check_signal(lua_State *L) {
  return luaL_checkudata(L, 1, SIGNAL_TYPE);
}

/* The wait is over, in whatever way. */
static int signal_close(lua_State *L) {
  Signal *signal = lua_touserdata(L, 1);
  if (signal->task) timer_stop(signal->task->world, &signal->task->timer);
  signal->task = NULL;
  return 0;
}

static int k_signalled(lua_State *L, int status, lua_KContext ctx) {
  Signal *signal = lua_touserdata(L, 1);
  Task *task = signal->task;
  (void)status;
  (void)ctx;
  bool late = signal->deadline_ns <= world_now(task->world);
  bool doomed = task->doomed && !signal->is_set;
  if (!signal->is_set && !late && !doomed && !task_is_cancelled(task))
    return task_park(L, worker_of(L), WAIT_LEASE, 0, k_signalled);
  task->doomed = false;
  signal_close(L);
  check_cancel(L, task);
  if (doomed) {
    push_error(L, "deadlock", "nothing is left that could end this wait");
    return lua_error(L);
  }
  lua_pushboolean(L, signal->is_set);
  return 1;
}

/* (signal, seconds) -> whether it was set in time */
static int m_wait(lua_State *L) {
  Signal *signal = check_signal(L);
  int64_t span =
      lua_isnoneornil(L, 2) ? LLM_FOREVER : check_seconds(L, 2, 2, "a timeout");
  Task *task = check_wait(L, binding_of(L)->worker);
  if (signal->task) return luaL_error(L, "somebody waits for this signal");
  lua_settop(L, 1);
  lua_toclose(L, 1);
  signal->deadline_ns = llm_time_after(world_now(task->world), span);
  if (!signal->is_set && span != LLM_FOREVER &&
      !task_set_deadline(task, signal->deadline_ns))
    return luaL_error(L, "not enough memory");
  signal->task = task;
  return k_signalled(L, LUA_OK, 0);
}

static int m_set(lua_State *L) {
  Signal *signal = check_signal(L);
  signal->is_set = true;
  if (signal->task) task_ready(signal->task);
  return 0;
}

static int f_signal(lua_State *L) {
  Signal *signal = lua_newuserdatauv(L, sizeof *signal, 0);
  *signal = (Signal){.task = NULL};
  luaL_setmetatable(L, SIGNAL_TYPE);
  return 1;
}

void signal_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"signal", f_signal}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"wait", m_wait}, {"set", m_set}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__close", signal_close},
                                         {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, SIGNAL_TYPE, methods, metamethods);
  lua_pop(L, 2);
}
