/*
** due.c - what is to be done at some time: rests that end, clients that were
** idle for too long; and who must be told when that time moves.
**
** The core has no thread of its own: whoever comes by when the time has passed
** does it. A model's due time only ever moves earlier, except that a tick
** first sets it to never and then computes it anew; what changes meanwhile
** moves it earlier again.
*/
#define _POSIX_C_SOURCE 200809L /* sched_yield */
#include <sched.h>

#include "place.h"

/* ---- sleepers ---------------------------------------------------------- */

void llm_pool_sleeper_add(llm_pool *pool, llm_sleeper *sleeper) {
  llm_lock_enter(&pool->sleepers_lock);
  llm_queue_push(&pool->sleepers, sleeper);
  llm_lock_leave(&pool->sleepers_lock);
}

void llm_pool_sleeper_remove(llm_pool *pool, llm_sleeper *sleeper) {
  llm_lock_enter(&pool->sleepers_lock);
  if (pool->cursor == sleeper) pool->cursor = sleeper->next;
  llm_queue_remove(&pool->sleepers, sleeper);
  while (pool->poked == sleeper) { /* over in a moment: a poke may not block */
    llm_lock_leave(&pool->sleepers_lock);
    sched_yield();
    llm_lock_enter(&pool->sleepers_lock);
  }
  llm_lock_leave(&pool->sleepers_lock);
}

static void poke_each(llm_pool *pool) {
  pool->cursor = pool->sleepers.head;
  while (pool->cursor != NULL) {
    llm_sleeper *sleeper = pool->poked = pool->cursor;
    pool->cursor = sleeper->next;
    llm_lock_leave(&pool->sleepers_lock);
    sleeper->poke(sleeper);
    llm_lock_enter(&pool->sleepers_lock);
    pool->poked = NULL;
  }
}

/* One thread at a time goes round; who comes meanwhile has it go once more. */
static void poke_all(llm_pool *pool) {
  llm_lock_enter(&pool->sleepers_lock);
  pool->poke_again = true;
  if (!pool->is_poking) {
    pool->is_poking = true;
    while (pool->poke_again) {
      pool->poke_again = false;
      poke_each(pool);
    }
    pool->is_poking = false;
  }
  llm_lock_leave(&pool->sleepers_lock);
}

/* ---- due times --------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

static uint64_t to_ticks(const llm_clock *clock, int64_t when_ns) {
  if (when_ns == LLM_FOREVER) return UINT64_MAX;
  uint64_t now = llm_ticks(clock);
  uint64_t span = llm_clock_ns_to_ticks(clock, when_ns - llm_clock_now(clock));
  return span < UINT64_MAX - now ? now + span : UINT64_MAX;
}

/* Under the pool's lock. */
static void set_due(llm_pool *pool, int64_t due_ns, uint64_t due_ticks,
                    int64_t rest_due_ns) {
  atomic_store_explicit(&pool->due_ns, due_ns, memory_order_relaxed);
  atomic_store_explicit(&pool->due_ticks, due_ticks, memory_order_relaxed);
  atomic_store_explicit(&pool->rest_due_ns, rest_due_ns, memory_order_relaxed);
}

int64_t llm_pool_due(const llm_pool *pool) {
  return atomic_load_explicit(&pool->due_ns, memory_order_relaxed);
}

int64_t llm_pool_rest_due(const llm_pool *pool) {
  return atomic_load_explicit(&pool->rest_due_ns, memory_order_relaxed);
}

void llm_due_at(llm_model *model, int64_t due_ns, int64_t rest_due_ns) {
  llm_pool *pool = model->pool;
  uint64_t ticks = to_ticks(pool->clock, due_ns);
  llm_lock_enter(&pool->lock);
  model->due_ns = earlier(model->due_ns, due_ns);
  model->rest_due_ns = earlier(model->rest_due_ns, rest_due_ns);
  bool is_earlier = due_ns < llm_pool_due(pool);
  if (is_earlier) set_due(pool, due_ns, ticks, llm_pool_rest_due(pool));
  atomic_store_explicit(&pool->rest_due_ns,
                        earlier(llm_pool_rest_due(pool), rest_due_ns),
                        memory_order_relaxed);
  llm_lock_leave(&pool->lock);
  if (is_earlier) poke_all(pool);
}

int64_t llm_pool_serving_due(llm_pool *pool) {
  int64_t due = llm_pool_rest_due(pool);
  if (due == LLM_FOREVER) return due;
  due = LLM_FOREVER;
  llm_lock_enter(&pool->lock);
  for (llm_model *m = pool->models.head; m != NULL; m = m->next)
    if (m->rest_due_ns < due && llm_model_is_awaited(m)) due = m->rest_due_ns;
  llm_lock_leave(&pool->lock);
  return due;
}

/* ---- upkeep ------------------------------------------------------------ */

bool llm_pool_has_upkeep(const llm_pool *pool) {
  return llm_pool_wants(pool, LLM_UPKEEP);
}

bool llm_pool_take_upkeep(llm_pool *pool) {
  return atomic_fetch_and_explicit(&pool->attention, ~LLM_UPKEEP,
                                   memory_order_relaxed) &
         LLM_UPKEEP;
}

static void want_upkeep(llm_model *model) {
  if (model->interval_ticks == UINT64_MAX && model->options.min_idle == 0)
    return;
  atomic_fetch_or_explicit(&model->pool->attention, LLM_UPKEEP,
                           memory_order_relaxed);
}

/* ---- what is due next -------------------------------------------------- */

/* The earliest of all models. */
static void set_earliest(llm_pool *pool) {
  int64_t due = LLM_FOREVER, rest_due = LLM_FOREVER;
  for (llm_model *m = pool->models.head; m != NULL; m = m->next) {
    due = earlier(due, m->due_ns);
    rest_due = earlier(rest_due, m->rest_due_ns);
  }
  set_due(pool, due, to_ticks(pool->clock, due), rest_due);
}

/* A model with something to do by `now`, with a reference; its due time is
** never, from here on. NULL: none, and the pool's due time is set. */
static llm_model *next_due(llm_pool *pool, int64_t now) {
  llm_lock_enter(&pool->lock);
  llm_model *model = pool->models.head;
  while (model != NULL && model->due_ns > now) model = model->next;
  if (model != NULL) {
    model->due_ns = model->rest_due_ns = LLM_FOREVER;
    llm_model_ref(model);
  } else {
    set_earliest(pool);
  }
  llm_lock_leave(&pool->lock);
  return model;
}

/* ---- rests ------------------------------------------------------------- */

/* Returns when the next one ends. */
static int64_t end_rests(llm_model *model, int64_t now) {
  int64_t next_end = LLM_FOREVER;
  llm_idle_lock(&model->idle);
  for (llm_key *key = model->first; key != NULL; key = key->next) {
    /* a look at it, or a slot that came back, may have seen the end before */
    if (key->away == 0 && key->resting == 0) continue;
    llm_key_refresh(key, now);
    llm_key_bring_back(key, now);
    int64_t back = llm_key_back_ns(key);
    if (back > now) next_end = earlier(next_end, back);
  }
  uint32_t grow = llm_model_recount(model);
  llm_model_leave(model);
  llm_model_apply(model, grow);
  return next_end;
}

/* ---- idle expiry ------------------------------------------------------- */

/* The place stays, vacant. Covered by a free permit; without one only if there
** are more clients than may be lent. */
static llm_place *take_expired(llm_model *model, bool is_covered) {
  bool is_spare = model->in_service - model->away > model->limit;
  if (model->idle.count <= model->options.min_idle) return NULL;
  if (!is_covered && !is_spare) return NULL;
  uint64_t now = llm_ticks(model->clock);
  if (now < model->idle_ticks) return NULL; /* the clock is young */
  llm_place *place = llm_place_of(
      llm_idle_pop_expired_locked(&model->idle, now - model->idle_ticks));
  if (place == NULL) return NULL;
  place->state = LLM_P_BUSY;
  place->is_doomed = true;
  place->reason = LLM_IDLE;
  if (!is_covered) model->away++;
  llm_count(&model->counts.expired);
  llm_note(model, LLM_EV_EXPIRED, place, 0, 0);
  return place;
}

static bool expire_one(llm_model *model) {
  bool is_covered = llm_sem_try(&model->sem);
  llm_idle_lock(&model->idle);
  llm_place *place = take_expired(model, is_covered);
  if (place != NULL) {
    llm_place_settle(place, is_covered ? LLM_COVER_GIVEN : LLM_COVER_AWAY);
  } else {
    llm_idle_unlock(&model->idle);
    if (is_covered) llm_permit_give(model);
  }
  return place != NULL;
}

/* When the oldest will have been idle for too long; with none to expire, the
** earliest moment at which one returned from now on could be. */
static int64_t next_expiry(llm_model *model, int64_t now) {
  int64_t age = 0, timeout = model->options.idle_timeout_ns;
  llm_idle_lock(&model->idle);
  bool has_candidate = model->idle.count > model->options.min_idle;
  uint64_t stamp = has_candidate ? model->idle.oldest->stamp : 0;
  bool is_closed = model->is_closed;
  llm_idle_unlock(&model->idle);
  if (is_closed) return LLM_FOREVER;
  if (has_candidate)
    age = llm_clock_ticks_to_ns(
        model->clock, llm_ticks_between(stamp, llm_ticks(model->clock)));
  if (age >= timeout) age = timeout - timeout / 32 - 1; /* no free permit */
  return llm_time_after(now, timeout - age);
}

/* ---- tick -------------------------------------------------------------- */

/* How long the one that was neither used nor checked for longest is so. */
static uint64_t longest_unproven(const llm_model *model) {
  uint64_t now = llm_ticks(model->clock), longest = 0;
  for (llm_link *link = model->idle.oldest; link != NULL; link = link->prev) {
    uint64_t used = llm_ticks_between(link->stamp, now);
    uint64_t proven = llm_ticks_between(llm_place_of(link)->proven_ticks, now);
    uint64_t age = used < proven ? used : proven;
    if (age > longest) longest = age;
  }
  return longest;
}

/* When the next one is to be checked in the background. What is due now is done
** by whoever keeps the pool up after this tick, or a little later. */
static int64_t next_check(llm_model *model, int64_t now) {
  int64_t interval = model->options.check_interval_ns;
  llm_idle_lock(&model->idle);
  int64_t age = llm_clock_ticks_to_ns(model->clock, longest_unproven(model));
  bool is_closed = model->is_closed;
  llm_idle_unlock(&model->idle);
  if (is_closed) return LLM_FOREVER;
  if (age >= interval) age = interval - interval / 4 - 1;
  return llm_time_after(now, interval - age);
}

static void tick(llm_model *model, int64_t now) {
  int64_t rest_due = end_rests(model, now), due = rest_due;
  if (model->idle_ticks != UINT64_MAX) {
    while (expire_one(model)) {}
    due = earlier(due, next_expiry(model, now));
  }
  if (model->interval_ticks != UINT64_MAX)
    due = earlier(due, next_check(model, now));
  if (due != LLM_FOREVER) llm_due_at(model, due, rest_due);
  want_upkeep(model);
}

int64_t llm_pool_tick(llm_pool *pool) {
  int64_t now = llm_clock_now(pool->clock);
  llm_model *model;
  while ((model = next_due(pool, now)) != NULL) {
    tick(model, now);
    llm_model_unref(model);
  }
  return llm_pool_due(pool);
}
