/*
** test_limits.c - who waits for a bucket, and for how long; what is settled
** and what goes back. Exact, on the manual clock.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyed.h"

/* ---- buckets ----------------------------------------------------------- */

static void test_who_cannot_bear_the_request_rests_until_it_can(void **state) {
  (void)state;
  register_one((llm_limits){.rpm = 60, .rpm_burst = 2});
  asker a, b, c, late;
  assert_int_equal(ask_now(&a, 0), LLM_READY);
  give_back(&a);
  assert_int_equal(ask_now(&a, 0), LLM_READY);
  give_back(&a);
  int64_t from = in(SECOND + 1);
  assert_refused(LLM_RESTING, from);
  assert_int_equal(ask_for(&b, 0, 5 * SECOND), LLM_WAIT);
  assert_int_equal(ask_for(&c, 0, 5 * SECOND), LLM_WAIT);
  assert_int_equal(of("c1").state, LLM_P_RESTING);
  assert_int_equal(of("c1").rest_until_ns, from);
  assert_int_equal(llm_pool_rest_due(rig.pool), from);
  assert_failed(ask_for(&late, 0, SECOND / 2), &late, RESTING);
  pass(SECOND);
  assert_int_equal(b.wakes, 0);
  pass(1);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
  assert_int_equal(wake_up(&c), LLM_WAIT); /* the permit, but no request yet */
  pass(SECOND);
  pass(2);
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&c);
  assert_ledger(rig.model);
}

static void
test_nobody_gets_an_empty_client_while_another_is_free(void **state) {
  (void)state;
  register_two((llm_limits){.rpm = 60, .rpm_burst = 1},
               (llm_limits){.rpm = 60, .rpm_burst = 1});
  asker a, b, c;
  assert_int_equal(ask_now(&a, 0), LLM_READY);
  give_back(&a);
  assert_int_equal(ask_now(&b, 0), LLM_READY); /* LIFO would give the same */
  assert_true(strcmp(held_id(&b), of("c1").rpm_left < 1 ? "c1" : "c2") != 0 ||
              of("c2").rpm_left < 1);
  give_back(&b);
  assert_true(of("c1").rpm_left == 0 && of("c2").rpm_left == 0);
  assert_failed(ask_now(&c, 0), &c, RESTING);
}

/* FIFO: a small request does not get before a large one. */
static void test_the_line_keeps_its_order(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 2, .tpm = 6000, .tpm_burst = 1000});
  asker a, large, small;
  assert_int_equal(ask_for(&a, 900, SECOND), LLM_READY);
  assert_int_equal(ask_for(&large, 500, 60 * SECOND), LLM_WAIT);
  assert_int_equal(ask_for(&small, 50, 60 * SECOND), LLM_WAIT);
  assert_true(of("c1").tpm_left == 100);
  pass(4 * SECOND + 1000);
  assert_int_equal(wake_up(&large), LLM_READY);
  assert_int_equal(small.wakes, 0);
  give_back(&a); /* a slot, but 0 tokens */
  assert_int_equal(wake_up(&small), LLM_WAIT);
  pass(SECOND / 2 + 1000);
  assert_int_equal(wake_up(&small), LLM_READY);
  give_back(&large);
  give_back(&small);
  assert_ledger(rig.model);
}

/* It rests for what the first in line asks; when that one gives up, no longer
** than for the next. */
static void test_a_rest_is_no_longer_than_needed(void **state) {
  (void)state;
  register_one((llm_limits){.tpm = 6000, .tpm_burst = 1000});
  asker a, large, small;
  assert_int_equal(ask_for(&a, 900, SECOND), LLM_READY);
  give_back(&a);
  assert_int_equal(ask_for(&large, 1000, 60 * SECOND), LLM_WAIT);
  assert_int_equal(ask_for(&small, 90, 60 * SECOND), LLM_WAIT);
  assert_true(llm_lease_withdraw(&large.lease, LLM_CANCELLED));
  assert_int_equal(wake_up(&small), LLM_READY);
  give_back(&small);
  assert_int_equal(of("c1").state,
                   LLM_P_VACANT == of("c1").state ? LLM_P_VACANT : LLM_P_IDLE);
  assert_ledger(rig.model);
}

static void test_a_request_larger_than_the_bucket_is_served_once(void **state) {
  (void)state;
  register_one((llm_limits){.tpm = 6000, .tpm_burst = 1000});
  asker a, b;
  assert_int_equal(ask_for(&a, 3000, SECOND), LLM_READY);
  give_back(&a);
  assert_true(of("c1").tpm_left == -2000);
  assert_int_equal(ask_for(&b, 3000, 60 * SECOND), LLM_WAIT);
  pass(29 * SECOND);
  assert_int_equal(b.wakes, 0);
  pass(SECOND + 10000);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
}

static void test_a_reservation_is_settled(void **state) {
  (void)state;
  register_one((llm_limits){
      .slots = 3, .rpm = 60, .rpm_burst = 10, .tpm = 6000, .tpm_burst = 1000});
  asker a, b, c;
  assert_int_equal(ask_for(&a, 400, SECOND), LLM_READY);
  assert_true(llm_lease_settle(&a.lease, 700));
  assert_true(of("c1").tpm_left == 300);
  assert_true(llm_lease_settle(&a.lease, 100));
  assert_true(of("c1").tpm_left == 900);
  assert_true(of("c1").rpm_left == 9);
  assert_true(llm_lease_refund(&a.lease));
  assert_true(of("c1").tpm_left == 1000);
  assert_true(of("c1").rpm_left == 10);
  assert_true(llm_lease_refund(&a.lease)); /* once */
  assert_true(of("c1").rpm_left == 10);
  give_back(&a);
  assert_false(llm_lease_settle(&a.lease, 5));
  assert_false(llm_lease_refund(&a.lease));
  assert_int_equal(ask_for(&b, 1000, SECOND), LLM_READY);
  assert_int_equal(ask_for(&c, 500, 60 * SECOND), LLM_WAIT);
  assert_true(llm_lease_settle(&b.lease, 200)); /* what it gives back serves */
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&b);
  give_back(&c);
  assert_ledger(rig.model);
}

static void test_a_failed_create_gives_back_what_it_booked(void **state) {
  (void)state;
  rig.remote.fail_creates = 1;
  rig.options.backoff_min_ns = 0;
  register_one((llm_limits){.rpm = 60, .tpm = 600});
  asker a;
  assert_failed(ask_for(&a, 100, SECOND), &a, CREATE_FAILED);
  assert_true(of("c1").rpm_left == 60);
  assert_true(of("c1").tpm_left == 600);
}

static void test_several_models_go_on_to_one_that_can(void **state) {
  (void)state;
  register_one((llm_limits){.rpm = 60, .rpm_burst = 1});
  llm_client_spec other = {.id = "o"};
  llm_model *second;
  assert_int_equal(llm_pool_register(rig.pool, "n", &other, 1, &rig.options,
                                     &rig.factory, &second, NULL),
                   LLM_OK);
  chooser a, b;
  llm_model *models[] = {rig.model, second};
  llm_ask how = {.deadline_ns = in(10 * SECOND)};
  request("c1", LLM_OUTCOME_SUCCESS);
  assert_int_equal(choose(&a, models, &how), LLM_READY);
  assert_held(&a.a, "o");
  assert_int_equal(choose(&b, models, &how), LLM_WAIT);
  pass(SECOND + 1); /* in all lines: the bucket fills first */
  assert_int_equal(wake_up(&b.a), LLM_READY);
  assert_held(&b.a, "c1");
  give_back(&a.a);
  give_back(&b.a);
  llm_model_unref(second);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_who_cannot_bear_the_request_rests_until_it_can),
      TEST(test_nobody_gets_an_empty_client_while_another_is_free),
      TEST(test_the_line_keeps_its_order),
      TEST(test_a_rest_is_no_longer_than_needed),
      TEST(test_a_request_larger_than_the_bucket_is_served_once),
      TEST(test_a_reservation_is_settled),
      TEST(test_a_failed_create_gives_back_what_it_booked),
      TEST(test_several_models_go_on_to_one_that_can),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
