/*
** record.c - the taking in of events: counted, and added up over time. Whom an
** event is about is record_find.c's.
*/
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "record_find.h"

#define RING 4096     /* events that a pool may tell between two drains */
#define BELL 1024     /* at so many the record drains itself */
#define BATCH 256     /* read at a time */
#define WIDTH 1000000 /* ns: of a bucket, at first */

struct RecordSource {
  RecordSource *next;
  Record *record;
  llm_pool *pool;
  llm_listener *listener;
  uint32_t number; /* from 1 on */
};

/* ---- hashing ----------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value;
  hash *= 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

void record_mix(Record *record, uint64_t value) {
  record->hash = mix(record->hash, value);
}

/* ---- areas over time --------------------------------------------------- */

static void halve(double *area) {
  for (int i = 0; i < RECORD_BUCKETS / 2; i++)
    area[i] = area[2 * i] + area[2 * i + 1];
  memset(area + RECORD_BUCKETS / 2, 0, RECORD_BUCKETS / 2 * sizeof *area);
}

static void halve_max(uint32_t *most) {
  for (int i = 0; i < RECORD_BUCKETS / 2; i++)
    most[i] = most[2 * i] > most[2 * i + 1] ? most[2 * i] : most[2 * i + 1];
  memset(most + RECORD_BUCKETS / 2, 0, RECORD_BUCKETS / 2 * sizeof *most);
}

/* Makes the buckets reach beyond `until_ns`. */
static void stretch(Record *r, int64_t until_ns) {
  while (until_ns - r->start_ns >= r->width_ns * RECORD_BUCKETS) {
    r->width_ns *= 2;
    for (uint32_t i = 0; i < r->model_count; i++) {
      halve(r->models[i]->depth_area);
      halve_max(r->models[i]->depth_max);
    }
    for (uint32_t i = 0; i < r->client_count; i++) {
      halve(r->clients[i]->busy_in);
      halve(r->clients[i]->rest_in);
      halve(r->clients[i]->broken_in);
    }
  }
}

/* Adds `weight` a second over a span to the buckets that it crosses. */
static double add_span(Record *r, double *area, int64_t from_ns,
                       int64_t until_ns, double weight) {
  if (from_ns < r->start_ns) from_ns = r->start_ns;
  if (until_ns <= from_ns) return 0;
  stretch(r, until_ns);
  int64_t i = (from_ns - r->start_ns) / r->width_ns;
  int64_t at = from_ns;
  while (at < until_ns) {
    int64_t end = r->start_ns + (i + 1) * r->width_ns;
    if (end > until_ns) end = until_ns;
    area[i++] += weight * (double)(end - at) / 1e9;
    at = end;
  }
  return weight * (double)(until_ns - from_ns) / 1e9;
}

/* Every bucket from the last change until now has seen this depth. */
static void set_most(Record *r, RecordModel *m, int64_t until_ns) {
  int64_t i = (m->since_ns - r->start_ns) / r->width_ns;
  int64_t last = (until_ns - r->start_ns) / r->width_ns;
  for (i = i < 0 ? 0 : i; i <= last; i++)
    if (m->depth > m->depth_max[i]) m->depth_max[i] = m->depth;
}

static void set_depth(Record *r, RecordModel *m, uint32_t depth, int64_t now) {
  stretch(r, now);
  if (m->depth > 0) {
    m->depth_sum += add_span(r, m->depth_area, m->since_ns, now, m->depth);
    set_most(r, m, now);
  }
  int64_t i = (now - r->start_ns) / r->width_ns;
  m->since_ns = now;
  m->depth = depth;
  if (depth > m->deepest) m->deepest = depth;
  if (i >= 0 && depth > m->depth_max[i]) m->depth_max[i] = depth;
}

/* ---- one event --------------------------------------------------------- */

static void on_left(Record *r, const llm_event *e, uint32_t source) {
  uint32_t model = record_line_leave(&r->line, e->ask, source);
  if (model == 0) return;
  RecordModel *m = r->models[model - 1];
  set_depth(r, m, m->depth - 1, e->time_ns);
}

static void on_lent(Record *r, const llm_event *e, RecordModel *m,
                    RecordClient *c, uint32_t source) {
  on_left(r, e, source);
  double waited = (double)e->span_ns / 1e9;
  meter_add(&r->wait, waited);
  if (m) meter_add(m->wait, waited);
  if (c) c->lends++;
}

static void on_returned(Record *r, const llm_event *e, RecordClient *c) {
  if (c)
    c->busy += add_span(r, c->busy_in, e->time_ns - e->span_ns, e->time_ns, 1);
}

/* As far as it has come by now: what was told may be longer than the run. */
static void end_rest(Record *r, int64_t now_ns, RecordClient *c) {
  if (c == NULL || c->rest_since_ns == LLM_FOREVER) return;
  int64_t until = c->rest_until_ns < now_ns ? c->rest_until_ns : now_ns;
  c->rest += add_span(r, c->rest_in, c->rest_since_ns, until, 1);
  c->rest_since_ns = LLM_FOREVER;
}

/* A rest that is told again while it lasts counts once. */
static void on_resting(Record *r, const llm_event *e, RecordClient *c) {
  if (c == NULL) return;
  int64_t until = llm_time_after(e->time_ns, e->span_ns);
  if (until == LLM_FOREVER) return;
  if (c->rest_until_ns <= e->time_ns) end_rest(r, e->time_ns, c);
  if (c->rest_since_ns == LLM_FOREVER) {
    c->rest_since_ns = e->time_ns;
    c->rest_until_ns = until;
  } else if (until > c->rest_until_ns) {
    c->rest_until_ns = until;
  }
}

/* Out of service, or its breaker is open: from the first word of it on. */
static void on_broken(const llm_event *e, RecordClient *c) {
  if (c && c->broken_since_ns == LLM_FOREVER) c->broken_since_ns = e->time_ns;
}

static void on_mended(Record *r, int64_t now_ns, RecordClient *c) {
  if (c == NULL || c->broken_since_ns == LLM_FOREVER) return;
  c->broken += add_span(r, c->broken_in, c->broken_since_ns, now_ns, 1);
  c->broken_since_ns = LLM_FOREVER;
}

static void log_event(Record *r, const RecordEvent *e) {
  if (r->log_count >= r->log_limit) return;
  if (r->log_count == r->log_size) {
    size_t size = r->log_size ? r->log_size * 2 : 1024;
    RecordEvent *log = realloc(r->log, size * sizeof *log);
    if (log == NULL) {
      r->out_of_memory = true;
      r->log_limit = r->log_count;
      return;
    }
    r->log = log;
    r->log_size = size;
  }
  r->log[r->log_count++] = *e;
}

static void enqueue(Record *r, const RecordEvent *e) {
  RecordQueue *q = &r->queue;
  if (q->ring == NULL) return;
  if (q->count == q->size) {
    r->dropped++;
    return;
  }
  q->ring[(q->first + q->count++) % q->size] = *e;
}

static void keep(Record *r, const llm_event *e, uint32_t model,
                 uint32_t client) {
  const RecordEvent event = {.time_ns = e->time_ns,
                             .span_ns = e->span_ns,
                             .ask = e->ask,
                             .client = client,
                             .model = (uint16_t)model,
                             .kind = (uint16_t)e->kind};
  log_event(r, &event);
  enqueue(r, &event);
}

/* Without the ask: those are numbered through the process. */
static void hash_event(Record *r, const llm_event *e, const RecordModel *m,
                       const RecordClient *c) {
  uint64_t names = (m ? m->hash : 1) ^ (c ? c->hash * 31 : 3);
  uint64_t hash = mix(r->hash, (uint64_t)e->time_ns);
  hash = mix(hash, (uint64_t)e->span_ns ^ (uint64_t)e->kind << 56);
  r->hash = mix(hash, names);
}

static void take(Record *r, const llm_event *e, uint32_t source) {
  uint32_t model = record_model_of(r, e->model, source);
  uint32_t client = record_client_of(r, e->client, model);
  RecordModel *m = model ? r->models[model - 1] : NULL;
  RecordClient *c = client ? r->clients[client - 1] : NULL;
  if (e->time_ns > r->last_ns) r->last_ns = e->time_ns;
  r->total++;
  if ((unsigned)e->kind < LLM_EV_COUNT) r->counts[e->kind]++;
  hash_event(r, e, m, c);
  keep(r, e, model, client);
  switch (e->kind) {
  case LLM_EV_QUEUED:
    if (m && record_line_join(r, e->ask, source, model))
      set_depth(r, m, m->depth + 1, e->time_ns);
    break;
  case LLM_EV_LENT: on_lent(r, e, m, c, source); break;
  case LLM_EV_RETURNED: on_returned(r, e, c); break;
  case LLM_EV_RESTING: on_resting(r, e, c); break;
  case LLM_EV_RESTED: end_rest(r, e->time_ns, c); break;
  case LLM_EV_DISABLED:
  case LLM_EV_OPENED: on_broken(e, c); break;
  case LLM_EV_ENABLED:
  case LLM_EV_HALF_OPEN:
  case LLM_EV_REPLACED:
  case LLM_EV_RETIRED: on_mended(r, e->time_ns, c); break;
  case LLM_EV_TIMEOUT:
  case LLM_EV_CANCELLED:
  case LLM_EV_REFUSED:
  case LLM_EV_QUEUE_FULL: on_left(r, e, source); break;
  default: break;
  }
}

/* ---- listening --------------------------------------------------------- */

/* Under the lock: events of one pool are taken in their order. */
static void drain(RecordSource *source) {
  Record *r = source->record;
  llm_event batch[BATCH];
  size_t n;
  while ((n = llm_listener_read(source->listener, batch, BATCH)) > 0)
    for (size_t i = 0; i < n; i++) take(r, &batch[i], source->number);
}

static bool is_filled(const RecordQueue *q) {
  return q->ring && q->count > q->size / 2;
}

static void on_bell(void *user) {
  RecordSource *source = user;
  Record *r = source->record;
  pthread_mutex_lock(&r->lock);
  drain(source);
  bool filled = is_filled(&r->queue);
  pthread_mutex_unlock(&r->lock);
  if (filled) r->queue.filled(r->queue.user);
}

static void drain_all(const Record *r) {
  for (RecordSource *s = r->sources; s; s = s->next) drain(s);
}

void record_drain(Record *r) {
  pthread_mutex_lock(&r->lock);
  drain_all(r);
  pthread_mutex_unlock(&r->lock);
}

/* ---- the queue --------------------------------------------------------- */

bool record_queue(Record *r, size_t size, void (*filled)(void *user),
                  void *user) {
  r->queue = (RecordQueue){.size = size, .filled = filled, .user = user};
  r->queue.ring = malloc(size * sizeof *r->queue.ring);
  return r->queue.ring != NULL;
}

static RecordTold told(const Record *r, const RecordEvent *e) {
  return (RecordTold){.time_ns = e->time_ns,
                      .span_ns = e->span_ns,
                      .ask = e->ask,
                      .model = e->model ? r->models[e->model - 1]->name : NULL,
                      .client =
                          e->client ? r->clients[e->client - 1]->name : NULL,
                      .kind = (llm_event_kind)e->kind};
}

size_t record_next(Record *r, RecordTold *out, size_t max) {
  RecordQueue *q = &r->queue;
  size_t n = 0;
  pthread_mutex_lock(&r->lock);
  if (!is_filled(q)) drain_all(r);
  for (; n < max && q->count > 0; n++, q->count--) {
    out[n] = told(r, &q->ring[q->first]);
    q->first = (q->first + 1) % q->size;
  }
  pthread_mutex_unlock(&r->lock);
  return n;
}

/* ---- watching ---------------------------------------------------------- */

/* Times of two clocks cannot lie on one axis: the first pool's counts. */
static bool is_wanted(const Record *r, const llm_pool *pool) {
  const RecordSource *s = r->sources;
  if (s && llm_pool_clock(pool) != llm_pool_clock(s->pool)) return false;
  while (s && s->pool != pool) s = s->next;
  return s == NULL;
}

/* Under the lock, so that nobody else watches it meanwhile. */
static bool watch(Record *r, llm_pool *pool) {
  RecordSource *source = calloc(1, sizeof *source);
  if (source == NULL) return false;
  source->record = r;
  source->pool = pool;
  source->listener = llm_pool_listen_at(pool, RING, BELL, on_bell, source);
  if (source->listener == NULL) {
    free(source);
    return false;
  }
  if (r->sources == NULL)
    r->start_ns = r->last_ns = llm_clock_now(llm_pool_clock(pool));
  source->number = ++r->source_count;
  source->next = r->sources;
  r->sources = source;
  return true;
}

bool record_watch(Record *r, llm_pool *pool) {
  pthread_mutex_lock(&r->lock);
  bool done = !is_wanted(r, pool) || watch(r, pool);
  pthread_mutex_unlock(&r->lock);
  return done;
}

/* A listener is closed without the lock: its bell may be ringing. */
void record_stop(Record *r) {
  record_drain(r);
  pthread_mutex_lock(&r->lock);
  RecordSource *s = r->sources;
  r->sources = NULL;
  pthread_mutex_unlock(&r->lock);
  while (s) {
    RecordSource *next = s->next;
    r->dropped += llm_listener_dropped(s->listener);
    llm_listener_close(s->listener);
    free(s);
    s = next;
  }
}

void record_close(Record *r, int64_t now_ns) {
  pthread_mutex_lock(&r->lock);
  if (now_ns > r->last_ns) r->last_ns = now_ns;
  for (uint32_t i = 0; i < r->model_count; i++)
    set_depth(r, r->models[i], r->models[i]->depth, r->last_ns);
  for (uint32_t i = 0; i < r->client_count; i++) {
    on_mended(r, r->last_ns, r->clients[i]);
    end_rest(r, r->last_ns, r->clients[i]);
  }
  pthread_mutex_unlock(&r->lock);
}

/* ---- making ------------------------------------------------------------ */

Record *record_new(size_t log_limit) {
  Record *r = calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  pthread_mutex_init(&r->lock, NULL);
  r->width_ns = WIDTH;
  r->log_limit = log_limit;
  return r;
}

void record_free(Record *r) {
  if (r == NULL) return;
  record_stop(r);
  for (uint32_t i = 0; i < r->model_count; i++) {
    free(r->models[i]->name);
    free(r->models[i]->wait);
    free(r->models[i]);
  }
  for (uint32_t i = 0; i < r->client_count; i++) {
    free(r->clients[i]->name);
    free(r->clients[i]);
  }
  free(r->models);
  free(r->clients);
  free(r->line.waits);
  free(r->index);
  free(r->log);
  free(r->queue.ring);
  pthread_mutex_destroy(&r->lock);
  free(r);
}
