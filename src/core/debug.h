/*
** debug.h - what debug builds add to the core: assertions of the invariants
** (LLM_CHECKS) and random yields at atomic and lock points (LLM_CHAOS).
**
** Both vanish without their macro. Neither replaces an error return: they are
** for what cannot happen unless the core itself is wrong.
*/
#ifndef LLM_DEBUG_H
#define LLM_DEBUG_H

#ifdef LLM_CHECKS
#include <stdio.h>
#include <stdlib.h>
#define LLM_CHECK(cond, what) \
  ((cond) ? (void)0 : llm_check_failed(what, __FILE__, __LINE__))
static inline void llm_check_failed(const char *what, const char *file,
                                    int line) {
  fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, what);
  abort();
}
#else
#define LLM_CHECK(cond, what) ((void)0)
#endif

#ifdef LLM_CHAOS
#include <sched.h>
#include <stdint.h>
/* One point in eight gives the processor away. */
static inline void llm_chaos(void) {
  static _Thread_local uint64_t seed;
  if (seed == 0) seed = (uint64_t)(uintptr_t)&seed | 1;
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  if (seed >> 61 == 0) sched_yield();
}
#else
#define llm_chaos() ((void)0)
#endif

#endif
