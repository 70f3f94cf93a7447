/*
** settle.c - where a place goes that is in nobody's hands any more, and what
** becomes of the permit that stood for it.
**
** One function, llm_place_settle, is the end of every lease that is not plain,
** of every failed creation and check, and of every expiry: it destroys what is
** doomed, puts a new spec in, lets the place rest, retire, be idle or vacant,
** and gives the permit back or lets it go with its client. What it calls of
** the user's (destroy, free_spec) runs without the lock, while the place is
** BUSY and still covered.
*/
#include "place.h"

/* ---- lists ------------------------------------------------------------- */

void llm_place_link_idle(llm_place *place, uint64_t stamp) {
  place->state = LLM_P_IDLE;
  llm_idle_push_locked(&place->model->idle, &place->link, stamp);
}

static void link_where_it_was(llm_place *place) {
  place->state = LLM_P_IDLE;
  place->keeps_stamp = false;
  llm_idle_restore_locked(&place->model->idle, &place->link);
}

void llm_place_link_vacant(llm_place *place) {
  place->state = LLM_P_VACANT;
  place->keeps_stamp = false;
  place->marks &= (uint8_t)~LLM_MARK_CHECK;
  llm_queue_push(&place->model->vacant, place);
  place->model->vacant_count++;
}

void llm_place_link_ready(llm_place *place) {
  if (place->instance != NULL && place->keeps_stamp)
    link_where_it_was(place);
  else if (place->instance != NULL)
    llm_place_link_idle(place, llm_ticks(place->model->clock));
  else
    llm_place_link_vacant(place);
}

/* Told once for all slots; being disabled or a breaker is told by itself. */
static void tell_rest(llm_key *key, int64_t now_ns) {
  const unsigned others = LLM_AWAY_OUT | LLM_AWAY_OPEN | LLM_AWAY_PROBE;
  if (key->is_told || key->away & others) return;
  key->is_told = true;
  llm_note(key->model, LLM_EV_RESTING, key->slots, 0,
           llm_key_back_ns(key) - now_ns);
}

void llm_place_mark_stale(llm_place *place) {
  if (place->key->away & ~LLM_AWAY_SHORT && place->instance != NULL)
    llm_place_mark(place, LLM_MARK_CHECK);
}

void llm_place_link_resting(llm_place *place, int64_t now_ns) {
  llm_model *model = place->model;
  place->state = LLM_P_RESTING;
  place->keeps_stamp = false;
  llm_queue_push(&model->at_rest, place);
  place->key->resting++;
  model->resting++;
  model->away++;
  llm_place_mark_stale(place);
  tell_rest(place->key, now_ns);
}

void llm_place_unlink(llm_place *place) {
  llm_model *model = place->model;
  switch (place->state) {
  case LLM_P_IDLE: llm_idle_remove_locked(&model->idle, &place->link); break;
  case LLM_P_VACANT:
    llm_queue_remove(&model->vacant, place);
    model->vacant_count--;
    break;
  case LLM_P_RESTING:
    llm_queue_remove(&model->at_rest, place);
    place->key->resting--;
    model->resting--;
    model->away--;
    break;
  default: LLM_CHECK(false, "a place is unlinked that is in no list");
  }
  place->state = LLM_P_BUSY;
}

void llm_place_mark(llm_place *place, unsigned marks) {
  if (!(place->marks & LLM_MARKS_AWAY) && (marks & LLM_MARKS_AWAY))
    place->model->marked++;
  place->marks |= (uint8_t)marks;
}

void llm_place_unmark(llm_place *place, unsigned marks) {
  if (place->marks & LLM_MARKS_AWAY &&
      !(place->marks & ~marks & LLM_MARKS_AWAY))
    place->model->marked--;
  place->marks &= (uint8_t)~marks;
}

/* ---- permits ----------------------------------------------------------- */

uint32_t llm_model_recount(llm_model *model) {
  uint32_t there = model->in_service - model->away;
  uint32_t was = model->capacity, grow = 0;
  model->capacity = there < model->limit ? there : model->limit;
  if (model->is_closed) return 0; /* nobody is granted, nothing is owed */
  if (model->capacity < was) {
    model->owed += was - model->capacity;
  } else {
    grow = model->capacity - was;
    uint32_t paid = grow < model->owed ? grow : model->owed;
    model->owed -= paid;
    grow -= paid;
  }
  return grow;
}

/* One permit less is owed, if any is. Under the lock. */
static bool pay(llm_model *model) {
  if (model->owed == 0) return false;
  model->owed--;
  return true;
}

static void give(llm_model *model, bool is_paid) {
  if (is_paid)
    llm_sem_drop(&model->sem);
  else
    llm_sem_release(&model->sem);
}

void llm_permit_pass(llm_model *model) {
  llm_idle_lock(&model->idle);
  bool is_paid = pay(model);
  llm_idle_unlock(&model->idle);
  give(model, is_paid);
}

void llm_permit_give(llm_model *model) {
  llm_permit_pass(model);
  llm_aside_end(model, LLM_W_AGAIN);
}

static bool owes(llm_model *model) {
  llm_idle_lock(&model->idle);
  bool is_owing = model->owed > 0;
  llm_idle_unlock(&model->idle);
  return is_owing;
}

/* Of what has come back, as many look again as are idle. */
static void nudge(llm_model *model, uint32_t n) {
  if (llm_sem_waiting(&model->creates) == 0) return;
  llm_idle_lock(&model->idle);
  if (model->idle.count < n) n = model->idle.count;
  llm_idle_unlock(&model->idle);
  for (; n > 0; n--) llm_slot_nudge(model, NULL);
}

void llm_model_apply(llm_model *model, uint32_t grow) {
  nudge(model, grow);
  if (grow > 0) llm_sem_grow(&model->sem, grow);
  while (owes(model) && llm_sem_take_own(&model->sem)) llm_permit_pass(model);
  if (grow > 0) llm_aside_end(model, LLM_W_AGAIN);
}

/* ---- settling ---------------------------------------------------------- */

static bool is_unfit(const llm_place *place) {
  const llm_model *model = place->model;
  return place->is_doomed || model->is_closed ||
         place->generation != model->generation ||
         place->marks & (LLM_MARK_RETIRE | LLM_MARK_REPLACE);
}

void llm_place_note_replaced(llm_place *place) {
  llm_model *model = place->model;
  if (model->is_closed || place->marks & LLM_MARK_RETIRE ||
      place->reason == LLM_IDLE)
    return;
  llm_count(&model->counts.replaced);
  llm_count(&place->key->replaced);
  llm_note(model, LLM_EV_REPLACED, place, 0, 0);
}

/* Without create() the spec, or the bare place, serves as the instance. */
static bool is_own_instance(const llm_place *place, const void *instance) {
  return instance == place->spec ||
         (instance == place && !place->model->factory.stepped &&
          place->model->factory.create == NULL);
}

/* Leaves the lock to destroy the instance, and takes it again. */
static void destroy(llm_place *place) {
  llm_model *model = place->model;
  void *instance = place->instance;
  if (!place->is_doomed) place->reason = LLM_REPLACED;
  llm_place_note_replaced(place);
  llm_place_install(place, NULL);
  llm_model_leave(model);
  if (model->factory.destroy != NULL && !is_own_instance(place, instance))
    model->factory.destroy(model->factory.user, place, instance);
  llm_idle_lock(&model->idle);
}

static void take_next(llm_place *place) {
  llm_model *model = place->model;
  void *old = place->spec;
  place->spec = place->next_spec;
  llm_place_install(place, place->next_instance);
  place->generation = model->generation;
  place->next_spec = place->next_instance = NULL;
  llm_place_unmark(place, LLM_MARK_REPLACE);
  llm_model_leave(model);
  if (old != NULL && model->factory.free_spec != NULL)
    model->factory.free_spec(model->factory.user, old);
  llm_idle_lock(&model->idle);
}

static void retire(llm_place *place) {
  llm_model *model = place->model;
  place->state = LLM_P_RETIRED;
  model->in_service--;
  if (place->key->probe == place) place->key->probe = NULL;
  if (--place->key->in_service > 0) return; /* one slot of several */
  llm_count(&model->counts.retired);
  llm_note(model, LLM_EV_RETIRED, place, 0, 0);
}

/* Nothing is left to do for it: it goes where it belongs. Returns when it is
** back from a rest; 0: it does not rest. */
static int64_t link(llm_place *place) {
  llm_key *key = place->key;
  bool retires = place->marks & LLM_MARK_RETIRE;
  llm_place_unmark(place, LLM_MARKS_AWAY);
  if (retires) return retire(place), 0;
  if (key->away != 0 && !place->model->is_closed) {
    int64_t now = llm_clock_now(place->model->clock);
    llm_key_refresh(key, now);
    if (llm_key_keeps(key, place, now)) {
      place->link.stamp = llm_ticks(place->model->clock);
      llm_place_link_resting(place, now);
      return llm_key_back_ns(key);
    }
    if (key->away & LLM_AWAY_PROBE) key->probe = place;
  }
  llm_place_link_ready(place);
  return 0;
}

static void clear_out(llm_place *place) {
  for (;;) {
    if (place->instance != NULL && is_unfit(place))
      destroy(place);
    else if (place->marks & LLM_MARK_REPLACE)
      take_next(place);
    else
      return;
  }
}

/* It may be what somebody aside waits for, though it could not be handed. */
static bool concerns_aside(const llm_place *place) {
  return place->model->aside_count > 0 &&
         (place->state == LLM_P_VACANT ||
          (place->state == LLM_P_IDLE && place->key->is_limited));
}

void llm_place_settle(llm_place *place, llm_cover cover) {
  llm_model *model = place->model;
  place->state = LLM_P_BUSY;
  clear_out(place);
  int64_t until = link(place);
  if (cover == LLM_COVER_AWAY) model->away--;
  uint32_t grow = llm_model_recount(model);
  bool is_given = cover == LLM_COVER_GIVEN;
  bool is_paid = is_given && pay(model);
  llm_waiter *taker = is_given && !is_paid ? llm_aside_hand(place) : NULL;
  bool is_news = is_given && taker == NULL && concerns_aside(place);
  bool is_idle = taker == NULL && place->state == LLM_P_IDLE;
  llm_model_leave(model);
  llm_due_after_rest(model, until);
  if (is_idle) llm_slot_nudge(model, place->key);
  if (is_given && taker == NULL) give(model, is_paid);
  if (taker != NULL) taker->wake(taker);
  llm_model_apply(model, grow);
  if (is_news) llm_aside_end(model, LLM_W_AGAIN);
}

/* ---- events ------------------------------------------------------------ */

void llm_note_slow(llm_model *model, const llm_place *place, llm_event *event) {
  event->model = model->name->text;
  if (place != NULL) {
    event->client = place->key->id->text;
    event->reason = (llm_reason)place->reason;
  }
  llm_events_write(model->pool, event);
}
