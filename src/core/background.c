/*
** background.c - checking who was idle for long, refilling min_idle and what was
** found sick, one client at a time.
**
** It takes a permit and a create slot by try, so it never stands in anybody's
** way: not while callers wait, not while a creation is under way, not while
** the gate is shut.
*/
#include "lease.h"

static bool checks_idle(const llm_model *model) {
  return model->interval_ticks != UINT64_MAX;
}

/* A vacant place that is to be filled; NULL: none. */
static llm_place *find_vacant(const llm_model *model) {
  llm_place *place = model->vacant.head;
  if (model->idle.count < model->options.min_idle) return place;
  if (!checks_idle(model)) return NULL;
  while (place != NULL && place->reason != LLM_SICK) place = place->next;
  return place;
}

static bool is_short(const llm_model *model) {
  return !model->is_closed && !model->is_refilling &&
         find_vacant(model) != NULL;
}

/* Whether this thread is the one to refill it. */
static bool claim_refill(llm_model *model) {
  llm_idle_lock(&model->idle);
  bool is_claimed =
      is_short(model) && (model->gate_until_ns == 0 ||
                          llm_clock_now(model->clock) >= model->gate_until_ns);
  if (is_claimed) model->is_refilling = true;
  llm_idle_unlock(&model->idle);
  return is_claimed;
}

static void end_refill(llm_model *model) {
  llm_idle_lock(&model->idle);
  model->is_refilling = false;
  llm_idle_unlock(&model->idle);
}

static bool take_place(llm_lease *lease) {
  llm_model *model = lease->model;
  if (!llm_sem_try(&model->sem)) return false;
  if (llm_sem_try(&model->creates)) {
    llm_idle_lock(&model->idle);
    llm_place *place = find_vacant(model);
    if (place != NULL && !model->is_closed) {
      llm_lease_claim(lease, place);
      llm_idle_unlock(&model->idle);
      return true;
    }
    llm_idle_unlock(&model->idle);
    llm_sem_release(&model->creates);
  }
  llm_permit_give(model);
  return false;
}

static llm_step refill(llm_lease *lease, llm_model *model) {
  if (llm_sem_waiting(&model->sem) > 0 || !claim_refill(model))
    return LLM_FAILED;
  lease->model = model;
  if (!take_place(lease)) {
    end_refill(model);
    return LLM_FAILED;
  }
  lease->flags |= LLM_BACKGROUND | LLM_HAS_SLOT;
  llm_lease_hold(lease);
  return llm_lease_create(lease);
}

/* ---- checking ---------------------------------------------------------- */

/* One that was neither used nor checked for so long; it stays in the list. */
static llm_place *find_unproven(const llm_model *model) {
  if (model->is_closed || model->is_refilling) return NULL;
  uint64_t now = llm_ticks(model->clock);
  llm_link *link = model->idle.oldest;
  while (link != NULL &&
         !llm_place_is_unproven(llm_place_of(link), now, model->interval_ticks))
    link = link->prev;
  return llm_place_of(link);
}

static llm_step verify(llm_lease *lease, llm_model *model) {
  if (!checks_idle(model) || llm_sem_waiting(&model->sem) > 0 ||
      !llm_sem_try(&model->sem))
    return LLM_FAILED;
  llm_idle_lock(&model->idle);
  llm_place *place = find_unproven(model);
  if (place != NULL) {
    llm_place_unlink(place);
    place->keeps_stamp = true; /* a check is no use of it */
    model->is_refilling = true;
  }
  llm_idle_unlock(&model->idle);
  if (place == NULL) {
    llm_permit_give(model);
    return LLM_FAILED;
  }
  lease->model = model;
  lease->flags |= LLM_BACKGROUND;
  llm_lease_hold(lease);
  return llm_lease_check(lease, place);
}

llm_step llm_pool_background(llm_pool *pool, llm_lease *lease) {
  llm_model *model;
  uint64_t uid = 0;
  llm_step step = LLM_FAILED;
  *lease = (llm_lease){.step = LLM_FAILED};
  llm_lease_prepare(lease, NULL, NULL);
  while (step == LLM_FAILED && (model = llm_pool_after(pool, uid)) != NULL) {
    uid = llm_model_uid(model);
    step = verify(lease, model);
    if (step == LLM_FAILED) step = refill(lease, model);
    llm_model_unref(model);
  }
  return step;
}
