/*
** bench.h - what the benchmark programs share: clocks, options, and the one
** form in which a measurement is told.
**
** A program measures and prints samples, a line each; it judges nothing.
** table.lua pairs the samples of one round and makes the table.
*/
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline int64_t bench_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Wall time, for what waits. */
static inline int64_t bench_now(void) { return bench_ns(CLOCK_MONOTONIC); }

/* This thread's CPU time, for what does not: other processes do not count. */
static inline int64_t bench_cpu(void) {
  return bench_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* sample <case> <subject> <round> <value> */
static inline void bench_sample(const char *what, const char *subject,
                                int round, double value) {
  printf("sample\t%s\t%s\t%d\t%.9g\n", what, subject, round, value);
  fflush(stdout);
}

/* The number after `--name`, or `otherwise`. */
static inline double bench_option(int argc, char **argv, const char *name,
                                  double otherwise) {
  for (int i = 1; i + 1 < argc; i++)
    if (strcmp(argv[i], name) == 0) return atof(argv[i + 1]);
  return otherwise;
}

static inline void bench_require(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "bench: %s failed\n", what);
  exit(1);
}

#endif
