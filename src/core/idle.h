/*
** idle.h - the collection: the clients that nobody holds, in the order of
** their return, newest first, under a short lock of their own.
**
** It protects a list, not a lease: the lock is held for the few instructions
** of a take or a return, never across a check, a callback or a wait. Who may
** take at all is admission's business (admission.h): a permit comes first, so
** its holder finds a client or a vacant place here and never waits.
** The layer above keeps what must agree with the list (counters, histograms,
** states) in the same critical section: lock, *_locked operations, unlock.
*/
#ifndef LLM_IDLE_H
#define LLM_IDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lock.h"

/* What a place embeds to stand in the list. Zeroed: not linked. All of it is
** guarded by the list's lock. */
typedef struct llm_link {
  struct llm_link *prev, *next; /* prev is newer, next is older */
  uint64_t stamp;               /* when it was pushed, in the caller's ticks */
  bool linked;
} llm_link;

typedef struct llm_idle {
  llm_lock lock;
  llm_link *newest, *oldest; /* guarded by lock, as is all below */
  uint32_t count;
} llm_idle;

/* The struct that embeds `link` as its member. */
#define llm_link_owner(link, type, member) \
  ((type *)(void *)((char *)(link)-offsetof(type, member)))

void llm_idle_init(llm_idle *idle);
void llm_idle_destroy(llm_idle *idle); /* must be empty */
#ifdef LLM_CHECKS
void llm_idle_check_locked(const llm_idle *idle);
#else
#define llm_idle_check_locked(idle) ((void)0)
#endif

static inline void llm_idle_lock(llm_idle *idle) {
  llm_lock_enter(&idle->lock);
}

static inline void llm_idle_unlock(llm_idle *idle) {
  llm_idle_check_locked(idle);
  llm_lock_leave(&idle->lock);
}

/* Makes `link` the newest. Stamps never decrease, except by the small skew
** between the counters of two CPUs. */
static inline void llm_idle_push_locked(llm_idle *idle, llm_link *link,
                                        uint64_t stamp) {
  LLM_CHECK(!link->linked, "a client is put back twice");
  link->stamp = stamp;
  link->linked = true;
  link->prev = NULL;
  link->next = idle->newest;
  if (idle->newest != NULL)
    idle->newest->prev = link;
  else
    idle->oldest = link;
  idle->newest = link;
  idle->count++;
}

/* Puts one back, with its stamp as it is, behind all that are newer. */
void llm_idle_restore_locked(llm_idle *idle, llm_link *link);

/* Takes out a link that is in the list. */
static inline void llm_idle_remove_locked(llm_idle *idle, llm_link *link) {
  LLM_CHECK(link->linked, "a client is taken that is not idle");
  if (link->prev != NULL)
    link->prev->next = link->next;
  else
    idle->newest = link->next;
  if (link->next != NULL)
    link->next->prev = link->prev;
  else
    idle->oldest = link->prev;
  link->linked = false;
  idle->count--;
}

/* NULL: empty. */
static inline llm_link *llm_idle_pop_newest_locked(llm_idle *idle) {
  llm_link *link = idle->newest;
  if (link != NULL) llm_idle_remove_locked(idle, link);
  return link;
}

static inline llm_link *llm_idle_pop_oldest_locked(llm_idle *idle) {
  llm_link *link = idle->oldest;
  if (link != NULL) llm_idle_remove_locked(idle, link);
  return link;
}

/* The oldest, if it was pushed at `stamp` or before; else NULL. */
static inline llm_link *llm_idle_pop_expired_locked(llm_idle *idle,
                                                    uint64_t stamp) {
  llm_link *link = idle->oldest;
  if (link == NULL || link->stamp > stamp) return NULL;
  llm_idle_remove_locked(idle, link);
  return link;
}

/* Empties the list; returns its links, oldest first, chained by next. */
llm_link *llm_idle_take_all_locked(llm_idle *idle);

#endif
