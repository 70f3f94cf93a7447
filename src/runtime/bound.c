/*
** bound.c - running a function of the user's under a bound (see bound.h).
**
** When the instructions are used up the hook fires on every instruction, so
** that a loop around a pcall ends as well: the error comes again outside it.
*/
#include "bound.h"

#include <time.h>

#include <lauxlib.h>

#include "errors.h"

#define STEP 1000 /* instructions between two looks; most calls end before */
#define CLOSE 100 /* the same, while they seem to be slow ones */
#define MOST_NS INT64_C(1000000000)
#define SLOW_NS INT64_C(2000000) /* for CLOSE instructions */

static void on_count(lua_State *L, lua_Debug *ar);

static int step_of(const Bound *bound) {
  if (bound->instructions >= bound->step) return bound->step;
  return bound->instructions > 0 ? (int)bound->instructions : 1;
}

static void watch(lua_State *L, int count) {
  lua_sethook(L, on_count, LUA_MASKCOUNT, count);
}

static int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Charges all bounds; returns the outermost that is used up, or NULL. */
static Bound *charge(Bound *bound, int64_t n) {
  Bound *spent = NULL;
  for (Bound *b = bound; b; b = b->outer) {
    b->instructions -= n;
    if (b->instructions <= 0) spent = b;
  }
  return spent;
}

/* Raises, again and again, in the inner ones too. */
static void give_up(lua_State *L, Bound *bound, Bound *spent, int level,
                    const char *how) {
  spent->end = BOUND_INSTRUCTIONS;
  if (bound->instructions > 0) bound->instructions = 0;
  watch(L, 1);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  luaL_where(L, level);
  lua_pushfstring(L, "%s ran %s", bound->what, how);
  lua_concat(L, 2);
  lua_error(L);
}

/* The first look begins to watch the clock, and the second comes soon. */
static bool is_too_long(Bound *bound) {
  int64_t now = clock_ns(), was = bound->since_ns;
  if (was == 0) {
    bound->since_ns = now;
    bound->step = CLOSE;
    return false;
  }
  if (bound->step == CLOSE && now - was < SLOW_NS) bound->step = STEP;
  return now - was > MOST_NS;
}

static void on_count(lua_State *L, lua_Debug *ar) {
  Bound *bound = worker_here()->bound;
  (void)ar;
  if (bound == NULL) { /* a coroutine that outlived it */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  Bound *spent = charge(bound, step_of(bound));
  if (spent != NULL) give_up(L, bound, spent, 0, "for too many instructions");
  if (is_too_long(bound)) give_up(L, bound, bound, 0, "for too long");
  watch(L, step_of(bound));
}

int64_t bound_left(const Bound *bound) {
  const int64_t most = INT64_C(1) << 40;
  if (bound == NULL || bound->instructions > most) return most;
  return bound->instructions > 0 ? bound->instructions : 0;
}

void bound_charge(lua_State *L, int64_t n) {
  Bound *bound = worker_here()->bound;
  if (bound == NULL) return;
  Bound *spent = charge(bound, n);
  if (spent != NULL) give_up(L, bound, spent, 1, "for too many instructions");
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
  bound->since_ns = 0;
  bound->step = STEP;
  if (bound->outer && bound->outer->instructions < bound->instructions)
    bound->instructions = bound->outer->instructions;
  bound->alloc = lua_getallocf(L, &bound->data);
  worker->bound = bound;
  lua_setallocf(L, bound_alloc, bound);
  watch(L, step_of(bound));
}

void bound_abandon(lua_State *L, Worker *worker) {
  for (Bound *b = worker->bound; b; b = b->outer)
    lua_setallocf(L, b->alloc, b->data);
  worker->bound = NULL;
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
