/*
** crew.c - tasks that wait for work, and are told when it begins.
**
** One idea: a simulated caller is a task that serves one request after the
** other, so that a request costs no coroutine. Whoever knows when the next one
** comes picks an idle task and sets its timer; it wakes at that instant, by
** its own timer, without anybody in between. Which work it is, is Lua's: the
** task is picked by a number that Lua has given it.
*/
#include <stdlib.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "binding.h"

#define CREW_TYPE "llmpool crew"

typedef struct Idle {
  Task *task;
  lua_Integer number;
} Idle;

typedef struct Crew {
  Idle *idle; /* a stack: the last that came is the first that goes */
  size_t count, size;
  bool closed;
} Crew;

static Crew *check_crew(lua_State *L) {
  return luaL_checkudata(L, 1, CREW_TYPE);
}

static int f_crew(lua_State *L) {
  Crew *crew = lua_newuserdatauv(L, sizeof *crew, 0);
  *crew = (Crew){NULL, 0, 0, false};
  luaL_setmetatable(L, CREW_TYPE);
  return 1;
}

static bool reserve(Crew *crew) {
  if (crew->count < crew->size) return true;
  size_t size = crew->size ? crew->size * 2 : 64;
  Idle *idle = realloc(crew->idle, size * sizeof *idle);
  if (idle == NULL) return false;
  crew->idle = idle;
  crew->size = size;
  return true;
}

/* One that wakes for another reason leaves the stack. */
static void leave(Crew *crew, const Task *task) {
  size_t i = 0;
  while (i < crew->count && crew->idle[i].task != task) i++;
  if (i == crew->count) return;
  for (; i + 1 < crew->count; i++) crew->idle[i] = crew->idle[i + 1];
  crew->count--;
}

static int k_worked(lua_State *L, int status, lua_KContext ctx) {
  Crew *crew = (Crew *)ctx;
  Binding *b = binding_of(L);
  Task *task = b->worker->current;
  (void)status;
  bool ends = crew->closed || task->doomed || task_is_cancelled(task);
  if (ends) {
    leave(crew, task);
    timer_stop(task->world, &task->timer);
  }
  check_cancel(L, task);
  if (task->doomed) {
    task->doomed = false;
    push_error(L, "deadlock", "nothing is left that could bring work");
    return lua_error(L);
  }
  lua_pushboolean(L, !crew->closed);
  return 1;
}

/* (crew, number) -> true at the instant for which it was called; false: the
** crew is closed */
static int m_wait(lua_State *L) {
  Crew *crew = check_crew(L);
  lua_Integer number = luaL_checkinteger(L, 2);
  Binding *b = binding_of(L);
  Task *task = check_wait(L, b->worker);
  if (crew->closed) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (!reserve(crew)) return luaL_error(L, "not enough memory");
  crew->idle[crew->count++] = (Idle){task, number};
  lua_settop(L, 1);
  return task_park(L, b->worker, WAIT_EXTERNAL, (lua_KContext)crew, k_worked);
}

static int64_t check_instant(lua_State *L, int index) {
  double at = luaL_checknumber(L, index);
  luaL_argcheck(L, at >= 0, index, "an instant, 0 or later, expected");
  return at >= 9.2e9 ? LLM_FOREVER : (int64_t)(at * 1e9);
}

/* (crew, time): this task, which has a job already, wakes then */
static int m_wait_until(lua_State *L) {
  Crew *crew = check_crew(L);
  int64_t due = check_instant(L, 2);
  Binding *b = binding_of(L);
  Task *task = check_wait(L, b->worker);
  if (!task_set_deadline(task, due)) return luaL_error(L, "not enough memory");
  lua_settop(L, 1);
  return task_park(L, b->worker, WAIT_SLEEP, (lua_KContext)crew, k_worked);
}

/* (crew, time) -> the number of the task that will wake then; nil: all are
** busy */
static int m_call(lua_State *L) {
  Crew *crew = check_crew(L);
  int64_t due = check_instant(L, 2);
  if (crew->count == 0) return 0;
  const Idle *idle = &crew->idle[crew->count - 1];
  if (!task_set_deadline(idle->task, due))
    return luaL_error(L, "not enough memory");
  crew->count--;
  lua_pushinteger(L, idle->number);
  return 1;
}

/* (crew): nobody waits any more, now or later */
static int m_close(lua_State *L) {
  Crew *crew = check_crew(L);
  crew->closed = true;
  for (size_t i = 0; i < crew->count; i++) task_ready(crew->idle[i].task);
  crew->count = 0;
  return 0;
}

static int mm_gc(lua_State *L) {
  Crew *crew = check_crew(L);
  free(crew->idle);
  *crew = (Crew){NULL, 0, 0, true};
  return 0;
}

void crew_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"crew", f_crew}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"wait", m_wait},
                                     {"wait_until", m_wait_until},
                                     {"call", m_call},
                                     {"close", m_close},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", mm_gc}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, CREW_TYPE, methods, metamethods);
  lua_pop(L, 2);
}
