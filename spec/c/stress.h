/*
** stress.h - what the stress programs share: their two options, a seeded
** generator for each thread, and the one way to fail.
**
** A program prints its seed first and exits with 1 at the first thing that
** does not hold, also when it hangs. The seed fixes what each thread tries,
** not how the threads interleave.
*/
#ifndef STRESS_H
#define STRESS_H

#include <stdbool.h>
#include <stdint.h>

/* --seconds N (default 2) and --seed N (default: the time). Prints the seed
** and arms the watchdog. */
void stress_start(int argc, char **argv);
/* The end of the next of `n` parts of the whole, on the real clock. */
int64_t stress_slice(int n);
int64_t stress_now(void);
void stress_sleep(int64_t ns);

typedef struct stress_rng {
  uint64_t state;
} stress_rng;

/* A stream of its own for each number. */
stress_rng stress_rng_of(uint64_t number);
uint32_t stress_random(stress_rng *rng, uint32_t below);
bool stress_chance(stress_rng *rng, uint32_t percent);

/* Prints what does not hold, with the seed, and exits with 1. */
#define REQUIRE(cond) \
  ((cond) ? (void)0 : stress_fail(__FILE__, __LINE__, #cond))
_Noreturn void stress_fail(const char *file, int line, const char *what);

#endif
