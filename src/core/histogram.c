/*
** histogram.c - what a histogram says: percentiles, maximum, mean.
**
** Reading takes no lock. It goes over the buckets twice, once for the count
** and once for the ranks; what is recorded in between may move a rank by as
** much, never out of range.
*/
#include "histogram.h"

#include "clock.h"

static uint64_t load_bucket(const llm_histogram *histogram, unsigned i) {
  return atomic_load_explicit(&histogram->buckets[i], memory_order_acquire);
}

uint64_t llm_histogram_bound(unsigned bucket) {
  if (bucket < LLM_HISTOGRAM_STEPS) return bucket;
  unsigned shift = bucket / LLM_HISTOGRAM_STEPS - 1;
  uint64_t step = LLM_HISTOGRAM_STEPS + bucket % LLM_HISTOGRAM_STEPS;
  return ((step + 1) << shift) - 1;
}

static uint64_t count_all(const llm_histogram *histogram) {
  uint64_t count = 0;
  for (unsigned i = 0; i < LLM_HISTOGRAM_BUCKETS; i++)
    count += load_bucket(histogram, i);
  return count;
}

/* The percentile's rank among n, counted from 1. */
static uint64_t rank_of(uint64_t n, unsigned percent) {
  uint64_t rank = n / 100 * percent + (n % 100 * percent + 99) / 100;
  return rank > 0 ? rank : 1;
}

typedef struct reading { /* one pass over the buckets */
  const llm_histogram *histogram;
  uint64_t seen;
  unsigned bucket;
} reading;

/* The bound of the bucket where `rank` falls; ranks must ascend. The last
** bucket has no bound but the maximum. */
static uint64_t value_at(reading *r, uint64_t rank) {
  while (r->bucket < LLM_HISTOGRAM_BUCKETS) {
    uint64_t n = load_bucket(r->histogram, r->bucket);
    if (r->seen + n >= rank) break;
    r->seen += n;
    r->bucket++;
  }
  return r->bucket < LLM_HISTOGRAM_BUCKETS - 1 ? llm_histogram_bound(r->bucket)
                                               : UINT64_MAX;
}

static int64_t max_of(const llm_histogram *histogram, double rate) {
  return llm_ticks_scale(
      atomic_load_explicit(&histogram->max, memory_order_relaxed), rate);
}

void llm_histogram_summary(const llm_histogram *histogram,
                           const llm_clock *clock, llm_summary *summary) {
  uint64_t count = count_all(histogram);
  double rate = llm_clock_ns_per_tick(clock);
  int64_t *into[] = {&summary->p50_ns, &summary->p95_ns, &summary->p99_ns};
  const unsigned percents[] = {50, 95, 99};
  reading r = {histogram, 0, 0};
  *summary = (llm_summary){.count = count};
  if (count == 0) return;
  for (int i = 0; i < 3; i++)
    *into[i] = llm_ticks_scale(value_at(&r, rank_of(count, percents[i])), rate);
  /* read after the buckets: what they count is in it */
  summary->max_ns = max_of(histogram, rate);
  for (int i = 0; i < 3; i++)
    if (*into[i] > summary->max_ns) *into[i] = summary->max_ns;
  uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
  summary->mean_ns = llm_ticks_scale(sum / count, rate);
}
