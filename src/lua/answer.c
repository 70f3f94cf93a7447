/*
** answer.c - what most simulated clients do with a request: they fail by
** chance, or wait and give their reply.
**
** One idea: it is the method generate of a client that has nothing but a
** latency, a reply and failures, as one C function, since a simulated request
** is little else. What fails and how is told by Lua (simulated/faults.lua); a
** client with more to it, and a call with more limits than one of the whole, is
** Lua's altogether (providers/simulated.lua).
*/
#include <string.h>

#include "binding.h"

#include "../runtime/fields.h"
#include "../runtime/scheduler.h"
#include "chance.h"

typedef struct Answer {
  const Draw *odds; /* of failing; or NULL */
  double rate;
  const Draw *latency; /* or NULL: upvalue LATENCY, a function; or at once */
} Answer;

/* upvalues: binding shelf answer text type fail late whole strike odds latency
*/
enum { ANSWER = 3, TEXT, TYPE, FAIL, LATE, WHOLE, STRIKE, ODDS, LATENCY };
#define UP(n) lua_upvalueindex(n)

static int k_over(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return lua_gettop(L);
}

/* A response that hardly anybody reads: its seconds, and the request as user
** value. stack: client request seconds */
static int push_answer(lua_State *L) {
  lua_pushvalue(L, UP(TEXT));
  double *seconds = lua_newuserdatauv(L, sizeof *seconds, 1);
  *seconds = lua_tonumber(L, 3);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, UP(TYPE));
  lua_setmetatable(L, -2);
  return 2;
}

/* (response, key) -> what `read`, the upvalue, says of it */
static int response_index(lua_State *L) {
  const double *seconds = lua_touserdata(L, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_getiuservalue(L, 2, 1);
  lua_replace(L, 2);
  lua_pushnumber(L, *seconds);
  lua_insert(L, 3); /* stack: read request seconds key */
  lua_call(L, 3, 1);
  return 1;
}

/* Pushes the metatable of responses, by what the table at 1 has as `read`. */
static void push_type(lua_State *L) {
  lua_createtable(L, 0, 2);
  lua_getfield(L, 1, "read");
  lua_pushcclosure(L, response_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "response");
  lua_setfield(L, -2, "__name");
}

static int k_waited(lua_State *L, int status, lua_KContext ctx) {
  Worker *worker = binding_of(L)->worker;
  Task *task = worker->current;
  bool due = task->timer.index == 0;
  (void)status;
  if (!due && task_is_cancelled(task)) timer_stop(task->world, &task->timer);
  check_cancel(L, task);
  return due ? push_answer(L) : task_park(L, worker, WAIT_SLEEP, ctx, k_waited);
}

/* stack: client request seconds */
static int wait(lua_State *L) {
  Worker *worker = binding_of(L)->worker;
  int64_t span = check_seconds(L, 3, 3, "a latency");
  Task *task = check_wait(L, worker);
  if (span == 0)
    task_enqueue(task);
  else if (!task_set_deadline(task,
                              llm_time_after(world_now(task->world), span)))
    return luaL_error(L, "not enough memory");
  return task_park(L, worker, WAIT_SLEEP, 0, k_waited);
}

/* Pushes what there is to fail with, kind and time to come back; or nothing. */
static bool strikes(lua_State *L, const Answer *answer) {
  if (answer->odds && draw_next(answer->odds) >= answer->rate) return false;
  if (lua_isnil(L, UP(STRIKE))) return false;
  lua_pushvalue(L, UP(STRIKE));
  lua_pushnumber(L, to_seconds(world_now(binding_of(L)->worker->world)));
  lua_call(L, 1, 2);
  if (lua_toboolean(L, -2)) return true;
  lua_pop(L, 2);
  return false;
}

static void push_latency(lua_State *L) {
  lua_pushvalue(L, UP(LATENCY));
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushnumber(L, 0);
  } else {
    lua_call(L, 0, 1);
  }
}

/* Calls a function of Lua's with all that is on the stack. */
static int hand_on(lua_State *L, int function) {
  lua_pushvalue(L, UP(function));
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, k_over);
  return lua_gettop(L);
}

enum { NO_LIMIT = -1, MANY_LIMITS = -2 };

/* The table at `index` says how long the whole may take, and nothing else. */
static double total_alone(lua_State *L, int index) {
  double total = MANY_LIMITS;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    bool is_total = lua_type(L, -2) == LUA_TSTRING &&
                    strcmp(lua_tostring(L, -2), "total") == 0 &&
                    lua_type(L, -1) == LUA_TNUMBER;
    total = is_total ? lua_tonumber(L, -1) : MANY_LIMITS;
    lua_pop(L, 1);
    if (is_total) continue;
    lua_pop(L, 1);
    break;
  }
  return total >= 0 ? total : MANY_LIMITS;
}

/* Seconds that the call allows; or one of the two above. */
static double limit_of(lua_State *L) {
  double limit = MANY_LIMITS;
  if (!lua_istable(L, 3)) return lua_isnoneornil(L, 3) ? NO_LIMIT : MANY_LIMITS;
  if (lua_getfield(L, 3, "timeout") == LUA_TNIL)
    limit = NO_LIMIT;
  else if (lua_istable(L, -1))
    limit = total_alone(L, lua_gettop(L));
  lua_pop(L, 1);
  return limit;
}

/* (client, request, options) -> text, response; raises as the client fails */
static int f_answer(lua_State *L) {
  const Answer *answer = lua_touserdata(L, UP(ANSWER));
  double limit = limit_of(L);
  if (limit == MANY_LIMITS) return hand_on(L, WHOLE);
  lua_settop(L, 2);
  if (strikes(L, answer)) {
    lua_remove(L, 1);
    lua_remove(L, 1);
    if (limit >= 0) lua_pushnumber(L, limit);
    return hand_on(L, FAIL);
  }
  if (answer->latency)
    lua_pushnumber(L, draw_next(answer->latency));
  else
    push_latency(L);
  if (limit >= 0 && lua_tonumber(L, 3) > limit) {
    lua_settop(L, 0);
    lua_pushnumber(L, limit);
    return hand_on(L, LATE);
  }
  return lua_tonumber(L, 3) > 0 ? wait(L) : push_answer(L);
}

/* Pushes a field of the table at 1 and returns the draw that it is, or NULL. */
static const Draw *push_draw(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  return draw_of(L, -1);
}

/* ({text, read, fail, late, whole, strike, odds, rate, latency}) -> the method:
**   read     function (request, seconds, key) -> that field of the response
**   fail     function (kind, retry_at, limit) that waits and raises
**   late     function (limit) that waits for so long, and raises
**   whole    function (client, request, options) for a call with other limits
**            than one of the whole
**   strike   function (now) -> nil, or kind and retry_at; asked every time, or
**            only as often as odds, a draw from 0 to 1, are below rate
**   latency  a function () -> seconds, which does not wait; best a draw */
static int f_answerer(lua_State *L) {
  static const char *const names[] = {"fail", "late", "whole", "strike"};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  push_upvalues(L, binding_of(L));
  Answer *answer = lua_newuserdatauv(L, sizeof *answer, 0);
  lua_getfield(L, 1, "text");
  push_type(L);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    lua_getfield(L, 1, names[i]);
  answer->odds = push_draw(L, "odds");
  answer->latency = push_draw(L, "latency");
  lua_getfield(L, 1, "rate");
  answer->rate = lua_tonumber(L, -1);
  lua_pop(L, 1);
  lua_pushcclosure(L, f_answer, LATENCY);
  return 1;
}

void answer_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"answerer", f_answerer}, {NULL, NULL}};
  set_functions(L, b, functions);
}
