/*
** keyed.h - for the tests of clients with slots, limits and breakers: the
** rig's model "m" with clients "c1" to "c4", and short words.
*/
#ifndef KEYED_H
#define KEYED_H

#include "rig.h"

/* 3 failures in 10 s; open for 30 s, at most 100 s */
extern const llm_breaker three;

int64_t in(int64_t ns); /* from now */
void pass(int64_t ns);  /* and does what is due */
void register_with(int n, const llm_limits *limits);
void register_one(llm_limits limits);
void register_two(llm_limits first, llm_limits second);
/* A replacement with so many slots, and no limits. */
llm_err replace(const char *id, uint32_t slots);
llm_client_stats of(const char *id);

llm_step ask_for(asker *a, uint64_t tokens, int64_t timeout_ns);
llm_step ask_now(asker *a, uint64_t tokens);
void report(asker *a, int kind);
/* One request of the client `id`, which must be free. */
void request(const char *id, int kind);
void fail_times(int times); /* of c1 */
void assert_refused(llm_err err, int64_t retry_at_ns);

/* Waits of a minute: for another client than c1; rather for the client `id`,
** "c1" to "c4"; and for that one, which must be free. */
llm_step ask_without_c1(asker *a);
llm_step ask_for_id(asker *a, const char *id);
void take(asker *a, const char *id);
/* c1 to cn without instances, one creation at a time, by steps; and the end of
** such a creation. */
void register_vacant(int n);
llm_step created(asker *a);

/* An ask for two models. */
typedef struct chooser {
  struct llm_group group; /* first: the wake of a node leads here */
  asker a;
  llm_waiter nodes[2];
} chooser;
llm_step choose(chooser *c, llm_model **models, const llm_ask *how);

#endif
