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
  if (lease->flags & LLM_MADE_SHORT) llm_lease_end_short(lease);
  return ready(lease);
}

/* For a refill: not lent, only held until its return. */
static llm_step hold_back(llm_lease *lease, llm_place *place) {
  llm_model *model = place->model;
  place->holder = lease->holding = llm_model_serial(model);
  place->proven_ticks = llm_ticks(model->clock);
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
  llm_count(&place->key->checked);
  llm_idle_lock(&model->idle);
  bool is_background = lease->flags & LLM_BACKGROUND;
  if (is_well && !model->is_closed)
    return is_background ? hold_back(lease, place) : lend(lease, place);
  llm_lease_unbook(lease, place->key);
  lease->place = NULL;
  if (!is_well) {
    llm_count(&model->counts.check_failed);
    llm_count(&place->key->check_failed);
    llm_key_set_error(place->key, text);
    place->is_doomed = true;
    place->reason = LLM_SICK;
    llm_note(model, LLM_EV_CHECK_FAILED, place, lease->holding, 0);
  }
  llm_place_settle(place, LLM_COVER_KEPT);
  if (is_background) return llm_lease_give_up(lease, LLM_CREATE_FAILED);
  return is_late(lease) ? llm_lease_give_up(lease, LLM_TIMEOUT) : AGAIN;
}

llm_step llm_lease_check(llm_lease *lease, llm_place *place) {
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

/* ---- which client ------------------------------------------------------ */

bool llm_lease_excludes(const llm_lease *lease, const llm_key *key) {
  for (uint32_t i = 0; i < lease->n_exclude; i++)
    if (strcmp(lease->exclude[i], key->id->text) == 0) return true;
  return false;
}

static bool suits(const llm_lease *lease, const llm_key *key, int64_t now) {
  return llm_key_bears(key, lease->tokens, now) &&
         !llm_lease_excludes(lease, key);
}

/* A slot in nobody's hands, rather an idle one; NULL: none. */
static llm_place *free_slot(const llm_key *key) {
  llm_place *vacant = NULL;
  for (llm_place *p = key->slots; p != NULL; p = p->sibling) {
    if (p->state == LLM_P_IDLE) return p;
    if (p->state == LLM_P_VACANT && vacant == NULL) vacant = p;
  }
  return vacant;
}

static llm_place *pick_preferred(const llm_lease *lease, int64_t now) {
  for (uint32_t i = 0; i < lease->n_prefer; i++) {
    const llm_key *key = llm_key_find(lease->model, lease->prefer[i]);
    if (key == NULL || !suits(lease, key, now)) continue;
    llm_place *place = free_slot(key);
    if (place != NULL) return place;
  }
  return NULL;
}

/* The first that suits: of the idle ones in their order, else of the vacant. */
static llm_place *pick_suitable(const llm_lease *lease, int64_t now) {
  const llm_model *model = lease->model;
  llm_link *link = model->is_fifo ? model->idle.oldest : model->idle.newest;
  for (; link != NULL; link = model->is_fifo ? link->prev : link->next)
    if (suits(lease, llm_place_of(link)->key, now)) return llm_place_of(link);
  llm_place *place = model->vacant.head;
  while (place != NULL && !suits(lease, place->key, now)) place = place->next;
  return place;
}

/* IDLE or VACANT; NULL: there is none for this ask. */
static llm_place *pick(llm_lease *lease) {
  llm_model *model = lease->model;
  if (!(lease->flags & LLM_PICKS) && !model->is_limited) {
    llm_place *idle =
        llm_place_of(model->is_fifo ? model->idle.oldest : model->idle.newest);
    return idle != NULL ? idle : model->vacant.head;
  }
  int64_t now = llm_clock_now(model->clock);
  llm_place *place = pick_preferred(lease, now);
  return place != NULL ? place : pick_suitable(lease, now);
}

/* ---- an idle client ---------------------------------------------------- */

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
          llm_place_is_unproven(place, now, model->check_from));
}

/* It is about to be settled by somebody who settles all its client's slots. */
static bool is_leaving(const llm_place *place) {
  return place->marks & (LLM_MARK_RETIRE | LLM_MARK_REPLACE);
}

/* With the lock held and a client to try, returns without it. */
static llm_step try_idle(llm_lease *lease, llm_place *place) {
  llm_model *model = lease->model;
  uint64_t now = llm_ticks(model->clock);
  llm_place_unlink(place);
  if (place->generation != model->generation || has_died(place, now) ||
      is_leaving(place)) {
    llm_place_settle(place, LLM_COVER_KEPT);
    return AGAIN;
  }
  llm_lease_book(lease, place->key);
  if (!is_unchecked(place, now)) return lend(lease, place);
  llm_idle_unlock(&model->idle);
  return llm_lease_check(lease, place);
}

/* ---- creating ---------------------------------------------------------- */

void llm_lease_claim(llm_lease *lease, llm_place *place) {
  llm_place_unlink(place);
  place->generation = place->model->generation;
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
  llm_key_set_error(place->key, text);
  if (!is_own) shut_gate(model, text);
  llm_note(model, LLM_EV_CREATE_FAILED, place, lease->holding, 0);
  llm_lease_unbook(lease, place->key);
  lease->place = NULL;
  llm_place_settle(place, LLM_COVER_KEPT);
  return llm_lease_give_up(lease, is_own ? outcome : LLM_CREATE_FAILED);
}

static llm_step created(llm_lease *lease, void *instance, void *spec) {
  llm_model *model = lease->model;
  llm_place *place = lease->place;
  void *old = NULL;
  llm_count(&model->counts.created);
  llm_count(&place->key->created);
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
    llm_lease_unbook(lease, place->key);
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

/*
** Who waits for a slot has a permit and a place in the slots' line, and would
** rather have a client that comes back meanwhile: that one is put into the idle
** list, and the first in line whom it suits is nudged. It is not kept for it:
** from when the lock of the return is left until the nudged one looks, which
** takes a wake-up, whoever comes with a permit (one is free: the return's) may
** take it, though it came later. The nudged one then goes back to where it
** stood. So at worst later callers get every client that comes back, and it
** creates its own when the slots before it have ended: no later than it would
** without any return, and within its own deadline. Those who wait for a slot
** never overtake each other.
**
** To hand it over, as to those aside, the line would have to be under the
** model's lock, beside the one that counts the slots: two locks at a time, or a
** second kind of semaphore, for an order that shows only where both a slot is
** short and a permit is free.
*/

/* A lease that prefers would rather create what it prefers. */
static bool may_take(const llm_waiter *waiter, const void *key) {
  const llm_lease *lease = (const llm_lease *)(const void *)waiter;
  if (key == NULL) return true;
  return lease->n_prefer == 0 && !llm_lease_excludes(lease, key);
}

void llm_slot_nudge(llm_model *model, const llm_key *key) {
  if (llm_sem_waiting(&model->creates) > 0)
    llm_sem_nudge(&model->creates, may_take, key);
}

/* Whoever was nudged in vain has its place in the line still. */
static llm_begun line_up(llm_lease *lease) {
  llm_waiter *w = &lease->waiter;
  llm_sem *creates = &lease->model->creates;
  int64_t since = w->since_ns;
  llm_waiter_init(w, w->wake, w->deadline_ns, w->priority);
  if (!(lease->flags & LLM_NUDGED)) return llm_sem_begin(creates, w);
  w->since_ns = since;
  return llm_sem_rejoin(creates, w);
}

/* It is in line. What became idle before may have found nobody to nudge. */
static llm_step recheck(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_idle_lock(&model->idle);
  const llm_place *place = model->idle.count > 0 ? pick(lease) : NULL;
  bool is_idle = place != NULL && place->state == LLM_P_IDLE;
  llm_idle_unlock(&model->idle);
  if (!is_idle || !llm_sem_withdraw(&lease->waiter, LLM_W_AGAIN))
    return LLM_WAIT;
  lease->flags &= (uint16_t)~LLM_ON_SLOT;
  lease->flags |= LLM_NUDGED;
  return AGAIN;
}

/* AGAIN: it is held, or not needed. The idle list is looked at once more. */
static llm_step take_slot(llm_lease *lease) {
  if (lease->flags & LLM_IS_NOW) {
    if (!llm_sem_try(&lease->model->creates))
      return llm_lease_give_up(lease, LLM_TIMEOUT);
    lease->flags |= LLM_HAS_SLOT;
    return AGAIN;
  }
  llm_lease_hold(lease);
  switch (line_up(lease)) {
  case LLM_BEGUN_GRANTED: lease->flags |= LLM_HAS_SLOT; return AGAIN;
  case LLM_BEGUN_QUEUED:
    llm_lease_park(lease, LLM_ON_SLOT);
    return recheck(lease);
  case LLM_BEGUN_CLOSED: return llm_lease_give_up(lease, LLM_CLOSED);
  default: return llm_lease_give_up(lease, LLM_TIMEOUT);
  }
}

static bool is_shut(const llm_model *model) {
  return model->gate_until_ns > 0 &&
         llm_clock_now(model->clock) < model->gate_until_ns;
}

/* With the lock held and no client idle, returns without it. */
static llm_step try_vacant(llm_lease *lease, llm_place *place) {
  llm_model *model = lease->model;
  bool is_free = is_self_made(&model->factory);
  if (is_leaving(place)) {
    llm_place_unlink(place);
    llm_place_settle(place, LLM_COVER_KEPT);
    return AGAIN;
  }
  if (!is_free && is_shut(model)) {
    llm_idle_unlock(&model->idle);
    return llm_lease_give_up(lease, LLM_CREATE_FAILED);
  }
  if (!is_free && !(lease->flags & LLM_HAS_SLOT)) {
    llm_idle_unlock(&model->idle);
    return take_slot(lease);
  }
  llm_lease_claim(lease, place);
  llm_lease_book(lease, place->key);
  llm_idle_unlock(&model->idle);
  return llm_lease_create(lease);
}

/* ---- nothing to take --------------------------------------------------- */

/* A client in nobody's hands that this ask is too much for; NULL: none. */
static llm_key *find_short(const llm_lease *lease, int64_t now) {
  for (llm_key *key = lease->model->first; key != NULL; key = key->next)
    if (!llm_key_bears(key, lease->tokens, now) &&
        !llm_lease_excludes(lease, key) && free_slot(key) != NULL)
      return key;
  return NULL;
}

/* It rests until it can bear it: so the line keeps its order, and nobody with
** less to ask gets before this one. With the lock held; returns without. */
static llm_step rest_short(llm_lease *lease, llm_key *key, int64_t now) {
  llm_lease_hold(lease);
  lease->flags |= LLM_MADE_SHORT;
  key->short_tokens = lease->tokens;
  key->away |= LLM_AWAY_SHORT;
  llm_key_put_away(key, now);
  llm_key_leave(key);
  return AGAIN;
}

/* An ask that does not wait only learns when it could be served. */
static llm_step refuse_short(llm_lease *lease, int64_t now) {
  llm_model *model = lease->model;
  lease->retry_at_ns = LLM_FOREVER;
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    if (llm_lease_excludes(lease, key) || free_slot(key) == NULL) continue;
    int64_t from = llm_key_bears_from(key, lease->tokens);
    if (from > now && from < lease->retry_at_ns) lease->retry_at_ns = from;
  }
  llm_idle_unlock(&model->idle);
  return llm_lease_give_up(lease, LLM_RESTING);
}

/* Several models: one of those after this may have a client for it. With the
** lock held and only excluded clients, returns without it. */
static llm_step leave_excluded(llm_lease *lease) {
  llm_model *model = lease->model;
  if (lease->n_models > 0) {
    llm_idle_unlock(&model->idle);
    llm_lease_hold(lease);
    if (llm_group_onward(lease)) {
      llm_permit_give(model);
      return AGAIN;
    }
    llm_idle_lock(&model->idle);
    if (pick(lease) != NULL) {
      llm_idle_unlock(&model->idle);
      return AGAIN;
    }
  }
  llm_step step = llm_lease_step_aside(lease);
  return step == LLM_READY ? AGAIN : step;
}

/* With the lock held and no client for this ask, returns without it. */
static llm_step find_none(llm_lease *lease) {
  llm_model *model = lease->model;
  int64_t now = model->is_limited ? llm_clock_now(model->clock) : 0;
  llm_key *key = model->is_limited ? find_short(lease, now) : NULL;
  if (key != NULL)
    return lease->flags & LLM_IS_NOW ? refuse_short(lease, now)
                                     : rest_short(lease, key, now);
  if (model->idle.count + model->vacant_count > 0) return leave_excluded(lease);
  llm_step step = lease->n_models > 0 && lease->flags & LLM_MADE_SHORT
                      ? llm_group_again(lease)
                      : llm_lease_line_up_again(lease);
  return step == LLM_READY ? AGAIN : step;
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
  if (place == NULL) return find_none(lease);
  return place->state == LLM_P_IDLE ? try_idle(lease, place)
                                    : try_vacant(lease, place);
}

llm_step llm_checkout(llm_lease *lease) {
  llm_step step;
  llm_lease_start(lease);
  do step = take(lease);
  while (step == AGAIN);
  return step;
}

llm_step llm_checkout_handed(llm_lease *lease) {
  llm_model *model = lease->model;
  llm_place *place = lease->place;
  uint64_t now = llm_ticks(model->clock);
  llm_lease_start(lease);
  llm_idle_lock(&model->idle);
  if (!model->is_closed && place->generation == model->generation &&
      !has_died(place, now) && !is_leaving(place)) {
    if (!is_unchecked(place, now)) return lend(lease, place);
    llm_idle_unlock(&model->idle);
    return llm_lease_check(lease, place);
  }
  llm_lease_unbook(lease, place->key);
  lease->place = NULL;
  llm_place_settle(place, LLM_COVER_KEPT);
  return llm_checkout(lease);
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
