/*
** scheduler.c - waiting and running: how a call parks, and who runs next.
**
** One idea: a parked coroutine has yielded a sentinel that no Lua code can
** make. The patched resume passes it on outwards until the scheduler has it,
** so that a wait inside any nest of the user's own coroutines parks the task.
** Nothing is resumed from where it was made ready: only from the drive loop.
*/
#include "scheduler.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include <lauxlib.h>

#include "bound.h"
#include "errors.h"
#include "interrupt.h"
#include "loop.h"
#include "runtime.h"
#include "scope.h"
#include "task.h"

/* while tasks are ready, I/O is looked at no more often than this */
#define POLL_NS 200000

static const char sentinel = 's';

void push_sentinel(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&sentinel);
}

bool coroutine_is_parked(lua_State *co) {
  return lua_status(co) == LUA_YIELD && lua_gettop(co) > 0 &&
         lua_touserdata(co, -1) == (const void *)&sentinel;
}

int coroutine_resume(Worker *worker, lua_State *co, lua_State *from, int nargs,
                     int *nresults, bool base) {
  if (nargs == 0 && coroutine_is_parked(co)) lua_pop(co, 1);
  Activation activation = {worker->activation, co, from,
                           lua_isyieldable(from) != 0, base};
  if (worker->bound) bound_cover(worker, co);
  worker->activation = &activation;
  int status = lua_resume(co, from, nargs, nresults);
  worker->activation = activation.up;
  return status;
}

/* ---- may the running function wait? ------------------------------------ */

/* Lua's own functions that a wait may cross; and error, under which a message
** handler runs. */
static bool is_crossable(const char *name) {
  static const char *const names[] = {"pcall", "xpcall", "dofile", "error"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(name, names[i]) == 0) return true;
  return false;
}

/* The name of the C function that a wait would have to cross, or NULL. Level 0
** is the function that asks, or the resume of what it runs in. */
static const char *crossed_function(lua_State *L, lua_State *co) {
  lua_Debug ar;
  for (int level = 1; lua_getstack(co, level, &ar); level++) {
    lua_getinfo(co, "Sn", &ar);
    if (ar.what[0] != 'C') continue;
    lua_getinfo(co, "f", &ar);
    lua_xmove(co, L, 1);
    const char *name = push_library_name(L, -1);
    if (name == NULL) return ar.name;
    if (!is_crossable(name)) return name;
    lua_pop(L, 1);
  }
  return NULL;
}

static int cannot_wait(lua_State *L, lua_State *co) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  const char *name = crossed_function(L, co);
  if (name == NULL)
    return luaL_error(L, "cannot wait here: inside a finalizer, a message "
                         "handler or another place that cannot yield");
  if (strcmp(name, "require") == 0)
    return luaL_error(L, "cannot wait here: inside require (a C function that "
                         "cannot yield); wait in a function of the module");
  return luaL_error(L,
                    "cannot wait here: inside %s (a C function that cannot "
                    "yield)",
                    name);
}

/* Every coroutine from the running one up to the task must be able to yield:
** lua_isyieldable alone says true in a fresh coroutine inside a comparator. */
static void check_chain(lua_State *L, const Worker *worker) {
  lua_State *co = L;
  bool yieldable = lua_isyieldable(L);
  for (const Activation *a = worker->activation;; a = a->up) {
    if (a == NULL || a->co != co)
      luaL_error(L, "cannot wait here: in a coroutine that was resumed by a C "
                    "function that does not know tasks");
    if (!yieldable) cannot_wait(L, co);
    if (a->base) return;
    co = a->from;
    yieldable = a->from_yieldable;
  }
}

Task *check_wait(lua_State *L, Worker *worker) {
  Task *task = worker->current;
  if (worker->bound) luaL_error(L, "cannot wait in %s", worker->bound->what);
  if (worker_in_task(worker))
    check_chain(L, worker);
  else if (worker->world->driving)
    luaL_error(L, "cannot wait here: the loop is running already");
  check_cancel(L, task);
  return task;
}

bool task_is_cancelled(const Task *task) {
  if (task->cancelled && task->shields == 0) return true;
  for (const Scope *s = task->scope; s; s = s->outer)
    if (s->cancelled && s->shields == task->shields) return true;
  return false;
}

void check_cancel(lua_State *L, Task *task) {
  if (!task_is_cancelled(task)) return;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  push_cancellation(L, task);
  lua_error(L);
}

/* ---- parking ----------------------------------------------------------- */

void task_enqueue(Task *task) {
  World *world = task->world;
  task->state = TASK_READY;
  if (task == &world->main) return; /* its drive loop looks at the state */
  task->next = NULL;
  if (world->last_ready)
    world->last_ready->next = task;
  else
    world->first_ready = task;
  world->last_ready = task;
}

void task_ready(Task *task) {
  if (task->state == TASK_PARKED) task_enqueue(task);
}

static void on_deadline(Timer *timer) {
  task_ready((Task *)(void *)((char *)timer - offsetof(Task, timer)));
}

bool task_set_deadline(Task *task, int64_t due_ns) {
  task->timer.fire = on_deadline;
  return timer_start(task->world, &task->timer, due_ns);
}

int task_park(lua_State *L, Worker *worker, WaitKind kind, lua_KContext ctx,
              lua_KFunction k) {
  Task *task = worker->current;
  task->wait = kind;
  /* made ready between its check and now (sleep(0), a wake at once): it still
  ** yields the turn, and the queue has it already */
  if (task->state == TASK_RUNNING) {
    task->state = TASK_PARKED;
    task->parked_at = ++task->world->parks;
  }
  if (task == &task->world->main) {
    world_drive(L, task->world, task);
    return k(L, LUA_OK, ctx);
  }
  push_sentinel(L);
  return lua_yieldk(L, 1, ctx, k);
}

/* ---- the drive loop ---------------------------------------------------- */

/* Runs what is ready now; tasks that get ready meanwhile wait their turn. */
static void run_ready(lua_State *L, World *world) {
  const Task *last = world->last_ready;
  bool done = last == NULL;
  while (!done) {
    Task *task = world->first_ready;
    world->first_ready = task->next;
    if (task->next == NULL) world->last_ready = NULL;
    done = task == last;
    task_run(L, task); /* it may be gone now */
  }
}

/* Whom to tell that nothing can serve the waits: who waits for a client first
** of all, and of those the one who began last, since it may hold another. */
static Task *newest_waiter(const Scope *scope, Task *best) {
  for (Task *t = scope->oldest; t; t = t->newer) {
    if (t->state == TASK_PARKED &&
        (t->wait > best->wait ||
         (t->wait == best->wait &&
          (int32_t)(t->parked_at - best->parked_at) > 0)))
      best = t;
    for (const Scope *s = t->scope; s; s = s->outer)
      best = newest_waiter(s, best);
  }
  return best;
}

static void doom_one(World *world, Task *driver) {
  Task *victim = driver;
  if (!world->is_virtual) {
    for (const Scope *s = driver->scope; s; s = s->outer)
      victim = newest_waiter(s, victim);
    victim = newest_waiter(&world->root, victim);
  }
  victim->doomed = true;
  task_ready(victim);
}

static void sleep_virtual(World *world, Task *driver) {
  Worker *worker = world->worker;
  int64_t due = timers_due(world);
  int64_t rest = worker->pools_due(worker, true);
  if (rest < due) due = rest;
  if (due == LLM_FOREVER) {
    doom_one(world, driver);
    return;
  }
  /* what else is due keeps no world going, but is done at its time */
  int64_t upkeep = worker->pools_due(worker, false);
  if (upkeep < due) due = upkeep;
  if (due > world_now(world)) llm_clock_manual_set(world->clock, due);
  worker->pools_tick(worker);
  timers_run(world, due);
}

/* Nothing is under way in this process that could make a task ready. */
static bool is_stuck(World *world) {
  Worker *worker = world->worker;
  return timers_due(world) == LLM_FOREVER && !loop_is_alive(worker) &&
         worker_count() == 1 && worker->threads == 0 &&
         worker->pools_due(worker, true) == LLM_FOREVER;
}

static void sleep_real(lua_State *L, World *world, Task *driver) {
  Worker *worker = world->worker;
  if (is_stuck(world)) {
    doom_one(world, driver);
    return;
  }
  if (!loop_open(worker)) {
    world->driving = false;
    driver->state = TASK_RUNNING;
    luaL_error(L, "cannot make an event loop: not enough memory or files");
  }
  worker->pools_sleep(worker, true);
  int64_t due = timers_due(world);
  int64_t pools = worker->pools_due(worker, false);
  if (pools < due) due = pools;
  bool awake =
      interrupt_is_pending(worker) ||
      atomic_load_explicit(&worker->has_messages, memory_order_acquire);
  loop_run(worker, awake ? 0 : due);
  worker->pools_sleep(worker, false);
  if (pools <= world_now(world)) worker->pools_tick(worker);
  timers_run(world, world_now(world));
}

void world_receive(lua_State *L, const World *world) {
  Worker *worker = world->worker;
  worker_receive(worker);
  if (worker->has_bells) worker->pools_ring(L, worker);
}

/* What has come due while tasks ran. */
static void poll(World *world) {
  Worker *worker = world->worker;
  if (world->is_virtual) return;
  int64_t now = world_now(world);
  timers_run(world, now);
  if (now - world->polled_ns < POLL_NS) return;
  world->polled_ns = now;
  if (worker->pools_due(worker, false) <= now) worker->pools_tick(worker);
  if (loop_is_alive(worker)) loop_run(worker, 0);
}

/* One turn: messages, ready tasks, timers; sleeps if there is nothing. Returns
** whether the others have had their turn before what has come due. */
static bool turn(lua_State *L, World *world, Task *driver) {
  world_receive(L, world);
  if (world->first_ready) {
    run_ready(L, world);
    poll(world);
    return !world->is_virtual;
  }
  if (driver->state == TASK_PARKED) {
    if (world->is_virtual)
      sleep_virtual(world, driver);
    else
      sleep_real(L, world, driver);
  }
  return false;
}

void world_drive(lua_State *L, World *world, Task *task) {
  Worker *worker = world->worker;
  bool had_turn = false;
  assert(!world->driving);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  world->driving = true;
  if (worker->drop_in) runtime_end_in_order(L);
  while (task->state == TASK_PARKED) {
    if (turn(L, world, task)) had_turn = true;
    if (worker->exit_wanted || interrupt_is_pending(worker)) break;
  }
  if (task->wait == WAIT_SLEEP && !had_turn) { /* it yields its turn only */
    world_receive(L, world);
    run_ready(L, world);
    poll(world);
  }
  world->driving = false;
  task->state = TASK_RUNNING;
  task->next = NULL;
  if (worker->exit_wanted) exit_now(L, worker);
  interrupt_check(L, worker);
}

/* ---- worlds ------------------------------------------------------------ */

int64_t world_now(const World *world) { return llm_clock_now(world->clock); }

void world_init(World *world, Worker *worker, llm_clock *clock) {
  memset(world, 0, sizeof *world);
  world->worker = worker;
  world->outer = worker->world;
  world->clock = clock;
  world->is_virtual = llm_clock_is_manual(clock);
  world->root.world = world;
  world->root.open = true;
  world->main.world = world;
  world->main.state = TASK_RUNNING;
}

void world_seed(World *world, uint64_t seed) {
  world->seed = seed;
  world->seeded = true;
  random_seed(&world->random, seed);
}

void world_free(World *world) {
  assert(world->first_ready == NULL || world->worker->closing);
  timers_free(world);
}
