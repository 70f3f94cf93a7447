/*
** test_edges_aside.c - the same as test_edges.c, for those who wait aside or in
** several lines, and for clients at rest and behind a breaker.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyed.h"

/* ---- wait: a rest and a deadline --------------------------------------- */

static void test_a_rest_may_end_at_the_deadline(void **state) {
  (void)state;
  asker a;
  register_one((llm_limits){0});
  assert_int_equal(llm_model_cool_down(rig.model, "c1", in(SECOND)), LLM_OK);
  assert_failed(ask(&a, SECOND - 1), &a, RESTING);
  assert_int_equal(ask(&a, SECOND), LLM_WAIT);
  assert_true(llm_lease_withdraw(&a.lease, LLM_TIMEOUT));
}

/* ---- aside ------------------------------------------------------------- */

static void test_the_higher_level_is_handed_it(void **state) {
  (void)state;
  static const char *const c1[] = {"c1"};
  asker held, low, high;
  register_two((llm_limits){0}, (llm_limits){0});
  take(&held, "c2");
  assert_int_equal(ask_without_c1(&low), LLM_WAIT);
  assert_int_equal(ask_as(&high, rig.model,
                          &(llm_ask){.deadline_ns = in(SECOND),
                                     .priority = 1,
                                     .exclude = c1,
                                     .n_exclude = 1}),
                   LLM_WAIT);
  give_back(&held);
  assert_int_equal(low.wakes, 0);
  assert_int_equal(wake_up(&high), LLM_READY);
  give_back(&high);
  assert_int_equal(wake_up(&low), LLM_READY);
  give_back(&low);
}

static void test_a_handed_client_given_up_costs_no_request(void **state) {
  (void)state;
  asker held, a;
  register_two((llm_limits){0}, (llm_limits){.rpm = 60, .rpm_burst = 5});
  take(&held, "c2");
  assert_int_equal(ask_without_c1(&a), LLM_WAIT);
  give_back(&held);
  assert_int_equal(a.wakes, 1);
  assert_true(of("c2").rpm_left == 3);
  llm_lease_abort(&a.lease);
  assert_true(of("c2").rpm_left == 4);
}

/* They stepped aside one after the other, and look again the other way round,
** with no permit free: in line they stand as they came. */
static void test_those_aside_look_again_from_where_they_stood(void **state) {
  (void)state;
  static const llm_limits none[3];
  asker two, three_, one, a, b;
  register_with(3, none);
  take(&two, "c2");
  take(&three_, "c3");
  assert_int_equal(ask_without_c1(&a), LLM_WAIT);
  rig_pass(1);
  assert_int_equal(ask_without_c1(&b), LLM_WAIT);
  rig_pass(1);
  take(&one, "c1");
  llm_model_disable(rig.model, "c3", LLM_FOREVER, "401");
  assert_int_equal(wake_up(&b), LLM_WAIT);
  assert_int_equal(wake_up(&a), LLM_WAIT);
  give_back(&two);
  assert_int_equal(b.wakes, 0);
  assert_int_equal(wake_up(&a), LLM_READY);
  give_back(&a);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
  give_back(&one);
  give_back(&three_);
}

static void test_nobody_stands_aside_with_the_slot(void **state) {
  (void)state;
  asker maker, b, d;
  register_vacant(3);
  assert_int_equal(ask_for_id(&maker, "c2"), LLM_CREATE);
  assert_int_equal(ask_without_c1(&b), LLM_WAIT); /* for a slot, for c3 */
  assert_int_equal(llm_model_retire(rig.model, "c3"), LLM_OK);
  assert_int_equal(created(&maker), LLM_READY);
  assert_int_equal(wake_up(&b), LLM_WAIT); /* aside, for c2 */
  assert_int_equal(ask(&d, SECOND), LLM_CREATE);
  give_back(&maker);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
  llm_lease_abort(&d.lease);
}

/* ---- group ------------------------------------------------------------- */

static void test_a_model_named_twice_has_one_try(void **state) {
  (void)state;
  chooser c;
  rig.options.backoff_min_ns = 0;
  rig.remote.fail_creates = 1;
  rig.vacant = true;
  rig_register("m", 2);
  llm_model *models[] = {rig.model, rig.model};
  llm_ask how = {.deadline_ns = in(SECOND)};
  assert_failed(choose(&c, models, &how), &c.a, CREATE_FAILED);
  assert_int_equal(rig.remote.creates, 1);
}

/* A grant in vain, since the bucket was emptied meanwhile by what a lease that
** is out has used: it stands before those who came after it, as it did. */
static void test_granted_in_vain_a_group_stands_where_it_stood(void **state) {
  (void)state;
  asker out, later;
  chooser c;
  llm_model *other;
  llm_client_spec slow = {.id = "o", .limits = {.tpm = 60, .tpm_burst = 1000}};
  register_one((llm_limits){.slots = 2, .tpm = 6000, .tpm_burst = 1000});
  assert_int_equal(llm_pool_register(rig.pool, "n", &slow, 1, &rig.options,
                                     &rig.factory, &other, NULL),
                   LLM_OK);
  llm_ask all = {.tokens = 1000};
  llm_ask half = {.deadline_ns = in(999 * SECOND), .tokens = 500};
  assert_int_equal(ask_as(&out, other, &all), LLM_READY);
  give_back(&out);
  assert_int_equal(ask_for(&out, 950, SECOND), LLM_READY);
  llm_model *models[] = {rig.model, other};
  assert_int_equal(choose(&c, models, &half), LLM_WAIT);
  assert_int_equal(ask_for(&later, 50, 999 * SECOND), LLM_WAIT);
  pass(5 * SECOND);
  assert_true(llm_lease_settle(&out.lease, 2000));
  assert_int_equal(wake_up(&c.a), LLM_WAIT);
  assert_int_equal(later.wakes, 0);
  pass(20 * SECOND);
  assert_int_equal(later.wakes, 0);
  assert_int_equal(wake_up(&c.a), LLM_READY);
  assert_held(&c.a, "c1");
  give_back(&c.a);
  give_back(&out);
  assert_int_equal(wake_up(&later), LLM_READY);
  give_back(&later);
  llm_model_unref(other);
}

/* ---- rest -------------------------------------------------------------- */

static void test_a_rest_is_over_at_its_end(void **state) {
  (void)state;
  register_one((llm_limits){0});
  assert_int_equal(llm_model_cool_down(rig.model, "c1", in(SECOND)), LLM_OK);
  pass(SECOND);
  assert_int_equal(llm_key_find(rig.model, "c1")->away, 0);
}

static void test_a_rest_is_told_once_for_all_slots(void **state) {
  (void)state;
  llm_event events[16];
  int resting = 0, rested = 0;
  register_one((llm_limits){.slots = 3});
  llm_listener *listener = llm_pool_listen(rig.pool, 16, NULL, NULL);
  assert_non_null(listener);
  assert_int_equal(llm_model_cool_down(rig.model, "c1", in(SECOND)), LLM_OK);
  pass(SECOND);
  size_t n = llm_listener_read(listener, events, 16);
  for (size_t i = 0; i < n; i++) {
    resting += events[i].kind == LLM_EV_RESTING;
    rested += events[i].kind == LLM_EV_RESTED;
  }
  assert_int_equal(resting, 1);
  assert_int_equal(rested, 1);
  llm_listener_close(listener);
}

/* ---- breaker and outcome ----------------------------------------------- */

static void test_as_many_successes_as_failures_open_it(void **state) {
  (void)state;
  register_one((llm_limits){.breaker = three});
  fail_times(1);
  for (int i = 0; i < 3; i++) request("c1", LLM_OUTCOME_SUCCESS);
  fail_times(2);
  assert_int_equal(of("c1").breaker, LLM_B_OPEN);
}

static void test_backing_off_has_an_end(void **state) {
  (void)state;
  static const int64_t spans[] = {1, 2, 4, 8, 16, 32, 60, 60};
  asker a;
  llm_outcome outcome = {.kind = LLM_OUTCOME_NONE,
                         .is_error = true,
                         .was_sent = true,
                         .backs_off = true};
  register_one((llm_limits){0});
  for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
    assert_int_equal(ask(&a, SECOND), LLM_READY);
    assert_true(llm_lease_report(&a.lease, &outcome));
    assert_int_equal(of("c1").rest_until_ns, in(spans[i] * SECOND));
    give_back(&a);
    pass(spans[i] * SECOND);
  }
  request("c1", LLM_OUTCOME_SUCCESS);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_true(llm_lease_report(&a.lease, &outcome));
  assert_int_equal(of("c1").rest_until_ns, in(SECOND));
  give_back(&a);
}

static void test_who_has_retired_is_nobody_to_fall_back_on(void **state) {
  (void)state;
  llm_limits l = {.breaker = three};
  l.breaker.floor = LLM_FLOOR_ALWAYS;
  register_two(l, l);
  assert_int_equal(llm_model_retire(rig.model, "c2"), LLM_OK);
  fail_times(3);
  assert_int_equal(of("c1").breaker, LLM_B_CLOSED);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_rest_may_end_at_the_deadline),
      TEST(test_the_higher_level_is_handed_it),
      TEST(test_a_handed_client_given_up_costs_no_request),
      TEST(test_those_aside_look_again_from_where_they_stood),
      TEST(test_nobody_stands_aside_with_the_slot),
      TEST(test_a_model_named_twice_has_one_try),
      TEST(test_granted_in_vain_a_group_stands_where_it_stood),
      TEST(test_a_rest_is_over_at_its_end),
      TEST(test_a_rest_is_told_once_for_all_slots),
      TEST(test_as_many_successes_as_failures_open_it),
      TEST(test_backing_off_has_an_end),
      TEST(test_who_has_retired_is_nobody_to_fall_back_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
