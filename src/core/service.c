/*
** service.c - clients come, rest, are replaced and retire while the pool is in
** use.
**
** Capacity belongs to a client, not to a count. One in nobody's hands goes at
** once, and its permit is collected, now or from whoever has one too many; one
** that is lent is only marked, and its own lease pays when it ends.
*/
#include <stdlib.h>

#include "place.h"

/* ---- a place by its id ------------------------------------------------- */

/* And not about to leave. */
static bool is_in_service(const llm_place *place) {
  return place->state != LLM_P_RETIRED && !(place->marks & LLM_MARK_RETIRE);
}

/* A place in service, with the lock taken; NULL: without. */
static llm_place *lock_place(llm_model *model, const char *id) {
  llm_idle_lock(&model->idle);
  llm_place *place = id != NULL ? llm_place_find(model, id) : NULL;
  if (place != NULL && is_in_service(place)) return place;
  llm_idle_unlock(&model->idle);
  return NULL;
}

static bool is_out(const llm_place *place) {
  return place->state == LLM_P_LENT || place->state == LLM_P_BUSY;
}

/* Settles a place that was in a list. Nobody's permit stands for it while it
** is BUSY, so it is counted as away; if that makes a permit too many, it is
** owed from here on. A rest goes on. */
static void settle(llm_place *place) {
  llm_model *model = place->model;
  if (place->state == LLM_P_RESTING) llm_place_mark(place, LLM_MARK_REST);
  llm_place_unlink(place);
  model->away++;
  llm_model_recount(model); /* makes none: there are not more than before */
  llm_place_settle(place, LLM_COVER_AWAY);
}

/* What a place becomes when it is next in nobody's hands. Returns what it was
** to become until now, which is the caller's to discard. */
static llm_client_spec set_next(llm_place *place, void *spec, void *instance) {
  llm_client_spec old = {.spec = place->next_spec,
                         .instance = place->next_instance};
  place->next_spec = spec;
  place->next_instance = instance;
  llm_place_mark(place, LLM_MARK_REPLACE);
  return old;
}

/* ---- add --------------------------------------------------------------- */

/* A larger index, if it is time for one; NULL with *buckets 0: it is not. */
static llm_place **larger_index(llm_model *model, uint32_t *buckets) {
  llm_idle_lock(&model->idle);
  bool is_time = model->places >= model->buckets && model->buckets < 1u << 30;
  *buckets = is_time ? model->buckets * 2 : 0;
  llm_idle_unlock(&model->idle);
  return is_time ? calloc(*buckets, sizeof(llm_place *)) : NULL;
}

/* Under the lock; returns the index that is to be freed. */
static llm_place **swap_index(llm_model *model, llm_place **index,
                              uint32_t buckets) {
  llm_place **old = model->index;
  if (index == NULL || buckets <= model->buckets) return index;
  for (llm_place *p = model->first; p != NULL; p = p->following) {
    p->chain = index[p->id->hash & (buckets - 1)];
    index[p->id->hash & (buckets - 1)] = p;
  }
  model->index = index;
  model->buckets = buckets;
  return old;
}

/* With the lock held; returns without it. */
static void add_fresh(llm_model *model, llm_place *place) {
  llm_place_enter(model, place);
  model->in_service++;
  model->away++;
  llm_note(model, LLM_EV_ADDED, place, 0, 0);
  llm_place_settle(place, LLM_COVER_AWAY);
}

/* The id is that of a place that has retired, or will when its lease ends: the
** lease ends on the old client, then the place stays. As add_fresh. */
static void add_again(llm_model *model, llm_place *place, llm_place *fresh) {
  llm_client_spec old = set_next(place, fresh->spec, fresh->instance);
  fresh->spec = fresh->instance = NULL;
  llm_note(model, LLM_EV_ADDED, place, 0, 0);
  if (is_out(place)) {
    llm_place_unmark(place, LLM_MARK_RETIRE);
    llm_model_leave(model);
  } else {
    place->reason = LLM_FIRST;
    place->rest_until_ns = 0;
    model->in_service++;
    model->away++;
    llm_place_settle(place, LLM_COVER_AWAY);
  }
  llm_client_discard(&model->factory, &old);
}

static llm_err add(llm_model *model, llm_place *fresh, llm_place ***index,
                   uint32_t buckets, bool *is_entered) {
  llm_idle_lock(&model->idle);
  llm_place *old = llm_place_find(model, fresh->id->text);
  llm_err err = LLM_OK;
  if (model->is_closed)
    err = LLM_CLOSED;
  else if (old != NULL && is_in_service(old))
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
  return LLM_OK;
}

llm_err llm_model_add(llm_model *model, const llm_client_spec *client) {
  bool has_id = client->id != NULL && *client->id != 0, is_entered = false;
  llm_place *fresh = has_id ? llm_place_new(model, client) : NULL;
  uint32_t buckets;
  llm_err err = LLM_NOMEM;
  if (fresh == NULL) {
    llm_client_discard(&model->factory, client);
    return has_id ? LLM_NOMEM : LLM_INVALID;
  }
  llm_place **index = larger_index(model, &buckets);
  if (index != NULL || buckets == 0)
    err = add(model, fresh, &index, buckets, &is_entered);
  free(index);
  if (!is_entered) llm_place_free(fresh);
  return err;
}

/* ---- retire, replace, renew -------------------------------------------- */

llm_err llm_model_retire(llm_model *model, const char *id) {
  llm_place *place = lock_place(model, id);
  if (place == NULL) return LLM_UNKNOWN_CLIENT;
  llm_place_mark(place, LLM_MARK_RETIRE);
  if (is_out(place))
    llm_idle_unlock(&model->idle);
  else
    settle(place);
  return LLM_OK;
}

llm_err llm_model_replace(llm_model *model, const llm_client_spec *client) {
  llm_place *place = lock_place(model, client->id);
  if (place == NULL) {
    llm_client_discard(&model->factory, client);
    return LLM_UNKNOWN_CLIENT;
  }
  llm_client_spec old = set_next(place, client->spec, client->instance);
  place->reason = LLM_REPLACED;
  if (is_out(place)) {
    llm_idle_unlock(&model->idle);
  } else {
    if (place->instance == NULL) llm_place_note_replaced(place);
    settle(place);
  }
  llm_client_discard(&model->factory, &old);
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
  llm_place *place = factory->ref_spec ? lock_place(model, id) : NULL;
  if (place == NULL) return NULL;
  void *spec = place->spec;
  if (spec != NULL) factory->ref_spec(factory->user, spec);
  llm_idle_unlock(&model->idle);
  return spec;
}

/* ---- rest -------------------------------------------------------------- */

/* From a list to rest; returns the permits to be made. */
static uint32_t rest(llm_place *place, int64_t now) {
  llm_place_unlink(place);
  llm_place_link_resting(place, now);
  return llm_model_recount(place->model);
}

llm_err llm_model_cool_down(llm_model *model, const char *id,
                            int64_t until_ns) {
  int64_t now = llm_clock_now(model->clock);
  uint32_t grow = 0;
  llm_place *place = lock_place(model, id);
  if (place == NULL) return LLM_UNKNOWN_CLIENT;
  bool is_later = until_ns > now && until_ns > place->rest_until_ns;
  if (is_later) place->rest_until_ns = until_ns;
  if (is_later && is_out(place))
    llm_place_mark(place, LLM_MARK_REST);
  else if (is_later && place->state != LLM_P_RESTING)
    grow = rest(place, now);
  bool rests = place->state == LLM_P_RESTING;
  int64_t until = place->rest_until_ns;
  llm_model_leave(model);
  if (rests) llm_due_at(model, until, until);
  llm_model_apply(model, grow);
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
