/*
** crew.c - tasks that wait for work, and are told when it begins.
**
** One idea: a simulated caller is a task that serves one request after the
** other, so that a request costs no coroutine. There is a crew for each source
** of traffic. Whoever has just begun asks the source when the next one comes,
** picks an idle task and sets its timer; that wakes at the instant, by its own
** timer, without anybody in between. What is sent is Lua's.
*/
#include <stdlib.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"
#include "binding.h"

#define CREW_TYPE "llmpool crew"

typedef struct Crew {
  Task **idle; /* a stack: the last that came is the first that goes */
  size_t count, size;
  double to;        /* no arrivals from then on */
  lua_Integer left; /* arrivals that there may still be */
  bool closed;
} Crew;
enum { NEXT = 1, ARRIVAL }; /* user values */

static Crew *check_crew(lua_State *L) {
  return luaL_checkudata(L, 1, CREW_TYPE);
}

/* (next, to, most) -> a crew: `next`, a function (to), gives the instant of the
** next arrival, and anything about it; nil: there is none */
static int f_crew(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  double to = luaL_checknumber(L, 2);
  lua_Integer most = luaL_optinteger(L, 3, LUA_MAXINTEGER);
  Crew *crew = lua_newuserdatauv(L, sizeof *crew, 2);
  *crew = (Crew){NULL, 0, 0, to, most, false};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, NEXT);
  luaL_setmetatable(L, CREW_TYPE);
  return 1;
}

static bool reserve(Crew *crew) {
  if (crew->count < crew->size) return true;
  size_t size = crew->size ? crew->size * 2 : 64;
  Task **idle = realloc(crew->idle, size * sizeof(Task *));
  if (idle == NULL) return false;
  crew->idle = idle;
  crew->size = size;
  return true;
}

/* One that wakes for another reason leaves the stack. */
static void leave(Crew *crew, const Task *task) {
  size_t i = 0;
  while (i < crew->count && crew->idle[i] != task) i++;
  if (i == crew->count) return;
  for (; i + 1 < crew->count; i++) crew->idle[i] = crew->idle[i + 1];
  crew->count--;
}

static void close_crew(Crew *crew) {
  crew->closed = true;
  for (size_t i = 0; i < crew->count; i++) task_ready(crew->idle[i]);
  crew->count = 0;
}

/* ---- the next arrival -------------------------------------------------- */

static int64_t check_instant(lua_State *L, int index) {
  double at = luaL_checknumber(L, index);
  luaL_argcheck(L, at >= 0, index, "an instant, 0 or later, expected");
  return to_ns(at);
}

/* Crew at 1. An idle task is woken then; pushes nil; or the instant, if all are
** busy; or false, if no one comes any more: then the crew is closed. */
static void call_next(lua_State *L, Crew *crew) {
  lua_getiuservalue(L, 1, NEXT);
  lua_pushnumber(L, crew->to);
  lua_call(L, 1, 2); /* stack: ... at arrival */
  lua_setiuservalue(L, 1, ARRIVAL);
  if (lua_isnil(L, -1) || lua_tonumber(L, -1) >= crew->to ||
      crew->left-- <= 0) {
    close_crew(crew);
    lua_pushboolean(L, 0);
  } else if (crew->count == 0) {
    return;
  } else {
    int64_t due = check_instant(L, lua_gettop(L));
    if (!task_set_deadline(crew->idle[crew->count - 1], due))
      luaL_error(L, "not enough memory");
    crew->count--;
    lua_pushnil(L);
  }
  lua_replace(L, -2);
}

/* (crew) -> nil: one of the crew will wake; a time: somebody is needed then;
** false: it was the last. */
static int m_call(lua_State *L) {
  Crew *crew = check_crew(L);
  lua_settop(L, 1);
  call_next(L, crew);
  return 1;
}

/* ---- waiting ----------------------------------------------------------- */

/* Its arrival has come. Whoever begins calls the next one first. */
static int begin(lua_State *L, Crew *crew, const World *world) {
  lua_settop(L, 1);
  lua_pushnumber(L, to_seconds(world_now(world)));
  lua_getiuservalue(L, 1, ARRIVAL);
  call_next(L, crew);
  lua_insert(L, -2);
  return 3;
}

static int k_worked(lua_State *L, int status, lua_KContext ctx) {
  Crew *crew = (Crew *)ctx;
  Worker *worker = binding_of(L)->worker;
  Task *task = worker->current;
  (void)status;
  if (task->doomed || task_is_cancelled(task)) {
    leave(crew, task);
    timer_stop(task->world, &task->timer);
  }
  check_cancel(L, task);
  if (task->doomed) {
    task->doomed = false;
    push_error(L, "deadlock", "nothing is left that could bring work");
    return lua_error(L);
  }
  if (crew->closed) return 0;
  if (task->timer.index == 0) return begin(L, crew, task->world);
  return task_park(L, worker, WAIT_EXTERNAL, ctx, k_worked);
}

/* (crew) -> the time, at the instant for which it was called; what call says of
** the next; and what is known of this arrival. Nothing: it is over. By the
** callers of scenarios only: what comes is a crew. */
static int m_wait(lua_State *L) {
  Crew *crew = lua_touserdata(L, 1);
  Worker *worker = binding_of(L)->worker;
  Task *task = check_wait(L, worker);
  if (crew->closed) return 0;
  if (!reserve(crew)) return luaL_error(L, "not enough memory");
  crew->idle[crew->count++] = task;
  lua_settop(L, 1);
  return task_park(L, worker, WAIT_EXTERNAL, (lua_KContext)crew, k_worked);
}

/* (crew, time): the same for a task that begins, with the first arrival */
static int m_wait_until(lua_State *L) {
  Crew *crew = check_crew(L);
  int64_t due = check_instant(L, 2);
  Worker *worker = binding_of(L)->worker;
  Task *task = check_wait(L, worker);
  if (!task_set_deadline(task, due)) return luaL_error(L, "not enough memory");
  lua_settop(L, 1);
  return task_park(L, worker, WAIT_SLEEP, (lua_KContext)crew, k_worked);
}

static int mm_gc(lua_State *L) {
  Crew *crew = check_crew(L);
  free(crew->idle);
  *crew = (Crew){.closed = true};
  return 0;
}

void crew_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"crew", f_crew}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"wait", m_wait},
                                     {"wait_until", m_wait_until},
                                     {"call", m_call},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", mm_gc}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, CREW_TYPE, methods, metamethods);
  lua_pop(L, 2);
}
