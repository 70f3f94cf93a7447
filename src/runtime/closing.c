/*
** closing.c - the end of a program, in order.
**
** One idea: at the bottom of the main thread's stack lies a value to be closed.
** Whatever ends the program - the end of main, an error, os.exit(code, true),
** SIGTERM - closes it, and closing it cancels all tasks and runs them to their end, so
** that their own close handlers run and every lease comes back.
*/
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

#include "bound.h"
#include "errors.h"
#include "interrupt.h"
#include "runtime.h"
#include "scheduler.h"
#include "scope.h"
#include "task.h"

/* ---- os.exit ----------------------------------------------------------- */

static int leave_task(lua_State *L, Worker *worker) {
  worker->exit_wanted = true;
  worker->current->cancelled = true;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  push_cancellation(L, worker->current);
  return lua_error(L);
}

/* Inside a task, os.exit(code, true) ends the task; the drive loop, which is
** on the main thread, then closes the state and exits. */
static int f_exit(lua_State *L) {
  Worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  if (!lua_toboolean(L, 2) || !worker_in_task(worker))
    return lua_tocfunction(L, lua_upvalueindex(2))(L);
  if (lua_isboolean(L, 1))
    worker->exit_status = lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
  else
    worker->exit_status = (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
  return leave_task(L, worker);
}

void exit_now(lua_State *L, Worker *worker) {
  if (worker_in_task(worker)) { /* a simulation inside a task: further out */
    push_error(L, "cancelled", "the program is exiting");
    lua_error(L);
  }
  int status = worker->exit_status;
  worker->exit_wanted = false;
  bound_abandon(L, worker);
  lua_close(worker->L);
  exit(status);
}

void end_program(lua_State *L, Worker *worker, int status) {
  if (worker->ending) luaL_error(L, "terminated!"); /* it closes already */
  worker->exit_status = status;
  if (worker_in_task(worker))
    leave_task(L, worker);
  else
    exit_now(L, worker);
}

/* ---- waiting for all --------------------------------------------------- */

int runtime_finish(lua_State *L) {
  Worker *worker = worker_of(L);
  World *world = worker->world;
  if (worker_in_task(worker))
    luaL_error(L, "only the main chunk can wait for all tasks");
  for (;;) {
    world_receive(L, world); /* events that came last */
    if (world->root.children == 0) break;
    world->main.state = TASK_PARKED;
    world->main.wait = WAIT_SCOPE;
    world->main.parked_at = ++world->parks;
    world_drive(L, world, &world->main);
    if (world->main.doomed) {
      world->main.doomed = false;
      push_error(L, "deadlock", "%d tasks wait and nothing can wake them",
                 (int)world->root.children);
      lua_error(L);
    }
  }
  return world->failures;
}

static int finish_protected(lua_State *L) {
  runtime_finish(L);
  return 0;
}

static void end_world(lua_State *L, Worker *worker, World *world) {
  worker->world = world;
  worker->current = &world->main;
  world->driving = false;
  task_reclaim(worker->current); /* os.exit inside a callback */
  scope_cancel(&world->root);
  lua_pushcfunction(L, finish_protected);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) { /* interrupted again */
    lua_pop(L, 1);
    tasks_kill(worker);
  }
}

/* A simulation of the main chunk's goes first. */
static int mm_close(lua_State *L) {
  Worker *worker = worker_of(L);
  if (worker->closing) return 0;
  worker->ending = true;
  for (World *world = worker->world; world; world = world->outer)
    end_world(L, worker, world);
  worker->closing = true;
  return 0;
}

void runtime_push_closer(lua_State *L) {
  Worker *worker = worker_of(L);
  worker->drop_in = true;
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, mm_close);
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
}

void exit_open(lua_State *L, Worker *worker) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_OSLIBNAME) == LUA_TTABLE) {
    lua_pushlightuserdata(L, worker);
    lua_getfield(L, -2, "exit");
    lua_pushcclosure(L, f_exit, 2);
    lua_setfield(L, -2, "exit");
  }
  lua_pop(L, 2);
}
