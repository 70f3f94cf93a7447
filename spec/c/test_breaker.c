/*
** test_breaker.c - when a breaker opens, whom it lets through, and what it
** never takes. Exact, on the manual clock.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyed.h"

/* ---- the breaker ------------------------------------------------------- */

static void test_failures_open_it_and_a_probe_closes_it(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 2, .breaker = three});
  asker probe, b;
  fail_times(2);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
  fail_times(1);
  assert_int_equal(of("c1").breaker, LLM_B_OPEN);
  assert_int_equal(of("c1").state, LLM_P_OPEN);
  assert_refused(LLM_RESTING, in(30 * SECOND));
  pass(30 * SECOND - 1);
  assert_int_equal(of("c1").breaker, LLM_B_OPEN);
  pass(1);
  assert_int_equal(of("c1").breaker, LLM_B_HALF_OPEN);
  assert_int_equal(of("c1").state, LLM_P_HALF_OPEN);
  assert_int_equal(ask(&probe, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT); /* one probe at a time */
  report(&probe, LLM_OUTCOME_SUCCESS);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
  assert_int_equal(wake_up(&b), LLM_READY); /* the other slot */
  give_back(&probe);
  give_back(&b);
  assert_ledger(rig.model);
}

static void test_a_probe_that_fails_opens_it_for_twice_as_long(void **state) {
  (void)state;
  register_one((llm_limits){.breaker = three});
  static const int64_t spans[] = {30, 60, 100, 100};
  fail_times(3);
  for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
    assert_int_equal(of("c1").rest_until_ns, in(spans[i] * SECOND));
    pass(spans[i] * SECOND);
    fail_times(1);
  }
  pass(100 * SECOND);
  request("c1", LLM_OUTCOME_SUCCESS);
  fail_times(3);
  assert_int_equal(of("c1").rest_until_ns, in(30 * SECOND));
}

static void test_a_probe_without_a_report_is_followed_by_another(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 3, .breaker = three});
  asker a, b;
  fail_times(3);
  pass(30 * SECOND);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(ask_now(&a, 0), LLM_READY);
    assert_failed(ask_now(&b, 0), &b, TIMEOUT);
    give_back(&a);
    assert_int_equal(of("c1").breaker, LLM_B_HALF_OPEN);
  }
  assert_ledger(rig.model);
}

static void test_leases_from_before_it_opened_say_nothing(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 3, .breaker = three});
  asker old, probe;
  assert_int_equal(ask(&old, SECOND), LLM_READY);
  fail_times(3);
  report(&old, LLM_OUTCOME_SUCCESS);
  assert_int_equal(of("c1").breaker, LLM_B_OPEN);
  pass(30 * SECOND);
  report(&old, LLM_OUTCOME_FAILURE);
  assert_int_equal(of("c1").breaker, LLM_B_HALF_OPEN);
  assert_int_equal(ask(&probe, SECOND), LLM_READY);
  give_back(&old); /* not a second probe */
  asker c;
  assert_failed(ask_now(&c, 0), &c, TIMEOUT);
  report(&probe, LLM_OUTCOME_SUCCESS);
  give_back(&probe);
  assert_int_equal(ask_now(&c, 0), LLM_READY);
  give_back(&c);
}

/* All slots are lent when it opens: the first that is back is the probe. */
static void test_the_first_that_is_back_is_the_probe(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 2, .breaker = three});
  asker a, b, c;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  for (int i = 0; i < 3; i++) report(&a, LLM_OUTCOME_FAILURE);
  pass(31 * SECOND);
  give_back(&a);
  give_back(&b);
  assert_int_equal(rig_stats(rig.model).resting, 1);
  assert_int_equal(ask(&c, SECOND), LLM_READY);
  report(&c, LLM_OUTCOME_SUCCESS);
  assert_int_equal(rig_stats(rig.model).resting, 0);
  give_back(&c);
}

static void test_what_does_not_open_it(void **state) {
  (void)state;
  register_one((llm_limits){.breaker = three});
  fail_times(2);
  pass(10 * SECOND); /* they are out of the window */
  fail_times(2);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
  pass(10 * SECOND);
  for (int i = 0; i < 9; i++) { /* three of nine */
    request("c1", LLM_OUTCOME_SUCCESS);
    request("c1", LLM_OUTCOME_SUCCESS);
    fail_times(1);
  }
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
  pass(10 * SECOND);
  for (int i = 0; i < 3; i++) { /* every other one */
    request("c1", LLM_OUTCOME_SUCCESS);
    fail_times(1);
  }
  assert_int_equal(of("c1").breaker, LLM_B_OPEN);
}

static void test_the_last_of_several_stays(void **state) {
  (void)state;
  llm_limits l = {.breaker = three};
  register_two(l, l);
  fail_times(3);
  assert_int_equal(of("c1").breaker, LLM_B_OPEN);
  for (int i = 0; i < 9; i++) request("c2", LLM_OUTCOME_FAILURE);
  assert_int_equal(of("c2").breaker, LLM_B_CLOSED);
  pass(30 * SECOND);
  request("c1", LLM_OUTCOME_SUCCESS);
  for (int i = 0; i < 3; i++) request("c2", LLM_OUTCOME_FAILURE);
  assert_int_equal(of("c2").breaker, LLM_B_OPEN);
}

static void test_an_only_client_stays_if_it_is_told(void **state) {
  (void)state;
  llm_limits l = {.breaker = three};
  l.breaker.floor = LLM_FLOOR_ALWAYS;
  register_one(l);
  fail_times(9);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
}

static void test_without_the_floor_the_last_opens_too(void **state) {
  (void)state;
  llm_limits l = {.breaker = three};
  l.breaker.floor = LLM_FLOOR_NONE;
  register_two(l, l);
  fail_times(3);
  for (int i = 0; i < 3; i++) request("c2", LLM_OUTCOME_FAILURE);
  assert_int_equal(of("c2").breaker, LLM_B_OPEN);
  assert_refused(LLM_RESTING, in(30 * SECOND));
}

static void test_a_replacement_starts_closed(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 2, .breaker = three});
  fail_times(3);
  llm_client_spec client = {.id = "c1",
                            .limits = {.slots = 2, .breaker = three}};
  assert_int_equal(llm_model_replace(rig.model, &client), LLM_OK);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
  assert_int_equal(rig_stats(rig.model).resting, 0);
  fail_times(2);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_failures_open_it_and_a_probe_closes_it),
      TEST(test_a_probe_that_fails_opens_it_for_twice_as_long),
      TEST(test_a_probe_without_a_report_is_followed_by_another),
      TEST(test_leases_from_before_it_opened_say_nothing),
      TEST(test_the_first_that_is_back_is_the_probe),
      TEST(test_what_does_not_open_it),
      TEST(test_the_last_of_several_stays),
      TEST(test_an_only_client_stays_if_it_is_told),
      TEST(test_without_the_floor_the_last_opens_too),
      TEST(test_a_replacement_starts_closed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
