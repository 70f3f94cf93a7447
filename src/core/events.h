/*
** events.h - the rings of those who listen to a pool.
**
** Writing is for the one function that records a change (llm_note, place.h):
** it holds the lock of the change and takes the events' lock inside it, the
** one nesting there is, a leaf, and only while somebody listens. So sequence
** numbers, times and the order in every ring agree. Telling a listener that
** its ring is no longer empty comes later, without a lock: llm_events_deliver.
*/
#ifndef LLM_EVENTS_H
#define LLM_EVENTS_H

#include "llmpool.h"
#include "lock.h"
#include "queue.h"

typedef struct llm_events {
  llm_lock lock; /* guards all below */
  LLM_QUEUE(llm_listener) listeners;
  uint64_t seq;
  _Atomic bool has_bells; /* a listener is to be told; read anywhere */
} llm_events;

/* Under the lock of the change. Sets the event's seq and time. */
void llm_events_write(llm_pool *pool, llm_event *event);
/* Tells those whose rings have filled since. No lock held. */
void llm_events_deliver(llm_pool *pool);

#endif
