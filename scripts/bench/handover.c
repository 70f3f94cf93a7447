/*
** handover.c - how long it takes from giving a client back to the moment when
** the one thread that sleeps in line for it runs with it.
**
**   handover [--rounds N] [--times N]
**
** This is what a fair pool pays for every lease under contention, where an
** unfair one lets whoever is awake take the client: mostly the system's time to
** wake a thread. The median of a round is told.
*/
#include <pthread.h>
#include <semaphore.h>

#include "bench.h"
#include "subject.h"

#define MOST 10000

static const struct timespec nap = {0, 200000}; /* the other sleeps by then */

typedef struct handover {
  const subject *subject;
  void *pool;
  sem_t go, done;
  int times;
  int64_t got; /* when the sleeper had it */
} handover;

static void *wait_for_it(void *arg) {
  handover *h = arg;
  subject_loan loan;
  for (int i = 0; i < h->times; i++) {
    while (sem_wait(&h->go) != 0) {}
    h->subject->take(h->pool, &loan);
    h->got = bench_now();
    h->subject->give(h->pool, &loan);
    sem_post(&h->done);
  }
  return NULL;
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static double run(const subject *s, int times) {
  static int64_t spans[MOST];
  handover h = {.subject = s, .pool = s->open(1), .times = times};
  pthread_t sleeper;
  subject_loan loan;
  sem_init(&h.go, 0, 0);
  sem_init(&h.done, 0, 0);
  bench_require(pthread_create(&sleeper, NULL, wait_for_it, &h) == 0,
                "a thread");
  for (int i = 0; i < times; i++) {
    s->take(h.pool, &loan);
    sem_post(&h.go);
    nanosleep(&nap, NULL);
    int64_t given = bench_now();
    s->give(h.pool, &loan);
    while (sem_wait(&h.done) != 0) {}
    spans[i] = h.got - given;
  }
  pthread_join(sleeper, NULL);
  s->close(h.pool);
  qsort(spans, (size_t)times, sizeof *spans, compare);
  return (double)spans[times / 2];
}

int main(int argc, char **argv) {
  int rounds = (int)bench_option(argc, argv, "--rounds", 11);
  int times = (int)bench_option(argc, argv, "--times", 500);
  bench_require(times > 0 && times <= MOST, "--times up to 10000");
  for (int round = 0; round < rounds; round++)
    for (int i = 0; subjects[i]; i++)
      bench_sample("handover", subjects[i]->name, round,
                   run(subjects[i], times));
  return 0;
}
