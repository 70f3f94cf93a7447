/*
** lock.c - the slow half of the short lock, and the futex calls.
**
** The lock is the three-state futex mutex of Drepper's "Futexes are tricky":
** whoever has slept once takes the lock as "others may sleep", so that a wake
** is never lost, at the price of one spurious wake at the end of a crowd.
*/
#define _GNU_SOURCE /* syscall */
#include "lock.h"

#ifndef LLM_PORTABLE
#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

void llm_futex_wait(_Atomic uint32_t *word, uint32_t expected,
                    const struct timespec *until) {
  int saved = errno; /* a release may stand between a caller and its errno */
  /* WAIT_BITSET, since its time is absolute: no drift over EINTR */
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, until, NULL,
          FUTEX_BITSET_MATCH_ANY);
  errno = saved;
}

void llm_futex_wake_one(_Atomic uint32_t *word) {
  int saved = errno;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  errno = saved;
}

/* A holder keeps the lock for some 20 ns: look a few times before sleeping. */
static bool spin(llm_lock *lock) {
  for (int i = 0; i < 40; i++) {
    uint32_t free = 0;
    if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
        atomic_compare_exchange_weak_explicit(
            &lock->word, &free, 1, memory_order_acquire, memory_order_relaxed))
      return true;
  }
  return false;
}

void llm_lock_enter_slow(llm_lock *lock) {
  if (spin(lock)) return;
  while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
    llm_futex_wait(&lock->word, 2, NULL);
}
#else
/* A translation unit may not be empty. */
typedef int llm_lock_is_a_mutex;
#endif
