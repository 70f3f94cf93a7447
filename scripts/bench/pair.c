/*
** pair.c - one client taken and given back by one thread, nobody contending.
**
**   pair [--rounds N] [--pairs N]
**
** One idea: the subjects take turns, a short block each, so that whatever the
** machine does meanwhile it does to all of them. A second thread exists, since
** a C library may go without locks while there is none. Times are CPU times.
*/
#include <pthread.h>
#include <unistd.h>

#include "bench.h"
#include "subject.h"

#define CLIENTS 2

static void *doze(void *arg) {
  (void)arg;
  pause();
  return NULL;
}

/* Nanoseconds a pair. */
static double block(const subject *s, void *pool, int pairs) {
  subject_loan loan;
  int64_t start = bench_cpu();
  for (int i = 0; i < pairs; i++) {
    s->take(pool, &loan);
    s->give(pool, &loan);
  }
  return (double)(bench_cpu() - start) / pairs;
}

int main(int argc, char **argv) {
  int rounds = (int)bench_option(argc, argv, "--rounds", 401);
  int pairs = (int)bench_option(argc, argv, "--pairs", 20000);
  void *pools[sizeof subjects / sizeof *subjects];
  pthread_t second;
  bench_require(pthread_create(&second, NULL, doze, NULL) == 0, "a thread");
  for (int i = 0; subjects[i]; i++) {
    pools[i] = subjects[i]->open(CLIENTS);
    block(subjects[i], pools[i], pairs); /* warm */
  }
  for (int round = 0; round < rounds; round++)
    for (int i = 0; subjects[i]; i++)
      bench_sample("pair", subjects[i]->name, round,
                   block(subjects[i], pools[i], pairs));
  for (int i = 0; subjects[i]; i++) subjects[i]->close(pools[i]);
  return 0; /* the second thread ends with us */
}
