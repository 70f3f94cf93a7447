/*
** meter.h - measured numbers, kept as a histogram of small steps.
**
** One idea: 64 steps to each power of two, so that a quantile is right to
** 1.6 %, and sums beside them, so that mean and deviation are exact however
** many numbers there were. One thread at a time. It is finer than the pool's
** own histograms, which are for every client and always on; this is for
** reports that compare.
*/
#ifndef LLMPOOL_METER_H
#define LLMPOOL_METER_H

#include <stdint.h>

#define METER_STEPS 64 /* to an octave */
#define METER_LOW -30  /* exponents of two: 2^-30, a nanosecond, ... */
#define METER_HIGH 33  /* ... to 2^33, some 270 years, in seconds */
#define METER_BUCKETS (1 + (METER_HIGH - METER_LOW) * METER_STEPS)

/* Zeroed is empty. Some 32 KB. */
typedef struct Meter {
  uint64_t count;
  double sum, squares, min, max;
  uint64_t buckets[METER_BUCKETS]; /* the first: less than 2^METER_LOW */
} Meter;

void meter_add(Meter *meter, double value); /* 0 or more */
void meter_merge(Meter *meter, const Meter *other);
/* The least value that a share q of all does not exceed; 0: none. */
double meter_quantile(const Meter *meter, double q);
double meter_mean(const Meter *meter);
double meter_deviation(const Meter *meter); /* of the sample */

#endif
