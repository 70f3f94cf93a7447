/*
** wait.c - when no permit is free: in line for one, or refused.
**
** An ask that waits ends in exactly one of: lent, timeout, cancelled, refused,
** queue_full; the failures all pass llm_lease_fail, which counts and records
** them, and holds nothing.
*/
#include <string.h>

#include "lease.h"

void llm_lease_prepare(llm_lease *lease, const llm_ask *ask,
                       void (*wake)(llm_waiter *)) {
  static const llm_ask any;
  if (ask == NULL) ask = &any;
  lease->waiter.group = NULL;
  lease->waiter.since_ns = 0;
  lease->waiter.wake = wake;
  lease->waiter.deadline_ns =
      ask->deadline_ns != 0 ? ask->deadline_ns : LLM_FOREVER;
  lease->waiter.priority = ask->priority;
  lease->prefer = ask->prefer;
  lease->n_prefer = ask->n_prefer;
  lease->exclude = ask->exclude;
  lease->n_exclude = ask->n_exclude;
  lease->tokens = ask->tokens;
  lease->retry_at_ns = 0;
  lease->place = NULL;
  lease->holding = 0;
  lease->err = LLM_OK;
  lease->reason = LLM_FIRST;
  lease->flags = (uint16_t)((ask->tag & 3u) * LLM_TAG);
  if (ask->now) lease->flags |= LLM_IS_NOW;
  if (ask->n_prefer + ask->n_exclude > 0) lease->flags |= LLM_PICKS;
}

void llm_lease_start(llm_lease *lease) {
  if (lease->flags & LLM_STARTED) return;
  lease->flags |= LLM_STARTED;
  lease->lent_ticks = llm_ticks(lease->model->clock);
}

/* ---- references -------------------------------------------------------- */

void llm_lease_hold(llm_lease *lease) {
  if (lease->flags & LLM_HAS_REFS) return;
  lease->flags |= LLM_HAS_REFS;
  if (lease->n_models == 0) llm_model_ref(lease->model);
  for (uint32_t i = 0; i < lease->n_models; i++)
    llm_model_ref(lease->models[i]);
}

void llm_lease_unhold(llm_lease *lease) {
  if (!(lease->flags & LLM_HAS_REFS)) return;
  lease->flags &= (uint16_t)~LLM_HAS_REFS;
  if (lease->n_models == 0) llm_model_unref(lease->model);
  for (uint32_t i = 0; i < lease->n_models; i++)
    llm_model_unref(lease->models[i]);
}

/* ---- failing ----------------------------------------------------------- */

static _Atomic uint64_t *counter_of(llm_counts *counts, llm_err err) {
  switch (err) {
  case LLM_TIMEOUT: return &counts->timeouts;
  case LLM_CANCELLED: return &counts->cancelled;
  case LLM_QUEUE_FULL: return &counts->queue_full;
  case LLM_RESTING:
  case LLM_OUT_OF_SERVICE: return &counts->rested;
  case LLM_CLOSED: return &counts->closed;
  default: return NULL; /* create_failed is counted where it happens */
  }
}

static llm_event_kind kind_of(llm_err err) {
  switch (err) {
  case LLM_TIMEOUT: return LLM_EV_TIMEOUT;
  case LLM_CANCELLED: return LLM_EV_CANCELLED;
  case LLM_QUEUE_FULL: return LLM_EV_QUEUE_FULL;
  default: return LLM_EV_REFUSED;
  }
}

/* Several models: the first asked for has it in its books. */
static void record(llm_lease *lease, llm_err err) {
  llm_model *model = lease->n_models > 0 ? lease->models[0] : lease->model;
  _Atomic uint64_t *counter = counter_of(&model->counts, err);
  if (counter != NULL) llm_count(counter);
  if (!llm_pool_wants(model->pool, LLM_LISTENED)) return;
  llm_idle_lock(&model->idle);
  llm_note(model, kind_of(err), NULL, llm_lease_ask(lease, lease->holding), 0);
  llm_model_leave(model);
}

llm_step llm_lease_fail(llm_lease *lease, llm_err err) {
  llm_model *model = lease->model;
  if (lease->flags & LLM_BACKGROUND) {
    llm_idle_lock(&model->idle);
    model->is_refilling = false;
    llm_idle_unlock(&model->idle);
  } else {
    record(lease, err);
  }
  lease->lent_ticks =
      lease->flags & LLM_STARTED /* for llm_lease_failure */
          ? llm_ticks_between(lease->lent_ticks, llm_ticks(model->clock))
          : 0;
  if (lease->flags & LLM_MADE_SHORT) llm_lease_end_short(lease);
  lease->place = NULL;
  lease->holding = 0;
  lease->err = (uint8_t)err;
  lease->step = LLM_FAILED;
  llm_lease_unhold(lease);
  return LLM_FAILED;
}

void llm_lease_free_slot(llm_lease *lease) {
  if (!(lease->flags & LLM_HAS_SLOT)) return;
  lease->flags &= (uint16_t)~LLM_HAS_SLOT;
  llm_sem_release(&lease->model->creates);
}

llm_step llm_lease_give_up(llm_lease *lease, llm_err err) {
  llm_lease_hold(lease); /* what is released here may be the last of it */
  llm_lease_free_slot(lease);
  llm_permit_give(lease->model);
  if (err == LLM_CREATE_FAILED && lease->n_models > 0)
    return llm_group_fall_back(lease);
  return llm_lease_fail(lease, err);
}

/* ---- waiting ----------------------------------------------------------- */

llm_step llm_lease_park(llm_lease *lease, unsigned flag) {
  lease->flags |= (uint16_t)flag;
  lease->step = LLM_WAIT;
  return LLM_WAIT;
}

void llm_lease_note_queued(llm_lease *lease, llm_model *model) {
  if (!llm_pool_wants(model->pool, LLM_LISTENED)) return;
  llm_idle_lock(&model->idle);
  if (lease->holding == 0) lease->holding = llm_model_serial(model);
  llm_note(model, LLM_EV_QUEUED, NULL, llm_lease_ask(lease, lease->holding), 0);
  llm_model_leave(model);
}

static void init_waiter(llm_lease *lease, int64_t since_ns) {
  llm_waiter *w = &lease->waiter;
  llm_waiter_init(w, w->wake, w->deadline_ns, w->priority);
  w->since_ns = since_ns;
}

static llm_err refusal(llm_begun begun) {
  switch (begun) {
  case LLM_BEGUN_CLOSED: return LLM_CLOSED;
  case LLM_BEGUN_FULL: return LLM_QUEUE_FULL;
  default: return LLM_TIMEOUT;
  }
}

static llm_err hopeless(llm_lease *lease) {
  int64_t back_ns;
  llm_err err = llm_lease_hopeless(lease, lease->model, &back_ns);
  /* a client that rests for this ask alone does so no more when it is read */
  if (err == LLM_RESTING) lease->retry_at_ns = back_ns;
  return err == LLM_OK && lease->flags & LLM_IS_NOW ? LLM_TIMEOUT : err;
}

/* It is in line. If meanwhile all clients went out of service, those who told
** the line may not have seen it there. */
static llm_step recheck(llm_lease *lease) {
  int64_t back_ns;
  if (!llm_model_rests(lease->model, &back_ns, NULL) ||
      back_ns != LLM_FOREVER || !llm_sem_withdraw(&lease->waiter, LLM_W_OUT))
    return LLM_WAIT;
  lease->flags &= (uint16_t)~LLM_WAITS;
  return llm_lease_fail(lease, LLM_OUT_OF_SERVICE);
}

llm_step llm_lease_line_up(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_lease_start(lease);
  llm_err err = hopeless(lease);
  if (err != LLM_OK) return llm_lease_fail(lease, err);
  llm_lease_hold(lease);
  init_waiter(lease, 0);
  llm_begun begun = llm_sem_begin(&model->sem, &lease->waiter);
  if (begun == LLM_BEGUN_GRANTED) return llm_checkout(lease);
  if (begun != LLM_BEGUN_QUEUED) return llm_lease_fail(lease, refusal(begun));
  llm_lease_note_queued(lease, model);
  llm_lease_park(lease, LLM_ON_LINE);
  return recheck(lease);
}

void llm_lease_pay(llm_lease *lease) {
  llm_model *model = lease->model;
  LLM_CHECK(model->owed > 0, "a permit without a client, and none is owed");
  if (model->owed > 0) model->owed--;
  llm_idle_unlock(&model->idle);
  llm_lease_hold(lease);
  llm_lease_free_slot(lease);
}

llm_step llm_lease_line_up_again(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_lease_pay(lease);
  llm_err err = hopeless(lease);
  if (err != LLM_OK) {
    llm_sem_drop(&model->sem);
    return llm_lease_fail(lease, err);
  }
  init_waiter(lease, lease->waiter.since_ns);
  llm_begun begun = llm_sem_requeue(&model->sem, &lease->waiter);
  if (begun == LLM_BEGUN_GRANTED) return LLM_READY;
  if (begun != LLM_BEGUN_QUEUED) return llm_lease_fail(lease, refusal(begun));
  llm_lease_park(lease, LLM_ON_LINE);
  return recheck(lease);
}

/* ---- after the wake ---------------------------------------------------- */

llm_err llm_wait_error(llm_wait_state state) {
  switch (state) {
  case LLM_W_CANCELLED: return LLM_CANCELLED;
  case LLM_W_CLOSED: return LLM_CLOSED;
  case LLM_W_OUT: return LLM_OUT_OF_SERVICE;
  default: return LLM_TIMEOUT;
  }
}

llm_step llm_lease_next(llm_lease *lease) {
  if (lease->step != LLM_WAIT) return (llm_step)lease->step;
  if (lease->flags & LLM_ASIDE) return llm_aside_next(lease);
  if (lease->flags & LLM_ON_LINES) return llm_group_next(lease);
  llm_wait_state state = llm_waiter_state(&lease->waiter);
  if (state == LLM_W_QUEUED) return LLM_WAIT;
  bool has_permit = lease->flags & LLM_ON_SLOT;
  lease->flags &= (uint16_t)~LLM_WAITS;
  if (state == LLM_W_GRANTED || state == LLM_W_AGAIN) {
    if (has_permit)
      lease->flags |= state == LLM_W_GRANTED ? LLM_HAS_SLOT : LLM_NUDGED;
    return llm_checkout(lease);
  }
  return has_permit ? llm_lease_give_up(lease, llm_wait_error(state))
                    : llm_lease_fail(lease, llm_wait_error(state));
}

/* ---- rest -------------------------------------------------------------- */

bool llm_key_is_in_service(const llm_key *key) {
  for (const llm_place *p = key->slots; p != NULL; p = p->sibling)
    if (p->state != LLM_P_RETIRED && !(p->marks & LLM_MARK_RETIRE)) return true;
  return false;
}

/* A client that is lent and is away is as good as resting; one that leaves does
** not count. Half-open, with no probe yet: back any moment. */
bool llm_model_rests(llm_model *model, int64_t *back_ns, bool *is_out) {
  bool is_any = false, all_out = true;
  *back_ns = LLM_FOREVER;
  llm_idle_lock(&model->idle);
  if (model->resting + model->marked >= model->in_service) {
    for (const llm_key *key = model->first; key != NULL; key = key->next) {
      if (key->away == 0 || !llm_key_is_in_service(key)) continue;
      int64_t back = llm_key_back_ns(key);
      is_any = true;
      all_out = all_out && key->away & LLM_AWAY_OUT;
      if (back < *back_ns) *back_ns = back;
    }
  }
  llm_idle_unlock(&model->idle);
  if (is_out != NULL) *is_out = is_any && all_out;
  return is_any;
}

void llm_model_dismiss(llm_model *model) {
  int64_t back_ns;
  if (llm_model_rests(model, &back_ns, NULL) && back_ns == LLM_FOREVER) {
    llm_sem_dismiss(&model->sem);
    llm_aside_end(model, LLM_W_OUT);
  } else {
    llm_aside_end(model, LLM_W_AGAIN); /* perhaps for them none can */
  }
}

llm_err llm_lease_hopeless(llm_lease *lease, llm_model *model,
                           int64_t *back_ns) {
  bool is_out, is_now = lease->flags & LLM_IS_NOW;
  *back_ns = LLM_FOREVER;
  if (llm_model_is_closed(model)) return LLM_CLOSED;
  if (!llm_model_rests(model, back_ns, &is_out)) return LLM_OK;
  if (*back_ns == LLM_FOREVER) return LLM_OUT_OF_SERVICE;
  if (is_now || *back_ns > lease->waiter.deadline_ns)
    return is_out ? LLM_OUT_OF_SERVICE : LLM_RESTING;
  return LLM_OK;
}

static void end_short(llm_model *model) {
  int64_t now = llm_clock_now(model->clock);
  llm_idle_lock(&model->idle);
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    if (!(key->away & LLM_AWAY_SHORT)) continue;
    key->away &= (uint8_t)~LLM_AWAY_SHORT;
    llm_key_bring_back(key, now);
  }
  uint32_t grow = llm_model_recount(model);
  llm_model_leave(model);
  llm_model_apply(model, grow);
}

void llm_lease_end_short(llm_lease *lease) {
  lease->flags &= (uint16_t)~LLM_MADE_SHORT;
  if (lease->n_models == 0) end_short(lease->model);
  for (uint32_t i = 0; i < lease->n_models; i++) end_short(lease->models[i]);
}
