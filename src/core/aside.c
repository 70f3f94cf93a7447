/*
** aside.c - callers who wait for a client that they do not exclude.
**
** A permit says that some client is free, not which. Who holds one and finds
** only clients that it excludes gives it to the next in line and steps aside,
** with its place in the order kept: the first client that comes back and is
** none of those goes to it directly, with its permit. Where clients come by
** another way - a rest ends, one is added - all who stand aside look again,
** from the front of the line.
*/
#include "lease.h"

static llm_lease *lease_of(llm_waiter *waiter) {
  return (llm_lease *)(void *)waiter;
}

/* ---- stepping aside ---------------------------------------------------- */

/* Why it would wait in vain; LLM_OK: a client may come. Under the lock. */
static llm_err hopeless(llm_lease *lease) {
  int64_t back = LLM_FOREVER;
  bool has_any = false;
  for (const llm_key *key = lease->model->first; key != NULL; key = key->next) {
    if (llm_lease_excludes(lease, key) || !llm_key_is_in_service(key)) continue;
    if (key->away == 0) return LLM_OK;
    has_any = true;
    int64_t until = llm_key_back_ns(key);
    if (until < back) back = until;
  }
  lease->retry_at_ns = back;
  if (!has_any) return LLM_EXCLUDED;
  if (back == LLM_FOREVER) return LLM_OUT_OF_SERVICE;
  return back > lease->waiter.deadline_ns ? LLM_RESTING : LLM_OK;
}

static llm_err refusal(llm_lease *lease) {
  int64_t deadline = lease->waiter.deadline_ns;
  llm_err err = hopeless(lease);
  if (err != LLM_OK) return err;
  bool is_late =
      deadline != LLM_FOREVER && llm_clock_now(lease->model->clock) >= deadline;
  return is_late || lease->flags & LLM_IS_NOW ? LLM_TIMEOUT : LLM_OK;
}

static void enter(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_waiter *w = &lease->waiter;
  int64_t since = w->since_ns;
  llm_waiter_init(w, w->wake, w->deadline_ns, w->priority);
  w->since_ns = since != 0 ? since : llm_clock_now(model->clock);
  atomic_store_explicit(&w->state, LLM_W_QUEUED, memory_order_relaxed);
  llm_queue_push(&model->aside, w);
  model->aside_count++;
  lease->flags |= LLM_ASIDE;
  lease->step = LLM_WAIT;
}

llm_step llm_lease_step_aside(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_lease_hold(lease);
  if (lease->flags & LLM_HAS_SLOT) {
    llm_idle_unlock(&model->idle);
    llm_lease_free_slot(lease);
    return LLM_READY; /* and look again */
  }
  llm_err err = refusal(lease);
  if (err == LLM_OK) enter(lease);
  llm_idle_unlock(&model->idle);
  if (err != LLM_OK) return llm_lease_give_up(lease, err);
  llm_permit_pass(model);
  return LLM_WAIT;
}

/* ---- out of it --------------------------------------------------------- */

/* Its end; the wake is the caller's, without the lock. Under the lock. */
static void leave(llm_model *model, llm_waiter *waiter, llm_wait_state state) {
  llm_queue_remove(&model->aside, waiter);
  model->aside_count--;
  atomic_store_explicit(&waiter->state, (uint32_t)state, memory_order_release);
}

bool llm_aside_withdraw(llm_lease *lease, llm_wait_state why) {
  llm_model *model = lease->model;
  llm_idle_lock(&model->idle);
  bool won = llm_waiter_state(&lease->waiter) == LLM_W_QUEUED;
  if (won) leave(model, &lease->waiter, why);
  llm_idle_unlock(&model->idle);
  return won;
}

/* They may go as soon as they are woken: each is taken out by itself. Those
** who step aside anew meanwhile stand behind them. */
void llm_aside_end(llm_model *model, llm_wait_state state) {
  llm_idle_lock(&model->idle);
  uint32_t left = model->aside_count;
  llm_idle_unlock(&model->idle);
  for (; left > 0; left--) {
    llm_idle_lock(&model->idle);
    llm_waiter *waiter = model->aside.head;
    if (waiter != NULL) leave(model, waiter, state);
    llm_idle_unlock(&model->idle);
    if (waiter != NULL) waiter->wake(waiter);
  }
}

/* ---- handed a client --------------------------------------------------- */

/* Of those whom it suits, the highest level, and there the first. */
static llm_waiter *find_taker(const llm_model *model, const llm_key *key,
                              int64_t now) {
  llm_waiter *best = NULL;
  for (llm_waiter *w = model->aside.head; w != NULL; w = w->next) {
    const llm_lease *lease = lease_of(w);
    bool is_late = w->deadline_ns != LLM_FOREVER && w->deadline_ns <= now;
    if (is_late || llm_lease_excludes(lease, key) ||
        !llm_key_bears(key, lease->tokens, now))
      continue;
    if (best == NULL || w->priority > best->priority) best = w;
  }
  return best;
}

llm_waiter *llm_aside_hand(llm_place *place) {
  llm_model *model = place->model;
  if (model->aside_count == 0 || place->state != LLM_P_IDLE) return NULL;
  llm_waiter *waiter =
      find_taker(model, place->key, llm_clock_now(model->clock));
  if (waiter == NULL) return NULL;
  llm_lease *lease = lease_of(waiter);
  llm_place_unlink(place);
  lease->place = place;
  llm_lease_book(lease, place->key);
  leave(model, waiter, LLM_W_GRANTED);
  return waiter;
}

/* Looks again, without a permit: before all who are in line. */
static llm_step look_again(llm_lease *lease) {
  llm_waiter *w = &lease->waiter;
  int64_t since = w->since_ns;
  llm_waiter_init(w, w->wake, w->deadline_ns, w->priority);
  w->since_ns = since;
  switch (llm_sem_rejoin(&lease->model->sem, w)) {
  case LLM_BEGUN_GRANTED: return llm_checkout(lease);
  case LLM_BEGUN_QUEUED: return llm_lease_park(lease, LLM_ON_LINE);
  case LLM_BEGUN_CLOSED: return llm_lease_fail(lease, LLM_CLOSED);
  default: return llm_lease_fail(lease, LLM_TIMEOUT);
  }
}

llm_step llm_aside_next(llm_lease *lease) {
  llm_wait_state state = llm_waiter_state(&lease->waiter);
  if (state == LLM_W_QUEUED) return LLM_WAIT;
  lease->flags &= (uint16_t)~LLM_ASIDE;
  if (state == LLM_W_GRANTED) return llm_checkout_handed(lease);
  if (state == LLM_W_AGAIN) return look_again(lease);
  return llm_lease_fail(lease, llm_wait_error(state));
}

/* Its wake has been consumed, and it is not wanted any more. */
void llm_aside_abort(llm_lease *lease) {
  llm_place *place = lease->place;
  bool is_handed = llm_waiter_state(&lease->waiter) == LLM_W_GRANTED;
  lease->flags &= (uint16_t)~LLM_ASIDE;
  if (is_handed) {
    llm_idle_lock(&place->model->idle);
    llm_lease_unbook(lease, place->key);
    llm_place_settle(place, LLM_COVER_GIVEN);
  }
  llm_lease_fail(lease, LLM_CANCELLED);
}
