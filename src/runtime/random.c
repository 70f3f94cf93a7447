/*
** random.c - the generator, its seeding, and the two shapes drawn from it.
*/
#include "random.h"

#include <math.h>

#define TWO_PI 6.283185307179586

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t random_bits(Random *random) {
  uint64_t *s = random->s;
  uint64_t result = rotate(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

/* splitmix64, as its authors advise for seeding */
void random_seed(Random *random, uint64_t seed) {
  for (int i = 0; i < 4; i++) {
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    random->s[i] = z ^ (z >> 31);
  }
}

/* The name's FNV-1a hash, spread by the generator of the seed itself: names
** that differ in a letter and seeds that differ by one share nothing. */
void random_seed_named(Random *random, uint64_t seed, const char *name,
                       size_t length) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < length; i++) {
    hash ^= (unsigned char)name[i];
    hash *= 0x100000001b3u;
  }
  random_seed(random, hash);
  random_seed(random, random_bits(random) ^ seed);
}

double random_float(Random *random) {
  return (double)(random_bits(random) >> 11) * 0x1p-53;
}

/* Box and Muller's; the second value is not kept, so that a draw is always
** two numbers of the stream. */
double random_normal(Random *random) {
  double radius = sqrt(-2 * log(1 - random_float(random)));
  return radius * cos(TWO_PI * random_float(random));
}
