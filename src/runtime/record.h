/*
** record.h - what pools tell, kept: a hash, counts, and how busy who was when.
**
** One idea: a run of any length in memory of one size. Times lie in a fixed
** number of buckets whose width doubles when the run outgrows them; only a
** first part of the run, up to a limit, is kept event by event beside. The
** events come through listeners of the core's, in batches, so that recording
** costs a call a thousand events. Any thread may cause that: all is guarded by
** one lock. It draws nothing and knows no Lua.
*/
#ifndef LLMPOOL_RECORD_H
#define LLMPOOL_RECORD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/llmpool.h"
#include "meter.h"

#define RECORD_BUCKETS 512

typedef struct Record Record;
typedef struct RecordModel RecordModel;
typedef struct RecordClient RecordClient;

/* One event, kept. */
typedef struct RecordEvent {
  int64_t time_ns, span_ns;
  uint64_t ask;
  uint32_t client; /* index + 1; 0: none */
  uint16_t model;  /* index + 1; 0: none */
  uint16_t kind;   /* an llm_event_kind */
} RecordEvent;

struct RecordModel {
  char *name;      /* the record's own copy, as all names here */
  const char *key; /* the pool's, for comparison */
  uint64_t hash;
  Meter *wait;      /* seconds from question to lend */
  int64_t since_ns; /* when the depth changed last */
  double depth_sum; /* the area beneath, callers x seconds */
  uint32_t depth, deepest, source;
  double depth_area[RECORD_BUCKETS]; /* callers x seconds in line */
  uint32_t depth_max[RECORD_BUCKETS];
};

struct RecordClient {
  char *name;
  const char *key;
  uint64_t hash, lends;
  uint32_t model;
  double busy, rest, broken; /* seconds */
  int64_t rest_since_ns;     /* LLM_FOREVER: it does not rest */
  int64_t rest_until_ns;
  int64_t broken_since_ns; /* LLM_FOREVER: it is in service */
  double busy_in[RECORD_BUCKETS], rest_in[RECORD_BUCKETS]; /* seconds */
  double broken_in[RECORD_BUCKETS];
};

/* One event as it is handed on; the names live as long as the record. */
typedef struct RecordTold {
  int64_t time_ns, span_ns;
  uint64_t ask;
  const char *model, *client; /* or NULL */
  llm_event_kind kind;
} RecordTold;

typedef struct RecordSource RecordSource; /* a pool that is listened to */

/* Events for one reader, in a ring. */
typedef struct RecordQueue {
  RecordEvent *ring; /* NULL: nobody wants any */
  size_t first, count, size;
  void (*filled)(void *user);
  void *user;
} RecordQueue;

/* Who is in line, by ask: an open table, a power of two in size. */
typedef struct RecordLine {
  struct RecordWait {
    uint64_t ask; /* 0: empty */
    uint32_t source, model;
  } * waits;
  size_t count, size;
} RecordLine;

struct Record {
  pthread_mutex_t lock;
  RecordSource *sources;
  uint32_t source_count;
  RecordLine line;
  uint64_t hash;
  uint64_t counts[LLM_EV_COUNT];
  uint64_t total, dropped;
  uint32_t deepest; /* the most that were in line at once */
  Meter wait;       /* of all models */
  int64_t width_ns; /* of a bucket */
  int64_t start_ns, last_ns;
  RecordModel **models;
  uint32_t model_count, model_size;
  RecordClient **clients;
  uint32_t client_count, client_size;
  uint32_t *index; /* of the clients, by name: an open table */
  size_t index_size;
  RecordEvent *log;
  size_t log_count, log_size, log_limit;
  RecordQueue queue;
  bool out_of_memory; /* something could not be kept */
};

/* Keeps at most `log_limit` events one by one. NULL: no memory. */
Record *record_new(size_t log_limit);
void record_free(Record *record);
/* Listens to a pool from now on; twice is once. False: no memory. */
bool record_watch(Record *record, llm_pool *pool);
/* Keeps what comes in a queue as well, for record_next. Whoever causes an event
** while it is more than half full calls `filled`, without a lock; what there is
** no room for counts as dropped. Before anything is watched. False: no memory.
*/
bool record_queue(Record *record, size_t size, void (*filled)(void *user),
                  void *user);
/* The next of the queue, in the order of each pool; returns how many. */
size_t record_next(Record *record, RecordTold *out, size_t max);
/* Takes in what has been told so far. */
void record_drain(Record *record);
/* Drains, and listens no more. */
void record_stop(Record *record);
/* What happened elsewhere, for the hash. */
void record_mix(Record *record, uint64_t value);
/* Closes the areas at `now_ns`: what lasts until now counts until now. */
void record_close(Record *record, int64_t now_ns);

#endif
