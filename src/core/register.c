/*
** register.c - models come to a pool and leave it.
**
** Everything that can fail, fails before the pool knows of the model; what the
** caller handed over (specs, instances, the factory's user) is freed then.
*/
#include <stdlib.h>
#include <string.h>

#include "place.h"

#define SLOTS_MOST (1u << 24) /* of all clients of a model */

/* ---- making ------------------------------------------------------------ */

static void discard_all(const llm_factory *factory,
                        const llm_client_spec *clients, size_t n) {
  for (size_t i = 0; i < n; i++) llm_client_discard(factory, &clients[i]);
}

static uint32_t buckets_for(size_t n) {
  uint32_t buckets = 16;
  while (buckets < n && buckets < 1u << 30) buckets *= 2;
  return buckets;
}

/* The slots of all clients: the first of each, then the second of each, so that
** the first requests spread over the clients. */
static void list_slots(llm_model *model, llm_place **places,
                       llm_place **cursors) {
  uint32_t n = 0;
  for (llm_key *key = model->first; key != NULL; key = key->next)
    cursors[n++] = key->slots;
  for (uint32_t left = n; left > 0;) {
    left = 0;
    for (uint32_t i = 0; i < n; i++) {
      if (cursors[i] == NULL) continue;
      *places++ = cursors[i];
      cursors[i] = cursors[i]->sibling;
      left++;
    }
  }
}

/* In such an order that the first is lent first. */
static void link_all(llm_model *model, llm_place **places, uint32_t n) {
  uint64_t now = llm_ticks(model->clock);
  for (uint32_t i = 0; i < n; i++) {
    llm_place *idle = places[model->is_fifo ? i : n - 1 - i];
    if (idle->instance != NULL) llm_place_link_idle(idle, now);
    if (places[i]->instance == NULL) llm_place_link_vacant(places[i]);
    places[i]->key->in_service++;
  }
}

static llm_err link_slots(llm_model *model) {
  uint64_t n = 0;
  for (llm_key *key = model->first; key != NULL; key = key->next)
    n += key->limits.slots;
  if (n > SLOTS_MOST) return LLM_INVALID;
  llm_place **places = malloc((n + model->keys) * sizeof(llm_place *));
  if (places == NULL) return LLM_NOMEM;
  list_slots(model, places, places + n);
  link_all(model, places, (uint32_t)n);
  free(places);
  model->in_service = model->capacity = (uint32_t)n;
  llm_sem_grow(&model->sem, (uint32_t)n);
  return LLM_OK;
}

/* What it took is in the model; the caller discards the others. */
static llm_err add_keys(llm_model *model, const llm_client_spec *clients,
                        size_t n, size_t *taken, size_t *bad) {
  for (size_t i = 0; i < n; i++) {
    if (!llm_client_is_valid(&model->factory, &clients[i]) ||
        llm_key_find(model, clients[i].id) != NULL) {
      *bad = i;
      return LLM_INVALID;
    }
    llm_key *key = llm_key_new(model, &clients[i]);
    if (key == NULL) return LLM_NOMEM;
    llm_key_enter(model, key);
    *taken = i + 1;
  }
  return link_slots(model);
}

static llm_err make(llm_pool *pool, const char *name,
                    const llm_client_spec *clients, size_t n,
                    const llm_options *options, const llm_factory *factory,
                    llm_model **out, size_t *bad) {
  size_t taken = 0;
  llm_model *model =
      llm_model_new(pool, name, options, factory, buckets_for(n));
  llm_err err = LLM_NOMEM;
  if (model != NULL) err = add_keys(model, clients, n, &taken, bad);
  if (err != LLM_OK) discard_all(factory, clients + taken, n - taken);
  if (err == LLM_OK) {
    *out = model;
  } else if (model != NULL) {
    llm_model_unref(model);
  } else if (factory->user != NULL && factory->free_user != NULL) {
    factory->free_user(factory->user);
  }
  return err;
}

/* ---- the pool's list --------------------------------------------------- */

/* Under the pool's lock. */
static llm_model *find(llm_pool *pool, const char *name) {
  llm_model *model = pool->models.head;
  while (model != NULL &&
         (!model->is_registered || strcmp(model->name->text, name) != 0))
    model = model->next;
  return model;
}

/* By uid, which llm_pool_after goes by; nearly always at the end. */
static void insert(llm_pool *pool, llm_model *model) {
  llm_model *before = pool->models.tail;
  while (before != NULL && before->uid > model->uid) before = before->prev;
  llm_model *after = before != NULL ? before->next : pool->models.head;
  model->prev = before;
  model->next = after;
  *(before != NULL ? &before->next : &pool->models.head) = model;
  *(after != NULL ? &after->prev : &pool->models.tail) = model;
}

/* The model's reference becomes the pool's. */
static llm_err enter(llm_pool *pool, llm_model *model) {
  llm_err err = LLM_OK;
  llm_lock_enter(&pool->lock);
  if (atomic_load_explicit(&pool->is_closed, memory_order_relaxed))
    err = LLM_CLOSED;
  else if (find(pool, model->name->text) != NULL)
    err = LLM_EXISTS;
  if (err == LLM_OK) {
    model->is_registered = model->is_kept = true;
    insert(pool, model);
  }
  llm_lock_leave(&pool->lock);
  return err;
}

static void announce(llm_model *model) {
  llm_idle_lock(&model->idle);
  llm_note(model, LLM_EV_REGISTERED, NULL, 0, 0);
  llm_model_leave(model);
  if (model->interval_ticks != UINT64_MAX)
    llm_due_at(model,
               llm_time_after(llm_clock_now(model->clock),
                              model->options.check_interval_ns),
               LLM_FOREVER);
  if (model->idle_ticks != UINT64_MAX)
    llm_due_at(model,
               llm_time_after(llm_clock_now(model->clock),
                              model->options.idle_timeout_ns),
               LLM_FOREVER);
}

llm_err llm_pool_register(llm_pool *pool, const char *name,
                          const llm_client_spec *clients, size_t n,
                          const llm_options *options,
                          const llm_factory *factory, llm_model **out,
                          size_t *bad) {
  static const llm_factory plain;
  llm_options defaults;
  size_t unused;
  llm_model *model = NULL;
  llm_options_init(&defaults);
  if (options == NULL) options = &defaults;
  if (factory == NULL) factory = &plain;
  if (bad == NULL) bad = &unused;
  *bad = n;
  if (out != NULL) *out = NULL;
  if (name == NULL || name[0] == 0 || n == 0 || n > UINT32_MAX / 2 ||
      !llm_options_are_valid(options)) {
    discard_all(factory, clients, n);
    if (factory->user != NULL && factory->free_user != NULL)
      factory->free_user(factory->user);
    return LLM_INVALID;
  }
  llm_err err = make(pool, name, clients, n, options, factory, &model, bad);
  if (err != LLM_OK) return err;
  if (out != NULL) *out = llm_model_ref(model);
  llm_model_ref(model); /* for announce: it may be unregistered by then */
  err = enter(pool, model);
  if (err == LLM_OK) {
    announce(model);
  } else {
    if (out != NULL) {
      llm_model_unref(*out);
      *out = NULL;
    }
    llm_model_unref(model);
  }
  llm_model_unref(model);
  return err;
}

llm_err llm_pool_unregister(llm_pool *pool, const char *name) {
  llm_lock_enter(&pool->lock);
  llm_model *model = find(pool, name);
  if (model != NULL) {
    model->is_registered = false;
    llm_model_ref(model);
  }
  llm_lock_leave(&pool->lock);
  if (model == NULL) return LLM_UNKNOWN_MODEL;
  llm_model_close(model);
  llm_model_leave_pool(model);
  llm_model_unref(model);
  return LLM_OK;
}

llm_model *llm_pool_model(llm_pool *pool, const char *name) {
  llm_lock_enter(&pool->lock);
  llm_model *model = find(pool, name);
  if (model != NULL) llm_model_ref(model);
  llm_lock_leave(&pool->lock);
  return model;
}

size_t llm_pool_models(llm_pool *pool, llm_model **models, size_t max) {
  size_t n = 0;
  llm_lock_enter(&pool->lock);
  for (llm_model *m = pool->models.head; m != NULL; m = m->next) {
    if (!m->is_registered) continue;
    if (n < max) models[n] = llm_model_ref(m);
    n++;
  }
  llm_lock_leave(&pool->lock);
  return n;
}
