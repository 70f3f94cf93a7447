/*
** test_aside.c - callers who exclude clients: they wait aside for another one,
** without keeping anybody from those that they do not want.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyed.h"

static const char *const c1[] = {"c1"}, *const both[] = {"c1", "c2"};

static llm_step ask_without(asker *a, const char *const *ids, uint32_t n,
                            int64_t timeout_ns) {
  llm_ask how = {.deadline_ns =
                     llm_time_after(llm_clock_now(rig.clock), timeout_ns),
                 .exclude = ids,
                 .n_exclude = n};
  return ask_as(a, rig.model, &how);
}

static void two(void) { register_two((llm_limits){0}, (llm_limits){0}); }

static void test_another_one_is_taken(void **state) {
  (void)state;
  two();
  asker a;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(ask_without(&a, c1, 1, SECOND), LLM_READY);
    assert_held(&a, "c2");
    give_back(&a);
  }
}

/* Its permit goes to whoever wants the excluded one; the first that comes back
** and is another goes to it, before those in line. */
static void test_it_waits_for_another_without_blocking_anyone(void **state) {
  (void)state;
  two();
  asker held, aside, other, later;
  take(&held, "c2");
  assert_int_equal(ask_without(&aside, c1, 1, 10 * SECOND), LLM_WAIT);
  assert_int_equal(rig_stats(rig.model).waiting, 1);
  assert_int_equal(ask(&other, SECOND), LLM_READY);
  assert_held(&other, "c1");
  assert_int_equal(ask(&later, 10 * SECOND), LLM_WAIT);
  give_back(&other);
  assert_int_equal(aside.wakes, 0);
  assert_int_equal(wake_up(&later), LLM_READY);
  assert_int_equal(ask(&other, 10 * SECOND), LLM_WAIT);
  assert_ledger(rig.model);
  give_back(&held);
  assert_int_equal(other.wakes, 0);
  assert_int_equal(wake_up(&aside), LLM_READY);
  assert_held(&aside, "c2");
  give_back(&aside);
  assert_int_equal(wake_up(&other), LLM_READY);
  give_back(&other);
  give_back(&later);
}

static void test_it_fails_at_once_when_nothing_else_is_there(void **state) {
  (void)state;
  two();
  asker a;
  llm_ask now = {.now = true, .exclude = c1, .n_exclude = 1};
  assert_failed(ask_without(&a, both, 2, SECOND), &a, EXCLUDED);
  asker held;
  take(&held, "c2");
  assert_failed(ask_as(&a, rig.model, &now), &a, TIMEOUT);
  llm_model_cool_down(rig.model, "c2", in(5 * SECOND));
  assert_failed(ask_without(&a, c1, 1, SECOND), &a, RESTING);
  llm_failure failure;
  llm_lease_failure(&a.lease, &failure);
  assert_int_equal(failure.retry_at_ns, in(5 * SECOND));
  give_back(&held);
}

static void test_it_gives_up_in_time(void **state) {
  (void)state;
  two();
  asker held, a, b;
  take(&held, "c2");
  assert_int_equal(ask_without(&a, c1, 1, SECOND), LLM_WAIT);
  assert_int_equal(ask_without(&b, c1, 1, SECOND), LLM_WAIT);
  assert_true(llm_lease_withdraw(&a.lease, LLM_TIMEOUT));
  assert_failed(a.lease.step, &a, TIMEOUT);
  rig_pass(2 * SECOND);
  give_back(&held); /* too late for b: nobody is handed it */
  assert_int_equal(b.wakes, 0);
  assert_true(llm_lease_withdraw(&b.lease, LLM_TIMEOUT));
}

static void test_a_handed_client_goes_back_if_it_is_not_wanted(void **state) {
  (void)state;
  two();
  asker held, a, b;
  take(&held, "c2");
  assert_int_equal(ask_without(&a, c1, 1, SECOND), LLM_WAIT);
  give_back(&held);
  assert_int_equal(a.wakes, 1);
  assert_false(llm_lease_withdraw(&a.lease, LLM_CANCELLED));
  llm_lease_abort(&a.lease);
  take(&b, "c2");
  give_back(&b);
}

/* A rest that ends, an addition: whoever stands aside looks again. */
static void test_new_clients_are_noticed(void **state) {
  (void)state;
  two();
  asker a, b, held;
  llm_model_cool_down(rig.model, "c2", in(5 * SECOND));
  assert_int_equal(ask_without(&a, c1, 1, 10 * SECOND), LLM_WAIT);
  pass(5 * SECOND);
  assert_int_equal(wake_up(&a), LLM_READY);
  assert_held(&a, "c2");
  assert_int_equal(ask_without(&b, c1, 1, 10 * SECOND), LLM_WAIT);
  llm_client_spec more = {.id = "c3"};
  assert_int_equal(llm_model_add(rig.model, &more), LLM_OK);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c3");
  take(&held, "c1");
  give_back(&a);
  give_back(&b);
  give_back(&held);
}

static void test_the_last_other_one_leaves(void **state) {
  (void)state;
  two();
  asker held, a, b, c;
  take(&held, "c2");
  assert_int_equal(ask_without(&a, c1, 1, 10 * SECOND), LLM_WAIT);
  assert_int_equal(llm_model_retire(rig.model, "c2"), LLM_OK);
  assert_failed(wake_up(&a), &a, EXCLUDED);
  give_back(&held);
  assert_int_equal(llm_model_add(rig.model, &(llm_client_spec){.id = "c2"}),
                   LLM_OK);
  take(&held, "c2");
  assert_int_equal(ask_without(&b, c1, 1, 10 * SECOND), LLM_WAIT);
  llm_model_disable(rig.model, "c2", LLM_FOREVER, "401");
  assert_failed(wake_up(&b), &b, OUT_OF_SERVICE);
  give_back(&held);
  assert_failed(ask_without(&c, c1, 1, 10 * SECOND), &c, OUT_OF_SERVICE);
}

static void test_a_failed_creation_is_noticed(void **state) {
  (void)state;
  rig.options.backoff_min_ns = 0;
  two();
  asker held, a;
  take(&held, "c2");
  assert_int_equal(ask_without(&a, c1, 1, 10 * SECOND), LLM_WAIT);
  assert_true(llm_lease_return(&held.lease, LLM_POISON)); /* it is vacant */
  assert_int_equal(wake_up(&a), LLM_READY);
  assert_held(&a, "c2");
  give_back(&a);
}

static void test_a_close_ends_it(void **state) {
  (void)state;
  two();
  asker held, a;
  take(&held, "c2");
  assert_int_equal(ask_without(&a, c1, 1, 10 * SECOND), LLM_WAIT);
  llm_pool_close(rig.pool);
  assert_failed(wake_up(&a), &a, CLOSED);
  give_back(&held);
}

static void test_an_empty_bucket_of_the_other_one(void **state) {
  (void)state;
  register_two((llm_limits){0}, (llm_limits){.rpm = 60, .rpm_burst = 1});
  asker a, b;
  request("c2", LLM_OUTCOME_SUCCESS);
  assert_int_equal(ask_without(&a, c1, 1, 10 * SECOND), LLM_WAIT);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_held(&b, "c1");
  pass(SECOND + 1);
  assert_int_equal(wake_up(&a), LLM_READY);
  assert_held(&a, "c2");
  give_back(&a);
  give_back(&b);
}

static void test_several_models(void **state) {
  (void)state;
  two();
  llm_client_spec other = {.id = "o"};
  llm_model *second;
  assert_int_equal(llm_pool_register(rig.pool, "n", &other, 1, &rig.options,
                                     &rig.factory, &second, NULL),
                   LLM_OK);
  llm_model *models[] = {rig.model, second};
  llm_ask how = {.exclude = both, .n_exclude = 2};
  chooser c;
  assert_int_equal(choose(&c, models, &how), LLM_READY);
  assert_held(&c.a, "o");
  give_back(&c.a);
  llm_model_unref(second);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_another_one_is_taken),
      TEST(test_it_waits_for_another_without_blocking_anyone),
      TEST(test_it_fails_at_once_when_nothing_else_is_there),
      TEST(test_it_gives_up_in_time),
      TEST(test_a_handed_client_goes_back_if_it_is_not_wanted),
      TEST(test_new_clients_are_noticed),
      TEST(test_the_last_other_one_leaves),
      TEST(test_a_failed_creation_is_noticed),
      TEST(test_a_close_ends_it),
      TEST(test_an_empty_bucket_of_the_other_one),
      TEST(test_several_models),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
