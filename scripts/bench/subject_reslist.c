/*
** subject_reslist.c - apr_reslist of libaprutil, the pool of resources that
** Apache's database modules stand on.
*/
#include <apr_pools.h>
#include <apr_reslist.h>

#include "bench.h"
#include "subject.h"

typedef struct rig {
  apr_pool_t *memory;
  apr_reslist_t *list;
} rig;

static apr_status_t make(void **resource, void *user, apr_pool_t *memory) {
  (void)user;
  *resource = memory;
  return APR_SUCCESS;
}

static apr_status_t destroy(void *resource, void *user, apr_pool_t *memory) {
  (void)resource;
  (void)user;
  (void)memory;
  return APR_SUCCESS;
}

static void *open_pool(unsigned clients) {
  rig *r = malloc(sizeof *r);
  bench_require(r && apr_initialize() == APR_SUCCESS, "apr_initialize");
  bench_require(apr_pool_create(&r->memory, NULL) == APR_SUCCESS, "apr_pool");
  bench_require(apr_reslist_create(&r->list, (int)clients, (int)clients,
                                   (int)clients, 0, make, destroy, NULL,
                                   r->memory) == APR_SUCCESS,
                "apr_reslist_create");
  return r;
}

static void close_pool(void *pool) {
  rig *r = pool;
  apr_reslist_destroy(r->list);
  apr_pool_destroy(r->memory);
  free(r);
  apr_terminate();
}

static void take(void *pool, subject_loan *loan) {
  rig *r = pool;
  while (apr_reslist_acquire(r->list, &loan->client) != APR_SUCCESS) {}
}

static void give(void *pool, subject_loan *loan) {
  rig *r = pool;
  apr_reslist_release(r->list, loan->client);
}

const subject subject_reslist = {"apr_reslist", open_pool, close_pool, take,
                                 give};
