/*
** random.h - chance: a small generator whose runs repeat.
**
** One idea: whoever needs chance for a purpose of its own - the arrivals of a
** source, the latency of a client - gets a stream of its own, seeded from the
** world's seed and its name, so that what one purpose draws never shifts what
** another gets. It knows no distributions.
*/
#ifndef LLMPOOL_RANDOM_H
#define LLMPOOL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* xoshiro256**, by David Blackman and Sebastiano Vigna; public domain */
typedef struct Random {
  uint64_t s[4];
} Random;

void random_seed(Random *random, uint64_t seed);
/* The stream of that name under `seed`. */
void random_seed_named(Random *random, uint64_t seed, const char *name,
                       size_t length);
uint64_t random_bits(Random *random);
/* In [0, 1), with 53 bits. */
double random_float(Random *random);
/* From the standard normal distribution. */
double random_normal(Random *random);

#endif
