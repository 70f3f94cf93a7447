/*
** pool.h - the inside of a pool: its models, what is due, who sleeps, who
** waits for its end.
**
** Two counts: `users` are those who hold a handle, and the last of them closes
** the pool; `holders` also are the models (each of which lives on while a
** lease is out) and the listeners, and the last of them frees it. The pool's
** lock guards lists and due times; it is never held together with another.
*/
#ifndef LLM_POOL_H
#define LLM_POOL_H

#include "events.h"
#include "llmpool.h"
#include "lock.h"
#include "names.h"
#include "queue.h"

#define LLM_LISTENED 1u /* somebody listens to events */
#define LLM_DRAINED 2u  /* somebody waits until nothing is lent */
#define LLM_UPKEEP 4u   /* there may be something for llm_pool_background */

struct llm_pool {
  /* looked at by every lease, written rarely */
  _Atomic uint64_t due_ticks; /* as due_ns, on the cheap scale */
  _Atomic uint32_t attention; /* LLM_LISTENED and so on */
  llm_clock *clock;

  char apart[64];
  _Atomic uint32_t users, holders;
  _Atomic bool is_closed;
  llm_name *name;        /* NULL: unnamed */
  struct llm_pool *next; /* among the named; guarded by the registry's lock */

  llm_lock lock; /* guards all below but the sleepers and the events */
  LLM_QUEUE(llm_model) models; /* in order of registration, that is of uid */
  LLM_QUEUE(llm_waiter) drains;
  llm_names names;
  _Atomic int64_t due_ns, rest_due_ns; /* read anywhere */

  llm_lock sleepers_lock; /* guards the five below */
  LLM_QUEUE(llm_sleeper) sleepers;
  llm_sleeper *cursor; /* the next to be poked */
  llm_sleeper *poked;  /* whose poke is running */
  bool is_poking, poke_again;

  llm_events events; /* has a lock of its own */
};

/* One of the pool's holders more, or fewer; the last one frees it. */
void llm_pool_hold(llm_pool *pool);
void llm_pool_drop(llm_pool *pool);

static inline bool llm_pool_wants(const llm_pool *pool, uint32_t what) {
  return atomic_load_explicit(&pool->attention, memory_order_relaxed) & what;
}

/* The next model by uid, also an unregistered one that still has leases out,
** with a reference of the caller's; NULL: that was the last. */
llm_model *llm_pool_after(llm_pool *pool, uint64_t uid);
/* The pool's own copy of a text; NULL: no memory. */
llm_name *llm_pool_intern(llm_pool *pool, const char *text);
/* Takes a model out of the list, and its reference with it. */
void llm_pool_forget(llm_pool *pool, llm_model *model);
/* Something has come back; wakes those who drain if nothing is lent. */
void llm_pool_check_drained(llm_pool *pool);

/* registry.c: an unnamed pool's reference is simply dropped; a named one must
** not be found any more when its last user goes. True: that was the last. */
bool llm_registry_leave(llm_pool *pool);

/* due.c: what `model` has to do at the earliest moves to these moments, if
** that is earlier than it was; pokes whoever sleeps. No lock held. */
void llm_due_at(llm_model *model, int64_t due_ns, int64_t rest_due_ns);

/* Called by every question, in passing. */
static inline void llm_due_check(llm_pool *pool, uint64_t now_ticks) {
  if (now_ticks >= atomic_load_explicit(&pool->due_ticks, memory_order_relaxed))
    llm_pool_tick(pool);
}

#endif
