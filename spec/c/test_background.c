/*
** test_background.c - checks on an interval: who is checked when, what becomes
** of who is sick, and that callers go before it.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static llm_lease lease;

static llm_step background(void) {
  return llm_pool_background(rig.pool, &lease);
}

static void finish(void) {
  assert_true(llm_lease_is_background(&lease));
  assert_true(llm_lease_return(&lease, LLM_KEEP));
}

static void pass(int64_t ns) {
  rig_pass(ns);
  llm_pool_tick(rig.pool);
}

static void test_who_was_idle_for_so_long_is_checked(void **state) {
  (void)state;
  rig.options.check_interval_ns = 10 * SECOND;
  rig_register("m", 2);
  assert_int_equal(llm_pool_due(rig.pool), RIG_START + 10 * SECOND);
  assert_int_equal(background(), LLM_FAILED);
  pass(10 * SECOND);
  assert_int_equal(background(), LLM_READY);
  finish();
  assert_int_equal(background(), LLM_READY);
  finish();
  assert_int_equal(background(), LLM_FAILED);
  assert_int_equal(rig.remote.checks, 2);
  assert_int_equal(rig_stats(rig.model).acquired, 0);
  llm_pool_tick(rig.pool);
  rig_pass(9 * SECOND);
  assert_int_equal(background(), LLM_FAILED);
}

static void test_who_is_sick_is_made_anew(void **state) {
  (void)state;
  rig.options.check_interval_ns = 10 * SECOND;
  rig_register("m", 1);
  rig.remote.fail_checks = rig.remote.fail_creates = 1;
  pass(10 * SECOND);
  assert_int_equal(background(), LLM_FAILED); /* its check */
  assert_int_equal(rig_stats(rig.model).vacant, 1);
  assert_int_equal(background(), LLM_FAILED); /* its creation */
  assert_int_equal(background(), LLM_FAILED); /* not yet again */
  assert_int_equal(rig.remote.creates, 1);
  pass(SECOND / 10);
  assert_int_equal(background(), LLM_READY);
  assert_int_equal(rig.remote.reason, LLM_SICK);
  finish();
  assert_int_equal(rig_stats(rig.model).idle, 1);
  assert_int_equal(rig_stats(rig.model).replaced, 1);
}

/* One that is vacant for another reason is left so. */
static void test_nothing_else_is_made(void **state) {
  (void)state;
  rig.options.check_interval_ns = 10 * SECOND;
  rig.vacant = true;
  rig_register("m", 2);
  pass(20 * SECOND);
  assert_int_equal(background(), LLM_FAILED);
  assert_int_equal(rig.remote.creates, 0);
}

static void test_callers_go_first(void **state) {
  (void)state;
  rig.options.check_interval_ns = 10 * SECOND;
  rig.options.check_after_ns = LLM_FOREVER;
  rig.factory.stepped = rig.factory.has_check = true;
  rig_register("m", 2);
  asker a, b, c;
  llm_lease second;
  pass(10 * SECOND);
  assert_int_equal(background(), LLM_CHECK);
  assert_int_equal(llm_pool_background(rig.pool, &second), LLM_FAILED);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(llm_lease_done(&lease, LLM_OK, NULL, NULL, NULL), LLM_READY);
  assert_int_equal(b.wakes, 0);
  finish();
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  assert_int_equal(background(), LLM_FAILED);
  give_back(&a);
  give_back(&b);
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&c);
}

static void test_a_check_may_be_given_up(void **state) {
  (void)state;
  rig.options.check_interval_ns = 10 * SECOND;
  rig.factory.stepped = rig.factory.has_check = true;
  rig_register("m", 1);
  pass(10 * SECOND);
  assert_int_equal(background(), LLM_CHECK);
  llm_lease_abort(&lease);
  assert_int_equal(rig_stats(rig.model).idle, 1);
  pass(10 * SECOND);
  assert_int_equal(background(), LLM_CHECK);
  assert_int_equal(llm_pool_unregister(rig.pool, "m"), LLM_OK);
  assert_int_equal(llm_lease_done(&lease, LLM_OK, NULL, NULL, NULL),
                   LLM_FAILED);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_who_was_idle_for_so_long_is_checked),
      TEST(test_who_is_sick_is_made_anew),
      TEST(test_nothing_else_is_made),
      TEST(test_callers_go_first),
      TEST(test_a_check_may_be_given_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
