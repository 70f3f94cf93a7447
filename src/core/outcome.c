/*
** outcome.c - what has become of a request, and what follows for its client:
** what was reserved is settled, the breaker counts, the client rests or is out
** of service, and its numbers of late change.
**
** Those numbers are averages that forget: half of it after ten seconds, or
** after seven reports at once. A latency that is higher than the average counts
** as it is, at once: who is slow is told from one answer, who is fast again
** from several. Beside them the last times are kept (recent.h).
*/
#include "lease.h"

#define MEMORY_NS 10e9
#define FADING_NS 60e9  /* half of a latency is not believed any more */
#define LEAST_SHARE 0.1 /* of a report */
#define BACKOFF_NS INT64_C(1000000000)
#define MOST_BACKOFF_NS INT64_C(60000000000)

/* ---- reservations ------------------------------------------------------ */

void llm_lease_book(llm_lease *lease, llm_key *key) {
  if (!key->is_limited || lease->flags & (LLM_BOOKED | LLM_BACKGROUND)) return;
  int64_t now = llm_clock_now(key->model->clock);
  llm_bucket_debit(&key->requests, 1, now);
  llm_bucket_debit(&key->tokens, lease->tokens, now);
  lease->flags |= LLM_BOOKED;
}

void llm_lease_unbook(llm_lease *lease, llm_key *key) {
  if (!(lease->flags & LLM_BOOKED)) return;
  llm_bucket_refund(&key->requests, 1);
  llm_bucket_refund(&key->tokens, lease->tokens);
  lease->flags &= (uint16_t)~LLM_BOOKED;
}

static void settle(llm_lease *lease, llm_key *key, uint64_t tokens,
                   int64_t now) {
  if (lease->flags & LLM_BOOKED) {
    llm_bucket_refund(&key->tokens, lease->tokens);
    llm_bucket_debit(&key->tokens, tokens, now);
  }
  lease->tokens = tokens;
}

/* The key of a lease that is held, with the lock taken; NULL: without. */
static llm_key *lock_key(llm_lease *lease) {
  if (!llm_lease_is_held(lease)) return NULL;
  llm_model *model = lease->model;
  llm_idle_lock(&model->idle);
  if (lease->place->holder == lease->holding) return lease->place->key;
  llm_idle_unlock(&model->idle);
  return NULL;
}

/* Its buckets or its breaker have changed, and with them when it is back. */
static void leave(llm_key *key, int64_t now) {
  if (key->away != 0) llm_key_refresh(key, now);
  if (key->resting > 0 || key->model->marked > 0) llm_key_bring_back(key, now);
  llm_key_leave(key);
}

bool llm_lease_is_booked(const llm_lease *lease) {
  return lease->flags & LLM_BOOKED;
}

bool llm_lease_settle(llm_lease *lease, uint64_t tokens) {
  llm_key *key = lock_key(lease);
  if (key == NULL) return false;
  int64_t now = llm_clock_now(key->model->clock);
  settle(lease, key, tokens, now);
  leave(key, now);
  return true;
}

bool llm_lease_refund(llm_lease *lease) {
  llm_key *key = lock_key(lease);
  if (key == NULL) return false;
  llm_lease_unbook(lease, key);
  leave(key, llm_clock_now(key->model->clock));
  return true;
}

/* ---- the breaker ------------------------------------------------------- */

/* No other client is left that is neither disabled nor behind a breaker, and
** its options would keep it then. */
static bool is_floor(const llm_key *key) {
  const unsigned gone = LLM_AWAY_OUT | LLM_AWAY_OPEN | LLM_AWAY_PROBE;
  llm_floor floor = key->breaker.options.floor;
  bool has_others = false;
  if (floor == LLM_FLOOR_NONE) return false;
  for (const llm_key *k = key->model->first; k != NULL; k = k->next) {
    if (k == key || k->in_service == 0) continue;
    if (!(k->away & gone)) return false;
    has_others = true;
  }
  return has_others || floor == LLM_FLOOR_ALWAYS;
}

static void open(llm_key *key, int64_t now) {
  key->away = (uint8_t)((key->away & ~LLM_AWAY_PROBE) | LLM_AWAY_OPEN);
  key->probe = NULL;
  int64_t until = llm_switch_open(&key->breaker, now);
  llm_note(key->model, LLM_EV_OPENED, key->slots, 0, until - now);
  llm_key_put_away(key, now);
}

static void close(llm_key *key) {
  key->away &= (uint8_t)~LLM_AWAY_PROBE;
  key->probe = NULL;
  llm_switch_reset(&key->breaker);
  llm_note(key->model, LLM_EV_CLOSED, key->slots, 0, 0);
}

/* A lease from before it opened says nothing new. */
static bool is_stale(const llm_key *key, const llm_place *place) {
  return key->away & LLM_AWAY_OPEN ||
         (key->away & LLM_AWAY_PROBE && key->probe != place);
}

static void count_failure(llm_key *key, int64_t now) {
  if (key->away & LLM_AWAY_PROBE)
    open(key, now);
  else if (llm_switch_trips(&key->breaker, now) && !is_floor(key))
    open(key, now);
}

static void tell_breaker(llm_key *key, const llm_place *place,
                         const llm_outcome *outcome, int64_t now) {
  if (key->breaker.options.failures == 0 || is_stale(key, place)) return;
  if (outcome->kind == LLM_OUTCOME_FAILURE)
    count_failure(key, now);
  else if (outcome->kind == LLM_OUTCOME_SUCCESS && key->away & LLM_AWAY_PROBE)
    close(key);
  else if (outcome->kind == LLM_OUTCOME_SUCCESS)
    key->breaker.successes++;
}

/* ---- numbers of late --------------------------------------------------- */

static double share(int64_t *at_ns, int64_t now) {
  double past = (double)(now - *at_ns), part = past / (past + MEMORY_NS);
  *at_ns = now;
  return part > LEAST_SHARE ? part : LEAST_SHARE;
}

double llm_faded_ns(int64_t latency_ns, int64_t at_ns, int64_t now_ns) {
  double past = now_ns > at_ns ? (double)(now_ns - at_ns) : 0;
  return (double)latency_ns * (FADING_NS / (past + FADING_NS));
}

static void take_latency(int64_t *mean_ns, int64_t *at_ns, llm_recent *recent,
                         int64_t sample_ns, int64_t now) {
  if (sample_ns <= 0) return;
  double part = share(at_ns, now);
  llm_recent_add(recent, sample_ns);
  if (sample_ns > *mean_ns)
    *mean_ns = sample_ns;
  else
    *mean_ns += (int64_t)((double)(sample_ns - *mean_ns) * part);
}

static void take_numbers(llm_key *key, const llm_outcome *outcome,
                         int64_t now) {
  take_latency(&key->latency_ns, &key->latency_at_ns, &key->latencies,
               outcome->latency_ns, now);
  take_latency(&key->first_ns, &key->first_at_ns, &key->firsts,
               outcome->first_ns, now);
  if (outcome->kind == LLM_OUTCOME_NONE && !outcome->is_error) return;
  if (key->outcomes == 0) key->error_at_ns = now; /* of no age: none before */
  double part = share(&key->error_at_ns, now);
  key->error_rate += ((outcome->is_error ? 1 : 0) - key->error_rate) * part;
  key->outcomes++;
  if (outcome->is_error) key->errors++;
}

/* ---- the report -------------------------------------------------------- */

static int64_t back_off(llm_key *key) {
  int64_t next = key->backoff_ns * 2;
  if (next == 0) next = BACKOFF_NS;
  if (next > MOST_BACKOFF_NS) next = MOST_BACKOFF_NS;
  return key->backoff_ns = next;
}

static void take_effect(llm_key *key, const llm_outcome *outcome, int64_t now) {
  if (outcome->kind == LLM_OUTCOME_SUCCESS && !outcome->is_error)
    key->backoff_ns = 0;
  if (outcome->backs_off)
    llm_key_rest(key, llm_time_after(now, back_off(key)), now);
  if (outcome->rest_until_ns > 0)
    llm_key_rest(key, outcome->rest_until_ns, now);
  if (outcome->disable_until_ns > 0)
    llm_key_disable(key, outcome->disable_until_ns, outcome->reason, now);
  if (outcome->is_error && outcome->reason != NULL)
    llm_key_set_error(key, outcome->reason);
}

bool llm_lease_report(llm_lease *lease, const llm_outcome *outcome) {
  llm_key *key = lock_key(lease);
  if (key == NULL) return false;
  llm_model *model = key->model;
  int64_t now = llm_clock_now(model->clock);
  if (!outcome->was_sent)
    llm_lease_unbook(lease, key);
  else if (outcome->has_tokens)
    settle(lease, key, outcome->tokens, now);
  take_numbers(key, outcome, now);
  tell_breaker(key, lease->place, outcome, now);
  take_effect(key, outcome, now);
  leave(key, now);
  if (outcome->disable_until_ns == LLM_FOREVER) llm_model_dismiss(model);
  return true;
}
