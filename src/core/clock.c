/*
** clock.c - the real clock, manual clocks, and the CPU's counter.
**
** Ticks are the invariant time-stamp counter where cpuid promises one, the
** virtual counter on aarch64, else nanoseconds. The counter's rate is not
** asked for but measured: from a pair (nanoseconds, ticks) of the first use to
** now, at the moment of a conversion, so it gets better by itself.
*/
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define MIN_SPAN_NS 100000 /* below it the pair's own error would show */

typedef struct pair {
  int64_t ns;
  uint64_t ticks;
} pair;

static llm_clock real;
static pair origin;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int64_t real_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static bool has_counter(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
#elif defined(__aarch64__)
  return true;
#else
  return false;
#endif
}

/* The same moment on both scales: the best of three, in case one of them is
** interrupted between its readings. */
static pair read_pair(void) {
  pair best = {0, 0};
  uint64_t best_gap = UINT64_MAX;
  for (int i = 0; i < 3; i++) {
    uint64_t before = llm_counter();
    int64_t ns = real_now();
    uint64_t gap = llm_ticks_between(before, llm_counter());
    if (gap >= best_gap) continue;
    best_gap = gap;
    best = (pair){ns, before + gap / 2};
  }
  return best;
}

static void start_real(void) {
  real.has_counter = has_counter();
  if (real.has_counter) origin = read_pair();
}

llm_clock *llm_clock_real(void) {
  pthread_once(&once, start_real);
  return &real;
}

llm_clock *llm_clock_manual_new(int64_t start_ns) {
  llm_clock *clock = calloc(1, sizeof *clock);
  if (clock == NULL) return NULL;
  atomic_init(&clock->now_ns, start_ns);
  clock->is_manual = true;
  return clock;
}

void llm_clock_manual_free(llm_clock *clock) { free(clock); }

void llm_clock_manual_set(llm_clock *clock, int64_t now_ns) {
  int64_t was = atomic_load_explicit(&clock->now_ns, memory_order_relaxed);
  while (was < now_ns && !atomic_compare_exchange_weak_explicit(
                             &clock->now_ns, &was, now_ns, memory_order_acq_rel,
                             memory_order_relaxed)) {}
}

bool llm_clock_is_manual(const llm_clock *clock) { return clock->is_manual; }

int64_t llm_clock_now(const llm_clock *clock) {
  if (!clock->is_manual) return real_now();
  return atomic_load_explicit(&clock->now_ns, memory_order_acquire);
}

uint64_t llm_clock_ticks(const llm_clock *clock) { return llm_ticks(clock); }

/* Waits out the shortest span if it must, once in the life of a process. */
double llm_clock_ns_per_tick(const llm_clock *clock) {
  pair now;
  if (!clock->has_counter) return 1;
  do {
    now = read_pair();
  } while (now.ns - origin.ns < MIN_SPAN_NS || now.ticks <= origin.ticks);
  return (double)(now.ns - origin.ns) / (double)(now.ticks - origin.ticks);
}

int64_t llm_ticks_scale(uint64_t ticks, double ns_per_tick) {
  if (ns_per_tick == 1) return ticks < INT64_MAX ? (int64_t)ticks : INT64_MAX;
  double ns = (double)ticks * ns_per_tick;
  return ns < (double)INT64_MAX ? (int64_t)ns : INT64_MAX;
}

int64_t llm_clock_ticks_to_ns(const llm_clock *clock, uint64_t ticks) {
  return llm_ticks_scale(ticks, llm_clock_ns_per_tick(clock));
}

uint64_t llm_clock_ns_to_ticks(const llm_clock *clock, int64_t ns) {
  if (ns <= 0) return 0;
  if (ns == LLM_FOREVER) return UINT64_MAX;
  if (!clock->has_counter) return (uint64_t)ns;
  double ticks = (double)ns / llm_clock_ns_per_tick(clock);
  return ticks < (double)UINT64_MAX ? (uint64_t)ticks : UINT64_MAX;
}

int64_t llm_time_after(int64_t start_ns, int64_t duration_ns) {
  int64_t end;
  if (start_ns == LLM_FOREVER || duration_ns == LLM_FOREVER) return LLM_FOREVER;
  if (!__builtin_add_overflow(start_ns, duration_ns, &end)) return end;
  return duration_ns > 0 ? LLM_FOREVER : INT64_MIN;
}
