/*
** stats.c - reading the books, without stopping anyone.
**
** What belongs together is read together under the model's lock, for a few
** instructions; histograms are summed up afterwards, while they go on.
*/
#include <string.h>

#include "lease.h"

static uint64_t load(_Atomic uint64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static int64_t since(int64_t start_ns, int64_t now_ns) {
  return start_ns < now_ns ? now_ns - start_ns : 0;
}

/* ---- a model ----------------------------------------------------------- */

/* Under the lock. */
static void read_counts(llm_model *model, llm_stats *stats) {
  llm_counts *c = &model->counts;
  stats->acquired = load(&c->acquired);
  stats->returned = load(&c->returned);
  stats->timeouts = load(&c->timeouts);
  stats->cancelled = load(&c->cancelled);
  stats->queue_full = load(&c->queue_full);
  stats->rested = load(&c->rested);
  stats->closed = load(&c->closed);
  stats->created = load(&c->created);
  stats->create_failed = load(&c->create_failed);
  stats->checked = load(&c->checked);
  stats->check_failed = load(&c->check_failed);
  stats->replaced = load(&c->replaced);
  stats->retired = load(&c->retired);
  stats->expired = load(&c->expired);
  stats->leaked = load(&c->leaked);
  stats->double_returns = load(&c->double_returns);
}

static void read_places(llm_model *model, llm_stats *stats) {
  stats->clients = model->in_service;
  stats->idle = model->idle.count;
  stats->lent = (uint32_t)llm_model_lent(model);
  stats->resting = model->resting;
  stats->vacant = model->vacant_count;
  stats->limit = model->limit;
  stats->closed_now = model->is_closed;
  stats->earliest_rest_ns = LLM_FOREVER;
  for (llm_place *p = model->at_rest.head; p != NULL; p = p->next)
    if (p->rest_until_ns < stats->earliest_rest_ns)
      stats->earliest_rest_ns = p->rest_until_ns;
}

void llm_model_stats(llm_model *model, llm_stats *stats) {
  memset(stats, 0, sizeof *stats);
  llm_idle_lock(&model->idle);
  read_counts(model, stats);
  read_places(model, stats);
  llm_idle_unlock(&model->idle);
  stats->waiting =
      llm_sem_waiting(&model->sem) + llm_sem_waiting(&model->creates);
  stats->max_waiting_seen = llm_sem_waiting_max(&model->sem);
  stats->paused = (llm_sem_flags(&model->sem) & LLM_SEM_PAUSED) != 0;
  stats->oldest_wait_ns =
      since(llm_sem_oldest_since(&model->sem), llm_clock_now(model->clock));
  llm_histogram_summary(&model->wait, model->clock, &stats->wait);
  llm_histogram_summary(&model->hold, model->clock, &stats->hold);
}

/* ---- its clients ------------------------------------------------------- */

/* Under the lock. */
static void read_place(llm_place *place, llm_client_stats *out,
                       uint64_t *lent_ticks) {
  *out = (llm_client_stats){.id = place->id->text,
                            .state = (llm_place_state)place->state,
                            .version = llm_place_version(place),
                            .acquired = load(&place->acquired),
                            .returned = load(&place->returned),
                            .checked = load(&place->checked),
                            .check_failed = load(&place->check_failed),
                            .created = load(&place->created),
                            .replaced = load(&place->replaced),
                            .leaked = load(&place->leaked)};
  if (place->state == LLM_P_RESTING) out->rest_until_ns = place->rest_until_ns;
  *lent_ticks = place->lent_ticks;
  memcpy(out->last_error, place->last_error, LLM_TEXT);
}

static void read_client(llm_place *place, llm_client_stats *out) {
  llm_model *model = place->model;
  uint64_t lent_ticks;
  llm_idle_lock(&model->idle);
  read_place(place, out, &lent_ticks);
  llm_idle_unlock(&model->idle);
  if (out->state == LLM_P_LENT)
    out->held_ns = llm_clock_ticks_to_ns(
        model->clock, llm_ticks_between(lent_ticks, llm_ticks(model->clock)));
  llm_histogram_summary(&place->hold, model->clock, &out->hold);
}

static llm_place *following(llm_model *model, llm_place *place) {
  llm_idle_lock(&model->idle);
  llm_place *next = place == NULL ? model->first : place->following;
  llm_idle_unlock(&model->idle);
  return next;
}

size_t llm_model_clients(llm_model *model, llm_client_stats *out, size_t max) {
  size_t n = 0;
  for (llm_place *p = following(model, NULL); p != NULL;
       p = following(model, p), n++)
    if (n < max) read_client(p, &out[n]);
  return n;
}

/* ---- a failure --------------------------------------------------------- */

static int64_t retry_at(const llm_lease *lease, llm_model *model) {
  int64_t at = LLM_FOREVER, back_ns;
  if (lease->err == LLM_RESTING) {
    llm_model_rests(model, &at);
    for (uint32_t i = 1; i < lease->n_models; i++)
      if (llm_model_rests(lease->models[i], &back_ns) && back_ns < at)
        at = back_ns;
  }
  return at;
}

static void read_gate(llm_model *model, llm_failure *failure) {
  llm_idle_lock(&model->idle);
  if (model->gate_until_ns > 0) failure->retry_at_ns = model->gate_until_ns;
  memcpy(failure->text, model->error, LLM_TEXT);
  llm_idle_unlock(&model->idle);
}

void llm_lease_failure(const llm_lease *lease, llm_failure *failure) {
  llm_model *model = lease->n_models > 0 ? lease->models[0] : lease->model;
  llm_stats now;
  memset(failure, 0, sizeof *failure);
  failure->err = (llm_err)lease->err;
  failure->retry_at_ns = LLM_FOREVER;
  if (model == NULL) return;
  llm_idle_lock(&model->idle);
  read_places(model, &now);
  llm_idle_unlock(&model->idle);
  failure->model = model->name->text;
  failure->clients = now.clients;
  failure->idle = now.idle;
  failure->lent = now.lent;
  failure->resting = now.resting;
  failure->waiting = llm_sem_waiting(&model->sem);
  failure->waited_ns = llm_clock_ticks_to_ns(model->clock, lease->lent_ticks);
  failure->retry_at_ns = retry_at(lease, model);
  if (lease->err == LLM_CREATE_FAILED) read_gate(lease->model, failure);
}
