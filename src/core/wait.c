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
  lease->place = NULL;
  lease->holding = 0;
  lease->err = LLM_OK;
  lease->reason = LLM_FIRST;
  lease->flags = ask->now ? LLM_IS_NOW : 0;
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
  lease->flags &= (uint8_t)~LLM_HAS_REFS;
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
  case LLM_RESTING: return &counts->rested;
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
  llm_note(model, kind_of(err), NULL, lease->holding, 0);
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
  lease->place = NULL;
  lease->holding = 0;
  lease->err = (uint8_t)err;
  lease->step = LLM_FAILED;
  llm_lease_unhold(lease);
  return LLM_FAILED;
}

void llm_lease_free_slot(llm_lease *lease) {
  if (!(lease->flags & LLM_HAS_SLOT)) return;
  lease->flags &= (uint8_t)~LLM_HAS_SLOT;
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
  lease->flags |= (uint8_t)flag;
  lease->step = LLM_WAIT;
  return LLM_WAIT;
}

void llm_lease_note_queued(llm_lease *lease, llm_model *model) {
  if (!llm_pool_wants(model->pool, LLM_LISTENED)) return;
  llm_idle_lock(&model->idle);
  if (lease->holding == 0) lease->holding = llm_model_serial(model);
  llm_note(model, LLM_EV_QUEUED, NULL, lease->holding, 0);
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

/* Why it need not wait at all; LLM_OK: it may. */
static llm_err hopeless(llm_lease *lease) {
  int64_t back_ns;
  bool is_now = lease->flags & LLM_IS_NOW;
  if (llm_model_is_closed(lease->model)) return LLM_CLOSED;
  if (llm_model_rests(lease->model, &back_ns) &&
      (is_now || back_ns > lease->waiter.deadline_ns))
    return LLM_RESTING;
  return is_now ? LLM_TIMEOUT : LLM_OK;
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
  return llm_lease_park(lease, LLM_ON_LINE);
}

llm_step llm_lease_line_up_again(llm_lease *lease) {
  llm_model *model = lease->model;
  LLM_CHECK(model->owed > 0, "a permit without a client, and none is owed");
  if (model->owed > 0) model->owed--;
  llm_idle_unlock(&model->idle);
  llm_lease_hold(lease);
  llm_lease_free_slot(lease);
  llm_err err = hopeless(lease);
  if (err != LLM_OK) {
    llm_sem_drop(&model->sem);
    return llm_lease_fail(lease, err);
  }
  init_waiter(lease, lease->waiter.since_ns);
  llm_begun begun = llm_sem_requeue(&model->sem, &lease->waiter);
  if (begun == LLM_BEGUN_GRANTED) return LLM_READY;
  if (begun != LLM_BEGUN_QUEUED) return llm_lease_fail(lease, refusal(begun));
  return llm_lease_park(lease, LLM_ON_LINE);
}

/* ---- after the wake ---------------------------------------------------- */

llm_err llm_wait_error(llm_wait_state state) {
  switch (state) {
  case LLM_W_CANCELLED: return LLM_CANCELLED;
  case LLM_W_CLOSED: return LLM_CLOSED;
  default: return LLM_TIMEOUT;
  }
}

llm_step llm_lease_next(llm_lease *lease) {
  if (lease->step != LLM_WAIT) return (llm_step)lease->step;
  if (lease->flags & LLM_ON_LINES) return llm_group_next(lease);
  llm_wait_state state = llm_waiter_state(&lease->waiter);
  if (state == LLM_W_QUEUED) return LLM_WAIT;
  bool has_permit = lease->flags & LLM_ON_SLOT;
  lease->flags &= (uint8_t)~LLM_WAITS;
  if (state == LLM_W_GRANTED) {
    if (has_permit) lease->flags |= LLM_HAS_SLOT;
    return llm_checkout(lease);
  }
  return has_permit ? llm_lease_give_up(lease, llm_wait_error(state))
                    : llm_lease_fail(lease, llm_wait_error(state));
}

/* ---- rest -------------------------------------------------------------- */

static bool rests(const llm_place *place) {
  return place->state == LLM_P_RESTING ||
         (place->marks & LLM_MARKS_AWAY) == LLM_MARK_REST;
}

/* A client that is lent and has been told to rest is as good as resting; one
** that leaves does not count. */
bool llm_model_rests(llm_model *model, int64_t *back_ns) {
  bool is_any = false;
  *back_ns = LLM_FOREVER;
  llm_idle_lock(&model->idle);
  if (model->resting + model->marked >= model->in_service) {
    for (llm_place *p = model->first; p != NULL; p = p->following) {
      if (!rests(p)) continue;
      is_any = true;
      if (p->rest_until_ns < *back_ns) *back_ns = p->rest_until_ns;
    }
  }
  llm_idle_unlock(&model->idle);
  return is_any;
}
