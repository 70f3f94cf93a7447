/*
** lock.h - the short lock of the core: held for a few instructions, never
** across a callback, a wait, I/O or an allocation, never two at a time.
**
** On Linux a word and a futex, inlined: a pair costs 6 ns where a pthread
** mutex costs 12 (two cores, AMD EPYC), and two pairs stand in every lease.
** Elsewhere, and with -DLLM_PORTABLE (helgrind knows only those), a pthread
** mutex. Not recursive, not fair, no error to return.
*/
#ifndef LLM_LOCK_H
#define LLM_LOCK_H

#include "alone.h"
#include "debug.h"
#include "futex.h"

#ifdef LLM_PORTABLE
#include <pthread.h>

typedef struct llm_lock {
  pthread_mutex_t mutex;
} llm_lock;

#define LLM_LOCK_INIT \
  { PTHREAD_MUTEX_INITIALIZER }

static inline void llm_lock_init(llm_lock *lock) {
  pthread_mutex_init(&lock->mutex, NULL);
}
static inline void llm_lock_destroy(llm_lock *lock) {
  pthread_mutex_destroy(&lock->mutex);
}
static inline void llm_lock_enter(llm_lock *lock) {
  llm_chaos();
  pthread_mutex_lock(&lock->mutex);
}
static inline void llm_lock_leave(llm_lock *lock) {
  pthread_mutex_unlock(&lock->mutex);
  llm_chaos();
}
#else

typedef struct llm_lock {
  _Atomic uint32_t word; /* 0 free, 1 held, 2 held and others may sleep */
} llm_lock;

#define LLM_LOCK_INIT \
  { 0 }

void llm_lock_enter_slow(llm_lock *lock);

/* Zeroed is free as well. */
static inline void llm_lock_init(llm_lock *lock) {
  atomic_init(&lock->word, 0);
}

static inline void llm_lock_destroy(llm_lock *lock) {
  LLM_CHECK(atomic_load(&lock->word) == 0, "a lock is destroyed while held");
  (void)lock;
}

static inline void llm_lock_enter(llm_lock *lock) {
  uint32_t free = 0;
  llm_chaos();
  if (llm_is_alone()) {
    LLM_CHECK(atomic_load(&lock->word) == 0, "a lock is taken twice");
    atomic_store_explicit(&lock->word, 1, memory_order_relaxed);
  } else if (!atomic_compare_exchange_strong_explicit(&lock->word, &free, 1,
                                                      memory_order_acquire,
                                                      memory_order_relaxed)) {
    llm_lock_enter_slow(lock);
  }
}

static inline void llm_lock_leave(llm_lock *lock) {
  if (llm_is_alone())
    atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
  else if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
    llm_futex_wake_one(&lock->word);
  llm_chaos();
}
#endif

#endif
