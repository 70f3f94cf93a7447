/*
** peek.c - a model and its clients as a router looks at them: the few numbers
** of this moment, copied under one short lock, for a decision that is made a
** microsecond later. No histograms, no texts; percentiles only for who asks.
*/
#include <math.h>

#include "lease.h"

llm_breaker_state llm_key_breaker(const llm_key *key) {
  if (key->away & LLM_AWAY_OPEN) return LLM_B_OPEN;
  return key->away & LLM_AWAY_PROBE ? LLM_B_HALF_OPEN : LLM_B_CLOSED;
}

llm_place_state llm_key_rest_state(const llm_key *key) {
  if (key->away & LLM_AWAY_OUT) return LLM_P_DISABLED;
  if (key->away & LLM_AWAY_OPEN) return LLM_P_OPEN;
  return key->away & LLM_AWAY_PROBE ? LLM_P_HALF_OPEN : LLM_P_RESTING;
}

static double left(const llm_bucket *bucket, int64_t now) {
  return llm_bucket_has_limit(bucket) ? llm_bucket_level(bucket, now)
                                      : HUGE_VAL;
}

/* One that is not free: it, or what its client waits for, says why. */
static void add_taken(const llm_place *place, llm_peek *out) {
  out->state = (llm_place_state)place->state;
  if (place->state == LLM_P_LENT) out->lent++;
  if (place->state != LLM_P_RESTING) return;
  out->resting++;
  out->state = llm_key_rest_state(place->key);
  out->rest_until_ns = llm_key_back_ns(place->key);
}

/* Returns the sum of its slots' versions. */
static uint64_t peek_slots(const llm_key *key, llm_peek *out) {
  uint64_t versions = 0;
  uint32_t slots = 0, open = 0;
  out->lent = out->resting = 0;
  out->state = LLM_P_IDLE;
  out->rest_until_ns = LLM_FOREVER;
  for (const llm_place *p = key->slots; p != NULL; p = p->sibling) {
    if (p->state == LLM_P_RETIRED) continue;
    slots++;
    versions += llm_place_version(p);
    if (p->state == LLM_P_IDLE || p->state == LLM_P_VACANT)
      open++;
    else
      add_taken(p, out);
  }
  out->slots = slots;
  out->free = open;
  return versions;
}

static void peek_buckets(const llm_key *key, llm_peek *out) {
  int64_t now = llm_clock_now(key->model->clock);
  out->rpm_left = left(&key->requests, now);
  out->tpm_left = left(&key->tokens, now);
}

/* Every field by itself: this is done for every client of every decision. */
static void peek_key(const llm_key *key, llm_peek *out,
                     llm_model_peeked *total) {
  out->id = key->id->text;
  out->latency_ns = key->latency_ns;
  out->first_ns = key->first_ns;
  out->latency_at_ns = key->latency_at_ns;
  out->error_rate = key->error_rate;
  out->outcomes = key->outcomes;
  out->rpm_left = out->tpm_left = HUGE_VAL;
  if (key->is_limited) peek_buckets(key, out);
  total->versions += peek_slots(key, out);
  total->open += out->free > 0;
}

/* What is due is done first: rests that are over have ended. */
uint32_t llm_model_peek(llm_model *model, llm_model_peeked *total,
                        llm_peek *out, uint32_t max) {
  llm_peek none; /* of one that there is no room for */
  uint32_t n = 0;
  llm_due_check(model->pool, llm_ticks(model->clock));
  llm_idle_lock(&model->idle);
  *total = (llm_model_peeked){.clients = model->in_service,
                              .lent = (uint32_t)llm_model_lent(model),
                              .resting = model->resting,
                              .now_ns = llm_clock_now(model->clock),
                              .limit = model->limit,
                              .capacity = model->capacity};
  for (const llm_key *key = model->first; key != NULL; key = key->next) {
    if (key->in_service == 0) continue;
    peek_key(key, n < max ? &out[n] : &none, total);
    n++;
  }
  llm_idle_unlock(&model->idle);
  total->waiting = llm_sem_waiting(&model->sem);
  total->is_paused = (llm_sem_flags(&model->sem) & LLM_SEM_PAUSED) != 0;
  return n;
}

uint32_t llm_model_peek_p95(llm_model *model, llm_peek_p95 *out, uint32_t max) {
  uint32_t n = 0;
  llm_idle_lock(&model->idle);
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    if (key->in_service == 0) continue;
    if (n < max)
      out[n] = (llm_peek_p95){key->id->text, llm_recent_p95(&key->latencies),
                              llm_recent_p95(&key->firsts)};
    n++;
  }
  llm_idle_unlock(&model->idle);
  return n;
}

const char *llm_breaker_state_name(llm_breaker_state state) {
  static const char *const names[] = {"closed", "open", "half_open"};
  return (unsigned)state <= LLM_B_HALF_OPEN ? names[state] : "unknown";
}
