/*
** checkout.c - from a permit to a client: take, check, create.
**
** A machine that is stepped by the acquirer, who holds the permit throughout
** and never a lock. A client that is stale or sick is destroyed and the next
** one is looked at, under the same permit; without an idle one a vacant place
** is filled, one creation slot at a time. However it fails, it ends in
** llm_lease_give_up.
*/
#include <string.h>

#include "lease.h"

/* Look at the lists again: one step more, for this file only. */
#define AGAIN ((llm_step)(LLM_FAILED + 1))

/* ---- lent -------------------------------------------------------------- */

static llm_step ready(llm_lease *lease) {
  llm_lease_free_slot(lease);
  llm_lease_unhold(lease);
  return LLM_READY;
}

/* With the lock held, returns without it. The client is in no list. */
static llm_step lend(llm_lease *lease, llm_place *place) {
  llm_model *model = place->model;
  uint64_t now = llm_ticks(model->clock);
  place->marks &= (uint8_t)~LLM_MARK_CHECK;
  llm_lend(lease, place, now, llm_ticks_between(lease->lent_ticks, now));
  llm_model_leave(model);
  return ready(lease);
}

/* For a refill: not lent, only held until its return. */
static llm_step hold_back(llm_lease *lease, llm_place *place) {
  llm_model *model = place->model;
  place->holder = lease->holding = llm_model_serial(model);
  lease->step = LLM_READY;
  llm_model_leave(model);
  llm_lease_free_slot(lease);
  return LLM_READY;
}

/* ---- checking ---------------------------------------------------------- */

static bool is_late(const llm_lease *lease) {
  return lease->waiter.deadline_ns != LLM_FOREVER &&
         llm_clock_now(lease->model->clock) >= lease->waiter.deadline_ns;
}

/* The end of something that may take `timeout`, for this caller. */
static int64_t end_of(const llm_lease *lease, int64_t timeout_ns) {
  int64_t end = llm_time_after(llm_clock_now(lease->model->clock), timeout_ns);
  int64_t deadline = lease->waiter.deadline_ns;
  return end < deadline ? end : deadline;
}

static llm_step checked(llm_lease *lease, bool is_well, const char *text) {
  llm_model *model = lease->model;
  llm_place *place = lease->place;
  llm_count(&model->counts.checked);
  llm_count(&place->checked);
  llm_idle_lock(&model->idle);
  if (is_well && !model->is_closed) return lend(lease, place);
  lease->place = NULL;
  if (!is_well) {
    llm_count(&model->counts.check_failed);
    llm_count(&place->check_failed);
    llm_place_set_error(place, text);
    place->is_doomed = true;
    place->reason = LLM_SICK;
    llm_note(model, LLM_EV_CHECK_FAILED, place, lease->holding, 0);
  }
  llm_place_settle(place, LLM_COVER_KEPT);
  return is_late(lease) ? llm_lease_give_up(lease, LLM_TIMEOUT) : AGAIN;
}

static llm_step check(llm_lease *lease, llm_place *place) {
  const llm_factory *factory = &lease->model->factory;
  lease->place = place;
  if (factory->stepped) {
    llm_lease_hold(lease);
    lease->step = LLM_CHECK;
    return LLM_CHECK;
  }
  int64_t end = end_of(lease, lease->model->options.check_timeout_ns);
  bool is_well = factory->check(factory->user, place, end) == 0;
  return checked(lease, is_well, "its check failed");
}

/* ---- an idle client ---------------------------------------------------- */

static llm_place *pick(llm_lease *lease) {
  llm_model *model = lease->model;
  for (uint32_t i = 0; i < lease->n_prefer; i++) {
    llm_place *place = llm_place_find(model, lease->prefer[i]);
    if (place != NULL && place->state == LLM_P_IDLE) return place;
  }
  return llm_place_of(model->is_fifo ? model->idle.oldest : model->idle.newest);
}

/* Lifetimes end one by one, at least lifetime/clients apart, so that clients
** made together are not missed together. */
static bool has_died(llm_place *place, uint64_t now) {
  llm_model *model = place->model;
  if (now < place->dies_ticks || now < model->next_kill_ticks) return false;
  model->next_kill_ticks = now + model->lifetime_ticks / model->in_service;
  place->is_doomed = true;
  place->reason = LLM_LIFETIME;
  return true;
}

static bool is_unchecked(const llm_place *place, uint64_t now) {
  const llm_model *model = place->model;
  return model->check_from != UINT64_MAX &&
         (place->marks & LLM_MARK_CHECK ||
          llm_ticks_between(place->link.stamp, now) >= model->check_from);
}

/* With the lock held and a client to try, returns without it. */
static llm_step try_idle(llm_lease *lease, llm_place *place) {
  llm_model *model = lease->model;
  uint64_t now = llm_ticks(model->clock);
  llm_place_unlink(place);
  if (place->generation != model->generation || has_died(place, now)) {
    llm_place_settle(place, LLM_COVER_KEPT);
    return AGAIN;
  }
  if (!is_unchecked(place, now)) return lend(lease, place);
  llm_idle_unlock(&model->idle);
  return check(lease, place);
}

/* ---- creating ---------------------------------------------------------- */

void llm_lease_claim(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_place *place = model->vacant.head;
  llm_place_unlink(place);
  place->generation = model->generation;
  lease->place = place;
  lease->reason = place->reason;
}

/* Nothing comes of it: the gate shuts for a while, so that those behind get
** this error at once instead of one slow failure each. A creation that its
** caller gave up says nothing of the next. */
static void shut_gate(llm_model *model, const char *text) {
  const llm_options *o = &model->options;
  int64_t backoff = model->backoff_ns > o->backoff_max_ns / 2
                        ? o->backoff_max_ns
                        : model->backoff_ns * 2;
  if (model->backoff_ns == 0) backoff = o->backoff_min_ns;
  model->backoff_ns = backoff;
  model->gate_until_ns = llm_time_after(llm_clock_now(model->clock), backoff);
  strncpy(model->error, text, LLM_TEXT - 1);
}

static llm_step create_failed(llm_lease *lease, llm_err outcome,
                              const char *text) {
  llm_model *model = lease->model;
  llm_place *place = lease->place;
  bool is_own = outcome == LLM_TIMEOUT || outcome == LLM_CANCELLED;
  llm_count(&model->counts.create_failed);
  llm_idle_lock(&model->idle);
  llm_place_set_error(place, text);
  if (!is_own) shut_gate(model, text);
  llm_note(model, LLM_EV_CREATE_FAILED, place, lease->holding, 0);
  lease->place = NULL;
  llm_place_settle(place, LLM_COVER_KEPT);
  return llm_lease_give_up(lease, is_own ? outcome : LLM_CREATE_FAILED);
}

static llm_step created(llm_lease *lease, void *instance, void *spec) {
  llm_model *model = lease->model;
  llm_place *place = lease->place;
  void *old = NULL;
  llm_count(&model->counts.created);
  llm_count(&place->created);
  llm_idle_lock(&model->idle);
  if (spec != NULL && spec != place->spec) {
    old = place->spec;
    place->spec = spec;
  }
  llm_place_install(place, instance);
  model->backoff_ns = model->gate_until_ns = 0;
  llm_note(model, LLM_EV_CREATED, place, lease->holding, 0);
  llm_step step = LLM_FAILED;
  llm_model_ref(model); /* for the old spec, which goes last */
  if (model->is_closed) {
    lease->place = NULL;
    llm_place_settle(place, LLM_COVER_KEPT);
    step = llm_lease_give_up(lease, LLM_CLOSED);
  } else if (lease->flags & LLM_BACKGROUND) {
    step = hold_back(lease, place);
  } else {
    step = lend(lease, place);
  }
  if (old != NULL && model->factory.free_spec != NULL)
    model->factory.free_spec(model->factory.user, old);
  llm_model_unref(model);
  return step;
}

static llm_step create(llm_lease *lease) {
  const llm_factory *factory = &lease->model->factory;
  char text[LLM_TEXT] = "create failed";
  void *instance = NULL;
  int64_t end = end_of(lease, lease->model->options.create_timeout_ns);
  int status = factory->create(factory->user, lease->place,
                               (llm_reason)lease->reason, end, &instance, text);
  text[LLM_TEXT - 1] = 0;
  if (status == 0 && instance != NULL) return created(lease, instance, NULL);
  if (status == 0)
    return create_failed(lease, LLM_CREATE_FAILED, "create returned no client");
  return create_failed(lease, is_late(lease) ? LLM_TIMEOUT : LLM_CREATE_FAILED,
                       text);
}

static bool is_self_made(const llm_factory *factory) {
  return !factory->stepped && factory->create == NULL;
}

llm_step llm_lease_create(llm_lease *lease) {
  llm_place *place = lease->place;
  const llm_factory *factory = &lease->model->factory;
  if (is_self_made(factory))
    return created(lease, place->spec != NULL ? place->spec : place, NULL);
  if (!factory->stepped) return create(lease);
  llm_lease_hold(lease);
  lease->step = LLM_CREATE;
  return LLM_CREATE;
}

/* ---- the create slot --------------------------------------------------- */

/* AGAIN: it is held. The idle list is looked at once more then. */
static llm_step take_slot(llm_lease *lease) {
  llm_waiter *w = &lease->waiter;
  llm_sem *creates = &lease->model->creates;
  if (lease->flags & LLM_IS_NOW) {
    if (!llm_sem_try(creates)) return llm_lease_give_up(lease, LLM_TIMEOUT);
    lease->flags |= LLM_HAS_SLOT;
    return AGAIN;
  }
  llm_lease_hold(lease);
  llm_waiter_init(w, w->wake, w->deadline_ns, w->priority);
  switch (llm_sem_begin(creates, w)) {
  case LLM_BEGUN_GRANTED: lease->flags |= LLM_HAS_SLOT; return AGAIN;
  case LLM_BEGUN_QUEUED: return llm_lease_park(lease, LLM_ON_SLOT);
  case LLM_BEGUN_CLOSED: return llm_lease_give_up(lease, LLM_CLOSED);
  default: return llm_lease_give_up(lease, LLM_TIMEOUT);
  }
}

static bool is_shut(const llm_model *model) {
  return model->gate_until_ns > 0 &&
         llm_clock_now(model->clock) < model->gate_until_ns;
}

/* With the lock held and no client idle, returns without it. */
static llm_step try_vacant(llm_lease *lease) {
  llm_model *model = lease->model;
  if (model->vacant_count == 0) {
    llm_step step = llm_lease_line_up_again(lease);
    return step == LLM_READY ? AGAIN : step;
  }
  bool is_free = is_self_made(&model->factory);
  if (!is_free && is_shut(model)) {
    llm_idle_unlock(&model->idle);
    return llm_lease_give_up(lease, LLM_CREATE_FAILED);
  }
  if (!is_free && !(lease->flags & LLM_HAS_SLOT)) {
    llm_idle_unlock(&model->idle);
    return take_slot(lease);
  }
  llm_lease_claim(lease);
  llm_idle_unlock(&model->idle);
  return llm_lease_create(lease);
}

/* ---- the machine ------------------------------------------------------- */

/* One look at the lists. */
static llm_step take(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_idle_lock(&model->idle);
  if (model->is_closed) {
    llm_idle_unlock(&model->idle);
    return llm_lease_give_up(lease, LLM_CLOSED);
  }
  llm_place *place = pick(lease);
  return place != NULL ? try_idle(lease, place) : try_vacant(lease);
}

llm_step llm_checkout(llm_lease *lease) {
  llm_step step;
  llm_lease_start(lease);
  do step = take(lease);
  while (step == AGAIN);
  return step;
}

llm_step llm_lease_done(llm_lease *lease, llm_err outcome, void *instance,
                        void *spec, const char *text) {
  const llm_factory *factory = &lease->model->factory;
  if (text == NULL) text = llm_err_text(outcome);
  if (lease->step == LLM_CHECK) {
    llm_step step = checked(lease, outcome == LLM_OK, text);
    return step == AGAIN ? llm_checkout(lease) : step;
  }
  if (lease->step != LLM_CREATE) return (llm_step)lease->step;
  if (outcome == LLM_OK && instance != NULL)
    return created(lease, instance, spec);
  if (spec != NULL && factory->free_spec != NULL)
    factory->free_spec(factory->user, spec);
  if (outcome == LLM_OK) text = "create returned no client";
  return create_failed(lease, outcome == LLM_OK ? LLM_CREATE_FAILED : outcome,
                       text);
}
