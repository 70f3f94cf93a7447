/*
** meter.c - the arithmetic of meter.h.
*/
#include "meter.h"

#include <math.h>

static unsigned bucket_of(double value) {
  int exponent;
  double fraction = frexp(value, &exponent); /* in [0.5, 1) */
  if (value <= 0 || exponent <= METER_LOW) return 0;
  if (exponent > METER_HIGH) return METER_BUCKETS - 1;
  unsigned step = (unsigned)((fraction - 0.5) * (2 * METER_STEPS));
  return 1 + (unsigned)(exponent - 1 - METER_LOW) * METER_STEPS + step;
}

/* The largest value that belongs to the bucket. */
static double bound_of(unsigned bucket) {
  if (bucket == 0) return 0;
  int octave = (int)((bucket - 1) / METER_STEPS) + METER_LOW;
  unsigned step = (bucket - 1) % METER_STEPS;
  return ldexp(1 + (step + 1.0) / METER_STEPS, octave);
}

void meter_add(Meter *meter, double value) {
  if (meter->count == 0 || value < meter->min) meter->min = value;
  if (value > meter->max) meter->max = value;
  meter->count++;
  meter->sum += value;
  meter->squares += value * value;
  meter->buckets[bucket_of(value)]++;
}

void meter_merge(Meter *meter, const Meter *other) {
  if (other->count == 0) return;
  if (meter->count == 0 || other->min < meter->min) meter->min = other->min;
  if (other->max > meter->max) meter->max = other->max;
  meter->count += other->count;
  meter->sum += other->sum;
  meter->squares += other->squares;
  for (unsigned i = 0; i < METER_BUCKETS; i++)
    meter->buckets[i] += other->buckets[i];
}

double meter_quantile(const Meter *meter, double q) {
  if (meter->count == 0) return 0;
  uint64_t rank = (uint64_t)ceil(q * (double)meter->count);
  uint64_t seen = 0;
  for (unsigned i = 0; i < METER_BUCKETS; i++) {
    seen += meter->buckets[i];
    if (seen < rank || seen == 0) continue;
    double bound = bound_of(i);
    return bound < meter->max ? (bound > meter->min ? bound : meter->min)
                              : meter->max;
  }
  return meter->max;
}

double meter_mean(const Meter *meter) {
  return meter->count ? meter->sum / (double)meter->count : 0;
}

double meter_deviation(const Meter *meter) {
  if (meter->count < 2) return 0;
  double n = (double)meter->count;
  double variance = (meter->squares - meter->sum * meter->sum / n) / (n - 1);
  return variance > 0 ? sqrt(variance) : 0;
}
