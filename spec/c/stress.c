/*
** stress.c - options, time, random numbers, and failing.
*/
#define _POSIX_C_SOURCE 200809L
#include "stress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 90 /* beyond --seconds: sanitizers on a busy machine */

static uint64_t seed;
static double seconds = 2;

int64_t stress_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void stress_sleep(int64_t ns) {
  struct timespec time = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
  nanosleep(&time, NULL);
}

void stress_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: does not hold (seed %llu): %s\n", file, line,
          (unsigned long long)seed, what);
  fflush(NULL);
  _exit(1);
}

static void hangs(int signal) {
  static const char text[] = "stress: hangs\n";
  (void)signal;
  if (write(2, text, sizeof text - 1) < 0) _exit(2);
  _exit(1);
}

void stress_start(int argc, char **argv) {
  struct sigaction action = {.sa_handler = hangs};
  seed = (uint64_t)stress_now();
  for (int i = 1; i < argc - 1; i += 2) {
    if (strcmp(argv[i], "--seconds") == 0) {
      seconds = strtod(argv[i + 1], NULL);
    } else if (strcmp(argv[i], "--seed") == 0) {
      seed = strtoull(argv[i + 1], NULL, 10);
    } else {
      fprintf(stderr, "usage: %s [--seconds N] [--seed N]\n", argv[0]);
      exit(2);
    }
  }
  printf("seed %llu\n", (unsigned long long)seed);
  fflush(stdout);
  sigaction(SIGALRM, &action, NULL);
  alarm((unsigned)seconds + PATIENCE_S);
}

int64_t stress_slice(int n) {
  return stress_now() + (int64_t)(seconds * 1e9 / n);
}

stress_rng stress_rng_of(uint64_t number) {
  stress_rng rng = {seed * 0x9E3779B97F4A7C15u + number * 0xD1B54A32D192ED03u};
  for (int i = 0; i < 4; i++) stress_random(&rng, 2);
  return rng;
}

/* splitmix64 */
uint32_t stress_random(stress_rng *rng, uint32_t below) {
  uint64_t z = rng->state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return (uint32_t)(((z ^ z >> 31) >> 32) * below >> 32);
}

bool stress_chance(stress_rng *rng, uint32_t percent) {
  return stress_random(rng, 100) < percent;
}
