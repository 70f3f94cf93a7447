/*
** test_pool.c - pools and models: made, named, found, closed, drained. Numbers
** are those of the design's list (14, 32, 43).
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

/* ---- registering ------------------------------------------------------- */

static llm_err try_register(const char *name, llm_client_spec *clients,
                            size_t n, size_t *bad) {
  return llm_pool_register(rig.pool, name, clients, n, &rig.options,
                           &rig.factory, NULL, bad);
}

static void test_a_failed_registration_keeps_nothing(void **state) {
  (void)state;
  size_t bad = 99;
  rig_register("m", 1);
  llm_client_spec one = rig_client("x", true);
  assert_int_equal(try_register("m", &one, 1, &bad), LLM_EXISTS);
  llm_client_spec twice[] = {rig_client("a", true), rig_client("b", false),
                             rig_client("a", true)};
  assert_int_equal(try_register("n", twice, 3, &bad), LLM_INVALID);
  assert_int_equal(bad, 2);
  llm_client_spec empty = rig_client("", true);
  assert_int_equal(try_register("n", &empty, 1, &bad), LLM_INVALID);
  assert_int_equal(bad, 0);
  assert_int_equal(try_register("n", NULL, 0, &bad), LLM_INVALID);
  rig.options.max_creates = 0;
  llm_client_spec good = rig_client("a", true);
  assert_int_equal(try_register("n", &good, 1, &bad), LLM_INVALID);
  assert_int_equal(bad, 1);
  assert_int_equal(rig.remote.specs, 6);
  assert_int_equal(rig.remote.users, 5);
  assert_int_equal(rig.remote.live, 1);
  assert_null(llm_pool_model(rig.pool, "n"));
}

static void test_models_are_listed_in_order(void **state) {
  (void)state;
  llm_model *models[3];
  const char *names[] = {"zeta", "alpha", "m"};
  for (int i = 0; i < 3; i++) {
    llm_model *model = rig_register(names[i], 1);
    if (i > 0) llm_model_unref(model);
  }
  assert_int_equal(llm_pool_models(rig.pool, models, 2), 3);
  llm_model_unref(models[0]);
  llm_model_unref(models[1]);
  assert_int_equal(llm_pool_models(rig.pool, models, 3), 3);
  for (int i = 0; i < 3; i++) {
    assert_string_equal(llm_model_name(models[i]), names[i]);
    llm_model_unref(models[i]);
  }
  assert_true(llm_model_uid(models[0]) < llm_model_uid(models[1]));
}

static void test_options_and_user_are_kept(void **state) {
  (void)state;
  rig.options.max_waiting = 7;
  rig_register("m", 1);
  assert_ptr_equal(llm_model_user(rig.model), &rig.remote);
  assert_int_equal(llm_model_options(rig.model)->max_waiting, 7);
  assert_ptr_equal(llm_model_pool(rig.model), rig.pool);
  assert_ptr_equal(llm_pool_clock(rig.pool), rig.clock);
  assert_null(llm_pool_name(rig.pool));
}

/* ---- by name ----------------------------------------------------------- */

static void test_a_named_pool_is_one_in_the_process(void **state) {
  (void)state;
  llm_pool *a = llm_pool_open("p"), *b = llm_pool_open("p");
  llm_pool *other = llm_pool_open("q");
  assert_ptr_equal(a, b);
  assert_ptr_not_equal(a, other);
  assert_string_equal(llm_pool_name(a), "p");
  assert_ptr_equal(llm_pool_clock(a), llm_clock_real());
  llm_client_spec client = {.id = "x"};
  assert_int_equal(
      llm_pool_register(a, "m", &client, 1, NULL, NULL, NULL, NULL), LLM_OK);
  llm_pool_unref(a);
  llm_model *model = llm_pool_model(b, "m");
  assert_non_null(model);
  llm_model_unref(model);
  llm_pool_unref(b);
  llm_pool *again = llm_pool_open("p"); /* the last user took it along */
  assert_null(llm_pool_model(again, "m"));
  llm_pool_unref(again);
  llm_pool_unref(other);
}

static void test_without_a_factory_the_spec_is_the_instance(void **state) {
  (void)state;
  llm_pool *pool = llm_pool_new(NULL);
  llm_model *model;
  int spec = 5;
  llm_client_spec client = {.id = "x", .spec = &spec};
  llm_lease lease;
  assert_int_equal(
      llm_pool_register(pool, "m", &client, 1, NULL, NULL, &model, NULL),
      LLM_OK);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(llm_acquire(&lease, model, NULL), LLM_OK);
    assert_ptr_equal(llm_place_instance(lease.place), &spec);
    assert_true(llm_lease_return(&lease, i == 0 ? LLM_POISON : LLM_KEEP));
  }
  llm_model_unref(model);
  llm_pool_unref(pool);
}

/* ---- the end of a lease ------------------------------------------------ */

static void test_32_a_double_return_changes_nothing(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  asker copy = a;
  give_back(&a);
  assert_false(llm_lease_is_held(&a.lease));
  assert_false(llm_lease_return(&a.lease, LLM_POISON));
  assert_false(llm_lease_return(&copy.lease, LLM_POISON));
  asker b;
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_false(llm_lease_return(&copy.lease, LLM_KEEP)); /* not b's client */
  assert_true(llm_lease_is_held(&b.lease));
  give_back(&b);
  assert_int_equal(rig_stats(rig.model).double_returns, 3);
  llm_pool_double_return(rig.pool, llm_model_uid(rig.model));
  assert_int_equal(rig_stats(rig.model).double_returns, 4);
  assert_int_equal(rig.remote.destroys, 0);
}

static void test_32_a_double_return_after_the_model_has_gone(void **state) {
  (void)state;
  llm_lease zeroed = {0};
  assert_false(llm_lease_return(&zeroed, LLM_KEEP));
  llm_model *model = rig_register("m", 1);
  rig.model = NULL;
  uint64_t uid = llm_model_uid(model);
  asker a;
  assert_int_equal(ask_as(&a, model, NULL), LLM_READY);
  llm_model_unref(model);
  assert_int_equal(llm_pool_unregister(rig.pool, "m"), LLM_OK);
  give_back(&a); /* and with it the model */
  assert_int_equal(rig.remote.users, 1);
  assert_false(llm_lease_return(&a.lease, LLM_KEEP));
  llm_pool_double_return(rig.pool, uid);
}

static void test_32_a_return_after_the_pool_was_closed(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  llm_pool_close(rig.pool);
  assert_int_equal(rig.remote.destroys, 1); /* the idle one */
  assert_int_equal(llm_pool_lent(rig.pool), 1);
  give_back(&a);
  assert_int_equal(rig.remote.destroys, 2);
  assert_false(llm_lease_return(&a.lease, LLM_KEEP));
  assert_int_equal(rig_stats(rig.model).double_returns, 1);
}

static void test_a_lease_outlives_model_and_pool(void **state) {
  (void)state;
  llm_model *model = rig_register("m", 1);
  rig.model = NULL;
  asker a;
  assert_int_equal(ask_as(&a, model, NULL), LLM_READY);
  llm_model_unref(model);
  llm_pool_unref(rig.pool);
  rig.pool = NULL;
  assert_held(&a, "c1");
  assert_string_equal(llm_model_name(a.lease.model), "m");
  assert_int_equal(rig.remote.users, 0);
  give_back(&a);
  assert_int_equal(rig.remote.users, 1);
}

/* ---- close ------------------------------------------------------------- */

static void test_43_close_ends_the_waits_in_order(void **state) {
  (void)state;
  rig_register("m", 1);
  asker holder, waiting[3], late;
  assert_int_equal(ask(&holder, SECOND), LLM_READY);
  for (int i = 0; i < 3; i++)
    assert_int_equal(ask(&waiting[i], SECOND), LLM_WAIT);
  llm_pool_close(rig.pool);
  llm_pool_close(rig.pool);
  for (int i = 0; i < 3; i++)
    assert_failed(wake_up(&waiting[i]), &waiting[i], CLOSED);
  assert_failed(ask(&late, SECOND), &late, CLOSED);
  assert_true(llm_pool_is_closed(rig.pool));
  assert_true(llm_model_is_closed(rig.model));
  llm_client_spec client = rig_client("x", true);
  assert_int_equal(try_register("n", &client, 1, NULL), LLM_CLOSED);
  assert_int_equal(rig_add(rig.model, "x"), LLM_CLOSED);
  give_back(&holder);
  assert_int_equal(rig_stats(rig.model).closed, 4);
}

static void close_pool(void *arg) {
  (void)arg;
  llm_pool_close(rig.pool);
}

static void test_43_close_during_create(void **state) {
  (void)state;
  rig.vacant = true;
  rig.remote.during = close_pool;
  rig_register("m", 1);
  asker a;
  assert_failed(ask(&a, SECOND), &a, CLOSED);
  assert_int_equal(rig.remote.creates, 1);
  assert_int_equal(rig.remote.destroys, 1);
}

static void test_43_close_during_check(void **state) {
  (void)state;
  rig.options.check_after_ns = 0;
  rig.remote.during = close_pool;
  rig_register("m", 2);
  asker a;
  assert_failed(ask(&a, SECOND), &a, CLOSED);
  assert_int_equal(rig.remote.checks, 1);
  assert_int_equal(rig.remote.destroys, 2);
}

static void test_43_close_with_callers_in_line_for_a_slot(void **state) {
  (void)state;
  rig.vacant = true;
  rig.factory.stepped = true;
  rig.options.max_creates = 1;
  rig_register("m", 2);
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_CREATE);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  llm_pool_close(rig.pool);
  assert_failed(wake_up(&b), &b, CLOSED);
  assert_failed(llm_lease_done(&a.lease, LLM_OK, rig_instance(), NULL, NULL),
                &a, CLOSED);
}

static void test_unregister_lets_leases_finish(void **state) {
  (void)state;
  llm_model *old = rig_register("m", 2);
  asker a, b, c;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  assert_int_equal(llm_pool_unregister(rig.pool, "m"), LLM_OK);
  assert_int_equal(llm_pool_unregister(rig.pool, "m"), LLM_UNKNOWN_MODEL);
  assert_failed(wake_up(&c), &c, CLOSED);
  rig.model = NULL;
  rig_register("m", 1); /* the name is free at once */
  assert_int_equal(llm_pool_lent(rig.pool), 2);
  give_back(&a);
  give_back(&b);
  assert_int_equal(llm_pool_lent(rig.pool), 0);
  assert_ledger(old);
  llm_model_unref(old);
  assert_int_equal(rig.remote.live, 1);
}

/* ---- drain ------------------------------------------------------------- */

static int drained;

static void count_drained(llm_waiter *waiter) {
  (void)waiter;
  drained++;
}

static void test_14_drain(void **state) {
  (void)state;
  llm_waiter w, w2;
  rig_register("m", 3);
  llm_model *other = rig_register("n", 1);
  asker a[3], b;
  drained = 0;
  assert_false(llm_pool_drain_begin(rig.pool, &w, count_drained));
  for (int i = 0; i < 3; i++) assert_int_equal(ask(&a[i], SECOND), LLM_READY);
  assert_int_equal(ask_as(&b, other, NULL), LLM_READY);
  assert_true(llm_pool_drain_begin(rig.pool, &w, count_drained));
  assert_true(llm_pool_drain_begin(rig.pool, &w2, count_drained));
  assert_true(llm_pool_drain_withdraw(rig.pool, &w2));
  for (int i = 0; i < 3; i++) give_back(&a[i]);
  assert_int_equal(drained, 0);
  give_back(&b);
  assert_int_equal(drained, 1);
  assert_false(llm_pool_drain_withdraw(rig.pool, &w));
  assert_quiet(other);
  llm_model_unref(other);
}

static void test_14_drain_gives_up_in_time_and_ignores_rests(void **state) {
  (void)state;
  llm_pool *pool = llm_pool_new(NULL);
  llm_client_spec clients[] = {{.id = "a"}, {.id = "b"}};
  llm_model *model;
  llm_lease lease;
  llm_pool_register(pool, "m", clients, 2, NULL, NULL, &model, NULL);
  llm_model_cool_down(model, "a", LLM_FOREVER);
  int64_t now = llm_clock_now(llm_clock_real());
  assert_int_equal(llm_pool_drain(pool, LLM_FOREVER), 0);
  assert_int_equal(llm_acquire(&lease, model, NULL), LLM_OK);
  assert_int_equal(llm_pool_drain(pool, now + 2 * MS), 1);
  assert_true(llm_lease_return(&lease, LLM_KEEP));
  assert_int_equal(llm_pool_drain(pool, LLM_FOREVER), 0);
  llm_model_unref(model);
  llm_pool_unref(pool);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_failed_registration_keeps_nothing),
      TEST(test_models_are_listed_in_order),
      TEST(test_options_and_user_are_kept),
      TEST(test_a_named_pool_is_one_in_the_process),
      TEST(test_without_a_factory_the_spec_is_the_instance),
      TEST(test_32_a_double_return_changes_nothing),
      TEST(test_32_a_double_return_after_the_model_has_gone),
      TEST(test_32_a_return_after_the_pool_was_closed),
      TEST(test_a_lease_outlives_model_and_pool),
      TEST(test_43_close_ends_the_waits_in_order),
      TEST(test_43_close_during_create),
      TEST(test_43_close_during_check),
      TEST(test_43_close_with_callers_in_line_for_a_slot),
      TEST(test_unregister_lets_leases_finish),
      TEST(test_14_drain),
      TEST(test_14_drain_gives_up_in_time_and_ignores_rests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
