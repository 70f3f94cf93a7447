/*
** bound.c - running a function of the user's under a bound (see bound.h).
**
** When the instructions are used up the hook fires on every instruction, so
** that a loop around a pcall ends as well: the error comes again outside it.
*/
#include "bound.h"

#include <lauxlib.h>

#include "errors.h"

#define STEP 1000 /* instructions between two looks; most calls end before */

static void on_count(lua_State *L, lua_Debug *ar);

static int step_of(const Bound *bound) {
  if (bound->instructions >= STEP) return STEP;
  return bound->instructions > 0 ? (int)bound->instructions : 1;
}

static void watch(lua_State *L, int count) {
  lua_sethook(L, on_count, LUA_MASKCOUNT, count);
}

/* One that is used up raises again and again, and so do its inner ones. */
static void on_count(lua_State *L, lua_Debug *ar) {
  Bound *bound = worker_here()->bound, *spent = NULL;
  (void)ar;
  if (bound == NULL) { /* a coroutine that outlived it */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  int step = step_of(bound);
  for (Bound *b = bound; b; b = b->outer) {
    b->instructions -= step;
    if (b->instructions <= 0) spent = b;
  }
  if (spent == NULL) {
    watch(L, step_of(bound));
    return;
  }
  spent->end = BOUND_INSTRUCTIONS;
  if (bound->instructions > 0) bound->instructions = 0;
  watch(L, 1);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  luaL_where(L, 0);
  lua_pushfstring(L, "%s ran for too many instructions", bound->what);
  lua_concat(L, 2);
  lua_error(L);
}

/* Lua frees by size 0, and gives a type as the old size of a new block. */
static void *bound_alloc(void *data, void *block, size_t old, size_t size) {
  Bound *bound = data;
  int64_t more = (int64_t)size - (block ? (int64_t)old : 0);
  if (more > 0 && more > bound->bytes) {
    bound->end = BOUND_MEMORY;
    return NULL;
  }
  void *result = bound->alloc(bound->data, block, old, size);
  if (result != NULL || size == 0) bound->bytes -= more;
  return result;
}

void bound_cover(const Worker *worker, lua_State *co) {
  const Bound *bound = worker->bound;
  if (bound != NULL && lua_gethook(co) == NULL) watch(co, step_of(bound));
}

static void enter(lua_State *L, Worker *worker, Bound *bound) {
  bound->outer = worker->bound;
  bound->end = BOUND_OK;
  if (bound->outer && bound->outer->instructions < bound->instructions)
    bound->instructions = bound->outer->instructions;
  bound->alloc = lua_getallocf(L, &bound->data);
  worker->bound = bound;
  lua_setallocf(L, bound_alloc, bound);
  watch(L, step_of(bound));
}

/* The outer one is charged a STEP besides, since its own count starts anew. */
static void leave(lua_State *L, Worker *worker, const Bound *bound) {
  worker->bound = bound->outer;
  lua_setallocf(L, bound->alloc, bound->data);
  if (bound->outer) bound->outer->instructions -= STEP;
}

BoundEnd bound_call(lua_State *L, Worker *worker, Bound *bound, int nargs,
                    int nresults) {
  int handler = lua_gettop(L) - nargs;
  lua_Hook hook = lua_gethook(L);
  int mask = lua_gethookmask(L), count = lua_gethookcount(L);
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, handler);
  enter(L, worker, bound);
  int status = lua_pcall(L, nargs, nresults, handler);
  leave(L, worker, bound);
  lua_remove(L, handler);
  /* gone if a signal took its place, raised, and has been removed */
  bool interrupted = lua_gethook(L) != on_count;
  if (bound->outer)
    watch(L, step_of(bound->outer));
  else
    lua_sethook(L, hook, mask, count);
  if (status == LUA_OK) return BOUND_OK;
  if (interrupted) lua_error(L);
  return bound->end == BOUND_OK ? BOUND_RAISED : bound->end;
}
