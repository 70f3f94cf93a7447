/*
** lease.c - the two ends of a lease: begin and return.
**
** Both are straight where nothing unusual is going on: a permit by one
** compare-exchange, a client by a few instructions under the model's lock, and
** the same back. All else is in other files. On return the client is pushed
** before the permit is given, and the permit is given, if that takes no more
** than a compare-exchange, before the lock is left: so the lock is the last of
** the model that a return touches, and a lease needs no reference of its own.
*/
#include "lease.h"

/* With the lock held, returns without it: a permit for whoever is next. */
static void hand_on(llm_model *model) {
  llm_model_ref(model);
  llm_idle_unlock(&model->idle);
  llm_sem_release(&model->sem);
  llm_model_unref(model);
}

/* ---- begin ------------------------------------------------------------- */

/* An idle client that may be lent as it is; it stays in the list. */
static inline llm_place *fit_idle(const llm_model *model, uint64_t now) {
  llm_place *place =
      llm_place_of(model->is_fifo ? model->idle.oldest : model->idle.newest);
  if (place == NULL || model->is_closed || place->marks != 0 ||
      place->generation != model->generation || now >= place->dies_ticks ||
      llm_place_is_unproven(place, now, model->check_from))
    return NULL;
  return place;
}

bool llm_model_may_lend(const llm_model *model) {
  return llm_sem_flags(&model->sem) == 0 && llm_sem_avail(&model->sem) != 0;
}

/* A permit without a client to lend as it is goes back, to whoever asked
** meanwhile. */
bool llm_lease_try(llm_lease *lease, llm_model *model) {
  uint64_t now = llm_ticks(model->clock);
  llm_due_check(model->pool, now);
  if (!llm_sem_try(&model->sem)) return false;
  llm_idle_lock(&model->idle);
  llm_place *place = fit_idle(model, now);
  if (place == NULL) {
    hand_on(model);
    return false;
  }
  lease->model = model;
  lease->nodes = NULL;
  lease->models = NULL;
  lease->n_models = 0;
  lease->holding = 0;
  lease->err = LLM_OK;
  lease->flags = 0;
  llm_idle_remove_locked(&model->idle, &place->link);
  llm_lend(lease, place, now, 0);
  llm_model_leave(model);
  return true;
}

llm_step llm_lease_begin(llm_lease *lease, llm_model *model, const llm_ask *ask,
                         void (*wake)(llm_waiter *)) {
  llm_lease_prepare(lease, ask, wake);
  lease->model = model;
  lease->models = NULL;
  lease->nodes = NULL;
  lease->n_models = 0;
  uint64_t now = llm_ticks(model->clock);
  llm_due_check(model->pool, now);
  if (!llm_sem_try(&model->sem)) return llm_lease_line_up(lease);
  if (lease->flags & LLM_PICKS) return llm_checkout(lease);
  llm_idle_lock(&model->idle);
  llm_place *place = fit_idle(model, now);
  if (place == NULL) {
    llm_idle_unlock(&model->idle);
    return llm_checkout(lease);
  }
  llm_idle_remove_locked(&model->idle, &place->link);
  llm_lend(lease, place, now, 0);
  llm_model_leave(model);
  return LLM_READY;
}

/* ---- return ------------------------------------------------------------ */

bool llm_lease_is_background(const llm_lease *lease) {
  return lease->flags & LLM_BACKGROUND;
}

unsigned llm_lease_tag(const llm_lease *lease) {
  return lease->flags / LLM_TAG;
}

bool llm_lease_is_held(const llm_lease *lease) {
  return lease->step == LLM_READY && lease->place != NULL;
}

/* Its last return left the model's uid in lent_ticks: the model itself may be
** gone. */
static bool return_again(llm_lease *lease) {
  if (lease->step == LLM_READY && lease->model != NULL)
    llm_count_double_return(NULL, lease->lent_ticks);
  return false;
}

static void end_lease(llm_lease *lease) {
  lease->place = NULL;
  lease->holding = 0;
  lease->lent_ticks = lease->model->uid;
}

/* Under the lock: the books of a lease that ends. */
static void count_return(llm_model *model, llm_place *place, uint64_t held) {
  llm_counter_add(&model->counts.returned, 1, memory_order_relaxed);
  llm_counter_add(&place->key->returned, 1, memory_order_relaxed);
  llm_histogram_record(&model->hold, held);
  llm_histogram_record(&place->key->hold, held);
  place->holder = 0;
  place->uses++;
}

static inline bool is_plain(const llm_model *model, const llm_place *place,
                            llm_return how) {
  return how == LLM_KEEP && place->marks == 0 && !model->is_closed &&
         (model->owed | model->aside_count) == 0 &&
         place->generation == model->generation &&
         place->uses < model->max_uses &&
         llm_sem_waiting(&model->creates) == 0 &&
         !llm_pool_wants(model->pool, LLM_LISTENED | LLM_DRAINED);
}

static void doom(llm_place *place, llm_return how) {
  if (how == LLM_POISON) {
    place->is_doomed = true;
    place->reason = LLM_SICK;
  } else if (place->uses >= place->model->max_uses) {
    place->is_doomed = true;
    place->reason = LLM_USES;
  }
}

/* A return with something to destroy, to tell, to pay or to wait for; with the
** lock held, returns without it. */
static void put_back(const llm_lease *lease, llm_place *place, llm_return how,
                     uint64_t holding, uint64_t held) {
  llm_model *model = lease->model;
  llm_model_ref(model);
  if (llm_pool_wants(model->pool, LLM_LISTENED))
    llm_note(model, LLM_EV_RETURNED, place, llm_lease_ask(lease, holding),
             llm_clock_ticks_to_ns(model->clock, held));
  doom(place, how);
  llm_place_settle(place, LLM_COVER_GIVEN);
  llm_model_came_back(model);
  llm_model_unref(model);
}

static void end_background(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_idle_lock(&model->idle);
  model->is_refilling = false;
  lease->place->holder = 0;
  llm_place_settle(lease->place, LLM_COVER_GIVEN);
  end_lease(lease);
  llm_lease_unhold(lease);
}

bool llm_lease_return(llm_lease *lease, llm_return how) {
  llm_model *model = lease->model;
  llm_place *place = lease->place;
  if (!llm_lease_is_held(lease)) return return_again(lease);
  if (lease->flags & LLM_BACKGROUND) return end_background(lease), true;
  uint64_t now = llm_ticks(model->clock);
  llm_idle_lock(&model->idle);
  if (place->holder != lease->holding) { /* a copy of it was returned */
    llm_count(&model->counts.double_returns);
    llm_idle_unlock(&model->idle);
    return false;
  }
  uint64_t held = llm_ticks_between(lease->lent_ticks, now);
  uint64_t holding = lease->holding;
  end_lease(lease);
  count_return(model, place, held);
  if (!is_plain(model, place, how)) {
    put_back(lease, place, how, holding, held);
  } else {
    llm_place_link_idle(place, now);
    if (llm_sem_release_fast(&model->sem))
      llm_idle_unlock(&model->idle);
    else
      hand_on(model);
  }
  return true;
}

void llm_lease_leaked(llm_lease *lease) {
  if (!llm_lease_is_held(lease)) return;
  llm_model *model = lease->model;
  llm_count(&model->counts.leaked);
  llm_count(&lease->place->key->leaked);
  llm_idle_lock(&model->idle);
  llm_note(model, LLM_EV_LEAKED, lease->place,
           llm_lease_ask(lease, lease->holding), 0);
  llm_model_leave(model);
}

/* ---- the owner's own end ----------------------------------------------- */

bool llm_lease_withdraw(llm_lease *lease, llm_err why) {
  llm_wait_state state =
      why == LLM_CANCELLED ? LLM_W_CANCELLED : LLM_W_TIMEDOUT;
  if (lease->step != LLM_WAIT) return true;
  bool won = lease->flags & LLM_ASIDE ? llm_aside_withdraw(lease, state)
             : lease->flags & LLM_ON_LINES
                 ? llm_group_withdraw(lease->nodes[0].group, lease->nodes,
                                      lease->n_models, state)
                 : llm_sem_withdraw(&lease->waiter, state);
  if (!won) return false;
  bool has_permit = lease->flags & LLM_ON_SLOT;
  lease->flags &= (uint16_t) ~(LLM_WAITS | LLM_ASIDE);
  if (has_permit)
    llm_lease_give_up(lease, why);
  else
    llm_lease_fail(lease, why);
  return true;
}

/* It waited, and its wake has been consumed: gives back what it was granted.*/
static void abort_wait(llm_lease *lease) {
  if (lease->flags & LLM_ASIDE) {
    llm_aside_abort(lease);
    return;
  }
  unsigned flags = lease->flags;
  llm_waiter *node = &lease->waiter;
  lease->flags &= (uint16_t)~LLM_WAITS;
  if (flags & LLM_ON_LINES) {
    node = atomic_load_explicit(&lease->nodes[0].group->winner,
                                memory_order_acquire);
    llm_group_finish(lease->nodes, lease->n_models);
    lease->model = lease->models[node - lease->nodes];
  }
  llm_wait_state state = llm_waiter_state(node);
  bool is_granted = state == LLM_W_GRANTED;
  if (flags & LLM_ON_SLOT && is_granted) lease->flags |= LLM_HAS_SLOT;
  if (state == LLM_W_AGAIN) llm_slot_nudge(lease->model, NULL); /* the next */
  if (flags & LLM_ON_SLOT || is_granted)
    llm_lease_give_up(lease, LLM_CANCELLED);
  else
    llm_lease_fail(lease, LLM_CANCELLED);
}

/* Its client goes back unchecked, its place uncreated. */
static void abort_step(llm_lease *lease) {
  llm_place *place = lease->place;
  llm_idle_lock(&lease->model->idle);
  if (lease->step == LLM_CHECK) llm_place_mark(place, LLM_MARK_CHECK);
  llm_lease_unbook(lease, place->key);
  llm_place_settle(place, LLM_COVER_KEPT);
  llm_lease_give_up(lease, LLM_CANCELLED);
}

void llm_lease_abort(llm_lease *lease) {
  switch (lease->step) {
  case LLM_READY: llm_lease_return(lease, LLM_KEEP); break;
  case LLM_WAIT:
    if (!llm_lease_withdraw(lease, LLM_CANCELLED)) abort_wait(lease);
    break;
  case LLM_CHECK:
  case LLM_CREATE: abort_step(lease); break;
  default: break;
  }
}
