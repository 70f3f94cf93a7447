/*
** model.h - the inside of a model and of its places.
**
** Every place is in one state, and each move is made under the model's one
** short lock (that of its idle list) together with the counters and the event
** of it. What the permits of admission must add up to is kept here too:
**
**   capacity = min(limit, in_service - away)
**   permits there are = capacity + owed   (plus what is just being added)
**
** `owed` are permits of clients that left while all permits were in somebody's
** hands; whoever has one too many pays: a return, a free permit, or a holder
** that finds nothing to take. So a holder finds an idle client or a vacant
** place, or it sees that something is owed. (Not llm_sem_shrink's debt: what
** is owed must change together with the lists, under one lock.)
*/
#ifndef LLM_MODEL_H
#define LLM_MODEL_H

#include "admission.h"
#include "clock.h"
#include "histogram.h"
#include "idle.h"
#include "key.h"
#include "llmpool.h"
#include "pool.h"

/* What waits for a place until it is back in nobody's hands. */
#define LLM_MARK_REST 1u    /* its key is away */
#define LLM_MARK_RETIRE 2u  /* leaves */
#define LLM_MARK_REPLACE 4u /* next_spec takes over */
#define LLM_MARK_CHECK 8u /* check it before the next lend, whatever its age */
#define LLM_MARK_LIMITED 16u /* its key has buckets; stays */
#define LLM_MARK_ENTER 32u   /* BUSY, to be settled by whoever marked it */
#define LLM_MARKS_AWAY (LLM_MARK_REST | LLM_MARK_RETIRE)

/* Guarded by the model's lock, where nothing else is said. */
struct llm_place {
  llm_link link;       /* in the idle list */
  uint64_t holder;     /* serial number of the lease that is out; 0: none */
  uint64_t dies_ticks; /* when it is older than max_lifetime */
  uint64_t uses;       /* lends of this instance */
  uint32_t generation; /* of the model when the instance was made */
  uint8_t state;       /* an llm_place_state */
  uint8_t marks;       /* LLM_MARK_* */
  uint8_t reason;      /* why the next instance is made */
  bool is_doomed;      /* its instance is to be destroyed */
  uint64_t lent_ticks;
  uint64_t proven_ticks; /* when it was last checked in the background */
  bool keeps_stamp;      /* and goes back to where it was in the idle list */

  llm_model *model; /* constant */
  llm_key *key;     /* constant once it is entered */
  void *instance;   /* the holder's, while it is out */
  void *spec;
  void *next_spec, *next_instance; /* LLM_MARK_REPLACE */
  _Atomic uint64_t version;
  struct llm_place *prev, *next; /* among the vacant, or the resting */
  struct llm_place *sibling;     /* the key's next slot */
  uint32_t jitter;               /* state of its random numbers */
};

typedef struct llm_counts {            /* of a model; see llm_stats */
  _Atomic uint64_t acquired, returned; /* written under the lock */
  _Atomic uint64_t timeouts, cancelled, queue_full, rested, closed;
  _Atomic uint64_t created, create_failed, checked, check_failed;
  _Atomic uint64_t replaced, retired, expired, leaked, double_returns;
} llm_counts;

struct llm_model {
  llm_sem sem; /* who may hold a client; free of the lock */

  llm_idle idle;               /* its lock guards all that is not constant */
  llm_pool *pool;              /* constant; held */
  llm_clock *clock;            /* constant */
  uint64_t check_from;         /* constant; idle so many ticks: check */
  uint64_t max_uses;           /* constant */
  uint64_t serial, serial_end; /* numbers for leases, taken in blocks */
  uint32_t generation;
  uint32_t owed;                /* permits that must go */
  _Atomic uint32_t aside_count; /* callers who stand aside; read anywhere */
  bool is_fifo;                 /* constant */
  bool is_closed;               /* closed or unregistered */
  _Atomic bool shows_closed;    /* the same, read anywhere */
  llm_counts counts;
  llm_histogram wait, hold;

  uint32_t in_service; /* places that are not retired */
  uint32_t away;       /* of these: no permit stands for them */
  uint32_t resting;    /* of these: at rest */
  uint32_t marked;     /* places out that will rest or retire */
  uint32_t vacant_count;
  uint32_t limit;
  uint32_t capacity;
  LLM_QUEUE(llm_place) vacant, at_rest;
  LLM_QUEUE(llm_waiter)
  aside;                 /* who waits for a client that it does not
                               ** exclude; see aside.c */
  llm_key *first, *last; /* all clients, in order of registration */
  llm_key **index;       /* by id; a power of two of buckets */
  uint32_t buckets, keys;
  bool is_limited;          /* a client has buckets, or had */
  uint64_t next_kill_ticks; /* no lifetime ends before it */
  /* constant; UINT64_MAX: none */
  uint64_t lifetime_ticks, idle_ticks, interval_ticks;
  bool is_refilling; /* something is done in the background */
  bool is_kept;      /* the pool has a reference */
  bool is_gone;      /* unregistered */

  llm_sem creates;       /* who may create */
  int64_t gate_until_ns; /* creations fail until then, with `error` */
  int64_t backoff_ns;
  char error[LLM_TEXT];

  _Atomic uint32_t refs;
  uint64_t uid; /* constant, as all below */
  const llm_name *name;
  llm_options options;
  llm_factory factory;
  int64_t due_ns, rest_due_ns;   /* guarded by the pool's lock */
  bool is_registered;            /* guarded by the pool's lock */
  struct llm_model *prev, *next; /* in the pool; guarded by its lock */
  struct llm_model *prev_alive, *next_alive; /* see model.c */
};

/* Counters that are not on a lease's way. */
static inline void llm_count(_Atomic uint64_t *counter) {
  atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Leases that are out; exact under the lock. */
static inline uint64_t llm_model_lent(const llm_model *model) {
  return atomic_load_explicit(&model->counts.acquired, memory_order_relaxed) -
         atomic_load_explicit(&model->counts.returned, memory_order_relaxed);
}

/* Somebody waits for a client of it to come back. */
static inline bool llm_model_is_awaited(llm_model *model) {
  return llm_sem_waiting(&model->sem) > 0 ||
         atomic_load_explicit(&model->aside_count, memory_order_relaxed) > 0;
}

/* ---- model.c ----------------------------------------------------------- */

bool llm_options_are_valid(const llm_options *options);
/* Without places and permits, not yet known to its pool; factory and options
** are valid. NULL: no memory. */
llm_model *llm_model_new(llm_pool *pool, const char *name,
                         const llm_options *options, const llm_factory *factory,
                         uint32_t buckets);
/* Waiters end, idle clients are destroyed. Twice is harmless. */
void llm_model_close(llm_model *model);
/* A closed model is out of its pool when its last lease is back. */
void llm_model_leave_pool(llm_model *model);
/* After anything that may have ended the last lease. The caller's reference
** keeps the model alive. */
void llm_model_came_back(llm_model *model);
/* pool NULL: whatever the model's is. */
void llm_count_double_return(const llm_pool *pool, uint64_t uid);

/* ---- events ------------------------------------------------------------ */

/* Records a change, if somebody listens; under the lock. */
void llm_note_slow(llm_model *model, const llm_place *place, llm_event *event);

static inline void llm_note(llm_model *model, llm_event_kind kind,
                            const llm_place *place, uint64_t ask,
                            int64_t span_ns) {
  if (!llm_pool_wants(model->pool, LLM_LISTENED)) return;
  llm_event event = {.kind = kind, .ask = ask, .span_ns = span_ns};
  llm_note_slow(model, place, &event);
}

/* Leaves the lock, and tells those who listen. */
static inline void llm_model_leave(llm_model *model) {
  llm_pool *pool = model->pool;
  llm_idle_unlock(&model->idle);
  if (llm_pool_wants(pool, LLM_LISTENED)) llm_events_deliver(pool);
}

#endif
