/*
** contention.c - many threads share a few clients; holding one is a sleep, as
** it is where a client waits for an answer.
**
**   contention [--rounds N] [--seconds S]
**
** For each load, the subjects take turns, S seconds each, in another order each
** round. Of a turn are told the leases a second and the 99th percentile of the
** wait for one. The last load holds for no time at all: the price of a hand-over
** alone.
*/
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"
#include "subject.h"

typedef struct load {
  const char *name;
  unsigned threads, clients;
  long hold_ns;
} load;

static const load loads[] = {{"8/2 0.1ms", 8, 2, 100000},
                             {"16/4 0.1ms", 16, 4, 100000},
                             {"64/4 1ms", 64, 4, 1000000},
                             {"8/2 0ms", 8, 2, 0}};

#define THREADS 64
#define KEPT 20000 /* waits that one thread keeps of a turn, evenly spread */

typedef struct turn {
  const subject *subject;
  const load *load;
  void *pool;
  pthread_barrier_t start;
  _Atomic int stop;
} turn;

typedef struct caller {
  pthread_t thread;
  turn *turn;
  uint64_t leases;
  unsigned kept, stride; /* every stride-th wait is kept */
  int64_t waits[KEPT];
} caller;

static caller callers[THREADS];

/* When the room is full every second one goes, and half as many come. */
static void keep(caller *c, int64_t wait) {
  if (c->leases % c->stride != 0) return;
  if (c->kept == KEPT) {
    for (unsigned i = 0; i < KEPT / 2; i++) c->waits[i] = c->waits[2 * i];
    c->kept = KEPT / 2;
    c->stride *= 2;
    if (c->leases % c->stride != 0) return;
  }
  c->waits[c->kept++] = wait;
}

static void *call(void *arg) {
  caller *c = arg;
  turn *t = c->turn;
  const struct timespec hold = {0, t->load->hold_ns};
  subject_loan loan;
  pthread_barrier_wait(&t->start);
  while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
    int64_t asked = bench_now();
    t->subject->take(t->pool, &loan);
    keep(c, bench_now() - asked);
    if (hold.tv_nsec > 0) nanosleep(&hold, NULL);
    t->subject->give(t->pool, &loan);
    c->leases++;
  }
  return NULL;
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* A kept wait stands for as many as its thread's stride. */
static double percentile99(unsigned threads) {
  unsigned stride = 1, count = 0;
  static int64_t all[THREADS * KEPT];
  for (unsigned i = 0; i < threads; i++)
    if (callers[i].stride > stride) stride = callers[i].stride;
  for (unsigned i = 0; i < threads; i++)
    for (unsigned k = 0; k < callers[i].kept; k += stride / callers[i].stride)
      all[count++] = callers[i].waits[k];
  if (count == 0) return 0;
  qsort(all, count, sizeof *all, compare);
  return (double)all[(uint64_t)count * 99 / 100];
}

static void tell(const turn *t, int round, double seconds) {
  char name[64];
  uint64_t leases = 0;
  for (unsigned i = 0; i < t->load->threads; i++) leases += callers[i].leases;
  snprintf(name, sizeof name, "rate %s", t->load->name);
  bench_sample(name, t->subject->name, round, (double)leases / seconds);
  snprintf(name, sizeof name, "p99 %s", t->load->name);
  bench_sample(name, t->subject->name, round, percentile99(t->load->threads));
}

static void run(const subject *s, const load *l, int round, double seconds) {
  turn t = {.subject = s, .load = l, .pool = s->open(l->clients)};
  struct timespec span = {(time_t)seconds,
                          (long)((seconds - (double)(time_t)seconds) * 1e9)};
  pthread_barrier_init(&t.start, NULL, l->threads + 1);
  for (unsigned i = 0; i < l->threads; i++) {
    callers[i].turn = &t;
    callers[i].leases = 0;
    callers[i].kept = 0;
    callers[i].stride = 1;
    bench_require(pthread_create(&callers[i].thread, NULL, call, &callers[i]) ==
                      0,
                  "a thread");
  }
  pthread_barrier_wait(&t.start);
  int64_t start = bench_now();
  nanosleep(&span, NULL);
  atomic_store(&t.stop, 1);
  double elapsed = (double)(bench_now() - start) / 1e9;
  for (unsigned i = 0; i < l->threads; i++)
    pthread_join(callers[i].thread, NULL);
  tell(&t, round, elapsed);
  pthread_barrier_destroy(&t.start);
  s->close(t.pool);
}

int main(int argc, char **argv) {
  int rounds = (int)bench_option(argc, argv, "--rounds", 5);
  double seconds = bench_option(argc, argv, "--seconds", 1);
  int n = 0;
  while (subjects[n]) n++;
  for (int round = 0; round < rounds; round++)
    for (size_t l = 0; l < sizeof loads / sizeof *loads; l++)
      for (int i = 0; i < n; i++) /* each is first, and last, equally often */
        run(subjects[(round + i) % n], &loads[l], round, seconds);
  return 0;
}
