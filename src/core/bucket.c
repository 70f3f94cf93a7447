/*
** bucket.c - a token bucket's arithmetic (bucket.h has the idea).
*/
#include "bucket.h"

#include <math.h>

#define ONE ((llm_wide)1 << 32) /* a nanosecond */
#define MINUTE_NS 60e9
#define LEAST_PER_MINUTE 1e-6     /* one in two years */
#define MOST_PER_MINUTE 1e18      /* more are no limit */
#define MOST ((llm_wide)1 << 110) /* ten million years: no sum overflows */

static llm_wide time_of(double units, double per_minute) {
  return (llm_wide)(units * (MINUTE_NS * 4294967296.0 / per_minute));
}

static llm_wide span_of(const llm_bucket *bucket, uint64_t cost) {
  if (cost == 0) return 0;
  return bucket->unit > MOST / (llm_wide)cost ? MOST
                                              : bucket->unit * (llm_wide)cost;
}

void llm_bucket_init(llm_bucket *bucket, double per_minute, double burst,
                     int64_t now_ns) {
  *bucket = (llm_bucket){.per_minute = per_minute, .burst = burst};
  if (!(per_minute > 0) || per_minute >= MOST_PER_MINUTE) return;
  if (per_minute < LEAST_PER_MINUTE) per_minute = LEAST_PER_MINUTE;
  if (!(burst > 0)) bucket->burst = burst = per_minute;
  if (burst > MOST_PER_MINUTE) burst = MOST_PER_MINUTE;
  bucket->unit = time_of(1, per_minute) + 1; /* up: never too soon */
  bucket->full = span_of(bucket, (uint64_t)burst) +
                 (llm_wide)((burst - floor(burst)) * (double)bucket->unit);
  if (bucket->full > MOST) bucket->full = MOST;
  bucket->empty_at = now_ns * ONE - bucket->full;
}

int64_t llm_bucket_ready_ns(const llm_bucket *bucket, uint64_t cost) {
  if (bucket->unit == 0) return INT64_MIN;
  llm_wide span = span_of(bucket, cost);
  if (span > bucket->full) span = bucket->full;
  llm_wide at = bucket->empty_at + span;
  llm_wide ns = at >= 0 ? (at + ONE - 1) / ONE : -(-at / ONE);
  if (ns > INT64_MAX) return INT64_MAX;
  return ns < INT64_MIN ? INT64_MIN : (int64_t)ns;
}

void llm_bucket_debit(llm_bucket *bucket, uint64_t cost, int64_t now_ns) {
  if (bucket->unit == 0) return;
  llm_wide earliest = now_ns * ONE - bucket->full;
  if (bucket->empty_at < earliest) bucket->empty_at = earliest;
  bucket->empty_at += span_of(bucket, cost);
  if (bucket->empty_at > 4 * MOST) bucket->empty_at = 4 * MOST;
}

void llm_bucket_refund(llm_bucket *bucket, uint64_t cost) {
  if (bucket->unit != 0) bucket->empty_at -= span_of(bucket, cost);
}

double llm_bucket_level(const llm_bucket *bucket, int64_t now_ns) {
  if (bucket->unit == 0) return 0;
  llm_wide span = now_ns * ONE - bucket->empty_at;
  if (span > bucket->full) span = bucket->full;
  return (double)span / (double)bucket->unit;
}
