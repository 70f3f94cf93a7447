/*
** rig.h - a pool on a manual clock with a factory under remote control, for
** the tests of the pool.
**
** One pool and one model at a time, in `rig`. The factory counts what it is
** asked and keeps its instances apart, so that a second destroy, a leak or too
** many at a time is noticed. Closing the rig asserts that the ledger closes
** and that everything made was destroyed.
*/
#ifndef RIG_H
#define RIG_H

#include "place.h"

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define RIG_START (100 * SECOND)

/* What the factory does, and what it was asked to do. */
typedef struct remote {
  int fail_creates, fail_checks;     /* that many of the next */
  bool makes_null;                   /* create succeeds without an instance */
  int64_t create_takes, check_takes; /* moves the clock */
  void (*during)(void *arg);         /* called inside create and check */
  void *arg;
  int creates, checks, destroys, live, most_live;
  int specs, users;        /* freed */
  int nested, most_nested; /* creations at the same time */
  llm_reason reason;
  int64_t deadline_ns;
} remote;

typedef struct rig_state {
  llm_clock *clock;
  llm_pool *pool;
  llm_model *model; /* of rig_register; a reference of the rig's */
  llm_options options;
  llm_factory factory;
  remote remote;
  int specs_made;
  bool vacant; /* rig_register hands over no instances */
} rig_state;

extern rig_state rig;

/* cmocka's setup and teardown. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* A model of clients "c1" to "cn" with rig.options and rig.factory. */
llm_model *rig_register(const char *name, int n);
llm_err rig_add(llm_model *model, const char *id);
llm_client_spec rig_client(const char *id, bool has_instance);
void *rig_instance(void);
void rig_pass(int64_t ns); /* moves the clock */
llm_stats rig_stats(llm_model *model);
llm_client_stats rig_stats_of(llm_model *model, const char *id);

/* A caller: a lease and the wakes that it got. */
typedef struct asker {
  llm_lease lease; /* first: a wake casts */
  int wakes;
} asker;

/* Asks rig.model; timeout LLM_FOREVER: none. */
llm_step ask(asker *a, int64_t timeout_ns);
llm_step ask_as(asker *a, llm_model *model, const llm_ask *how);
void asker_wake(llm_waiter *waiter);
/* Consumes the one wake that must have come; the next step. */
llm_step wake_up(asker *a);
void give_back(asker *a);
const char *held_id(const asker *a);

#define assert_held(a, id) assert_string_equal(held_id(a), id)
#define assert_failed(step, a, kind)              \
  do {                                            \
    assert_int_equal(step, LLM_FAILED);           \
    assert_int_equal((a)->lease.err, LLM_##kind); \
  } while (0)

/* acquired == returned + lent for the model and the sum of its clients, and
** the permits add up. Nothing may be in motion. */
void assert_ledger(llm_model *model);
/* The same, and nothing is lent and nobody waits. */
void assert_quiet(llm_model *model);

#endif
