/*
** place.c - a place: made, filled with an instance.
**
** A model's places only ever grow in number: a retired one stays and is the
** same again if its id comes back. So whoever has a pointer to a place may keep
** it for as long as it keeps the model.
*/
#include "place.h"

#include <stdlib.h>

#define SERIAL_BLOCK 65536

static _Atomic uint64_t versions, serials;

static uint64_t next_version(void) {
  return atomic_fetch_add_explicit(&versions, 1, memory_order_relaxed) + 1;
}

uint64_t llm_model_serial(llm_model *model) {
  if (model->serial == model->serial_end) {
    model->serial =
        atomic_fetch_add_explicit(&serials, SERIAL_BLOCK, memory_order_relaxed);
    model->serial_end = model->serial + SERIAL_BLOCK;
  }
  return ++model->serial;
}

/* ---- life -------------------------------------------------------------- */

llm_place *llm_place_new(llm_key *key, void *spec, void *instance) {
  llm_place *place = calloc(1, sizeof *place);
  if (place == NULL) return NULL;
  place->model = key->model;
  place->key = key;
  place->state = LLM_P_VACANT;
  place->reason = LLM_FIRST;
  if (key->is_limited) place->marks = LLM_MARK_LIMITED;
  place->jitter = key->id->hash ^ key->model->name->hash;
  place->spec = spec;
  llm_place_install(place, instance);
  return place;
}

void llm_client_discard(const llm_factory *factory,
                        const llm_client_spec *client) {
  if (client->instance != NULL && client->instance != client->spec &&
      factory->destroy != NULL)
    factory->destroy(factory->user, NULL, client->instance);
  if (client->spec != NULL && factory->free_spec != NULL)
    factory->free_spec(factory->user, client->spec);
}

void llm_place_free(llm_place *place) {
  const llm_factory *factory = &place->model->factory;
  llm_client_spec now = {.spec = place->spec, .instance = place->instance};
  llm_client_spec next = {.spec = place->next_spec,
                          .instance = place->next_instance};
  llm_client_discard(factory, &now);
  llm_client_discard(factory, &next);
  free(place);
}

/* ---- the instance ------------------------------------------------------ */

/* max_lifetime +-10 %, by a sequence that depends on names alone, so that
** equal runs are equal. */
static uint64_t lifetime(llm_place *place) {
  uint64_t ticks = place->model->lifetime_ticks;
  if (ticks == UINT64_MAX) return ticks;
  place->jitter = place->jitter * 1664525u + 1013904223u;
  double share = 0.9 + 0.2 * (place->jitter >> 8) / (double)(1u << 24);
  return (uint64_t)((double)ticks * share);
}

void llm_place_install(llm_place *place, void *instance) {
  place->instance = instance;
  place->is_doomed = false;
  place->uses = 0;
  atomic_store_explicit(&place->version, next_version(), memory_order_relaxed);
  if (instance == NULL) return;
  uint64_t now = llm_ticks(place->model->clock), span = lifetime(place);
  place->dies_ticks = span < UINT64_MAX - now ? now + span : UINT64_MAX;
}

/* ---- what the public may ask ------------------------------------------- */

const char *llm_place_id(const llm_place *place) {
  return place->key->id->text;
}

llm_model *llm_place_model(const llm_place *place) { return place->model; }

void *llm_place_spec(const llm_place *place) { return place->spec; }

void *llm_place_instance(const llm_place *place) { return place->instance; }

uint64_t llm_place_version(const llm_place *place) {
  return atomic_load_explicit(&place->version, memory_order_relaxed);
}

const char *llm_place_state_name(llm_place_state state) {
  static const char *const names[] = {
      [LLM_P_IDLE] = "idle",          [LLM_P_LENT] = "lent",
      [LLM_P_RESTING] = "resting",    [LLM_P_VACANT] = "vacant",
      [LLM_P_BUSY] = "busy",          [LLM_P_RETIRED] = "retired",
      [LLM_P_DISABLED] = "disabled",  [LLM_P_OPEN] = "open",
      [LLM_P_HALF_OPEN] = "half_open"};
  return (unsigned)state <= LLM_P_HALF_OPEN ? names[state] : "unknown";
}

const char *llm_reason_name(llm_reason reason) {
  static const char *const names[] = {
      [LLM_FIRST] = "first", [LLM_SICK] = "sick", [LLM_LIFETIME] = "lifetime",
      [LLM_USES] = "uses",   [LLM_IDLE] = "idle", [LLM_REPLACED] = "replaced"};
  return (unsigned)reason <= LLM_REPLACED ? names[reason] : "unknown";
}
