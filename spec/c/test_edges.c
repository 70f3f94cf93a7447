/*
** test_edges.c - the edges of admission and pool: each test here fails if one
** condition, one step back or one note of the core is turned round, which no
** other test would notice. They came out of mutation testing, and are ordered
** by the file that they hold.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "callers.h"
#include "keyed.h"

/* ---- admission: who came back ------------------------------------------ */

/* Both came without a wait, and go to the line at the same moment. */
static void test_two_who_come_back_at_once_keep_their_order(void **state) {
  (void)state;
  llm_sem sem;
  caller c[2];
  llm_sem_init(&sem, 2, UINT32_MAX, rig.clock);
  callers_reset();
  callers_init(c, 2);
  for (int i = 0; i < 2; i++)
    assert_int_equal(llm_sem_begin(&sem, &c[i].waiter), LLM_BEGUN_GRANTED);
  for (int i = 0; i < 2; i++)
    assert_int_equal(llm_sem_requeue(&sem, &c[i].waiter), LLM_BEGUN_QUEUED);
  assert_true(llm_sem_grow(&sem, 1));
  ASSERT_WOKEN(0);
  assert_true(llm_sem_grow(&sem, 1));
  ASSERT_WOKEN(0, 1);
  llm_sem_destroy(&sem);
}

/* A node of a group that stood behind somebody is not before it again. */
static void test_a_group_comes_back_to_where_it_stood(void **state) {
  (void)state;
  llm_sem sem;
  caller first, node;
  struct llm_group group;
  llm_sem_init(&sem, 0, UINT32_MAX, rig.clock);
  callers_reset();
  caller_init(&first, 0, LLM_FOREVER, 0);
  caller_init(&node, 1, LLM_FOREVER, 0);
  callers_queue(&sem, &first, 1);
  llm_group_init(&group);
  node.waiter.group = &group;
  node.waiter.since_ns = in(1);
  assert_int_equal(llm_sem_rejoin(&sem, &node.waiter), LLM_BEGUN_QUEUED);
  assert_true(llm_group_seal(&group, &node.waiter, 1));
  assert_true(llm_sem_grow(&sem, 1));
  ASSERT_WOKEN(0);
  assert_true(llm_sem_grow(&sem, 1));
  ASSERT_WOKEN(0, 1);
  llm_sem_destroy(&sem);
}

/* Nothing is in line, and no wake is due: the owner's own end says so. */
static void test_a_seal_that_finds_nothing_ends_the_group(void **state) {
  (void)state;
  llm_sem sem;
  caller node;
  struct llm_group group;
  llm_sem_init(&sem, 0, UINT32_MAX, rig.clock);
  callers_reset();
  caller_init(&node, 0, LLM_FOREVER, 0);
  assert_true(llm_sem_close(&sem));
  llm_group_init(&group);
  node.waiter.group = &group;
  assert_int_equal(llm_sem_begin(&sem, &node.waiter), LLM_BEGUN_CLOSED);
  assert_false(llm_group_seal(&group, &node.waiter, 1));
  assert_ptr_equal(atomic_load(&group.winner), &node.waiter);
  assert_nobody_woken();
  llm_sem_destroy(&sem);
}

/* ---- lease: what is given up ------------------------------------------- */

static void test_a_granted_slot_is_given_back(void **state) {
  (void)state;
  asker a, b, c;
  register_vacant(3);
  assert_int_equal(ask(&a, SECOND), LLM_CREATE);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  llm_lease_abort(&a.lease);
  assert_int_equal(b.wakes, 1);
  llm_lease_abort(&b.lease); /* its wake has come, and nobody wants it */
  assert_int_equal(ask(&c, SECOND), LLM_CREATE);
  llm_lease_abort(&c.lease);
}

static void test_a_step_given_up_costs_no_request(void **state) {
  (void)state;
  asker a;
  rig.factory.stepped = true;
  register_one((llm_limits){.rpm = 60, .rpm_burst = 2});
  assert_int_equal(ask(&a, SECOND), LLM_CREATE);
  assert_true(of("c1").rpm_left == 1);
  llm_lease_abort(&a.lease);
  assert_true(of("c1").rpm_left == 2);
}

/* ---- settle: who is told ----------------------------------------------- */

/* The place was not given, but what its caller had is. */
static void test_a_failed_creation_is_told_to_those_aside(void **state) {
  (void)state;
  asker maker, aside;
  rig.options.backoff_min_ns = 0;
  register_vacant(2);
  assert_int_equal(ask_for_id(&maker, "c2"), LLM_CREATE);
  assert_int_equal(ask_without_c1(&aside), LLM_WAIT);
  assert_failed(
      llm_lease_done(&maker.lease, LLM_CREATE_FAILED, NULL, NULL, "no"), &maker,
      CREATE_FAILED);
  assert_int_equal(wake_up(&aside), LLM_CREATE);
  assert_string_equal(llm_place_id(aside.lease.place), "c2");
  llm_lease_abort(&aside.lease);
}

static void test_a_rest_that_ends_is_no_reason_to_create(void **state) {
  (void)state;
  asker a, b;
  register_vacant(3);
  assert_int_equal(ask_for_id(&a, "c1"), LLM_CREATE);
  assert_int_equal(created(&a), LLM_READY);
  give_back(&a);
  assert_int_equal(llm_model_cool_down(rig.model, "c1", in(SECOND)), LLM_OK);
  assert_int_equal(ask(&a, 9 * SECOND), LLM_CREATE);
  assert_int_equal(ask(&b, 9 * SECOND), LLM_WAIT);
  pass(SECOND);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c1");
  give_back(&b);
  llm_lease_abort(&a.lease);
}

/* Back from a lease into a rest, it has been idle only since then. */
static void test_a_return_into_a_rest_is_a_use(void **state) {
  (void)state;
  asker a, b, d;
  rig.options.idle_timeout_ns = 25 * SECOND;
  register_one((llm_limits){.slots = 3, .rpm = 60, .rpm_burst = 2});
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ask(&a, SECOND), LLM_READY);
    assert_int_equal(ask(&b, SECOND), LLM_READY);
    if (i == 1) assert_int_equal(ask(&d, 60 * SECOND), LLM_WAIT); /* short */
    give_back(&a);
    give_back(&b);
    if (i == 0) pass(20 * SECOND);
  }
  assert_int_equal(rig_stats(rig.model).resting, 3);
  pass(SECOND + 1);
  assert_int_equal(wake_up(&d), LLM_READY);
  pass(6 * SECOND);
  assert_int_equal(rig_stats(rig.model).expired, 0);
  give_back(&d);
}

/* ---- checkout ---------------------------------------------------------- */

static void test_the_gate_is_shut_no_longer_than_it_may(void **state) {
  (void)state;
  static const int64_t spans[] = {2, 4, 5, 5};
  asker a;
  rig.options.backoff_min_ns = 2 * SECOND;
  rig.options.backoff_max_ns = 5 * SECOND;
  rig.vacant = true;
  rig.remote.fail_creates = 4;
  rig_register("m", 1);
  for (int i = 0; i < 4; i++) {
    assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
    assert_int_equal(rig.remote.creates, i + 1);
    rig_pass(spans[i] * SECOND - 1);
    assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
    assert_int_equal(rig.remote.creates, i + 1);
    rig_pass(1);
  }
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  give_back(&a);
}

/* Whoever prefers a client would rather create it than take another. */
static void test_who_prefers_another_is_not_nudged(void **state) {
  (void)state;
  asker held, maker, first, second;
  register_vacant(4);
  assert_int_equal(ask_for_id(&held, "c1"), LLM_CREATE);
  assert_int_equal(created(&held), LLM_READY);
  assert_int_equal(ask_for_id(&maker, "c2"), LLM_CREATE);
  assert_int_equal(ask_for_id(&first, "c3"), LLM_WAIT);
  assert_int_equal(ask(&second, SECOND), LLM_WAIT);
  give_back(&held);
  assert_int_equal(first.wakes, 0);
  assert_int_equal(wake_up(&second), LLM_READY);
  give_back(&second);
  llm_lease_abort(&maker.lease);
  assert_int_equal(wake_up(&first), LLM_CREATE);
  llm_lease_abort(&first.lease);
}

/* Two came at the same moment, were nudged in vain, and come back the other
** way round. */
static void test_nudged_in_vain_they_stand_as_they_came(void **state) {
  (void)state;
  asker held[2], quick[2], maker, first, second;
  rig.factory.stepped = rig.vacant = true;
  rig.options.max_creates = 1;
  rig_register("m", 5);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ask(&held[i], SECOND), LLM_CREATE);
    assert_int_equal(created(&held[i]), LLM_READY);
  }
  assert_int_equal(ask(&maker, SECOND), LLM_CREATE);
  assert_int_equal(ask(&first, SECOND), LLM_WAIT);
  assert_int_equal(ask(&second, SECOND), LLM_WAIT);
  for (int i = 0; i < 2; i++) give_back(&held[i]);
  for (int i = 0; i < 2; i++)
    assert_int_equal(ask(&quick[i], SECOND), LLM_READY);
  assert_int_equal(wake_up(&second), LLM_WAIT);
  assert_int_equal(wake_up(&first), LLM_WAIT);
  llm_lease_abort(&maker.lease);
  assert_int_equal(second.wakes, 0);
  assert_int_equal(wake_up(&first), LLM_CREATE);
  llm_lease_abort(&first.lease);
  assert_int_equal(wake_up(&second), LLM_CREATE);
  llm_lease_abort(&second.lease);
  for (int i = 0; i < 2; i++) give_back(&quick[i]);
}

static void (*destroy_it)(void *user, llm_place *place, void *instance);
static asker meanwhile;

static void ask_meanwhile(void *user, llm_place *place, void *instance) {
  destroy_it(user, place, instance);
  if (meanwhile.lease.step == LLM_FAILED) return;
  assert_int_equal(ask_now(&meanwhile, 0), LLM_FAILED);
}

/* One slot's client is destroyed, without the lock; the other slot is vacant,
** and about to leave. */
static void test_nothing_is_made_where_a_client_retires(void **state) {
  (void)state;
  destroy_it = rig.factory.destroy;
  rig.factory.destroy = ask_meanwhile;
  memset(&meanwhile, 0, sizeof meanwhile);
  register_one((llm_limits){.slots = 2});
  request("c1", LLM_OUTCOME_SUCCESS);
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  assert_int_equal(meanwhile.lease.step, LLM_FAILED);
  assert_int_equal(rig.remote.creates, 1);
}

static void test_the_earliest_of_two_is_told(void **state) {
  (void)state;
  register_two((llm_limits){.rpm = 60, .rpm_burst = 1},
               (llm_limits){.rpm = 6, .rpm_burst = 1});
  request("c1", LLM_OUTCOME_SUCCESS);
  request("c2", LLM_OUTCOME_SUCCESS);
  assert_refused(LLM_RESTING, in(SECOND + 1));
}

/* ---- place, service, pool ---------------------------------------------- */

/* A tenth more or less, so that not all are made anew in the same moment. */
static void test_lifetimes_are_shorter_and_longer(void **state) {
  (void)state;
  int shorter = 0, longer = 0;
  rig.options.max_lifetime_ns = 100 * SECOND;
  rig_register("m", 20);
  uint64_t now = llm_ticks(rig.clock);
  uint64_t least = llm_clock_ns_to_ticks(rig.clock, 90 * SECOND - 1);
  uint64_t mean = llm_clock_ns_to_ticks(rig.clock, 100 * SECOND);
  uint64_t most = llm_clock_ns_to_ticks(rig.clock, 110 * SECOND + 1);
  for (llm_key *key = rig.model->first; key != NULL; key = key->next) {
    uint64_t span = key->slots->dies_ticks - now;
    assert_in_range(span, least, most);
    shorter += span < mean;
    longer += span > mean;
  }
  assert_true(shorter > 0 && longer > 0);
}

static void test_a_rest_without_end_is_told_to_the_line(void **state) {
  (void)state;
  asker held, a;
  register_one((llm_limits){0});
  take(&held, "c1");
  assert_int_equal(ask(&a, SECOND), LLM_WAIT);
  assert_int_equal(llm_model_cool_down(rig.model, "c1", LLM_FOREVER), LLM_OK);
  assert_failed(wake_up(&a), &a, OUT_OF_SERVICE);
  give_back(&held);
}

static void test_a_vacant_client_that_is_replaced_counts(void **state) {
  (void)state;
  register_one((llm_limits){0});
  assert_int_equal(of("c1").state, LLM_P_VACANT);
  assert_int_equal(replace("c1", 1), LLM_OK);
  assert_int_equal(rig_stats(rig.model).replaced, 1);
  assert_int_equal(of("c1").replaced, 1);
}

static void test_a_drain_given_up_costs_nobody_anything(void **state) {
  (void)state;
  asker held, drain;
  register_one((llm_limits){0});
  take(&held, "c1");
  assert_true(llm_pool_drain_begin(rig.pool, &drain.lease.waiter, asker_wake));
  assert_true(llm_pool_wants(rig.pool, LLM_DRAINED));
  assert_true(llm_pool_drain_withdraw(rig.pool, &drain.lease.waiter));
  assert_false(llm_pool_wants(rig.pool, LLM_DRAINED)); /* returns are plain */
  give_back(&held);
}

/* The last user takes the name along. */
static void test_a_name_that_nobody_has_open_is_free(void **state) {
  (void)state;
  llm_pool *pool = llm_pool_open("edges");
  assert_non_null(pool);
  llm_pool_close(pool);
  llm_pool_unref(pool);
  pool = llm_pool_open("edges");
  assert_non_null(pool);
  assert_false(llm_pool_is_closed(pool));
  llm_pool_unref(pool);
}

/* ---- background -------------------------------------------------------- */

/* To be checked is not to be used: it expires as if it had been left alone. */
static void test_a_check_keeps_nobody_from_expiring(void **state) {
  (void)state;
  llm_lease lease;
  rig.options.check_interval_ns = 10 * SECOND;
  rig.options.idle_timeout_ns = 25 * SECOND;
  rig_register("m", 1);
  for (int i = 0; i < 2; i++) {
    pass(10 * SECOND);
    assert_int_equal(llm_pool_background(rig.pool, &lease), LLM_READY);
    assert_true(llm_lease_return(&lease, LLM_KEEP));
  }
  pass(5 * SECOND);
  assert_int_equal(rig_stats(rig.model).vacant, 1);
  assert_int_equal(rig_stats(rig.model).expired, 1);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_two_who_come_back_at_once_keep_their_order),
      TEST(test_a_group_comes_back_to_where_it_stood),
      TEST(test_a_seal_that_finds_nothing_ends_the_group),
      TEST(test_a_granted_slot_is_given_back),
      TEST(test_a_step_given_up_costs_no_request),
      TEST(test_a_failed_creation_is_told_to_those_aside),
      TEST(test_a_rest_that_ends_is_no_reason_to_create),
      TEST(test_a_return_into_a_rest_is_a_use),
      TEST(test_the_gate_is_shut_no_longer_than_it_may),
      TEST(test_who_prefers_another_is_not_nudged),
      TEST(test_nudged_in_vain_they_stand_as_they_came),
      TEST(test_nothing_is_made_where_a_client_retires),
      TEST(test_the_earliest_of_two_is_told),
      TEST(test_lifetimes_are_shorter_and_longer),
      TEST(test_a_rest_without_end_is_told_to_the_line),
      TEST(test_a_vacant_client_that_is_replaced_counts),
      TEST(test_a_drain_given_up_costs_nobody_anything),
      TEST(test_a_name_that_nobody_has_open_is_free),
      TEST(test_a_check_keeps_nobody_from_expiring),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
