/*
** worker.c - making and ending a worker, and its inbox.
**
** One idea: what another thread wants of a worker is a message appended to its
** inbox; the worker delivers it where no task runs. Nothing else of a worker
** is shared between threads.
*/
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "bound.h"
#include "interrupt.h"
#include "loop.h"
#include "runtime.h"
#include "scheduler.h"
#include "task.h"

static const char worker_key = 'w'; /* its address is the registry's key */
static _Atomic int workers;

/* initial-exec: read on every wake; also in a module loaded by dlopen */
static _Thread_local Worker *here __attribute__((tls_model("initial-exec")));

Worker *worker_here(void) { return here; }

int worker_count(void) {
  return atomic_load_explicit(&workers, memory_order_acquire);
}

bool worker_in_task(const Worker *worker) {
  for (const Activation *a = worker->activation; a; a = a->up)
    if (a->base) return true;
  return false;
}

Worker *worker_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &worker_key);
  Worker *worker = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return worker;
}

void worker_post(Worker *worker, Message *message) {
  if (worker == here) {
    message->deliver(worker, message);
    return;
  }
  message->next = NULL;
  pthread_mutex_lock(&worker->inbox_lock);
  if (worker->last_message)
    worker->last_message->next = message;
  else
    worker->first_message = message;
  worker->last_message = message;
  atomic_store_explicit(&worker->has_messages, true, memory_order_release);
  pthread_cond_signal(&worker->arrived);
  /* under the lock: the worker may be closing its loop */
  if (worker->loop) loop_kick(worker->loop);
  pthread_mutex_unlock(&worker->inbox_lock);
}

static Message *take_messages(Worker *worker, bool wait) {
  pthread_mutex_lock(&worker->inbox_lock);
  while (wait && worker->first_message == NULL)
    pthread_cond_wait(&worker->arrived, &worker->inbox_lock);
  Message *first = worker->first_message;
  worker->first_message = worker->last_message = NULL;
  atomic_store_explicit(&worker->has_messages, false, memory_order_release);
  pthread_mutex_unlock(&worker->inbox_lock);
  return first;
}

static int deliver(Worker *worker, Message *message) {
  int count = 0;
  while (message) {
    Message *next = message->next; /* delivery may end the message's memory */
    message->deliver(worker, message);
    message = next;
    count++;
  }
  return count;
}

int worker_receive(Worker *worker) {
  if (!atomic_load_explicit(&worker->has_messages, memory_order_acquire))
    return 0;
  return deliver(worker, take_messages(worker, false));
}

void worker_receive_wait(Worker *worker) {
  deliver(worker, take_messages(worker, true));
}

static int64_t no_pools_due(Worker *worker, bool serving) {
  (void)worker;
  (void)serving;
  return LLM_FOREVER;
}

static void no_pools(Worker *worker) { (void)worker; }

static void nothing_to_reclaim(Worker *worker, Task *task) {
  (void)worker;
  (void)task;
}

static void no_pools_asleep(Worker *worker, bool asleep) {
  (void)worker;
  (void)asleep;
}

/* The state closes: what is left of the tasks is ended here if the host's
** closer has not done it already. */
static int mm_gc(lua_State *L) {
  Worker *worker = lua_touserdata(L, 1);
  tasks_kill(worker);
  interrupt_forget(worker);
  loop_close(worker);
  world_free(&worker->real);
  pthread_mutex_destroy(&worker->inbox_lock);
  pthread_cond_destroy(&worker->arrived);
  atomic_fetch_sub_explicit(&workers, 1, memory_order_acq_rel);
  if (here == worker) here = NULL;
  return 0;
}

static lua_State *main_thread(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  return main;
}

static void worker_init(lua_State *L, Worker *worker) {
  memset(worker, 0, sizeof *worker);
  worker->L = main_thread(L);
  pthread_mutex_init(&worker->inbox_lock, NULL);
  pthread_cond_init(&worker->arrived, NULL);
  worker->pools_due = no_pools_due;
  worker->pools_tick = no_pools;
  worker->pools_sleep = no_pools_asleep;
  worker->pools_reclaim = nothing_to_reclaim;
  world_init(&worker->real, worker, llm_clock_real());
  worker->world = &worker->real;
  worker->current = &worker->real.main;
  atomic_fetch_add_explicit(&workers, 1, memory_order_acq_rel);
  here = worker;
}

void runtime_open(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &worker_key) != LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, mm_gc);
  lua_setfield(L, -2, "__gc"); /* stack: metatable */
  Worker *worker = lua_newuserdatauv(L, sizeof *worker, 0);
  worker_init(L, worker);
  lua_insert(L, -2); /* stack: worker metatable */
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &worker_key);
  tasks_open(L, worker);
  coroutine_open(L, worker);
  guarded_open(L, worker);
  exit_open(L, worker);
  api_open(L);
}
