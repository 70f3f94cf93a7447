/*
** test_keys.c - clients with slots, and out of service: what is done to one
** is done to all its slots. Exact, on the manual clock.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyed.h"

/* ---- slots ------------------------------------------------------------- */

static void test_slots_are_places_of_one_client(void **state) {
  (void)state;
  register_two((llm_limits){.slots = 3}, (llm_limits){.slots = 1});
  asker a[4], b;
  assert_int_equal(rig_stats(rig.model).clients, 4);
  assert_int_equal(rig_stats(rig.model).keys, 2);
  for (int i = 0; i < 4; i++) assert_int_equal(ask(&a[i], SECOND), LLM_READY);
  assert_held(&a[0], "c1"); /* they are spread at first */
  assert_held(&a[1], "c2");
  assert_held(&a[2], "c1");
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(of("c1").slots, 3);
  assert_int_equal(of("c1").lent, 3);
  assert_int_equal(of("c1").state, LLM_P_LENT);
  assert_int_equal(of("c1").acquired, 3);
  give_back(&a[2]);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c1");
  give_back(&a[0]);
  assert_int_equal(of("c1").state,
                   LLM_P_VACANT == of("c1").state ? LLM_P_VACANT : LLM_P_IDLE);
  assert_ledger(rig.model);
  give_back(&b);
  give_back(&a[1]);
  give_back(&a[3]);
}

static void test_a_rest_is_of_all_slots(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 3});
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(llm_model_cool_down(rig.model, "c1", in(5 * SECOND)),
                   LLM_OK);
  assert_int_equal(rig_stats(rig.model).resting, 2);
  assert_int_equal(ask(&b, 10 * SECOND), LLM_WAIT);
  give_back(&a);
  assert_int_equal(b.wakes, 0);
  assert_int_equal(rig_stats(rig.model).resting, 3);
  assert_ledger(rig.model);
  pass(5 * SECOND);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_int_equal(rig_stats(rig.model).resting, 0);
  give_back(&b);
}

static void test_a_client_retires_with_all_slots(void **state) {
  (void)state;
  register_two((llm_limits){.slots = 2}, (llm_limits){0});
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_held(&a, "c1");
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  assert_int_equal(rig_stats(rig.model).clients, 2);
  give_back(&a);
  assert_int_equal(rig_stats(rig.model).clients, 1);
  assert_int_equal(rig_stats(rig.model).retired, 1);
  assert_int_equal(of("c1").state, LLM_P_RETIRED);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_held(&b, "c2");
  give_back(&b);
}

static void test_a_replacement_brings_its_own_slots(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 2});
  asker a[5], b;
  for (int i = 0; i < 2; i++) assert_int_equal(ask(&a[i], SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(replace("c1", 4), LLM_OK);
  assert_int_equal(rig_stats(rig.model).clients, 4);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_int_equal(replace("c1", 1), LLM_OK); /* the three go when they can */
  assert_int_equal(rig_stats(rig.model).clients, 3);
  give_back(&a[0]);
  give_back(&a[1]);
  give_back(&b);
  assert_int_equal(rig_stats(rig.model).clients, 1);
  assert_ledger(rig.model);
  assert_int_equal(ask(&a[0], SECOND), LLM_READY);
  assert_int_equal(ask(&a[1], SECOND), LLM_WAIT);
  assert_int_equal(replace("c1", 3), LLM_OK);
  assert_int_equal(wake_up(&a[1]), LLM_READY);
  give_back(&a[0]);
  give_back(&a[1]);
  assert_int_equal(rig_stats(rig.model).clients, 3);
}

static void test_a_client_that_left_comes_back_with_other_slots(void **state) {
  (void)state;
  register_one((llm_limits){.slots = 2});
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  llm_client_spec again = {.id = "c1", .limits = {.slots = 3}};
  assert_int_equal(llm_model_add(rig.model, &again), LLM_OK);
  assert_int_equal(llm_model_add(rig.model, &again), LLM_EXISTS);
  assert_int_equal(rig_stats(rig.model).clients, 3);
  give_back(&a);
  assert_int_equal(rig_stats(rig.model).clients, 3);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  give_back(&b);
  assert_int_equal(rig_stats(rig.model).keys, 1);
}

static void test_limits_that_are_refused(void **state) {
  (void)state;
  const llm_limits bad[] = {
      {.slots = 70000},
      {.rpm = -1},
      {.tpm = NAN},
      {.breaker = {.failures = 3}},
      {.breaker =
           {.failures = 2000, .window_ns = 1, .open_ns = 1, .max_open_ns = 1}},
      {.breaker = {
           .failures = 1, .window_ns = 1, .open_ns = 2, .max_open_ns = 1}}};
  register_one((llm_limits){0});
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    llm_client_spec client = {.id = "x", .limits = bad[i]};
    assert_int_equal(llm_model_add(rig.model, &client), LLM_INVALID);
  }
}

/* ---- out of service ---------------------------------------------------- */

static void test_a_disabled_client_is_out_until_it_is_replaced(void **state) {
  (void)state;
  register_two((llm_limits){0}, (llm_limits){0});
  asker a, b;
  assert_int_equal(llm_model_disable(rig.model, "c1", LLM_FOREVER, "401"),
                   LLM_OK);
  assert_int_equal(of("c1").state, LLM_P_DISABLED);
  assert_string_equal(of("c1").last_error, "401");
  assert_int_equal(of("c1").rest_until_ns, LLM_FOREVER);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_held(&a, "c2");
  assert_int_equal(ask(&b, 60 * SECOND), LLM_WAIT);
  pass(50 * SECOND);
  assert_int_equal(b.wakes, 0);
  assert_int_equal(replace("c1", 1), LLM_OK);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c1");
  give_back(&a);
  give_back(&b);
  assert_int_equal(llm_model_disable(rig.model, "x", LLM_FOREVER, "401"),
                   LLM_UNKNOWN_CLIENT);
}

static void test_those_in_line_fail_when_nothing_is_left(void **state) {
  (void)state;
  register_two((llm_limits){0}, (llm_limits){0});
  asker a, b, c;
  llm_failure failure;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_int_equal(ask(&c, LLM_FOREVER), LLM_WAIT);
  llm_outcome out = {.is_error = true,
                     .was_sent = true,
                     .disable_until_ns = LLM_FOREVER,
                     .reason = "401 wrong"};
  assert_true(llm_lease_report(&a.lease, &out));
  assert_int_equal(c.wakes, 0); /* c2 may come back */
  out.reason = "402 no credit";
  assert_true(llm_lease_report(&b.lease, &out));
  assert_failed(wake_up(&c), &c, OUT_OF_SERVICE);
  llm_lease_failure(&c.lease, &failure);
  const char *first = held_id(&a);
  assert_string_equal(failure.text, strcmp(first, "c1") == 0
                                        ? "c1: 401 wrong; c2: 402 no credit"
                                        : "c1: 402 no credit; c2: 401 wrong");
  give_back(&a);
  give_back(&b);
  assert_int_equal(rig_stats(rig.model).resting, 2);
  assert_refused(LLM_OUT_OF_SERVICE, LLM_FOREVER);
  assert_ledger(rig.model);
}

static void test_a_quota_comes_back_at_its_time(void **state) {
  (void)state;
  register_one((llm_limits){0});
  asker a, b;
  int64_t until = in(100 * SECOND);
  assert_int_equal(llm_model_disable(rig.model, "c1", until, "quota"), LLM_OK);
  assert_refused(LLM_OUT_OF_SERVICE, until);
  assert_failed(ask(&a, 99 * SECOND), &a, OUT_OF_SERVICE);
  assert_int_equal(ask(&b, 101 * SECOND), LLM_WAIT);
  assert_int_equal(llm_model_disable(rig.model, "c1", in(SECOND), "x"), LLM_OK);
  pass(99 * SECOND);
  assert_int_equal(b.wakes, 0);
  pass(SECOND);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
}

static void test_a_group_outlives_a_model_without_clients(void **state) {
  (void)state;
  register_one((llm_limits){0});
  llm_client_spec other = {.id = "o"};
  llm_model *second;
  assert_int_equal(llm_pool_register(rig.pool, "n", &other, 1, &rig.options,
                                     &rig.factory, &second, NULL),
                   LLM_OK);
  llm_model *models[] = {rig.model, second};
  asker a, b;
  chooser c, d;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask_as(&b, second, NULL), LLM_READY);
  assert_int_equal(choose(&c, models, NULL), LLM_WAIT);
  assert_int_equal(choose(&d, models, NULL), LLM_WAIT);
  assert_int_equal(llm_model_disable(rig.model, "c1", LLM_FOREVER, "401"),
                   LLM_OK);
  assert_int_equal(c.a.wakes + d.a.wakes, 0);
  give_back(&b);
  assert_int_equal(wake_up(&c.a), LLM_READY);
  assert_int_equal(llm_model_disable(second, "o", LLM_FOREVER, "401"), LLM_OK);
  assert_failed(wake_up(&d.a), &d.a, OUT_OF_SERVICE);
  give_back(&a);
  give_back(&c.a);
  llm_model_unref(second);
}

/* ---- events, numbers --------------------------------------------------- */

static void test_events_name_the_client_once(void **state) {
  (void)state;
  llm_event e[32];
  register_two((llm_limits){.slots = 3, .breaker = three}, (llm_limits){0});
  fail_times(2);
  llm_listener *l = llm_pool_listen(rig.pool, 32, NULL, NULL);
  llm_model_cool_down(rig.model, "c1", in(SECOND));
  pass(SECOND);
  llm_model_disable(rig.model, "c1", LLM_FOREVER, "401");
  llm_client_spec client = {.id = "c1", .limits = {.breaker = three}};
  llm_model_replace(rig.model, &client);
  const llm_event_kind kinds[] = {LLM_EV_RESTING, LLM_EV_RESTED,
                                  LLM_EV_DISABLED, LLM_EV_ENABLED};
  size_t n = llm_listener_read(l, e, 32), k = 0;
  for (size_t i = 0; i < n; i++) {
    if (e[i].kind == LLM_EV_REPLACED || e[i].kind == LLM_EV_RETIRED) continue;
    assert_true(k < 4);
    assert_int_equal(e[i].kind, kinds[k++]);
    assert_string_equal(e[i].client, "c1");
  }
  assert_int_equal(k, 4);
  fail_times(3);
  pass(30 * SECOND);
  request("c1", LLM_OUTCOME_SUCCESS);
  const llm_event_kind breaker[] = {LLM_EV_OPENED, LLM_EV_HALF_OPEN,
                                    LLM_EV_CLOSED};
  n = llm_listener_read(l, e, 32);
  k = 0;
  for (size_t i = 0; i < n; i++)
    if (k < 3 && e[i].kind == breaker[k]) {
      assert_string_equal(e[i].client, "c1");
      k++;
    }
  assert_int_equal(k, 3);
  llm_listener_close(l);
}

static void test_numbers_of_late(void **state) {
  (void)state;
  register_one((llm_limits){0});
  asker a;
  llm_model_peeked total;
  llm_peek peek;
  llm_outcome o = {.kind = LLM_OUTCOME_SUCCESS,
                   .was_sent = true,
                   .latency_ns = SECOND,
                   .first_ns = SECOND / 4};
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  llm_lease_report(&a.lease, &o);
  assert_int_equal(of("c1").latency_ns, SECOND);
  assert_int_equal(of("c1").first_ns, SECOND / 4);
  o.latency_ns = 5 * SECOND;
  llm_lease_report(&a.lease, &o);
  assert_int_equal(of("c1").latency_ns, 5 * SECOND); /* a peak, at once */
  o.latency_ns = SECOND;
  rig_pass(10 * SECOND);
  llm_lease_report(&a.lease, &o);
  assert_int_equal(of("c1").latency_ns, 3 * SECOND); /* half after 10 s */
  assert_true(of("c1").error_rate == 0);
  o.is_error = true;
  llm_lease_report(&a.lease, &o);
  assert_int_equal(llm_model_peek(rig.model, &total, &peek, 1), 1);
  assert_true(fabs(peek.error_rate - 0.1) < 1e-9);
  assert_true(isinf(peek.rpm_left));
  assert_string_equal(peek.id, "c1");
  assert_int_equal(peek.state, LLM_P_LENT);
  assert_int_equal(peek.outcomes, 4);
  assert_int_equal(total.lent, 1);
  llm_peek_p95 p95;
  assert_int_equal(llm_model_peek_p95(rig.model, &p95, 1), 1);
  assert_int_equal(p95.latency_ns, 5 * SECOND); /* of 1, 5, 1, 1 */
  assert_int_equal(p95.first_ns, SECOND / 4);
  assert_ptr_equal(p95.id, peek.id);
  assert_int_equal(of("c1").outcomes, 4);
  assert_int_equal(of("c1").errors, 1);
  give_back(&a);
  assert_false(llm_lease_report(&a.lease, &o));
}

/* What a lease reports while its key rests ends the rest as it should. */
static void test_a_report_rests_its_client(void **state) {
  (void)state;
  register_two((llm_limits){.slots = 2}, (llm_limits){0});
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_held(&a, "c1");
  llm_outcome o = {.kind = LLM_OUTCOME_SUCCESS,
                   .is_error = true,
                   .was_sent = true,
                   .rest_until_ns = in(7 * SECOND),
                   .reason = "429"};
  assert_true(llm_lease_report(&a.lease, &o));
  o.rest_until_ns = in(2 * SECOND);
  assert_true(llm_lease_report(&a.lease, &o)); /* the later one holds */
  give_back(&a);
  assert_int_equal(of("c1").state, LLM_P_RESTING);
  assert_int_equal(of("c1").rest_until_ns, in(7 * SECOND));
  assert_string_equal(of("c1").last_error, "429");
  pass(7 * SECOND);
  assert_int_equal(rig_stats(rig.model).resting, 0);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_slots_are_places_of_one_client),
      TEST(test_a_rest_is_of_all_slots),
      TEST(test_a_client_retires_with_all_slots),
      TEST(test_a_replacement_brings_its_own_slots),
      TEST(test_a_client_that_left_comes_back_with_other_slots),
      TEST(test_limits_that_are_refused),
      TEST(test_a_disabled_client_is_out_until_it_is_replaced),
      TEST(test_those_in_line_fail_when_nothing_is_left),
      TEST(test_a_quota_comes_back_at_its_time),
      TEST(test_a_group_outlives_a_model_without_clients),
      TEST(test_events_name_the_client_once),
      TEST(test_numbers_of_late),
      TEST(test_a_report_rests_its_client),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
