/*
** clock.h - the clock's inside, for the core's own fast paths.
**
** Two scales: nanoseconds, for deadlines, and ticks, for stamps in statistics,
** which cost a third of the time. A manual clock's ticks are its nanoseconds,
** so that everything measured on it is exact.
*/
#ifndef LLM_CLOCK_H
#define LLM_CLOCK_H

#include "llmpool.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

struct llm_clock {
  _Atomic int64_t now_ns; /* manual: what it was set to */
  bool is_manual;
  bool has_counter; /* ticks come from the CPU's counter */
};

#if defined(__x86_64__)
static inline uint64_t llm_counter(void) { return __rdtsc(); }
#elif defined(__aarch64__)
static inline uint64_t llm_counter(void) {
  uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
}
#else
static inline uint64_t llm_counter(void) { return 0; } /* never asked */
#endif

/* llm_clock_ticks, inlined. */
static inline uint64_t llm_ticks(const llm_clock *clock) {
  if (clock->has_counter) return llm_counter();
  return (uint64_t)llm_clock_now(clock);
}

/* How many ticks passed; 0 where another CPU's counter is a little behind. */
static inline uint64_t llm_ticks_between(uint64_t from, uint64_t to) {
  return to > from ? to - from : 0;
}

/* The rate of today, to convert several numbers alike; exactly 1 where ticks
** are nanoseconds. */
double llm_clock_ns_per_tick(const llm_clock *clock);
int64_t llm_ticks_scale(uint64_t ticks, double ns_per_tick);

/* The other way round, for thresholds that are compared often; good to 0.1 %
** within a millisecond of the clock's first use, better later. LLM_FOREVER
** becomes UINT64_MAX; below zero becomes zero. */
uint64_t llm_clock_ns_to_ticks(const llm_clock *clock, int64_t ns);

#endif
