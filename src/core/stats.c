/*
** stats.c - reading the books, without stopping anyone.
**
** What belongs together is read together under the model's lock, for a few
** instructions; histograms are summed up afterwards, while they go on.
*/
#include <stdio.h>
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
  stats->waiting = model->aside_count;
  stats->closed_now = model->is_closed;
  stats->earliest_rest_ns = LLM_FOREVER;
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    if (key->in_service > 0) stats->keys++;
    if (key->resting == 0) continue;
    int64_t back = llm_key_back_ns(key);
    if (back < stats->earliest_rest_ns) stats->earliest_rest_ns = back;
  }
}

void llm_model_stats(llm_model *model, llm_stats *stats) {
  memset(stats, 0, sizeof *stats);
  llm_idle_lock(&model->idle);
  read_counts(model, stats);
  read_places(model, stats);
  llm_idle_unlock(&model->idle);
  stats->waiting +=
      llm_sem_waiting(&model->sem) + llm_sem_waiting(&model->creates);
  stats->max_waiting_seen = llm_sem_waiting_max(&model->sem);
  stats->paused = (llm_sem_flags(&model->sem) & LLM_SEM_PAUSED) != 0;
  int64_t oldest = llm_sem_oldest_since(&model->sem);
  int64_t for_slot = llm_sem_oldest_since(&model->creates);
  if (for_slot < oldest) oldest = for_slot;
  stats->oldest_wait_ns = since(oldest, llm_clock_now(model->clock));
  llm_histogram_summary(&model->wait, model->clock, &stats->wait);
  llm_histogram_summary(&model->hold, model->clock, &stats->hold);
}

/* ---- its clients ------------------------------------------------------- */

/* What its slots are in, as bits. */
static unsigned count_slots(const llm_key *key, llm_client_stats *out) {
  unsigned states = 0;
  for (const llm_place *p = key->slots; p != NULL; p = p->sibling) {
    states |= 1u << p->state;
    if (p->state != LLM_P_RETIRED) out->slots++;
    if (p->state == LLM_P_LENT) out->lent++;
    if (p->state == LLM_P_BUSY) out->busy++;
  }
  return states;
}

/* Of several slots the one that an ask would get; why it gets none comes first.
*/
static llm_place_state state_of(const llm_key *key, unsigned states) {
  static const llm_place_state order[] = {LLM_P_IDLE, LLM_P_VACANT, LLM_P_LENT,
                                          LLM_P_BUSY, LLM_P_RESTING};
  if (key->in_service == 0) return LLM_P_RETIRED;
  if (key->away & (LLM_AWAY_OUT | LLM_AWAY_OPEN))
    return llm_key_rest_state(key);
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    if (states & 1u << order[i]) {
      bool is_probe = key->away & LLM_AWAY_PROBE && order[i] != LLM_P_LENT;
      return is_probe ? LLM_P_HALF_OPEN : order[i];
    }
  return LLM_P_RETIRED;
}

/* What is over by now shows as over, though nobody has come by. */
static int64_t refreshed(llm_key *key) {
  int64_t now = llm_clock_now(key->model->clock);
  if (key->away != 0) llm_key_refresh(key, now);
  return now;
}

static void read_limits(llm_key *key, llm_client_stats *out, int64_t now) {
  int64_t back = llm_key_back_ns(key);
  if (back > now) out->rest_until_ns = back;
  out->has_breaker = key->breaker.options.failures > 0;
  out->breaker = llm_key_breaker(key);
  if (llm_bucket_has_limit(&key->requests)) out->rpm = key->limits.rpm;
  if (llm_bucket_has_limit(&key->tokens)) out->tpm = key->limits.tpm;
  out->rpm_left = llm_bucket_level(&key->requests, now);
  out->tpm_left = llm_bucket_level(&key->tokens, now);
  out->outcomes = key->outcomes;
  out->errors = key->errors;
  out->error_rate = key->error_rate;
  out->latency_ns = key->latency_ns;
  out->first_ns = key->first_ns;
}

/* Under the lock; returns when the longest of its leases began, in ticks. */
static uint64_t read_key(llm_key *key, llm_client_stats *out) {
  uint64_t earliest = UINT64_MAX;
  int64_t now = refreshed(key);
  *out = (llm_client_stats){.id = key->id->text,
                            .version = llm_place_version(key->slots),
                            .acquired = load(&key->acquired),
                            .returned = load(&key->returned),
                            .checked = load(&key->checked),
                            .check_failed = load(&key->check_failed),
                            .created = load(&key->created),
                            .replaced = load(&key->replaced),
                            .leaked = load(&key->leaked)};
  out->state = state_of(key, count_slots(key, out));
  read_limits(key, out, now);
  memcpy(out->last_error,
         key->away & LLM_AWAY_OUT ? key->reason : key->last_error, LLM_TEXT);
  for (const llm_place *p = key->slots; p != NULL; p = p->sibling)
    if (p->state == LLM_P_LENT && p->lent_ticks < earliest)
      earliest = p->lent_ticks;
  return earliest;
}

static void read_client(llm_key *key, llm_client_stats *out) {
  llm_model *model = key->model;
  llm_idle_lock(&model->idle);
  uint64_t earliest = read_key(key, out);
  llm_model_leave(model);
  if (earliest != UINT64_MAX)
    out->held_ns = llm_clock_ticks_to_ns(
        model->clock, llm_ticks_between(earliest, llm_ticks(model->clock)));
  llm_histogram_summary(&key->hold, model->clock, &out->hold);
}

static llm_key *following(llm_model *model, llm_key *key) {
  llm_idle_lock(&model->idle);
  llm_key *next = key == NULL ? model->first : key->next;
  llm_idle_unlock(&model->idle);
  return next;
}

/* What is due is done first: rests that are over have ended. */
size_t llm_model_clients(llm_model *model, llm_client_stats *out, size_t max) {
  size_t n = 0;
  llm_due_check(model->pool, llm_ticks(model->clock));
  for (llm_key *key = following(model, NULL); key != NULL;
       key = following(model, key), n++)
    if (n < max) read_client(key, &out[n]);
  return n;
}

/* ---- a failure --------------------------------------------------------- */

static int64_t retry_at(const llm_lease *lease, llm_model *model) {
  int64_t at = LLM_FOREVER, back_ns;
  if (lease->err != LLM_RESTING && lease->err != LLM_OUT_OF_SERVICE) return at;
  if (lease->retry_at_ns != 0) return lease->retry_at_ns;
  llm_model_rests(model, &at, NULL);
  for (uint32_t i = 1; i < lease->n_models; i++)
    if (llm_model_rests(lease->models[i], &back_ns, NULL) && back_ns < at)
      at = back_ns;
  return at;
}

/* "key-1: 401 invalid key; key-2: 402 no credit" */
static void read_reasons(llm_model *model, llm_failure *failure) {
  size_t used = 0;
  llm_idle_lock(&model->idle);
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    if (key->in_service == 0 || used >= LLM_TEXT) continue;
    const char *why = key->away & LLM_AWAY_OUT ? key->reason : "at rest";
    used += (size_t)snprintf(failure->text + used, LLM_TEXT - used, "%s%s: %s",
                             used > 0 ? "; " : "", key->id->text, why);
  }
  llm_idle_unlock(&model->idle);
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
  failure->paused = (llm_sem_flags(&model->sem) & LLM_SEM_PAUSED) != 0;
  failure->waited_ns = llm_clock_ticks_to_ns(model->clock, lease->lent_ticks);
  failure->retry_at_ns = retry_at(lease, model);
  if (lease->err == LLM_CREATE_FAILED) read_gate(lease->model, failure);
  if (lease->err == LLM_OUT_OF_SERVICE) read_reasons(model, failure);
}
