/*
** register.c - models come to a pool and leave it.
**
** Everything that can fail, fails before the pool knows of the model; what the
** caller handed over (specs, instances, the factory's user) is freed then.
*/
#include <stdlib.h>
#include <string.h>

#include "place.h"

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

static void add_permits(llm_model *model, uint32_t n) {
  model->in_service = model->capacity = n;
  llm_sem_grow(&model->sem, n);
}

/* In such an order that the first is lent first. */
static void link_all(llm_model *model, llm_place **places, size_t n) {
  uint64_t now = llm_ticks(model->clock);
  for (size_t i = 0; i < n; i++) {
    llm_place *idle = places[model->is_fifo ? i : n - 1 - i];
    if (idle->instance != NULL) llm_place_link_idle(idle, now);
    if (places[i]->instance == NULL) llm_place_link_vacant(places[i]);
  }
}

/* What it took is in the model; the caller discards the others. */
static llm_err add_places(llm_model *model, const llm_client_spec *clients,
                          size_t n, size_t *taken, size_t *bad) {
  llm_place **places = malloc(n * sizeof(llm_place *));
  if (places == NULL) return LLM_NOMEM;
  llm_err err = LLM_OK;
  for (size_t i = 0; i < n && err == LLM_OK; i++) {
    const char *id = clients[i].id;
    if (id == NULL || *id == 0 || llm_place_find(model, id) != NULL) {
      *bad = i;
      err = LLM_INVALID;
    } else if ((places[i] = llm_place_new(model, &clients[i])) == NULL) {
      err = LLM_NOMEM;
    } else {
      llm_place_enter(model, places[i]);
      *taken = i + 1;
    }
  }
  if (err == LLM_OK) link_all(model, places, n);
  free(places);
  return err;
}

static llm_err make(llm_pool *pool, const char *name,
                    const llm_client_spec *clients, size_t n,
                    const llm_options *options, const llm_factory *factory,
                    llm_model **out, size_t *bad) {
  size_t taken = 0;
  llm_model *model =
      llm_model_new(pool, name, options, factory, buckets_for(n));
  llm_err err = LLM_NOMEM;
  if (model != NULL) err = add_places(model, clients, n, &taken, bad);
  if (err != LLM_OK) discard_all(factory, clients + taken, n - taken);
  if (err == LLM_OK) {
    add_permits(model, (uint32_t)n);
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
  if (name == NULL || n == 0 || n > UINT32_MAX / 2 ||
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
