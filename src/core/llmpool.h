/*
** llmpool.h - the one public header of the pool.
**
** A pool lends expensive LLM clients, one caller per client at a time. Two
** kinds of protection are kept apart: admission (who may hold a client, held
** for the whole lease) and a short lock around the collection of idle clients
** (held for a take or a return). User code - create, check, destroy, wake,
** poke, notify - never runs under a lock.
**
** What it does not do: it starts no thread, prints nothing, knows neither Lua
** nor an event loop, and never calls anything that may wait, except in the two
** functions that say so (llm_acquire, llm_pool_drain).
**
** Every function may be called from any thread unless it says otherwise. After
** a fork the child may use no pool of its parent: its locks may be held by
** threads that the child has not, and its leases are the parent's.
** Times are nanoseconds on the pool's clock; durations are nanoseconds.
*/
#ifndef LLMPOOL_H
#define LLMPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <atomic>
#define LLM_ATOMIC(type) std::atomic<type>
extern "C" {
#else
#include <stdatomic.h>
#include <stdbool.h>
#define LLM_ATOMIC(type) _Atomic(type)
#endif

#include "llmpool_limits.h"

#define LLM_FOREVER INT64_MAX /* a deadline or duration without end */
#define LLM_PRIORITIES 4      /* levels 0 (default) to 3, larger first */
#define LLM_TEXT 160          /* bytes of an error text kept, with its zero */

/* ---- errors ------------------------------------------------------------ */

/* name, message */
#define LLM_ERRORS(XX)                                            \
  XX(OK, "ok", "no error")                                        \
  XX(TIMEOUT, "timeout", "no client within the timeout")          \
  XX(CANCELLED, "cancelled", "the wait was cancelled")            \
  XX(CLOSED, "closed", "the pool is closed")                      \
  XX(QUEUE_FULL, "queue_full", "too many callers wait already")   \
  XX(RESTING, "resting", "every client rests")                    \
  XX(OUT_OF_SERVICE, "out_of_service", "no client is in service") \
  XX(EXCLUDED, "excluded", "every client is excluded")            \
  XX(CREATE_FAILED, "create_failed", "no client could be made")   \
  XX(UNKNOWN_MODEL, "unknown_model", "no such model")             \
  XX(UNKNOWN_CLIENT, "unknown_client", "no such client")          \
  XX(EXISTS, "exists", "the name is taken")                       \
  XX(INVALID, "invalid", "an argument is out of range")           \
  XX(STEPPED, "stepped", "the model's check or create needs Lua") \
  XX(NOMEM, "out_of_memory", "not enough memory")

#define XX(id, name, text) LLM_##id,
typedef enum llm_err { LLM_ERRORS(XX) LLM_ERR_COUNT } llm_err;
#undef XX

/* The kind's name ("queue_full") and a sentence; static strings. */
const char *llm_err_name(llm_err err);
const char *llm_err_text(llm_err err);

/* ---- clocks ------------------------------------------------------------ */

/*
** One clock for all waiting. `now` is monotonic nanoseconds. `ticks` is a
** cheap counter for stamps and durations inside statistics only (the CPU's
** invariant time-stamp counter where there is one); never for deadlines.
*/
typedef struct llm_clock llm_clock;

llm_clock *llm_clock_real(void);                   /* static, not counted */
llm_clock *llm_clock_manual_new(int64_t start_ns); /* NULL: no memory */
void llm_clock_manual_free(llm_clock *clock);      /* after its pools */
void llm_clock_manual_set(llm_clock *clock, int64_t now_ns); /* never back */
bool llm_clock_is_manual(const llm_clock *clock);
int64_t llm_clock_now(const llm_clock *clock);
uint64_t llm_clock_ticks(const llm_clock *clock);
int64_t llm_clock_ticks_to_ns(const llm_clock *clock, uint64_t ticks);

/* `start + duration`, saturating at LLM_FOREVER. */
int64_t llm_time_after(int64_t start_ns, int64_t duration_ns);

/* ---- what a pool is made of -------------------------------------------- */

typedef struct llm_pool llm_pool;   /* counted: llm_pool_ref, llm_pool_unref */
typedef struct llm_model llm_model; /* counted: llm_model_ref, _unref */
typedef struct llm_place llm_place; /* lives as long as its model */

/* Why a client is created; handed to create(). */
typedef enum llm_reason {
  LLM_FIRST,    /* the place never had an instance */
  LLM_SICK,     /* its check failed, or its user poisoned it */
  LLM_LIFETIME, /* older than max_lifetime */
  LLM_USES,     /* lent max_uses times */
  LLM_IDLE,     /* was destroyed after idle_timeout */
  LLM_REPLACED  /* replace_client or renew */
} llm_reason;
const char *llm_reason_name(llm_reason reason);

/* What a client is made from. The core copies `id`, owns `spec` from then on
** (freed by factory.free_spec, also when registration fails) and `instance`
** (destroyed by factory.destroy). instance NULL: the place starts vacant and
** the first lend creates. Of several slots the first has the instance, unless
** it is the spec itself, which then serves all; several slots need a factory
** with ref_spec, or no spec. */
typedef struct llm_client_spec {
  const char *id; /* unique within the model; not empty */
  void *spec;
  void *instance;
  llm_limits limits;
} llm_client_spec;

/*
** How a model's clients are made, checked and destroyed. Any function may be
** NULL: no create means that the place's own spec serves as the instance; no
** check means always healthy. All run in the thread of the caller who needs
** them, holding a permit and no lock, and must honour the deadline.
** With `stepped` set the core calls neither create nor check: the owner of the
** lease does both by its own means between llm_lease_next and llm_lease_done.
** destroy and the free functions must not wait and may run in any thread.
*/
typedef struct llm_factory {
  void *user; /* first argument of all; freed by free_user with the model */
  /* Makes an instance. 0: made; else failed, with a text in `text`. */
  int (*create)(void *user, llm_place *place, llm_reason reason,
                int64_t deadline_ns, void **instance, char text[LLM_TEXT]);
  /* 0: healthy. */
  int (*check)(void *user, llm_place *place, int64_t deadline_ns);
  void (*destroy)(void *user, llm_place *place, void *instance);
  void (*free_spec)(void *user, void *spec);
  /* Counts one reference more to a spec, which free_spec then takes back; for
  ** llm_model_spec. Runs under a lock: it must only count. */
  void (*ref_spec)(void *user, void *spec);
  void (*free_user)(void *user);
  bool stepped;
  bool has_check; /* stepped: llm_lease_next may answer LLM_CHECK */
} llm_factory;

typedef enum llm_order { LLM_LIFO, LLM_FIFO } llm_order;

/* Always start from llm_options_init. Durations in ns; LLM_FOREVER: none. */
typedef struct llm_options {
  uint32_t max_waiting;      /* callers in line; UINT32_MAX: no limit */
  llm_order order;           /* which idle client is lent: newest (LIFO) */
  int64_t check_after_ns;    /* idle longer than this: check; 0: always */
  int64_t check_timeout_ns;  /* bound on one check */
  int64_t check_interval_ns; /* idle so long: checked in the background */
  int64_t create_timeout_ns; /* bound on one creation */
  uint32_t max_creates;      /* creations at a time */
  int64_t max_lifetime_ns;   /* +-10 % jitter, spaced by lifetime/clients */
  uint64_t max_uses;         /* lends; UINT64_MAX: no limit */
  int64_t idle_timeout_ns;   /* idle longer than this: destroyed */
  uint32_t min_idle;         /* idle_timeout leaves, and background refills */
  int64_t backoff_min_ns;    /* after a failed create; doubles */
  int64_t backoff_max_ns;
} llm_options;

/* no limits, LIFO, check_after 1 s, check and create timeouts 5 s and 30 s,
** max_creates 2, min_idle 0, backoff 0.1 s to 10 s */
void llm_options_init(llm_options *options);

/* ---- pool -------------------------------------------------------------- */

/* A pool on this clock (NULL: real). NULL: no memory. */
llm_pool *llm_pool_new(llm_clock *clock);
/* The pool of that name in this process, made by the first caller, on the
** real clock; a reference of the caller's own. */
llm_pool *llm_pool_open(const char *name);
const char *llm_pool_name(const llm_pool *pool); /* NULL: unnamed */
llm_pool *llm_pool_ref(llm_pool *pool);
/* The last reference closes the pool and frees it. */
void llm_pool_unref(llm_pool *pool);
llm_clock *llm_pool_clock(const llm_pool *pool);

/* Registers a model with n >= 1 clients. LLM_EXISTS: a model of that name is
** there; LLM_INVALID: an empty or double id (*bad is its index), n == 0, an
** empty name, or options out of range (*bad == n). What is handed over is the core's from
** here on: a failure has freed it all (also factory->user; destroy with place
** NULL), as do llm_model_add and llm_model_replace.
** On success *model, if not NULL, is a reference of the caller's. */
llm_err llm_pool_register(llm_pool *pool, const char *name,
                          const llm_client_spec *clients, size_t n,
                          const llm_options *options,
                          const llm_factory *factory, llm_model **model,
                          size_t *bad);
/* Its waiters end with LLM_CLOSED, idle clients are destroyed, lent ones when
** they come back. LLM_UNKNOWN_MODEL. */
llm_err llm_pool_unregister(llm_pool *pool, const char *name);
/* A reference of the caller's, or NULL. */
llm_model *llm_pool_model(llm_pool *pool, const char *name);
/* All models in order of registration, up to `max`, each with a reference of
** the caller's; returns how many there are. */
size_t llm_pool_models(llm_pool *pool, llm_model **models, size_t max);

/* No more lends: waiters end with LLM_CLOSED, idle clients are destroyed, lent
** ones when they come back. Closing twice is harmless. */
void llm_pool_close(llm_pool *pool);
bool llm_pool_is_closed(const llm_pool *pool);
/* Waits until nothing is lent or `deadline_ns` has passed; returns how many
** are still lent. Blocks this thread. */
size_t llm_pool_drain(llm_pool *pool, int64_t deadline_ns);
size_t llm_pool_lent(const llm_pool *pool);

/* ---- model and clients ------------------------------------------------- */

llm_model *llm_model_ref(llm_model *model);
void llm_model_unref(llm_model *model);
const char *llm_model_name(const llm_model *model);
llm_pool *llm_model_pool(const llm_model *model);
void *llm_model_user(const llm_model *model); /* factory.user */
const llm_options *llm_model_options(const llm_model *model);
bool llm_model_is_closed(const llm_model *model); /* or unregistered */
uint64_t llm_model_uid(const llm_model *model);   /* never used again */

llm_err llm_model_add(llm_model *model, const llm_client_spec *client);
/* The client leaves: at once if idle, else when its lease ends, with its own
** permit. */
llm_err llm_model_retire(llm_model *model, const char *id);
/* The client gets a new spec and new limits, in place, under the same permits;
** leases that are out finish on the old one. It is back in service if it was
** disabled, its breaker is closed; a rest goes on. */
llm_err llm_model_replace(llm_model *model, const llm_client_spec *client);
/* Every client of today is destroyed before it would be lent again. */
void llm_model_renew(llm_model *model);
/* Not lent before `until_ns`; the later of two instants holds. Works on idle
** and on lent clients. */
llm_err llm_model_cool_down(llm_model *model, const char *id, int64_t until_ns);
/* Out of service until it is replaced (LLM_FOREVER) or until then; `reason`, a
** few words that name no secret, is what asks are told that fail for it. When
** nothing is left that could ever serve, those in line fail at once. */
llm_err llm_model_disable(llm_model *model, const char *id, int64_t until_ns,
                          const char *reason);
void llm_model_pause(llm_model *model); /* callers queue, none is served */
void llm_model_resume(llm_model *model);
/* Anonymous capacity: lend at most n of the clients at a time, from now on. */
llm_err llm_model_limit(llm_model *model, uint32_t n);

/* The spec of that client now, with a reference of the caller's own, which goes
** back by factory.free_spec; NULL: no such client, or no ref_spec. */
void *llm_model_spec(llm_model *model, const char *id);

const char *llm_place_id(const llm_place *place);
llm_model *llm_place_model(const llm_place *place); /* borrowed */
void *llm_place_spec(const llm_place *place);
/* Only while the caller holds the lease or is in create, check, destroy. */
void *llm_place_instance(const llm_place *place);
/* Changes whenever the instance does; never repeats within the process. */
uint64_t llm_place_version(const llm_place *place);

/* ---- leases ------------------------------------------------------------ */

typedef struct llm_waiter llm_waiter;
typedef struct llm_lease llm_lease;

typedef enum llm_wait_state {
  LLM_W_INIT,
  LLM_W_QUEUED,
  LLM_W_GRANTED,
  LLM_W_TIMEDOUT,
  LLM_W_CANCELLED,
  LLM_W_CLOSED,
  LLM_W_LOST, /* another node of its group won; no wake */
  LLM_W_OUT,  /* no client can ever come */
  LLM_W_AGAIN /* look again: the clients have changed */
} llm_wait_state;

/*
** A caller in line, in memory of the caller's that must stay until the wait
** has ended (admission.h has the rules). wake is called once, by another's
** action, in any thread, with no lock held; it must not block.
*/
struct llm_waiter {
  llm_waiter *prev, *next; /* guarded by the semaphore's lock */
  struct llm_sem *sem;     /* where it is linked */
  struct llm_group *group; /* several models: shared winner; or NULL */
  int64_t deadline_ns;     /* when a granter may skip it */
  int64_t since_ns;        /* when it was queued */
  void (*wake)(llm_waiter *waiter);
  LLM_ATOMIC(uint32_t) state; /* an llm_wait_state */
  uint8_t priority;           /* 0 to LLM_PRIORITIES - 1 */
  bool came_back;             /* was granted, and is in line again */
};

/* Several models at once: one node each, one winner. */
struct llm_group {
  LLM_ATOMIC(llm_waiter *) winner; /* NULL: open; claimed by CAS */
  LLM_ATOMIC(uint32_t) open;       /* nodes that may still win */
};

/* What the owner of a lease has to do next. */
typedef enum llm_step {
  LLM_READY,  /* it holds lease->place */
  LLM_WAIT,   /* it is in line: park until wake, then llm_lease_next */
  LLM_CHECK,  /* check lease->place, then llm_lease_done */
  LLM_CREATE, /* create lease->place (lease->reason), then llm_lease_done */
  LLM_FAILED  /* lease->err says why; nothing is held */
} llm_step;

/* What a caller asks for. Zeroed: wait forever, no preference. */
typedef struct llm_ask {
  int64_t deadline_ns; /* 0: none; LLM_FOREVER too */
  /* Clients' ids: the first of them that is idle is taken, else any; these
  ** and the list must live until READY or FAILED. */
  const char *const *prefer;
  const char *const *exclude; /* ids of clients that it must not be */
  uint16_t n_prefer, n_exclude;
  uint64_t tokens; /* estimated, of the request; 0: unknown */
  uint8_t priority;
  bool now;    /* never wait: LLM_TIMEOUT instead of LLM_WAIT */
  uint8_t tag; /* 0 to 3: the caller's own, for who listens (llm_event.ask) */
} llm_ask;

/*
** One client in one caller's hands, from the question to the return; memory
** of the caller's, used by one thread at a time. Zeroed is an ended lease.
** Read place, model, reason, err; leave the rest to the functions.
*/
struct llm_lease {
  llm_waiter waiter; /* the node for one model; first, so wake can cast */
  llm_model *model;  /* the model that lends; after READY the winner's */
  llm_place *place;  /* from CHECK, CREATE or READY on */
  llm_waiter *nodes; /* several models: the caller's nodes; else NULL */
  llm_model **models;
  void *blocked;       /* the thread that sleeps in llm_acquire, or NULL */
  uint64_t holding;    /* matches the place's while held */
  uint64_t lent_ticks; /* when it was lent */
  uint64_t tokens;     /* asked for; while held: what is reserved */
  int64_t retry_at_ns; /* with RESTING: when this ask could be served; or 0 */
  const char *const *prefer, *const *exclude;
  uint16_t n_prefer, n_exclude;
  uint32_t n_models;
  uint16_t flags;
  uint8_t step; /* an llm_step */
  uint8_t err;  /* an llm_err, with LLM_FAILED */
  uint8_t reason;
};

/* The short way: lends if a client is free and nothing has to be waited for,
** checked, created or done first. False: nothing has happened; begin says why.
** may_lend is a hint that it would, at a moment, for a load. */
bool llm_lease_try(llm_lease *lease, llm_model *model);
bool llm_model_may_lend(const llm_model *model);

/* Asks `model` for a client. wake belongs to the waiter of the lease. Never
** LLM_CHECK or LLM_CREATE for models that are not stepped: those are done
** inside (so begin and next may take as long as create and check take). */
llm_step llm_lease_begin(llm_lease *lease, llm_model *model, const llm_ask *ask,
                         void (*wake)(llm_waiter *));
/* The same for n models at once, tried in the order given. `models` and
** `nodes` (n of each) stay the caller's and must live until READY or FAILED
** and the group is closed, which these functions see to. */
llm_step llm_lease_begin_any(llm_lease *lease, llm_model **models,
                             llm_waiter *nodes, struct llm_group *group,
                             uint32_t n, const llm_ask *ask,
                             void (*wake)(llm_waiter *));
/* After the wake of an LLM_WAIT was consumed. */
llm_step llm_lease_next(llm_lease *lease);
/* After LLM_CHECK or LLM_CREATE: LLM_OK, or how it failed, with a text that
** later callers are told during the backoff. For a creation, `instance` is
** what was made (non-NULL) and `spec`, if not NULL, replaces the place's. */
llm_step llm_lease_done(llm_lease *lease, llm_err outcome, void *instance,
                        void *spec, const char *text);
/* The owner's own end of an LLM_WAIT, by timeout (LLM_TIMEOUT) or its own
** cancellation (LLM_CANCELLED). True: the wait is over, lease->err says how,
** no wake will come. False: a wake is due or has come; consume it, then call
** llm_lease_next, and llm_lease_return or llm_lease_abort as the case needs. */
bool llm_lease_withdraw(llm_lease *lease, llm_err why);
/* Ends a lease at CHECK, CREATE or READY that its owner does not want, or
** whose wake has been consumed; permit, create slot and place go back. */
void llm_lease_abort(llm_lease *lease);

typedef enum llm_return {
  LLM_KEEP,  /* the client is well */
  LLM_POISON /* destroy it; the next lend of its place creates */
} llm_return;

/* Returns the client. False: the lease had ended already (counted). */
bool llm_lease_return(llm_lease *lease, llm_return how);
/* Reports an outcome, once a request, while the lease is held: settles the
** reservation, tells the breaker, rests or disables the client. False: the
** lease has ended, and nothing was done. */
bool llm_lease_report(llm_lease *lease, const llm_outcome *outcome);
/* Whether it has reserved anything that can be settled. */
bool llm_lease_is_booked(const llm_lease *lease);
/* The tokens that the request really took, in place of those reserved; may be
** called again. False: the lease has ended. */
bool llm_lease_settle(llm_lease *lease, uint64_t tokens);
/* Nothing was sent: request and tokens go back. False: it has ended. */
bool llm_lease_refund(llm_lease *lease);

/* Counts a second return that cannot name its lease any more, to the model of
** that uid; nothing if it is gone. */
void llm_pool_double_return(llm_pool *pool, uint64_t model_uid);
bool llm_lease_is_held(const llm_lease *lease);
unsigned llm_lease_tag(const llm_lease *lease); /* its ask's */
bool llm_lease_is_background(const llm_lease *lease);
/* Counts a lease that nobody could reach any more, just before its return. */
void llm_lease_leaked(llm_lease *lease);

/* The whole checkout for a C caller: begin, wait, create and check. Blocks
** this thread. LLM_STEPPED: the model needs a Lua host for its create. */
llm_err llm_acquire(llm_lease *lease, llm_model *model, const llm_ask *ask);
llm_err llm_acquire_any(llm_lease *lease, llm_model **models, uint32_t n,
                        const llm_ask *ask);

/* ---- what is due ------------------------------------------------------- */

/* Does what is due by now (rests that end, idle expiry); returns the next due
** time or LLM_FOREVER. Acquire does this too; whoever sleeps with callers in
** line must wake by then and call it. Calls only destroy and wake. */
int64_t llm_pool_tick(llm_pool *pool);
int64_t llm_pool_due(const llm_pool *pool); /* one load */
/* The earliest end of a rest, which may serve a waiter; LLM_FOREVER: none. */
int64_t llm_pool_rest_due(const llm_pool *pool);
/* The same of those rests only that somebody in line waits for. */
int64_t llm_pool_serving_due(llm_pool *pool);
/* Checks who was idle for check_interval, and refills min_idle and what such a
** check found sick: LLM_CHECK or LLM_CREATE with a lease to be done and then
** returned, or LLM_FAILED when there is nothing to do (or it has failed: ask
** again). Takes a permit by try only, one client at a time. A model that is not
** stepped does it inside: LLM_READY, with a lease to be returned.
** Such leases are in no statistics of leases. */
llm_step llm_pool_background(llm_pool *pool, llm_lease *lease);
/* A tick has come by a model with check_interval or min_idle since the last
** take: whoever takes it is to call llm_pool_background until it fails. Any of
** the pool's users may; so it does not end with the one who registered. */
bool llm_pool_has_upkeep(const llm_pool *pool); /* one load */
bool llm_pool_take_upkeep(llm_pool *pool);

/* Somebody who sleeps and wants to be told (poke, any thread, no lock held,
** must not block) when the next due time moved earlier. */
typedef struct llm_sleeper {
  struct llm_sleeper *prev, *next; /* guarded by the pool's sleepers lock */
  void (*poke)(struct llm_sleeper *sleeper);
} llm_sleeper;
void llm_pool_sleeper_add(llm_pool *pool, llm_sleeper *sleeper);
/* No poke is running or will come once this has returned. */
void llm_pool_sleeper_remove(llm_pool *pool, llm_sleeper *sleeper);

/* Told once when nothing is lent any more (at once if nothing is): the wait
** of drain for those who cannot block. wake as of a waiter. */
bool llm_pool_drain_begin(llm_pool *pool, llm_waiter *waiter,
                          void (*wake)(llm_waiter *)); /* true: queued */
bool llm_pool_drain_withdraw(llm_pool *pool, llm_waiter *waiter);

/* ---- statistics -------------------------------------------------------- */

typedef struct llm_summary { /* of a histogram; ns, at most 6 % too large */
  uint64_t count;
  int64_t p50_ns, p95_ns, p99_ns, max_ns, mean_ns;
} llm_summary;

typedef struct llm_stats {     /* of a model, or of one client */
  uint64_t acquired, returned; /* leases that began and ended */
  uint64_t timeouts, cancelled, queue_full, rested, closed; /* refused asks */
  uint64_t created, create_failed, checked, check_failed;
  uint64_t replaced, retired, expired, leaked, double_returns;
  uint32_t keys; /* clients in service; in the next line, their slots */
  uint32_t clients, idle, lent, resting, vacant, waiting, limit;
  uint32_t max_waiting_seen;
  int64_t oldest_wait_ns;   /* how long the head of the line has waited */
  int64_t earliest_rest_ns; /* when the first resting is back; or FOREVER */
  llm_summary wait, hold;
  bool paused, closed_now;
} llm_stats;

/* Read without stopping anyone: each number is exact, the set is a moment's.
** acquired == returned + lent whenever nothing is in motion. */
void llm_model_stats(llm_model *model, llm_stats *stats);

typedef enum llm_place_state {
  LLM_P_IDLE,
  LLM_P_LENT,
  LLM_P_RESTING,
  LLM_P_VACANT,
  LLM_P_BUSY, /* being created, checked or destroyed */
  LLM_P_RETIRED,
  LLM_P_DISABLED, /* these three: of clients only */
  LLM_P_OPEN,     /* its breaker is */
  LLM_P_HALF_OPEN /* one probe at a time */
} llm_place_state;
const char *llm_place_state_name(llm_place_state state);

typedef struct llm_client_stats {
  const char *id;        /* lives as long as the model */
  llm_place_state state; /* several slots: idle or vacant if one of them is */
  uint64_t version;      /* of the first slot */
  uint64_t acquired, returned, checked, check_failed, created, replaced;
  uint64_t leaked;
  uint32_t slots, lent, busy; /* slots in service; of these lent, and busy */
  int64_t held_ns;            /* lent: for how long now, the longest */
  int64_t rest_until_ns;      /* until when it is not lent; 0: it may be now */
  bool has_breaker;
  llm_breaker_state breaker;
  double rpm, tpm;           /* its limits; 0: none */
  double rpm_left, tpm_left; /* in its buckets; below 0: what it owes */
  uint64_t outcomes, errors; /* reported */
  double error_rate;         /* of late; 0 to 1 */
  int64_t latency_ns;        /* of late, peaks at once; 0: unknown */
  int64_t first_ns;          /* the same, until the first token */
  llm_summary hold;
  char last_error[LLM_TEXT];
} llm_client_stats;

/* The clients in order of registration, up to max; returns how many. */
size_t llm_model_clients(llm_model *model, llm_client_stats *out, size_t max);

#include "llmpool_peek.h"

/* Why a lease FAILED, with the numbers of that moment for its message. The
** caller needs references of the models it asked until it has read this. */
typedef struct llm_failure {
  llm_err err;
  const char *model; /* the first asked for; lives as long as the model */
  uint32_t waiting, idle, lent, resting, clients;
  bool paused;
  int64_t waited_ns;
  int64_t retry_at_ns; /* resting, create_failed, out_of_service; or FOREVER */
  char text[LLM_TEXT]; /* create_failed: the creator's own words;
                       ** out_of_service: each client's id and reason */
} llm_failure;
void llm_lease_failure(const llm_lease *lease, llm_failure *failure);

/* ---- events ------------------------------------------------------------ */

/* clang-format off */
#define LLM_EVENTS(XX)                                                       \
  XX(QUEUED, "queued") XX(LENT, "lent") XX(RETURNED, "returned")             \
  XX(TIMEOUT, "timeout") XX(CANCELLED, "cancelled")                          \
  XX(QUEUE_FULL, "queue_full") XX(REFUSED, "refused") XX(RESTING, "resting") \
  XX(RESTED, "rested") XX(CREATED, "created")                                \
  XX(CREATE_FAILED, "create_failed") XX(CHECK_FAILED, "check_failed")        \
  XX(REPLACED, "replaced") XX(ADDED, "added") XX(RETIRED, "retired")         \
  XX(EXPIRED, "expired") XX(LEAKED, "leaked") XX(PAUSED, "paused")           \
  XX(RESUMED, "resumed") XX(REGISTERED, "registered")                        \
  XX(UNREGISTERED, "unregistered") XX(CLOSED, "closed")                      \
  XX(DISABLED, "disabled") XX(ENABLED, "enabled") XX(OPENED, "opened")       \
  XX(HALF_OPEN, "half_open")
/* clang-format on */

#define LLM_TAG_SHIFT 62
#define XX(id, name) LLM_EV_##id,
typedef enum llm_event_kind { LLM_EVENTS(XX) LLM_EV_COUNT } llm_event_kind;
#undef XX
const char *llm_event_name(llm_event_kind kind);

typedef struct llm_event {
  uint64_t seq;    /* taken under the lock of the change: a total order */
  int64_t time_ns; /* on the pool's clock */
  uint64_t ask;    /* the same for queued, lent, returned of one lease; or 0;
                   ** above LLM_TAG_SHIFT it has the ask's tag */
  int64_t span_ns; /* lent: waited; returned: held; resting, disabled, opened:
                   ** for how long (LLM_FOREVER: no end); or 0 */
  const char *model, *client; /* live as long as the pool; or NULL; closed with
                              ** a client: its breaker is */
  llm_event_kind kind;
  llm_reason reason; /* created, replaced */
} llm_event;

typedef struct llm_listener llm_listener;
/* Records into a ring of `capacity` events; when it is full the newest are
** dropped and counted. notify (may be NULL; any thread, no lock held, must not
** block) tells that the ring is no longer empty. NULL: no memory. */
llm_listener *llm_pool_listen(llm_pool *pool, size_t capacity,
                              void (*notify)(void *user), void *user);
/* The same, but notify tells that `bell` events are there (1: as above), for a
** listener that takes them in batches; there is room for more meanwhile. */
llm_listener *llm_pool_listen_at(llm_pool *pool, size_t capacity, size_t bell,
                                 void (*notify)(void *user), void *user);
size_t llm_listener_read(llm_listener *listener, llm_event *out, size_t max);
uint64_t llm_listener_dropped(const llm_listener *listener);
/* No notify is running or will come once this has returned. */
void llm_listener_close(llm_listener *listener);

#ifdef __cplusplus
}
#endif
#endif
