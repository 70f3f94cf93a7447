/*
** histogram.h - durations in log-linear buckets: 16 to each power of two, so
** that what is reported is at most 1/16 too large, and never above the exact
** maximum, which is kept beside.
**
** Recording is a handful of instructions, without a division and without a
** locked instruction: writers are serialised by a lock of theirs (the idle
** list's, at the same moment), readers come at any time from any thread.
** Records ticks of a clock; the summary converts them.
*/
#ifndef LLM_HISTOGRAM_H
#define LLM_HISTOGRAM_H

#include "llmpool.h"

#define LLM_HISTOGRAM_STEPS 16 /* buckets to an octave */
#define LLM_HISTOGRAM_OCTAVES \
  48 /* longer than 2^48 ticks (a day) counts as it */
#define LLM_HISTOGRAM_BUCKETS \
  ((LLM_HISTOGRAM_OCTAVES - 4 + 1) * LLM_HISTOGRAM_STEPS)

/* Zeroed is empty. Some 6 KB. */
typedef struct llm_histogram {
  _Atomic uint64_t max; /* exact; written before the bucket, read after it */
  _Atomic uint64_t sum;
  _Atomic uint64_t buckets[LLM_HISTOGRAM_BUCKETS];
} llm_histogram;

/* Adds to what only one thread at a time writes. */
static inline void llm_counter_add(_Atomic uint64_t *counter, uint64_t n,
                                   memory_order order) {
  uint64_t was = atomic_load_explicit(counter, memory_order_relaxed);
  atomic_store_explicit(counter, was + n, order);
}

static inline unsigned llm_histogram_bucket(uint64_t value) {
  if (value < LLM_HISTOGRAM_STEPS) return (unsigned)value;
  if (value >> LLM_HISTOGRAM_OCTAVES != 0) return LLM_HISTOGRAM_BUCKETS - 1;
  unsigned octave = 63 - (unsigned)__builtin_clzll(value); /* 4 to 47 */
  return (octave - 3) * LLM_HISTOGRAM_STEPS +
         (unsigned)(value >> (octave - 4)) % LLM_HISTOGRAM_STEPS;
}

/* Under the writers' lock. */
static inline void llm_histogram_record(llm_histogram *histogram,
                                        uint64_t ticks) {
  if (ticks > atomic_load_explicit(&histogram->max, memory_order_relaxed))
    atomic_store_explicit(&histogram->max, ticks, memory_order_relaxed);
  if (ticks != 0) llm_counter_add(&histogram->sum, ticks, memory_order_relaxed);
  llm_counter_add(&histogram->buckets[llm_histogram_bucket(ticks)], 1,
                  memory_order_release);
}

/* The largest value that falls into a bucket. */
uint64_t llm_histogram_bound(unsigned bucket);

/* Count, percentiles (nearest rank), maximum and mean, in nanoseconds of the
** clock that the ticks were read from; all zero if nothing was recorded. */
void llm_histogram_summary(const llm_histogram *histogram,
                           const llm_clock *clock, llm_summary *summary);

#endif
