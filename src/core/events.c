/*
** events.c - rings of events, and telling their listeners.
**
** A ring is filled by any thread and emptied by its listener. A listener is
** told once when its ring turns from empty to not empty; while that call runs
** it is counted in `calls`, which is what a close waits for. The core makes no
** promise to be heard: a full ring drops the newest and counts them.
*/
#define _POSIX_C_SOURCE 200809L /* sched_yield */
#include "events.h"

#include <sched.h>
#include <stdlib.h>

#include "pool.h"

#define READ_AT_ONCE 64 /* events copied with the lock held */

struct llm_listener {
  llm_listener *prev, *next;
  llm_pool *pool; /* held, so that the names in its events live */
  void (*notify)(void *user);
  void *user;
  _Atomic uint64_t dropped;
  size_t bell;                   /* notify is due when so many are there */
  size_t first, count, capacity; /* of the ring; guarded, as is all below */
  uint32_t calls;                /* of notify that run */
  bool rings;                    /* notify is to be called */
  llm_event ring[];
};

/* ---- writing ----------------------------------------------------------- */

static void append(llm_pool *pool, llm_listener *l, const llm_event *event) {
  if (l->count == l->capacity) {
    atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
    return;
  }
  size_t at = l->first + l->count;
  if (at >= l->capacity) at -= l->capacity;
  l->ring[at] = *event;
  if (++l->count != l->bell || l->notify == NULL) return;
  l->rings = true;
  atomic_store_explicit(&pool->events.has_bells, true, memory_order_relaxed);
}

void llm_events_write(llm_pool *pool, llm_event *event) {
  llm_events *events = &pool->events;
  llm_lock_enter(&events->lock);
  event->seq = ++events->seq;
  event->time_ns = llm_clock_now(pool->clock);
  for (llm_listener *l = events->listeners.head; l != NULL; l = l->next)
    append(pool, l, event);
  llm_lock_leave(&events->lock);
}

/* ---- telling ----------------------------------------------------------- */

static llm_listener *next_bell(llm_events *events) {
  llm_listener *l = events->listeners.head;
  while (l != NULL && !l->rings) l = l->next;
  if (l == NULL) {
    atomic_store_explicit(&events->has_bells, false, memory_order_relaxed);
  } else {
    l->rings = false;
    l->calls++;
  }
  return l;
}

void llm_events_deliver(llm_pool *pool) {
  llm_events *events = &pool->events;
  llm_listener *l;
  if (!atomic_load_explicit(&events->has_bells, memory_order_relaxed)) return;
  llm_lock_enter(&events->lock);
  while ((l = next_bell(events)) != NULL) {
    llm_lock_leave(&events->lock);
    l->notify(l->user);
    llm_lock_enter(&events->lock);
    l->calls--;
  }
  llm_lock_leave(&events->lock);
}

/* ---- the listener's side ----------------------------------------------- */

static llm_listener *new_listener(llm_pool *pool, size_t capacity) {
  if (capacity > (SIZE_MAX - sizeof(llm_listener)) / sizeof(llm_event))
    return NULL;
  llm_listener *l = malloc(sizeof *l + capacity * sizeof *l->ring);
  if (l == NULL) return NULL;
  *l = (llm_listener){.pool = pool, .capacity = capacity};
  return l;
}

llm_listener *llm_pool_listen(llm_pool *pool, size_t capacity,
                              void (*notify)(void *user), void *user) {
  return llm_pool_listen_at(pool, capacity, 1, notify, user);
}

llm_listener *llm_pool_listen_at(llm_pool *pool, size_t capacity, size_t bell,
                                 void (*notify)(void *user), void *user) {
  llm_listener *l = new_listener(pool, capacity);
  if (l == NULL) return NULL;
  l->bell = bell;
  l->notify = notify;
  l->user = user;
  llm_pool_hold(pool);
  llm_lock_enter(&pool->events.lock);
  llm_queue_push(&pool->events.listeners, l);
  atomic_fetch_or_explicit(&pool->attention, LLM_LISTENED,
                           memory_order_relaxed);
  llm_lock_leave(&pool->events.lock);
  return l;
}

static size_t read_some(llm_listener *l, llm_event *out, size_t max) {
  size_t n = 0;
  llm_lock_enter(&l->pool->events.lock);
  for (; n < max && n < READ_AT_ONCE && l->count > 0; n++, l->count--) {
    out[n] = l->ring[l->first];
    if (++l->first == l->capacity) l->first = 0;
  }
  llm_lock_leave(&l->pool->events.lock);
  return n;
}

/* In small pieces: whoever records an event meanwhile has a client waiting. */
size_t llm_listener_read(llm_listener *l, llm_event *out, size_t max) {
  size_t total = 0, n;
  do {
    n = read_some(l, out + total, max - total);
    total += n;
  } while (n == READ_AT_ONCE && total < max);
  return total;
}

uint64_t llm_listener_dropped(const llm_listener *l) {
  return atomic_load_explicit(&l->dropped, memory_order_relaxed);
}

void llm_listener_close(llm_listener *l) {
  llm_pool *pool = l->pool;
  llm_lock_enter(&pool->events.lock);
  llm_queue_remove(&pool->events.listeners, l);
  l->rings = false;
  if (llm_queue_is_empty(&pool->events.listeners))
    atomic_fetch_and_explicit(&pool->attention, ~LLM_LISTENED,
                              memory_order_relaxed);
  while (l->calls > 0) { /* a notify does not block: it is over in a moment */
    llm_lock_leave(&pool->events.lock);
    sched_yield();
    llm_lock_enter(&pool->events.lock);
  }
  llm_lock_leave(&pool->events.lock);
  free(l);
  llm_pool_drop(pool);
}

const char *llm_event_name(llm_event_kind kind) {
  static const char *const names[] = {
#define XX(id, name) [LLM_EV_##id] = name,
      LLM_EVENTS(XX)
#undef XX
  };
  return (unsigned)kind < LLM_EV_COUNT ? names[kind] : "unknown";
}
