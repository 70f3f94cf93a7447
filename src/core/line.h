/*
** line.h - the inside of the semaphore, under its lock: turns, the word, the
** line, and the ways in which a wait ends. For admission.c alone.
**
** A turn is one operation under the lock. It ends some waits, brings the word
** in step with the fields by one RMW that keeps all other flags, leaves the
** lock, and only then runs the wakes, whose chain is detached by that time.
*/
#ifndef LLM_LINE_H
#define LLM_LINE_H

#include "admission.h"

typedef struct llm_turn {
  llm_waiter *first, *last; /* whom to wake, chained by next, in order */
  int64_t now_ns;           /* read at most once, when a deadline asks */
  bool has_now;
} llm_turn; /* starts zeroed */

static inline uint64_t llm_sem_load(const _Atomic uint64_t *field) {
  return atomic_load_explicit(field, memory_order_relaxed);
}

static inline void llm_sem_store(_Atomic uint64_t *field, uint64_t value) {
  atomic_store_explicit(field, value, memory_order_relaxed);
}

static inline uint64_t llm_word_load(llm_sem *sem) {
  llm_chaos();
  return atomic_load_explicit(&sem->word, memory_order_acquire);
}

static inline bool llm_group_is_over(const struct llm_group *group) {
  return atomic_load_explicit(&group->winner, memory_order_acquire) != NULL;
}

static inline void llm_waiter_set(llm_waiter *waiter, llm_wait_state state) {
  llm_chaos();
  atomic_store_explicit(&waiter->state, state, memory_order_release);
}

/* Takes the lock. */
void llm_turn_enter(llm_sem *sem);
/* Leaves the lock, then wakes. */
void llm_turn_leave(llm_sem *sem, const llm_turn *turn);

/* Changes flags and free permits (`add`, may be negative), keeps the rest.
** While a flag is set the fast paths leave the word alone; without one they
** may change it at any moment. */
void llm_word_update(llm_sem *sem, uint64_t clear, uint64_t set, int64_t add);
/* Clears WAITERS and DEBT where the fields no longer justify them, and those
** in `clear`. */
void llm_word_settle(llm_sem *sem, uint64_t clear, int64_t add);

/* At the end of its level, as QUEUED; WAITERS is set already. */
void llm_line_enter(llm_sem *sem, llm_waiter *waiter);
/* Out, without an end; the word is the caller's to settle. */
void llm_line_leave(llm_sem *sem, llm_waiter *waiter);

/* Whether `waiter` is the one that ends the group. */
bool llm_group_claim(struct llm_group *group, llm_waiter *waiter);
/* Another than the owner ends a wait. False: its group had ended, it is only
** out of line, as LOST. */
bool llm_line_end(llm_sem *sem, llm_turn *turn, llm_waiter *waiter,
                  llm_wait_state state);
/* A close takes a node out; the last one out ends its group. */
void llm_line_close(llm_sem *sem, llm_turn *turn, llm_waiter *waiter,
                    llm_wait_state state);

/* n permits for whoever wants them; returns how many nobody wants. */
uint64_t llm_line_grant(llm_sem *sem, llm_turn *turn, uint64_t n);
/* Permits that are back, or new: debt first, then the line, then the word. */
void llm_line_give(llm_sem *sem, llm_turn *turn, uint64_t n);

#endif
