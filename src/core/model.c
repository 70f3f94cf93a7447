/*
** model.c - a model's life: made with its clients, closed, freed when nobody
** refers to it.
**
** The pool's own reference lasts until the model is unregistered and its last
** lease is back: that is what lets a lease do without a reference of its own.
** Every model alive is also in one list of the process, by which a second
** return finds the model it belongs to, or that it is gone.
*/
#include "model.h"

#include <stdlib.h>

#include "llmpool_peek.h"
#include "place.h"

static llm_lock alive_lock = LLM_LOCK_INIT;
static llm_model *alive;  /* guarded by alive_lock */
static uint64_t last_uid; /* guarded by alive_lock */

/* ---- options ----------------------------------------------------------- */

#define SECOND INT64_C(1000000000)

void llm_options_init(llm_options *options) {
  *options = (llm_options){.max_waiting = UINT32_MAX,
                           .order = LLM_LIFO,
                           .check_after_ns = SECOND,
                           .check_timeout_ns = 5 * SECOND,
                           .check_interval_ns = LLM_FOREVER,
                           .create_timeout_ns = 30 * SECOND,
                           .max_creates = 2,
                           .max_lifetime_ns = LLM_FOREVER,
                           .max_uses = UINT64_MAX,
                           .idle_timeout_ns = LLM_FOREVER,
                           .min_idle = 0,
                           .backoff_min_ns = SECOND / 10,
                           .backoff_max_ns = 10 * SECOND};
}

bool llm_options_are_valid(const llm_options *o) {
  return (o->order == LLM_LIFO || o->order == LLM_FIFO) &&
         o->check_after_ns >= 0 && o->check_timeout_ns > 0 &&
         o->check_interval_ns > 0 && o->create_timeout_ns > 0 &&
         o->max_creates > 0 && o->max_lifetime_ns > 0 && o->max_uses > 0 &&
         o->idle_timeout_ns > 0 && o->backoff_min_ns >= 0 &&
         o->backoff_max_ns >= o->backoff_min_ns;
}

/* The durations that leases compare with, in ticks. */
static void set_thresholds(llm_model *model) {
  const llm_options *o = &model->options;
  const llm_clock *clock = model->clock;
  bool has_check = model->factory.stepped ? model->factory.has_check
                                          : model->factory.check != NULL;
  uint64_t after = llm_clock_ns_to_ticks(clock, o->check_after_ns);
  if (!has_check || after == UINT64_MAX)
    model->check_from = UINT64_MAX;
  else
    model->check_from = after == 0 ? 0 : after + 1;
  model->interval_ticks =
      has_check ? llm_clock_ns_to_ticks(clock, o->check_interval_ns)
                : UINT64_MAX;
  model->lifetime_ticks = llm_clock_ns_to_ticks(clock, o->max_lifetime_ns);
  model->idle_ticks = llm_clock_ns_to_ticks(clock, o->idle_timeout_ns);
  model->max_uses = o->max_uses;
  model->is_fifo = o->order == LLM_FIFO;
}

/* ---- life -------------------------------------------------------------- */

static void enter_alive(llm_model *model) {
  llm_lock_enter(&alive_lock);
  model->uid = ++last_uid;
  model->next_alive = alive;
  if (alive != NULL) alive->prev_alive = model;
  alive = model;
  llm_lock_leave(&alive_lock);
}

static void leave_alive(llm_model *model) {
  llm_lock_enter(&alive_lock);
  if (model->prev_alive != NULL)
    model->prev_alive->next_alive = model->next_alive;
  else
    alive = model->next_alive;
  if (model->next_alive != NULL)
    model->next_alive->prev_alive = model->prev_alive;
  llm_lock_leave(&alive_lock);
}

size_t llm_models_alive(uint64_t *uids, size_t max) {
  size_t n = 0;
  llm_lock_enter(&alive_lock);
  for (const llm_model *m = alive; m != NULL; m = m->next_alive, n++)
    if (n < max) uids[n] = m->uid;
  llm_lock_leave(&alive_lock);
  return n;
}

void llm_count_double_return(const llm_pool *pool, uint64_t uid) {
  llm_lock_enter(&alive_lock);
  for (llm_model *m = alive; m != NULL; m = m->next_alive)
    if (m->uid == uid && (pool == NULL || m->pool == pool))
      llm_count(&m->counts.double_returns);
  llm_lock_leave(&alive_lock);
}

void llm_pool_double_return(llm_pool *pool, uint64_t model_uid) {
  llm_count_double_return(pool, model_uid);
}

llm_model *llm_model_new(llm_pool *pool, const char *name,
                         const llm_options *options, const llm_factory *factory,
                         uint32_t buckets) {
  llm_model *model = calloc(1, sizeof *model);
  if (model == NULL) return NULL;
  model->index = calloc(buckets, sizeof(llm_key *));
  llm_name *interned = llm_pool_intern(pool, name);
  if (model->index == NULL || interned == NULL) {
    free(model->index);
    free(model);
    return NULL;
  }
  model->name = interned;
  model->buckets = buckets;
  model->pool = pool;
  model->clock = pool->clock;
  model->options = *options;
  model->factory = *factory;
  model->limit = UINT32_MAX;
  model->due_ns = model->rest_due_ns = LLM_FOREVER;
  atomic_init(&model->refs, 1);
  set_thresholds(model);
  llm_idle_init(&model->idle);
  llm_sem_init(&model->creates, options->max_creates, UINT32_MAX, model->clock);
  llm_sem_init(&model->sem, 0, options->max_waiting, model->clock);
  llm_pool_hold(pool);
  enter_alive(model);
  return model;
}

static void free_keys(llm_model *model) {
  llm_idle_take_all_locked(&model->idle);
  for (llm_key *key = model->first, *next; key != NULL; key = next) {
    next = key->next;
    llm_key_free(key);
  }
}

static void free_model(llm_model *model) {
  llm_pool *pool = model->pool;
  leave_alive(model);
  free_keys(model);
  if (model->factory.free_user != NULL && model->factory.user != NULL)
    model->factory.free_user(model->factory.user);
  llm_sem_destroy(&model->sem);
  llm_sem_destroy(&model->creates);
  llm_idle_destroy(&model->idle);
  free(model->index);
  free(model);
  llm_pool_drop(pool);
}

llm_model *llm_model_ref(llm_model *model) {
  atomic_fetch_add_explicit(&model->refs, 1, memory_order_relaxed);
  return model;
}

void llm_model_unref(llm_model *model) {
  if (atomic_fetch_sub_explicit(&model->refs, 1, memory_order_acq_rel) == 1)
    free_model(model);
}

/* ---- the end ----------------------------------------------------------- */

/* An idle client, out of the list, for its end; NULL: none is left. */
static llm_place *next_doomed(llm_model *model) {
  llm_place *place = llm_place_of(model->idle.oldest);
  for (llm_place *p = model->at_rest.head; place == NULL && p != NULL;
       p = p->next)
    place = p;
  if (place == NULL) return NULL;
  llm_place_unlink(place);
  return place;
}

/* Waiters end with CLOSED. Idle and resting clients are destroyed here, those
** in somebody's hands when they come back. */
void llm_model_close(llm_model *model) {
  llm_place *place;
  llm_idle_lock(&model->idle);
  bool was_closed = model->is_closed;
  model->is_closed = true;
  model->owed = 0;
  atomic_store_explicit(&model->shows_closed, true, memory_order_release);
  llm_idle_unlock(&model->idle);
  if (was_closed) return;
  llm_sem_close(&model->sem);
  llm_sem_close(&model->creates);
  llm_aside_end(model, LLM_W_CLOSED);
  llm_idle_lock(&model->idle);
  while ((place = next_doomed(model)) != NULL) {
    llm_place_settle(place, LLM_COVER_KEPT);
    llm_idle_lock(&model->idle);
  }
  llm_idle_unlock(&model->idle);
}

void llm_model_leave_pool(llm_model *model) {
  llm_idle_lock(&model->idle);
  bool is_over = model->is_kept && llm_model_lent(model) == 0;
  if (is_over) model->is_kept = false;
  llm_note(model, LLM_EV_UNREGISTERED, NULL, 0, 0);
  model->is_gone = true;
  llm_model_leave(model);
  if (is_over) llm_pool_forget(model->pool, model);
}

void llm_model_came_back(llm_model *model) {
  llm_idle_lock(&model->idle);
  bool is_empty = llm_model_lent(model) == 0;
  bool is_over = is_empty && model->is_gone && model->is_kept;
  if (is_over) model->is_kept = false;
  llm_idle_unlock(&model->idle);
  if (is_empty && llm_pool_wants(model->pool, LLM_DRAINED))
    llm_pool_check_drained(model->pool);
  if (is_over) llm_pool_forget(model->pool, model);
}

/* ---- what the public may ask ------------------------------------------- */

const char *llm_model_name(const llm_model *model) { return model->name->text; }

llm_pool *llm_model_pool(const llm_model *model) { return model->pool; }

void *llm_model_user(const llm_model *model) { return model->factory.user; }

const llm_options *llm_model_options(const llm_model *model) {
  return &model->options;
}

bool llm_model_is_closed(const llm_model *model) {
  return atomic_load_explicit(&model->shows_closed, memory_order_acquire);
}

uint64_t llm_model_uid(const llm_model *model) { return model->uid; }
