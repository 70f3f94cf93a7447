/*
** subject_handoff.c - the least that a hand-off in order of arrival is: a
** mutex, a queue, and a futex for each who waits. No statistics, no deadline,
** no cancel: what it costs is the wake-up, so it says how much of our own cost
** is that.
*/
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "subject.h"

typedef struct caller {
  struct caller *next;
  void *client;
  _Atomic unsigned has_client;
} caller;

typedef struct rig {
  pthread_mutex_t mutex;
  caller *first, **last;
  unsigned count;
  void *clients[];
} rig;

static void *open_pool(unsigned clients) {
  rig *r = malloc(sizeof *r + clients * sizeof *r->clients);
  bench_require(r != NULL, "malloc");
  bench_require(pthread_mutex_init(&r->mutex, NULL) == 0, "mutex_init");
  r->first = NULL;
  r->last = &r->first;
  for (r->count = 0; r->count < clients; r->count++)
    r->clients[r->count] = &r->clients[r->count];
  return r;
}

static void close_pool(void *pool) {
  rig *r = pool;
  pthread_mutex_destroy(&r->mutex);
  free(r);
}

static void wait_for(caller *self) {
  while (!atomic_load_explicit(&self->has_client, memory_order_acquire))
    syscall(SYS_futex, &self->has_client, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void take(void *pool, subject_loan *loan) {
  rig *r = pool;
  caller self = {NULL, NULL, 0};
  pthread_mutex_lock(&r->mutex);
  if (r->count > 0) {
    self.client = r->clients[--r->count];
    pthread_mutex_unlock(&r->mutex);
  } else {
    *r->last = &self;
    r->last = &self.next;
    pthread_mutex_unlock(&r->mutex);
    wait_for(&self);
  }
  loan->client = self.client;
}

/* After the store the caller may be gone; a wake of its memory is harmless. */
static void give(void *pool, subject_loan *loan) {
  rig *r = pool;
  pthread_mutex_lock(&r->mutex);
  caller *next = r->first;
  if (next == NULL) {
    r->clients[r->count++] = loan->client;
    pthread_mutex_unlock(&r->mutex);
    return;
  }
  r->first = next->next;
  if (r->first == NULL) r->last = &r->first;
  pthread_mutex_unlock(&r->mutex);
  next->client = loan->client;
  _Atomic unsigned *word = &next->has_client;
  atomic_store_explicit(word, 1, memory_order_release);
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

const subject subject_handoff = {"a bare hand-off", open_pool, close_pool, take,
                                 give};
