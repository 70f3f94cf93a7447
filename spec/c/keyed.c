/*
** keyed.c - a model whose clients have limits, and short words for what the
** tests do with them.
*/
#include "keyed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

int64_t in(int64_t ns) { return llm_clock_now(rig.clock) + ns; }

static void ref_spec(void *user, void *spec) {
  (void)user;
  (void)spec;
}

/* A model of clients "c1" to "cn" without specs, with these limits each. */
void register_with(int n, const llm_limits *limits) {
  static const char *const ids[] = {"c1", "c2", "c3", "c4"};
  llm_client_spec clients[4];
  rig.factory.ref_spec = ref_spec;
  for (int i = 0; i < n; i++)
    clients[i] = (llm_client_spec){.id = ids[i], .limits = limits[i]};
  assert_int_equal(llm_pool_register(rig.pool, "m", clients, (size_t)n,
                                     &rig.options, &rig.factory, &rig.model,
                                     NULL),
                   LLM_OK);
}

void register_one(llm_limits limits) { register_with(1, &limits); }

void register_two(llm_limits first, llm_limits second) {
  llm_limits limits[] = {first, second};
  register_with(2, limits);
}

llm_step ask_for(asker *a, uint64_t tokens, int64_t timeout_ns) {
  llm_ask how = {.deadline_ns =
                     llm_time_after(llm_clock_now(rig.clock), timeout_ns),
                 .tokens = tokens};
  return ask_as(a, rig.model, &how);
}

llm_step ask_now(asker *a, uint64_t tokens) {
  llm_ask how = {.now = true, .tokens = tokens};
  return ask_as(a, rig.model, &how);
}

llm_client_stats of(const char *id) { return rig_stats_of(rig.model, id); }

void pass(int64_t ns) {
  rig_pass(ns);
  llm_pool_tick(rig.pool);
}

void report(asker *a, int kind) {
  llm_outcome outcome = {.kind = kind == LLM_OUTCOME_FAILURE
                                     ? LLM_OUTCOME_FAILURE
                                     : LLM_OUTCOME_SUCCESS,
                         .is_error = kind == LLM_OUTCOME_FAILURE,
                         .was_sent = true};
  assert_true(llm_lease_report(&a->lease, &outcome));
}

/* One request of the client `id`, if it must be that one. */
void request(const char *id, int kind) {
  asker a;
  const char *const ids[] = {id};
  llm_ask how = {.prefer = ids, .n_prefer = 1};
  assert_int_equal(ask_as(&a, rig.model, &how), LLM_READY);
  assert_held(&a, id);
  report(&a, kind);
  give_back(&a);
}

void assert_refused(llm_err err, int64_t retry_at_ns) {
  asker a;
  llm_failure failure;
  assert_int_equal(ask_now(&a, 0), LLM_FAILED);
  assert_int_equal(a.lease.err, err);
  llm_lease_failure(&a.lease, &failure);
  assert_int_equal(failure.retry_at_ns, retry_at_ns);
}

llm_err replace(const char *id, uint32_t slots) {
  llm_client_spec client = {.id = id, .limits = {.slots = slots}};
  return llm_model_replace(rig.model, &client);
}

static void wake_chooser(llm_waiter *waiter) {
  ((chooser *)(void *)waiter->group)->a.wakes++;
}

llm_step choose(chooser *c, llm_model **models, const llm_ask *how) {
  memset(c, 0, sizeof *c);
  return llm_lease_begin_any(&c->a.lease, models, c->nodes, &c->group, 2, how,
                             wake_chooser);
}

const llm_breaker three = {.failures = 3,
                           .window_ns = 10 * SECOND,
                           .open_ns = 30 * SECOND,
                           .max_open_ns = 100 * SECOND};

void fail_times(int times) {
  for (int i = 0; i < times; i++) request("c1", LLM_OUTCOME_FAILURE);
}

/* ---- short words for asks ---------------------------------------------- */

llm_step ask_without_c1(asker *a) {
  static const char *const c1[] = {"c1"};
  return ask_as(a, rig.model,
                &(llm_ask){.deadline_ns = in(60 * SECOND),
                           .exclude = c1,
                           .n_exclude = 1});
}

llm_step ask_for_id(asker *a, const char *id) {
  static const char *const ids[] = {"c1", "c2", "c3", "c4"}; /* a wait's too */
  return ask_as(a, rig.model,
                &(llm_ask){.deadline_ns = in(60 * SECOND),
                           .prefer = &ids[id[1] - '1'],
                           .n_prefer = 1});
}

void take(asker *a, const char *id) {
  assert_int_equal(ask_for_id(a, id), LLM_READY);
  assert_held(a, id);
}

/* c1 to cn without instances, one creation at a time, by steps. */
void register_vacant(int n) {
  const llm_limits none[4] = {{0}};
  rig.factory.stepped = true;
  rig.options.max_creates = 1;
  register_with(n, none);
}

llm_step created(asker *a) {
  return llm_lease_done(&a->lease, LLM_OK, rig_instance(), NULL, NULL);
}
