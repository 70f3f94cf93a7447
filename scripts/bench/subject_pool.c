/*
** subject_pool.c - llmpool's C library as a subject of the benchmarks: a model
** with clients that cost nothing, statistics on as always.
*/
#include <stdio.h>

#include "bench.h"
#include "llmpool.h"
#include "subject.h"

_Static_assert(sizeof(llm_lease) <= SUBJECT_ROOM, "a lease has to fit");

typedef struct rig {
  llm_pool *pool;
  llm_model *model;
} rig;

static void *open_pool(unsigned clients) {
  rig *r = malloc(sizeof *r);
  llm_client_spec *specs = calloc(clients, sizeof *specs);
  char(*ids)[16] = calloc(clients, sizeof *ids);
  llm_options options;
  llm_factory factory = {0};
  bench_require(r && specs && ids, "malloc");
  for (unsigned i = 0; i < clients; i++) {
    snprintf(ids[i], sizeof ids[i], "key-%u", i);
    specs[i] = (llm_client_spec){.id = ids[i], .instance = ids};
  }
  llm_options_init(&options);
  r->pool = llm_pool_new(NULL);
  bench_require(r->pool && llm_pool_register(r->pool, "model", specs, clients,
                                             &options, &factory, &r->model,
                                             NULL) == LLM_OK,
                "llm_pool_register");
  free(specs);
  free(ids); /* nobody looks at an instance */
  return r;
}

static void close_pool(void *pool) {
  rig *r = pool;
  llm_stats stats;
  llm_model_stats(r->model, &stats);
  bench_require(stats.acquired == stats.returned, "the ledger's closing");
  llm_model_unref(r->model);
  llm_pool_unref(r->pool);
  free(r);
}

static void take(void *pool, subject_loan *loan) {
  rig *r = pool;
  llm_acquire((llm_lease *)(void *)loan, r->model, NULL);
}

static void give(void *pool, subject_loan *loan) {
  (void)pool;
  llm_lease_return((llm_lease *)(void *)loan, LLM_KEEP);
}

const subject subject_pool = {"llmpool", open_pool, close_pool, take, give};
