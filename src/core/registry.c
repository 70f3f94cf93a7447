/*
** registry.c - the pools that have a name, one of each in the process.
**
** It refers to a pool without counting as its user: the pool of a name lasts
** as long as somebody has it open, and the next open makes a new one. So the
** last user must go under the registry's lock.
*/
#include <stdlib.h>
#include <string.h>

#include "pool.h"

static llm_lock registry_lock = LLM_LOCK_INIT;
static llm_pool *named; /* guarded by registry_lock */

/* With a reference of the caller's. */
static llm_pool *find(const char *name) {
  llm_pool *pool = named;
  while (pool != NULL && strcmp(pool->name->text, name) != 0) pool = pool->next;
  return pool != NULL ? llm_pool_ref(pool) : NULL;
}

static llm_pool *find_or_enter(llm_pool *fresh) {
  llm_lock_enter(&registry_lock);
  llm_pool *pool = find(fresh->name->text);
  if (pool == NULL) {
    fresh->next = named;
    named = pool = fresh;
  }
  llm_lock_leave(&registry_lock);
  return pool;
}

static llm_pool *look_up(const char *name) {
  llm_lock_enter(&registry_lock);
  llm_pool *pool = find(name);
  llm_lock_leave(&registry_lock);
  return pool;
}

/* One that nobody else knows. */
static void discard(llm_pool *pool) {
  free(pool->name);
  pool->name = NULL;
  llm_pool_unref(pool);
}

llm_pool *llm_pool_open(const char *name) {
  llm_pool *pool = look_up(name);
  if (pool != NULL) return pool;
  llm_pool *fresh = llm_pool_new(NULL);
  if (fresh == NULL) return NULL;
  fresh->name = llm_name_new(name);
  pool = fresh->name != NULL ? find_or_enter(fresh) : NULL;
  if (pool != fresh) discard(fresh);
  return pool;
}

static void take_out(llm_pool *pool) {
  llm_pool **link = &named;
  while (*link != pool) link = &(*link)->next;
  *link = pool->next;
}

static bool drop_user(llm_pool *pool) {
  return atomic_fetch_sub_explicit(&pool->users, 1, memory_order_acq_rel) == 1;
}

bool llm_registry_leave(llm_pool *pool) {
  if (pool->name == NULL) return drop_user(pool);
  llm_lock_enter(&registry_lock);
  bool is_last = drop_user(pool);
  if (is_last) take_out(pool);
  llm_lock_leave(&registry_lock);
  return is_last;
}
