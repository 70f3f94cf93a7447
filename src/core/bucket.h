/*
** bucket.h - a token bucket: so much a minute, with a burst.
**
** It is kept as one moment, the one at which it is, or was, or will be empty:
** what is in it is the time since then, up to that of a full one, at the rate.
** So it refills by itself, a debit moves the moment later, a refund earlier,
** and when a cost can be borne is an addition. Moments are nanoseconds in fixed
** point, with 32 bits after the point and the time of a unit rounded up: what
** is granted within any window is never more than burst + rate * window, and a
** wait is never a nanosecond too long for it.
**
** A cost larger than the bucket is borne by a full one, which owes the rest:
** such a request is served once, and those behind it wait for its debt.
** It has no lock: that of the model guards it.
*/
#ifndef LLM_BUCKET_H
#define LLM_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

__extension__ typedef __int128 llm_wide;

typedef struct llm_bucket {
  llm_wide unit;     /* time of one unit; 0: there is no limit */
  llm_wide full;     /* time in which an empty one is full */
  llm_wide empty_at; /* when it is empty */
  double per_minute, burst;
} llm_bucket;

/* Full at `now_ns`. per_minute 0 (or so large that a unit takes no time): no
** limit. burst 0: one minute's worth. */
void llm_bucket_init(llm_bucket *bucket, double per_minute, double burst,
                     int64_t now_ns);
static inline bool llm_bucket_has_limit(const llm_bucket *bucket) {
  return bucket->unit != 0;
}
/* From when on it can bear `cost` at once. In the past: it can now. */
int64_t llm_bucket_ready_ns(const llm_bucket *bucket, uint64_t cost);
void llm_bucket_debit(llm_bucket *bucket, uint64_t cost, int64_t now_ns);
/* Gives back what was debited before. */
void llm_bucket_refund(llm_bucket *bucket, uint64_t cost);
/* What is in it; below zero: what it owes. */
double llm_bucket_level(const llm_bucket *bucket, int64_t now_ns);

#endif
