/*
** record_find.c - whom an event is about: a model, a client, a caller in line.
**
** One idea: names are interned by their pool, so that an address is a name, and
** nothing is compared letter by letter; clients and callers lie in open tables
** that are at most half full. Who is not there yet is added.
*/
#include "record_find.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_text(const char *text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
  return hash;
}

/* ---- models and clients, by the pools' names --------------------------- */

/* The list, with room for one more; NULL: no memory, and it stays. */
static void *grow(void *list, uint32_t count, uint32_t *size) {
  if (count < *size) return list;
  uint32_t wanted = *size ? *size * 2 : 16;
  void *larger = realloc(list, wanted * sizeof(void *));
  if (larger) *size = wanted;
  return larger;
}

static RecordModel *add_model(Record *r, const char *key, uint32_t source) {
  RecordModel *model = calloc(1, sizeof *model);
  char *name = strdup(key);
  Meter *wait = calloc(1, sizeof *wait);
  void *list = grow(r->models, r->model_count, &r->model_size);
  if (list) r->models = list;
  if (model == NULL || name == NULL || wait == NULL || list == NULL) {
    free(model);
    free(name);
    free(wait);
    r->out_of_memory = true;
    return NULL;
  }
  *model = (RecordModel){.name = name, .key = key, .wait = wait};
  model->hash = hash_text(key);
  model->source = source;
  r->models[r->model_count++] = model;
  return model;
}

static RecordClient *add_client(Record *r, const char *key, uint32_t model) {
  RecordClient *client = calloc(1, sizeof *client);
  char *name = strdup(key);
  void *list = grow(r->clients, r->client_count, &r->client_size);
  if (list) r->clients = list;
  if (client == NULL || name == NULL || list == NULL) {
    free(client);
    free(name);
    r->out_of_memory = true;
    return NULL;
  }
  client->name = name;
  client->key = key;
  client->model = model;
  client->broken_since_ns = client->rest_since_ns = LLM_FOREVER;
  client->hash = hash_text(key);
  r->clients[r->client_count++] = client;
  return client;
}

/* Names are interned by their pool: one address, one name. There are few. */
uint32_t record_model_of(Record *r, const char *key, uint32_t source) {
  if (key == NULL) return 0;
  for (uint32_t i = 0; i < r->model_count; i++)
    if (r->models[i]->key == key && r->models[i]->source == source)
      return i + 1;
  return add_model(r, key, source) ? r->model_count : 0;
}

/* Clients are found by the address of their name: an open table of indexes + 1
** that is at most half full. */
static size_t index_slot(const Record *r, const char *key, uint32_t model) {
  const size_t mask = r->index_size - 1;
  uint64_t hash = ((uint64_t)(uintptr_t)key + model) * 0x9e3779b97f4a7c15u;
  size_t i = (size_t)(hash >> 32) & mask;
  while (r->index[i] != 0) {
    const RecordClient *c = r->clients[r->index[i] - 1];
    if (c->key == key && c->model == model) break;
    i = (i + 1) & mask;
  }
  return i;
}

static bool index_grow(Record *r) {
  size_t size = r->index_size ? r->index_size * 2 : 64;
  uint32_t *index = calloc(size, sizeof *index);
  if (index == NULL) return false;
  free(r->index);
  r->index = index;
  r->index_size = size;
  for (uint32_t i = 0; i < r->client_count; i++) {
    const RecordClient *c = r->clients[i];
    r->index[index_slot(r, c->key, c->model)] = i + 1;
  }
  return true;
}

uint32_t record_client_of(Record *r, const char *key, uint32_t model) {
  if (key == NULL || model == 0) return 0;
  if (r->client_count * 2 >= r->index_size && !index_grow(r)) {
    r->out_of_memory = true;
    return 0;
  }
  size_t i = index_slot(r, key, model);
  if (r->index[i] != 0) return r->index[i];
  if (add_client(r, key, model) == NULL) return 0;
  return r->index[i] = r->client_count;
}

/* ---- who is in line ---------------------------------------------------- */

static size_t home_of(const RecordLine *line, uint64_t ask, uint32_t source) {
  return (size_t)(((ask + source) * 0x9e3779b97f4a7c15u) >> 32) &
         (line->size - 1);
}

static size_t slot_of(const RecordLine *line, uint64_t ask, uint32_t source) {
  size_t i = home_of(line, ask, source);
  while (line->waits[i].ask != 0 &&
         (line->waits[i].ask != ask || line->waits[i].source != source))
    i = (i + 1) & (line->size - 1);
  return i;
}

static bool line_grow(RecordLine *line) {
  RecordLine larger = {.size = line->size ? line->size * 2 : 1024};
  larger.waits = calloc(larger.size, sizeof *larger.waits);
  if (larger.waits == NULL) return false;
  larger.count = line->count;
  for (size_t i = 0; i < line->size; i++) {
    const struct RecordWait *w = &line->waits[i];
    if (w->ask) larger.waits[slot_of(&larger, w->ask, w->source)] = *w;
  }
  free(line->waits);
  *line = larger;
  return true;
}

/* Whoever was pushed on by the one that leaves moves up. */
static void close_gap(RecordLine *line, size_t gap) {
  const size_t mask = line->size - 1;
  for (size_t i = (gap + 1) & mask; line->waits[i].ask; i = (i + 1) & mask) {
    size_t home = home_of(line, line->waits[i].ask, line->waits[i].source);
    if (((i - home) & mask) < ((i - gap) & mask)) continue;
    line->waits[gap] = line->waits[i];
    gap = i;
  }
  line->waits[gap].ask = 0;
}

/* The model in whose line the ask stood, or 0; it leaves. */
uint32_t record_line_leave(RecordLine *line, uint64_t ask, uint32_t source) {
  if (line->count == 0 || ask == 0) return 0;
  size_t i = slot_of(line, ask, source);
  if (line->waits[i].ask == 0) return 0;
  uint32_t model = line->waits[i].model;
  line->count--;
  close_gap(line, i);
  return model;
}

/* True: it stands in a line from now on. A caller who waits for several models
** is one caller, in the line of the first. */
bool record_line_join(Record *r, uint64_t ask, uint32_t source,
                      uint32_t model) {
  RecordLine *line = &r->line;
  if (line->count * 2 >= line->size && !line_grow(line)) {
    r->out_of_memory = true;
    return false;
  }
  struct RecordWait *w = &line->waits[slot_of(line, ask, source)];
  if (w->ask != 0) return false; /* another model, or again after a check */
  *w = (struct RecordWait){ask, source, model};
  line->count++;
  if (line->count > r->deepest) r->deepest = (uint32_t)line->count;
  return true;
}
