/*
** subject_semaphore.c - the plain way: a POSIX semaphore counts the clients, a
** mutex guards an array of those that are free. No order, no statistics, no
** deadline, no health.
*/
#include <pthread.h>
#include <semaphore.h>

#include "bench.h"
#include "subject.h"

typedef struct rig {
  sem_t free;
  pthread_mutex_t mutex;
  unsigned count;
  void *clients[];
} rig;

static void *open_pool(unsigned clients) {
  rig *r = malloc(sizeof *r + clients * sizeof *r->clients);
  bench_require(r != NULL, "malloc");
  bench_require(sem_init(&r->free, 0, clients) == 0, "sem_init");
  bench_require(pthread_mutex_init(&r->mutex, NULL) == 0, "mutex_init");
  for (r->count = 0; r->count < clients; r->count++)
    r->clients[r->count] = &r->clients[r->count];
  return r;
}

static void close_pool(void *pool) {
  rig *r = pool;
  sem_destroy(&r->free);
  pthread_mutex_destroy(&r->mutex);
  free(r);
}

static void take(void *pool, subject_loan *loan) {
  rig *r = pool;
  while (sem_wait(&r->free) != 0) {}
  pthread_mutex_lock(&r->mutex);
  loan->client = r->clients[--r->count];
  pthread_mutex_unlock(&r->mutex);
}

static void give(void *pool, subject_loan *loan) {
  rig *r = pool;
  pthread_mutex_lock(&r->mutex);
  r->clients[r->count++] = loan->client;
  pthread_mutex_unlock(&r->mutex);
  sem_post(&r->free);
}

const subject subject_semaphore = {"sem_t", open_pool, close_pool, take, give};
