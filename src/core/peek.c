/*
** peek.c - a model and its clients as a router looks at them: the few numbers
** of this moment, copied under one short lock, for a decision that is made a
** microsecond later. No histograms, no texts.
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

/* What all slots of a client have in common. */
static llm_peek peek_key(const llm_key *key) {
  int64_t now = key->is_limited ? llm_clock_now(key->model->clock) : 0;
  return (llm_peek){.id = key->id->text,
                    .rest_until_ns = LLM_FOREVER,
                    .breaker = llm_key_breaker(key),
                    .rpm_left = left(&key->requests, now),
                    .tpm_left = left(&key->tokens, now),
                    .latency_ns = key->latency_ns,
                    .first_ns = key->first_ns,
                    .error_rate = key->error_rate};
}

static void peek_place(const llm_place *place, llm_peek *out) {
  out->version = llm_place_version(place);
  out->state = (llm_place_state)place->state;
  if (place->state != LLM_P_RESTING) return;
  out->state = llm_key_rest_state(place->key);
  out->rest_until_ns = llm_key_back_ns(place->key);
}

static uint32_t peek_slots(const llm_key *key, llm_peek *out, uint32_t n,
                           uint32_t max) {
  llm_peek common = peek_key(key);
  for (const llm_place *p = key->slots; p != NULL; p = p->sibling) {
    if (p->state == LLM_P_RETIRED) continue;
    if (n < max) {
      out[n] = common;
      peek_place(p, &out[n]);
    }
    n++;
  }
  return n;
}

/* What is due is done first: rests that are over have ended. */
uint32_t llm_model_peek(llm_model *model, llm_model_peeked *total,
                        llm_peek *out, uint32_t max) {
  uint32_t n = 0;
  llm_due_check(model->pool, llm_ticks(model->clock));
  llm_idle_lock(&model->idle);
  *total = (llm_model_peeked){.clients = model->in_service,
                              .lent = (uint32_t)llm_model_lent(model),
                              .resting = model->resting,
                              .limit = model->limit,
                              .capacity = model->capacity};
  for (const llm_key *key = model->first; key != NULL; key = key->next)
    n = peek_slots(key, out, n, max);
  llm_idle_unlock(&model->idle);
  total->waiting = llm_sem_waiting(&model->sem);
  total->is_paused = (llm_sem_flags(&model->sem) & LLM_SEM_PAUSED) != 0;
  return n;
}

const char *llm_breaker_state_name(llm_breaker_state state) {
  static const char *const names[] = {"closed", "open", "half_open"};
  return (unsigned)state <= LLM_B_HALF_OPEN ? names[state] : "unknown";
}
