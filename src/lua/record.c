/*
** record.c - how a client did lately: peak EWMA of its latency, the rate of its
** errors, the 95th percentile of its last calls.
**
** Peak EWMA believes bad news at once and good news slowly: a slower call than
** the average becomes the average, a faster one lowers it with the time that
** has passed (a memory of ten seconds). It knows neither Lua nor the pool.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

#define MEMORY_NS 10e9 /* the weight of the past falls by e in that time */
#define ERROR_WEIGHT 0.1

static void add_latency(Record *record, int64_t now_ns, double seconds) {
  if (seconds >= record->latency || record->count == 0) {
    record->latency = seconds;
    return;
  }
  double kept = exp(-(double)(now_ns - record->at_ns) / MEMORY_NS);
  record->latency = record->latency * kept + seconds * (1 - kept);
}

void record_outcome(Record *record, int64_t now_ns, double seconds,
                    bool failed) {
  if (!failed) add_latency(record, now_ns, seconds);
  record->errors += ERROR_WEIGHT * ((failed ? 1 : 0) - record->errors);
  record->recent[record->count++ % RECENT] = (float)seconds;
  record->at_ns = now_ns;
  record->p95_is_known = false;
}

static int by_size(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* By the nearest rank. */
double record_p95(Record *record) {
  if (record->count == 0) return 0;
  if (!record->p95_is_known) {
    float sorted[RECENT];
    size_t n = record->count < RECENT ? (size_t)record->count : RECENT;
    memcpy(sorted, record->recent, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    record->p95 = (double)sorted[(n * 95 + 99) / 100 - 1];
    record->p95_is_known = true;
  }
  return record->p95;
}
