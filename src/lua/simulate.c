/*
** simulate.c - a virtual world: the same tasks and pools on a clock that jumps.
**
** One idea: while it runs, the worker's world is another one, with a manual
** clock, timers and ready tasks of its own and no event loop. Nothing sleeps:
** when no task can run, the clock goes to the next timer. With nothing left to
** go to, the wait can never end, and that is an error that names the waiters.
** Equal seeds give equal runs: ties go by order, chance by one generator.
*/
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"
#include "../runtime/scope.h"
#include "../runtime/task.h"
#include "binding.h"

/* Worlds stay until the state closes: pools and tasks of theirs may be held by
** the program, and name their world and its clock. */
typedef struct Past {
  struct Past *next;
  World world;
} Past;

/* ---- the run ----------------------------------------------------------- */

static void add_waiter(Task *task, void *ud) {
  lua_State *L = ud;
  static const char *const waits[] = {"sleeps", "waits for a scope",
                                      "joins a task", "waits for I/O",
                                      "waits for a client"};
  if (task->state != TASK_PARKED) return;
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_pushfstring(L, "the task spawned at %s %s", task->site ? task->site : "?",
                  waits[task->wait]);
  lua_rawseti(L, -2, n + 1);
}

#define NAMED 5 /* waiters that the message itself names */

static void push_stuck(lua_State *L, World *world) {
  lua_newtable(L);
  scope_each(&world->root, add_waiter, L);
  int waiters = lua_gettop(L);
  int n = (int)lua_rawlen(L, waiters);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (int i = 1; i <= n && i <= NAMED; i++) {
    luaL_addstring(&buffer, i == 1 ? ": " : "; ");
    lua_rawgeti(L, waiters, i);
    luaL_addvalue(&buffer);
  }
  if (n > NAMED) luaL_addstring(&buffer, "; ...");
  luaL_pushresult(&buffer);
  push_error(L, "deadlock",
             "nothing can run and no timer is left in the simulation%s",
             lua_tostring(L, -1));
  lua_pushvalue(L, waiters);
  lua_setfield(L, -2, "waiters");
  lua_replace(L, waiters);
  lua_settop(L, waiters);
}

/* Drives until all tasks have ended; false: until nothing can run. */
static bool drive_all(lua_State *L, World *world, const Task *task) {
  for (;;) {
    world_receive(L, world); /* events that came last */
    if (world->root.children == 0) break;
    if (task->state == TASK_FAILED) scope_cancel(&world->root);
    world->main.state = TASK_PARKED;
    world->main.wait = WAIT_SCOPE;
    world_drive(L, world, &world->main);
    if (world->main.doomed) return false;
  }
  return true;
}

/* stack: world function arguments...; under lua_pcall */
static int run(lua_State *L) {
  World *world = lua_touserdata(L, 1);
  int nargs = lua_gettop(L) - 2;
  Join join;
  memset(&join, 0, sizeof join);
  Task *task = task_spawn(L, world->worker, &world->root, nargs);
  join_add(&join, task, &world->main, true); /* its failure is raised here */
  bool all = drive_all(L, world, task);
  if (!all) {
    push_stuck(L, world);
    world->main.doomed = false;
    scope_cancel(&world->root);
    while (!drive_all(L, world, task)) world->main.doomed = false;
    join_remove(&join);
    return lua_error(L);
  }
  int n = lua_gettop(task->co);
  luaL_checkstack(L, n + 1, "too many results");
  lua_xmove(task->co, L, n);
  if (task->state == TASK_DONE) return n;
  rethrow_mark(L);
  return lua_error(L);
}

static Past *new_past(lua_State *L, Binding *b, int64_t start_ns) {
  Past *past = calloc(1, sizeof *past);
  llm_clock *clock = past ? llm_clock_manual_new(start_ns) : NULL;
  if (clock == NULL) {
    free(past);
    luaL_error(L, "not enough memory");
    return NULL;
  }
  world_init(&past->world, b->worker, clock);
  past->next = b->pasts;
  b->pasts = past;
  return past;
}

void simulate_free(Binding *b) {
  while (b->pasts) {
    Past *past = b->pasts;
    b->pasts = past->next;
    llm_clock_manual_free(past->world.clock);
    free(past);
  }
}

static uint64_t check_seed(lua_State *L) {
  static const char *const known[] = {"seed", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING ||
        strcmp(lua_tostring(L, -2), "seed") != 0) {
      push_unknown_option(L, luaL_tolstring(L, -2, NULL), known);
      luaL_argerror(L, 1, lua_tostring(L, -1));
    }
    lua_pop(L, 1);
  }
  lua_getfield(L, 1, "seed");
  if (!lua_isnil(L, -1) && !lua_isinteger(L, -1))
    wrong_option(L, 1, -1, "seed", "a whole number");
  uint64_t seed = (uint64_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return seed;
}

/* (options, function, ...) -> what the function returns */
static int f_simulate(lua_State *L) {
  Binding *b = binding_of(L);
  Worker *worker = b->worker;
  uint64_t seed = check_seed(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (worker->world->is_virtual)
    return luaL_error(L, "llmpool.simulate inside a simulation");
  World *world = &new_past(L, b, 0)->world;
  Task *outer = worker->current;
  world_seed(world, seed);
  lua_pushcfunction(L, run);
  lua_replace(L, 1);
  lua_pushlightuserdata(L, world);
  lua_insert(L, 2); /* stack: run world function arguments */
  worker->world = world;
  worker->current = &world->main;
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  worker->world = world->outer;
  worker->world->failures += world->failures; /* told, and not lost */
  worker->current = outer;
  timers_free(world);
  lua_pushnil(L); /* what Lua kept for it */
  lua_rawsetp(L, LUA_REGISTRYINDEX, world);
  if (status == LUA_OK) return lua_gettop(L);
  rethrow_mark(L);
  return lua_error(L);
}

void simulate_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"simulate", f_simulate}, {NULL, NULL}};
  set_functions(L, b, functions);
}
