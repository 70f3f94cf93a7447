/*
** pool.c - a pool's life: made, closed, drained, freed; its list of models.
**
** Closing is not freeing: what is lent comes back to a closed pool in its own
** time, and the pool's memory goes with its last model.
*/
#include "pool.h"

#include <stdlib.h>

#include "clock.h"
#include "model.h"
#include "parker.h"

/* ---- life -------------------------------------------------------------- */

llm_pool *llm_pool_new(llm_clock *clock) {
  llm_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->clock = clock != NULL ? clock : llm_clock_real();
  atomic_init(&pool->users, 1);
  atomic_init(&pool->holders, 1);
  atomic_init(&pool->due_ticks, UINT64_MAX);
  atomic_init(&pool->due_ns, LLM_FOREVER);
  atomic_init(&pool->rest_due_ns, LLM_FOREVER);
  llm_lock_init(&pool->lock);
  llm_lock_init(&pool->sleepers_lock);
  llm_lock_init(&pool->events.lock);
  return pool;
}

static void free_pool(llm_pool *pool) {
  llm_names_free(&pool->names);
  llm_lock_destroy(&pool->lock);
  llm_lock_destroy(&pool->sleepers_lock);
  llm_lock_destroy(&pool->events.lock);
  free(pool->name);
  free(pool);
}

void llm_pool_hold(llm_pool *pool) {
  atomic_fetch_add_explicit(&pool->holders, 1, memory_order_relaxed);
}

void llm_pool_drop(llm_pool *pool) {
  if (atomic_fetch_sub_explicit(&pool->holders, 1, memory_order_acq_rel) == 1)
    free_pool(pool);
}

llm_pool *llm_pool_ref(llm_pool *pool) {
  atomic_fetch_add_explicit(&pool->users, 1, memory_order_relaxed);
  return pool;
}

static void unregister_all(llm_pool *pool) {
  llm_model *model;
  uint64_t uid = 0;
  while ((model = llm_pool_after(pool, uid)) != NULL) {
    uid = llm_model_uid(model);
    llm_pool_unregister(pool, llm_model_name(model));
    llm_model_unref(model);
  }
}

void llm_pool_unref(llm_pool *pool) {
  if (!llm_registry_leave(pool)) return;
  llm_pool_close(pool);
  unregister_all(pool);
  llm_pool_drop(pool);
}

const char *llm_pool_name(const llm_pool *pool) {
  return pool->name != NULL ? pool->name->text : NULL;
}

llm_clock *llm_pool_clock(const llm_pool *pool) { return pool->clock; }

/* ---- names and models -------------------------------------------------- */

llm_name *llm_pool_intern(llm_pool *pool, const char *text) {
  llm_name *fresh = llm_name_new(text);
  if (fresh == NULL) return NULL;
  llm_lock_enter(&pool->lock);
  llm_name *name = llm_names_put(&pool->names, fresh);
  llm_lock_leave(&pool->lock);
  if (name != fresh) free(fresh);
  return name;
}

llm_model *llm_pool_after(llm_pool *pool, uint64_t uid) {
  llm_lock_enter(&pool->lock);
  llm_model *model = pool->models.head;
  while (model != NULL && model->uid <= uid) model = model->next;
  if (model != NULL) llm_model_ref(model);
  llm_lock_leave(&pool->lock);
  return model;
}

void llm_pool_forget(llm_pool *pool, llm_model *model) {
  llm_lock_enter(&pool->lock);
  llm_queue_remove(&pool->models, model);
  llm_lock_leave(&pool->lock);
  llm_model_unref(model);
}

/* ---- the end ----------------------------------------------------------- */

static void announce_close(llm_pool *pool) {
  llm_event event = {.kind = LLM_EV_CLOSED};
  if (!llm_pool_wants(pool, LLM_LISTENED)) return;
  llm_events_write(pool, &event);
  llm_events_deliver(pool);
}

/* The flag first, under the lock: after it no model comes in. */
void llm_pool_close(llm_pool *pool) {
  llm_model *model;
  uint64_t uid = 0;
  llm_lock_enter(&pool->lock);
  bool was_closed =
      atomic_exchange_explicit(&pool->is_closed, true, memory_order_acq_rel);
  llm_lock_leave(&pool->lock);
  if (was_closed) return;
  announce_close(pool);
  while ((model = llm_pool_after(pool, uid)) != NULL) {
    uid = llm_model_uid(model);
    llm_model_close(model);
    llm_model_unref(model);
  }
}

bool llm_pool_is_closed(const llm_pool *pool) {
  return atomic_load_explicit(&pool->is_closed, memory_order_acquire);
}

/* Each model's number is read under its lock, so that a return either is in
** it, or sees what was set before this was called. */
static size_t count_lent(llm_pool *pool) {
  llm_model *model;
  uint64_t uid = 0;
  size_t lent = 0;
  while ((model = llm_pool_after(pool, uid)) != NULL) {
    uid = llm_model_uid(model);
    llm_idle_lock(&model->idle);
    lent += llm_model_lent(model);
    llm_idle_unlock(&model->idle);
    llm_model_unref(model);
  }
  return lent;
}

size_t llm_pool_lent(const llm_pool *pool) {
  return count_lent((llm_pool *)(uintptr_t)pool); /* only its lock changes */
}

/* ---- drain ------------------------------------------------------------- */

static void set_state(llm_waiter *waiter, llm_wait_state state) {
  atomic_store_explicit(&waiter->state, state, memory_order_release);
}

/* The first of those who drain; NULL: none is left. */
static llm_waiter *next_drain(llm_pool *pool) {
  llm_lock_enter(&pool->lock);
  llm_waiter *waiter = pool->drains.head;
  if (waiter != NULL) {
    llm_queue_remove(&pool->drains, waiter);
    set_state(waiter, LLM_W_GRANTED);
  }
  if (llm_queue_is_empty(&pool->drains))
    atomic_fetch_and_explicit(&pool->attention, ~LLM_DRAINED,
                              memory_order_relaxed);
  llm_lock_leave(&pool->lock);
  return waiter;
}

void llm_pool_check_drained(llm_pool *pool) {
  llm_waiter *waiter;
  if (count_lent(pool) > 0) return;
  while ((waiter = next_drain(pool)) != NULL) waiter->wake(waiter);
}

bool llm_pool_drain_begin(llm_pool *pool, llm_waiter *waiter,
                          void (*wake)(llm_waiter *)) {
  llm_waiter_init(waiter, wake, LLM_FOREVER, 0);
  set_state(waiter, LLM_W_QUEUED);
  llm_lock_enter(&pool->lock);
  llm_queue_push(&pool->drains, waiter);
  atomic_fetch_or_explicit(&pool->attention, LLM_DRAINED, memory_order_relaxed);
  llm_lock_leave(&pool->lock);
  return count_lent(pool) > 0 || !llm_pool_drain_withdraw(pool, waiter);
}

bool llm_pool_drain_withdraw(llm_pool *pool, llm_waiter *waiter) {
  llm_lock_enter(&pool->lock);
  bool won = llm_waiter_state(waiter) == LLM_W_QUEUED;
  if (won) {
    llm_queue_remove(&pool->drains, waiter);
    set_state(waiter, LLM_W_CANCELLED);
  }
  if (llm_queue_is_empty(&pool->drains))
    atomic_fetch_and_explicit(&pool->attention, ~LLM_DRAINED,
                              memory_order_relaxed);
  llm_lock_leave(&pool->lock);
  return won;
}

typedef struct blocked_drain {
  llm_waiter waiter; /* first: the wake casts */
  llm_parker *parker;
} blocked_drain;

static void unpark(llm_waiter *waiter) {
  llm_parker_wake(((blocked_drain *)(void *)waiter)->parker);
}

size_t llm_pool_drain(llm_pool *pool, int64_t deadline_ns) {
  blocked_drain b = {.parker = llm_parker_self()};
  if (b.parker == NULL || !llm_pool_drain_begin(pool, &b.waiter, unpark))
    return count_lent(pool);
  llm_parked parked;
  do parked = llm_parker_wait(b.parker, pool->clock, deadline_ns);
  while (parked == LLM_PARK_POKED);
  if (parked == LLM_PARK_DUE && !llm_pool_drain_withdraw(pool, &b.waiter))
    llm_parker_take(b.parker); /* told after all */
  return count_lent(pool);
}
