/*
** service.c - clients come, rest, are disabled, replaced and retire while the
** pool is in use.
**
** Capacity belongs to a client, not to a count. A place in nobody's hands goes
** at once, and its permit is collected, now or from whoever has one too many;
** one that is lent is only marked, and its own lease pays when it ends.
** What is to become of all slots of a client is marked under one lock; then
** they are settled one by one, each of which may leave the lock.
*/
#include <stdlib.h>
#include <string.h>

#include "lease.h"

/* ---- a client by its id ------------------------------------------------ */

/* And not about to leave. */
static bool is_in_service(const llm_place *place) {
  return place->state != LLM_P_RETIRED && !(place->marks & LLM_MARK_RETIRE);
}

/* A slot that is in service; NULL: the client has left, or will. */
static llm_place *first_in_service(const llm_key *key) {
  llm_place *place = key->slots;
  while (place != NULL && !is_in_service(place)) place = place->sibling;
  return place;
}

/* A client in service, with the lock taken; NULL: without. */
static llm_key *lock_key(llm_model *model, const char *id) {
  llm_idle_lock(&model->idle);
  llm_key *key = id != NULL ? llm_key_find(model, id) : NULL;
  if (key != NULL && first_in_service(key) != NULL) return key;
  llm_idle_unlock(&model->idle);
  return NULL;
}

static bool is_out(const llm_place *place) {
  return place->state == LLM_P_LENT || place->state == LLM_P_BUSY;
}

/* Settles a place that was in a list. Nobody's permit stands for it while it is
** BUSY, so it is counted as away; if that makes a permit too many, it is owed
** from here on. Leaves the lock and takes it again. */
static void settle(llm_place *place) {
  llm_model *model = place->model;
  llm_place_unlink(place);
  model->away++;
  llm_model_recount(model); /* makes none: there are not more than before */
  llm_place_settle(place, LLM_COVER_AWAY);
  llm_idle_lock(&model->idle);
}

static bool has_to_settle(const llm_place *place) {
  return place->state != LLM_P_RETIRED && !is_out(place) &&
         place->marks & (LLM_MARK_RETIRE | LLM_MARK_REPLACE);
}

/* What is marked of a client's slots happens, as far as they are in nobody's
** hands. As above; the chain only grows meanwhile. */
static void settle_all(llm_key *key) {
  for (llm_place *p = key->slots; p != NULL; p = p->sibling)
    if (p->marks & LLM_MARK_ENTER) {
      p->marks &= (uint8_t)~LLM_MARK_ENTER;
      llm_place_settle(p, LLM_COVER_AWAY);
      llm_idle_lock(&key->model->idle);
    } else if (has_to_settle(p)) {
      settle(p);
    }
}

/* ---- a client takes another's place ------------------------------------ */

/* A slot that is in no list, and is not counted, comes into service. */
static void mark_entry(llm_place *place) {
  place->state = LLM_P_BUSY;
  place->marks |= LLM_MARK_ENTER;
  place->reason = LLM_FIRST;
  place->generation = place->model->generation;
  place->key->in_service++;
  place->model->in_service++;
  place->model->away++;
}

/* What a place becomes when it is next in nobody's hands: the client of
** `from`, which gets what it was to become until now. */
static void set_next(llm_place *place, llm_place *from) {
  void *spec = place->next_spec, *instance = place->next_instance;
  place->next_spec = from->spec;
  place->next_instance = from->instance;
  from->spec = spec;
  from->instance = instance;
  llm_place_mark(place, LLM_MARK_REPLACE);
}

static void renew_slot(llm_place *place, llm_place *from) {
  set_next(place, from);
  place->marks &= (uint8_t)~LLM_MARK_LIMITED;
  if (place->key->is_limited) place->marks |= LLM_MARK_LIMITED;
  if (place->state == LLM_P_RETIRED) {
    mark_entry(place);
  } else if (place->marks & LLM_MARK_RETIRE) { /* it was about to leave */
    llm_place_unmark(place, LLM_MARK_RETIRE);
  } else {
    place->reason = LLM_REPLACED;
    if (place->instance == NULL) llm_place_note_replaced(place);
  }
}

/* They are `key`'s from here on. */
static void move_slots(llm_key *key, llm_place *first) {
  llm_place *last = key->slots;
  while (last->sibling != NULL) last = last->sibling;
  last->sibling = first;
  for (llm_place *p = first; p != NULL; p = p->sibling) {
    p->key = key;
    mark_entry(p);
  }
}

static void mark_retired(llm_place *place) {
  if (is_in_service(place)) llm_place_mark(place, LLM_MARK_RETIRE);
}

/* Of the reasons to be away no more than `kept` outlive the client. */
static void clear_away(llm_key *key, unsigned kept) {
  if (key->away & LLM_AWAY_OUT)
    llm_note(key->model, LLM_EV_ENABLED, key->slots, 0, 0);
  if (key->away & (LLM_AWAY_OPEN | LLM_AWAY_PROBE))
    llm_note(key->model, LLM_EV_CLOSED, key->slots, 0, 0);
  key->away &= (uint8_t)kept;
  key->out_until_ns = 0;
  key->probe = NULL;
  if (key->away != 0) return;
  for (llm_place *p = key->slots; p != NULL; p = p->sibling)
    if (is_out(p)) llm_place_unmark(p, LLM_MARK_REST);
}

/* Slots and limits of `fresh` become `key`'s; what they replace is in `fresh`
** then. With the lock held, and again after it. */
static void take_over(llm_key *key, llm_key *fresh) {
  llm_place **from = &fresh->slots;
  llm_key_swap_limits(key, fresh);
  if (key->is_limited) key->model->is_limited = true;
  for (llm_place *p = key->slots; p != NULL; p = p->sibling)
    if (*from != NULL) {
      renew_slot(p, *from);
      from = &(*from)->sibling;
    } else {
      mark_retired(p);
    }
  llm_place *more = *from;
  *from = NULL;
  if (more != NULL) move_slots(key, more);
  settle_all(key);
}

/* ---- add, replace, retire ---------------------------------------------- */

/* A larger index, if it is time for one; NULL with *buckets 0: it is not. */
static llm_key **larger_index(llm_model *model, uint32_t *buckets) {
  llm_idle_lock(&model->idle);
  bool is_time = model->keys >= model->buckets && model->buckets < 1u << 30;
  *buckets = is_time ? model->buckets * 2 : 0;
  llm_idle_unlock(&model->idle);
  return is_time ? calloc(*buckets, sizeof(llm_key *)) : NULL;
}

/* Under the lock; returns the index that is to be freed. */
static llm_key **swap_index(llm_model *model, llm_key **index,
                            uint32_t buckets) {
  llm_key **old = model->index;
  if (index == NULL || buckets <= model->buckets) return index;
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    key->chain = index[key->id->hash & (buckets - 1)];
    index[key->id->hash & (buckets - 1)] = key;
  }
  model->index = index;
  model->buckets = buckets;
  return old;
}

static void add_fresh(llm_model *model, llm_key *key) {
  llm_key_enter(model, key);
  for (llm_place *p = key->slots; p != NULL; p = p->sibling) mark_entry(p);
  llm_note(model, LLM_EV_ADDED, key->slots, 0, 0);
  settle_all(key);
}

/* The id is that of a client that has retired, or will when its leases end:
** those end on the old client, then its places stay. */
static void add_again(llm_model *model, llm_key *key, llm_key *fresh) {
  clear_away(key, 0);
  key->rest_until_ns = 0;
  llm_note(model, LLM_EV_ADDED, key->slots, 0, 0);
  take_over(key, fresh);
}

static llm_err add(llm_model *model, llm_key *fresh, llm_key ***index,
                   uint32_t buckets, bool *is_entered) {
  llm_idle_lock(&model->idle);
  llm_key *old = llm_key_find(model, fresh->id->text);
  llm_err err = LLM_OK;
  if (model->is_closed)
    err = LLM_CLOSED;
  else if (old != NULL && first_in_service(old) != NULL)
    err = LLM_EXISTS;
  if (err != LLM_OK) {
    llm_idle_unlock(&model->idle);
    return err;
  }
  *index = swap_index(model, *index, buckets);
  *is_entered = old == NULL;
  if (old != NULL)
    add_again(model, old, fresh);
  else
    add_fresh(model, fresh);
  llm_model_leave(model);
  return LLM_OK;
}

/* NULL: *err says why, and the client was discarded. */
static llm_key *new_key(llm_model *model, const llm_client_spec *client,
                        llm_err *err) {
  bool is_valid = llm_client_is_valid(&model->factory, client);
  llm_key *key = is_valid ? llm_key_new(model, client) : NULL;
  *err = is_valid ? LLM_NOMEM : LLM_INVALID;
  if (key == NULL) llm_client_discard(&model->factory, client);
  return key;
}

llm_err llm_model_add(llm_model *model, const llm_client_spec *client) {
  bool is_entered = false;
  uint32_t buckets;
  llm_err err;
  llm_key *fresh = new_key(model, client, &err);
  if (fresh == NULL) return err;
  llm_key **index = larger_index(model, &buckets);
  if (index != NULL || buckets == 0)
    err = add(model, fresh, &index, buckets, &is_entered);
  free(index);
  if (!is_entered) llm_key_free(fresh);
  return err;
}

llm_err llm_model_replace(llm_model *model, const llm_client_spec *client) {
  llm_err err;
  llm_key *fresh = new_key(model, client, &err);
  if (fresh == NULL) return err;
  llm_key *key = lock_key(model, client->id);
  if (key != NULL) {
    clear_away(key, LLM_AWAY_REST);
    take_over(key, fresh);
    llm_model_leave(model);
  }
  llm_key_free(fresh);
  return key != NULL ? LLM_OK : LLM_UNKNOWN_CLIENT;
}

llm_err llm_model_retire(llm_model *model, const char *id) {
  llm_key *key = lock_key(model, id);
  if (key == NULL) return LLM_UNKNOWN_CLIENT;
  for (llm_place *p = key->slots; p != NULL; p = p->sibling) mark_retired(p);
  settle_all(key);
  llm_model_leave(model);
  llm_model_dismiss(model);
  return LLM_OK;
}

/* Idle ones go when somebody is about to take them, under that permit. */
void llm_model_renew(llm_model *model) {
  llm_idle_lock(&model->idle);
  model->generation++;
  llm_idle_unlock(&model->idle);
}

void *llm_model_spec(llm_model *model, const char *id) {
  const llm_factory *factory = &model->factory;
  llm_key *key = factory->ref_spec ? lock_key(model, id) : NULL;
  if (key == NULL) return NULL;
  void *spec = first_in_service(key)->spec;
  if (spec != NULL) factory->ref_spec(factory->user, spec);
  llm_idle_unlock(&model->idle);
  return spec;
}

/* ---- rest, out of service ---------------------------------------------- */

llm_err llm_model_cool_down(llm_model *model, const char *id,
                            int64_t until_ns) {
  llm_key *key = lock_key(model, id);
  if (key == NULL) return LLM_UNKNOWN_CLIENT;
  llm_key_rest(key, until_ns, llm_clock_now(model->clock));
  llm_key_leave(key);
  if (until_ns == LLM_FOREVER) llm_model_dismiss(model);
  return LLM_OK;
}

llm_err llm_model_disable(llm_model *model, const char *id, int64_t until_ns,
                          const char *reason) {
  llm_key *key = lock_key(model, id);
  if (key == NULL) return LLM_UNKNOWN_CLIENT;
  llm_key_disable(key, until_ns, reason, llm_clock_now(model->clock));
  llm_key_leave(key);
  llm_model_dismiss(model);
  return LLM_OK;
}

/* ---- the whole model --------------------------------------------------- */

static void note(llm_model *model, llm_event_kind kind) {
  llm_idle_lock(&model->idle);
  llm_note(model, kind, NULL, 0, 0);
  llm_model_leave(model);
}

void llm_model_pause(llm_model *model) {
  llm_sem_pause(&model->sem);
  note(model, LLM_EV_PAUSED);
}

void llm_model_resume(llm_model *model) {
  note(model, LLM_EV_RESUMED);
  llm_sem_resume(&model->sem);
}

llm_err llm_model_limit(llm_model *model, uint32_t n) {
  llm_idle_lock(&model->idle);
  bool is_closed = model->is_closed;
  model->limit = n;
  uint32_t grow = llm_model_recount(model);
  llm_idle_unlock(&model->idle);
  llm_model_apply(model, grow);
  return is_closed ? LLM_CLOSED : LLM_OK;
}
