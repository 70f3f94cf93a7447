/*
** key.c - a client's key: made with its places, found by its id.
*/
#include "key.h"

#include <stdlib.h>
#include <string.h>

#include "place.h"

#define SLOTS_MOST 65536

/* ---- limits ------------------------------------------------------------ */

#define SECOND INT64_C(1000000000)

void llm_breaker_init(llm_breaker *breaker) {
  *breaker = (llm_breaker){.failures = 5,
                           .window_ns = 60 * SECOND,
                           .open_ns = 30 * SECOND,
                           .max_open_ns = 300 * SECOND};
}

static bool are_valid(const llm_limits *limits) {
  return limits->slots <= SLOTS_MOST && limits->rpm >= 0 && limits->tpm >= 0 &&
         limits->rpm_burst >= 0 && limits->tpm_burst >= 0 &&
         llm_breaker_is_valid(&limits->breaker);
}

bool llm_client_is_valid(const llm_factory *factory,
                         const llm_client_spec *client) {
  bool is_single = client->limits.slots <= 1;
  return client->id != NULL && *client->id != 0 && are_valid(&client->limits) &&
         (is_single || client->spec == NULL || factory->ref_spec != NULL);
}

static bool set_limits(llm_key *key, const llm_limits *limits, int64_t now_ns) {
  key->limits = *limits;
  if (key->limits.slots == 0) key->limits.slots = 1;
  llm_bucket_init(&key->requests, limits->rpm, limits->rpm_burst, now_ns);
  llm_bucket_init(&key->tokens, limits->tpm, limits->tpm_burst, now_ns);
  key->is_limited = llm_bucket_has_limit(&key->requests) ||
                    llm_bucket_has_limit(&key->tokens);
  return llm_switch_init(&key->breaker, &limits->breaker);
}

void llm_key_swap_limits(llm_key *key, llm_key *from) {
  llm_key old = {.limits = key->limits,
                 .requests = key->requests,
                 .tokens = key->tokens,
                 .breaker = key->breaker};
  key->limits = from->limits;
  key->requests = from->requests;
  key->tokens = from->tokens;
  key->breaker = from->breaker;
  key->is_limited = from->is_limited;
  from->limits = old.limits;
  from->requests = old.requests;
  from->tokens = old.tokens;
  from->breaker = old.breaker;
}

/* ---- life -------------------------------------------------------------- */

/* One more reference for a further slot; NULL: there is no spec. */
static void *another_spec(const llm_factory *factory, void *spec) {
  if (spec != NULL && factory->ref_spec != NULL)
    factory->ref_spec(factory->user, spec);
  return spec;
}

/* A slot at the head of the chain. */
static bool add_slot(llm_key *key, void *spec, void *instance) {
  llm_place *place = llm_place_new(key, spec, instance);
  if (place == NULL) return false;
  place->sibling = key->slots;
  key->slots = place;
  return true;
}

/* The first slot, which takes over what the caller gave, is made last: so a
** failure leaves that with the caller. */
static bool add_slots(llm_key *key, const llm_client_spec *client) {
  const llm_factory *factory = &key->model->factory;
  void *shared = client->instance == client->spec ? client->instance : NULL;
  for (uint32_t i = 1; i < key->limits.slots; i++) {
    void *spec = another_spec(factory, client->spec);
    if (add_slot(key, spec, shared)) continue;
    llm_client_discard(factory, &(llm_client_spec){.spec = spec});
    return false;
  }
  return add_slot(key, client->spec, client->instance);
}

llm_key *llm_key_new(llm_model *model, const llm_client_spec *client) {
  llm_name *id = llm_pool_intern(model->pool, client->id);
  llm_key *key = id != NULL ? calloc(1, sizeof *key) : NULL;
  if (key == NULL) return NULL;
  key->id = id;
  key->model = model;
  if (set_limits(key, &client->limits, llm_clock_now(model->clock)) &&
      add_slots(key, client))
    return key;
  llm_key_free(key);
  return NULL;
}

void llm_key_free(llm_key *key) {
  for (llm_place *place = key->slots, *next; place != NULL; place = next) {
    next = place->sibling;
    llm_place_free(place);
  }
  llm_switch_free(&key->breaker);
  free(key);
}

void llm_key_set_error(llm_key *key, const char *text) {
  strncpy(key->last_error, text != NULL ? text : "", LLM_TEXT - 1);
}

/* ---- the index --------------------------------------------------------- */

llm_key *llm_key_find(llm_model *model, const char *id) {
  uint32_t hash = llm_name_hash(id);
  llm_key *key = model->index[hash & (model->buckets - 1)];
  while (key != NULL &&
         (key->id->hash != hash || strcmp(key->id->text, id) != 0))
    key = key->chain;
  return key;
}

void llm_key_enter(llm_model *model, llm_key *key) {
  llm_key **bucket = &model->index[key->id->hash & (model->buckets - 1)];
  key->chain = *bucket;
  *bucket = key;
  if (model->last != NULL)
    model->last->next = key;
  else
    model->first = key;
  model->last = key;
  model->keys++;
  if (key->is_limited) model->is_limited = true;
}
