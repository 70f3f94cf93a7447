/*
** acquire.c - the whole checkout for a thread that blocks.
**
** Built on the steps that everyone uses: begin, park, next. While it sleeps it
** is one of the pool's sleepers: it wakes by the next due time, and does what
** is due, since perhaps nobody else is there to do it.
*/
#include <stdlib.h>

#include "lease.h"
#include "parker.h"

#define NODES 8 /* on the stack; more are allocated */

typedef struct blocked {
  struct llm_group group; /* first: the wake of a node leads here */
  llm_sleeper sleeper;
  llm_parker *parker;
} blocked;

/* ---- waking ------------------------------------------------------------ */

/* Of the lease's own waiter, or of a node of its group. */
static void wake(llm_waiter *waiter) {
  const blocked *b =
      waiter->group != NULL
          ? (const blocked *)(void *)waiter->group
          : (const blocked *)(void *)((llm_lease *)(void *)waiter)->blocked;
  llm_parker_wake(b->parker);
}

static void poke(llm_sleeper *sleeper) {
  const blocked *b = llm_link_owner(sleeper, blocked, sleeper);
  llm_parker_poke(b->parker);
}

/* ---- sleeping ---------------------------------------------------------- */

static int64_t sleep_until(llm_pool *pool, int64_t deadline_ns) {
  int64_t due = llm_pool_due(pool);
  return due < deadline_ns ? due : deadline_ns;
}

/* Until its wake has been consumed, or the wait was withdrawn. */
static llm_step park(llm_lease *lease, blocked *b) {
  llm_pool *pool = lease->model->pool;
  int64_t deadline = lease->waiter.deadline_ns;
  for (;;) {
    llm_parked parked =
        llm_parker_wait(b->parker, pool->clock, sleep_until(pool, deadline));
    if (parked == LLM_PARK_WOKEN) return llm_lease_next(lease);
    int64_t now = llm_clock_now(pool->clock);
    if (now >= llm_pool_due(pool)) llm_pool_tick(pool);
    if (now < deadline) continue;
    if (llm_lease_withdraw(lease, LLM_TIMEOUT)) return LLM_FAILED;
    llm_parker_take(b->parker);
    return llm_lease_next(lease);
  }
}

static llm_step wait(llm_lease *lease, blocked *b, llm_pool *pool) {
  llm_step step = LLM_WAIT;
  llm_pool_hold(pool); /* the wait may be the last that holds its model */
  b->sleeper.poke = poke;
  llm_pool_sleeper_add(pool, &b->sleeper);
  while (step == LLM_WAIT) step = park(lease, b);
  llm_pool_sleeper_remove(pool, &b->sleeper);
  llm_pool_drop(pool);
  return step;
}

static llm_err finish(llm_lease *lease, blocked *b, llm_step step) {
  if (step == LLM_WAIT) step = wait(lease, b, lease->model->pool);
  lease->blocked = NULL;
  if (step == LLM_READY) return LLM_OK;
  if (step == LLM_FAILED) return (llm_err)lease->err;
  llm_lease_abort(lease);
  lease->err = LLM_STEPPED;
  return LLM_STEPPED;
}

/* Nothing was asked. */
static llm_err refuse(llm_lease *lease, llm_model *model, llm_err err) {
  *lease = (llm_lease){.model = model};
  lease->step = LLM_FAILED;
  lease->err = (uint8_t)err;
  return err;
}

/* ---- the public ones --------------------------------------------------- */

llm_err llm_acquire(llm_lease *lease, llm_model *model, const llm_ask *ask) {
  blocked b;
  b.parker = llm_parker_self();
  if (b.parker == NULL) return refuse(lease, model, LLM_NOMEM);
  /* for as long as this function: finish clears it */
  /* cppcheck-suppress autoVariables */
  lease->blocked = &b;
  return finish(lease, &b, llm_lease_begin(lease, model, ask, wake));
}

static llm_err acquire_any(llm_lease *lease, llm_model **models,
                           llm_waiter *nodes, uint32_t n, const llm_ask *ask) {
  blocked b;
  b.parker = llm_parker_self();
  if (b.parker == NULL) return refuse(lease, models[0], LLM_NOMEM);
  /* for as long as this function: finish clears it */
  /* cppcheck-suppress autoVariables */
  lease->blocked = &b;
  llm_step step =
      llm_lease_begin_any(lease, models, nodes, &b.group, n, ask, wake);
  llm_err err = finish(lease, &b, step);
  lease->models = NULL; /* these are the caller's, and may go */
  lease->nodes = NULL;
  lease->n_models = 0;
  return err;
}

llm_err llm_acquire_any(llm_lease *lease, llm_model **models, uint32_t n,
                        const llm_ask *ask) {
  llm_waiter few[NODES], *nodes = few;
  if (n == 0) return refuse(lease, NULL, LLM_INVALID);
  if (n > NODES) nodes = malloc(n * sizeof *nodes);
  if (nodes == NULL) return refuse(lease, models[0], LLM_NOMEM);
  llm_err err = acquire_any(lease, models, nodes, n, ask);
  if (nodes != few) free(nodes);
  return err;
}
