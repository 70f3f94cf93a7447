/*
** test_checkout.c - from a permit to a client: check, create, backoff, and how
** long a client lives. Numbers are those of the design's list; the matrix (28)
** is in test_checkout_matrix.c.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

/* Takes a client and gives it back; its id. */
static const char *use(void) {
  static char id[16];
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  strcpy(id, held_id(&a));
  give_back(&a);
  return id;
}

static llm_failure failure_of(const asker *a) {
  llm_failure failure;
  llm_lease_failure(&a->lease, &failure);
  return failure;
}

/* ---- creating ---------------------------------------------------------- */

static void test_24_a_failed_create_gives_the_permit_back(void **state) {
  (void)state;
  rig.vacant = true;
  rig.remote.fail_creates = 1;
  rig_register("m", 1);
  asker a;
  assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
  assert_string_equal(failure_of(&a).text, "no route to host (1)");
  assert_quiet(rig.model);
  rig_pass(SECOND);
  assert_string_equal(use(), "c1");
  assert_int_equal(rig.remote.creates, 2);
  assert_int_equal(rig.remote.reason, LLM_FIRST);
  assert_string_equal(rig_stats_of(rig.model, "c1").last_error,
                      "no route to host (1)");
}

static void test_24_the_next_in_line_tries(void **state) {
  (void)state;
  rig.options.backoff_min_ns = 0; /* no gate */
  rig_register("m", 1);
  asker a, b, c;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  rig.remote.fail_creates = 1;
  llm_lease_return(&a.lease, LLM_POISON);
  assert_failed(wake_up(&b), &b, CREATE_FAILED);
  assert_int_equal(wake_up(&c), LLM_READY);
  assert_int_equal(rig.remote.reason, LLM_SICK);
  give_back(&c);
}

static void test_25_a_create_that_makes_nothing_has_failed(void **state) {
  (void)state;
  rig.vacant = true;
  rig.remote.makes_null = true;
  rig_register("m", 1);
  asker a;
  assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
  assert_string_equal(failure_of(&a).text, "create returned no client");
}

static void test_25_nor_does_a_stepped_one(void **state) {
  (void)state;
  rig.vacant = true;
  rig.factory.stepped = true;
  rig_register("m", 1);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_CREATE);
  llm_client_spec spare = rig_client("", false);
  assert_failed(llm_lease_done(&a.lease, LLM_OK, NULL, spare.spec, NULL), &a,
                CREATE_FAILED);
}

static void test_a_creation_may_bring_its_own_spec(void **state) {
  (void)state;
  rig.vacant = true;
  rig.factory.stepped = true;
  rig_register("m", 1);
  asker a;
  llm_client_spec fresh = rig_client("", true);
  assert_int_equal(ask(&a, SECOND), LLM_CREATE);
  uint64_t version = llm_place_version(a.lease.place);
  assert_int_equal(
      llm_lease_done(&a.lease, LLM_OK, fresh.instance, fresh.spec, NULL),
      LLM_READY);
  assert_ptr_equal(llm_place_spec(a.lease.place), fresh.spec);
  assert_ptr_equal(llm_place_instance(a.lease.place), fresh.instance);
  assert_true(llm_place_version(a.lease.place) > version);
  assert_int_equal(rig.remote.specs, 1);
  give_back(&a);
}

static void test_40_when_the_backend_is_down_all_fail_fast(void **state) {
  (void)state;
  rig.vacant = true;
  rig.remote.fail_creates = 1000;
  rig_register("m", 3);
  asker a;
  int64_t start = llm_clock_now(rig.clock);
  for (int i = 0; i < 100; i++) {
    assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
    assert_string_equal(failure_of(&a).text, "no route to host (1)");
    assert_int_equal(failure_of(&a).retry_at_ns, start + 100 * MS);
  }
  assert_int_equal(rig.remote.creates, 1);
  rig_pass(100 * MS);
  assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
  assert_int_equal(failure_of(&a).retry_at_ns, start + 300 * MS);
  for (int i = 0; i < 60000; i++) { /* a minute of callers */
    rig_pass(MS);
    assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
  }
  assert_in_range(rig.remote.creates, 10, 14); /* 0.1 doubling up to 10 s */
  rig.remote.fail_creates = 0;
  rig_pass(10 * SECOND);
  use();
  rig.remote.fail_creates = 1; /* a success has closed the matter */
  asker b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_failed(ask(&b, SECOND), &b, CREATE_FAILED);
  assert_int_equal(failure_of(&b).retry_at_ns,
                   llm_clock_now(rig.clock) + 100 * MS);
  give_back(&a);
}

static void test_a_creation_honours_the_shorter_bound(void **state) {
  (void)state;
  rig.vacant = true;
  rig.options.create_timeout_ns = 5 * SECOND;
  rig_register("m", 2);
  asker a;
  int64_t now = llm_clock_now(rig.clock);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(rig.remote.deadline_ns, now + SECOND);
  llm_lease_return(&a.lease, LLM_POISON);
  assert_int_equal(ask(&a, LLM_FOREVER), LLM_READY);
  assert_int_equal(rig.remote.deadline_ns, now + 5 * SECOND);
  give_back(&a);
}

static void test_a_caller_in_a_hurry_shuts_no_gate(void **state) {
  (void)state;
  rig.vacant = true;
  rig.remote.fail_creates = 1;
  rig.remote.create_takes = 10 * MS;
  rig_register("m", 1);
  asker a;
  assert_failed(ask(&a, 5 * MS), &a, TIMEOUT);
  use();
  assert_int_equal(rig.remote.creates, 2);
}

/* ---- checking ---------------------------------------------------------- */

static void test_26_all_idle_are_sick(void **state) {
  (void)state;
  rig.options.check_after_ns = 0;
  rig.remote.fail_checks = 3;
  rig_register("m", 3);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(rig.remote.checks, 3);
  assert_int_equal(rig.remote.destroys, 3);
  assert_int_equal(rig.remote.creates, 1);
  assert_int_equal(rig.remote.reason, LLM_SICK);
  assert_int_equal(rig.remote.most_live, 3); /* I10 */
  llm_stats stats = rig_stats(rig.model);
  assert_int_equal(stats.check_failed, 3);
  assert_int_equal(stats.replaced, 3);
  assert_int_equal(stats.vacant, 2);
  give_back(&a);
}

static void test_27_a_check_is_bounded(void **state) {
  (void)state;
  rig.options.check_after_ns = 0;
  rig.options.check_timeout_ns = 100 * MS;
  rig_register("m", 2);
  asker a;
  int64_t now = llm_clock_now(rig.clock);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(rig.remote.deadline_ns, now + 100 * MS);
  give_back(&a);
  assert_int_equal(ask(&a, 10 * MS), LLM_READY);
  assert_int_equal(rig.remote.deadline_ns, now + 10 * MS);
  give_back(&a);
  rig.remote.fail_checks = 2;
  rig.remote.check_takes = 20 * MS;
  assert_failed(ask(&a, 10 * MS), &a, TIMEOUT); /* the second is not tried */
  assert_int_equal(rig.remote.checks, 3);
}

static void test_a_check_only_after_a_while(void **state) {
  (void)state;
  rig.options.check_after_ns = SECOND;
  rig_register("m", 1);
  use();
  rig_pass(SECOND);
  use();
  assert_int_equal(rig.remote.checks, 0);
  rig_pass(SECOND + 1);
  use();
  assert_int_equal(rig.remote.checks, 1);
}

static void test_an_aborted_check_is_made_again(void **state) {
  (void)state;
  rig.factory.stepped = rig.factory.has_check = true;
  rig_register("m", 1);
  rig_pass(2 * SECOND);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_CHECK);
  llm_lease_abort(&a.lease);
  assert_int_equal(rig_stats(rig.model).cancelled, 1);
  assert_int_equal(ask(&a, SECOND), LLM_CHECK); /* though just put back */
  assert_int_equal(llm_lease_done(&a.lease, LLM_OK, NULL, NULL, NULL),
                   LLM_READY);
  give_back(&a);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  give_back(&a);
}

/* ---- how long a client lives ------------------------------------------- */

/* All of them at once, so that what is destroyed is made again. */
static void use_all(int n) {
  asker a[8];
  for (int i = 0; i < n; i++) assert_int_equal(ask(&a[i], SECOND), LLM_READY);
  for (int i = 0; i < n; i++) give_back(&a[i]);
}

static void test_33_lifetimes_do_not_end_together(void **state) {
  (void)state;
  rig.options.max_lifetime_ns = 80 * SECOND;
  rig_register("m", 8);
  int64_t last = 0, first = 0, start = llm_clock_now(rig.clock);
  for (int i = 0; i < 3000; i++) { /* five minutes */
    int before = rig.remote.destroys;
    rig_pass(SECOND / 10);
    use_all(8);
    if (rig.remote.destroys == before) continue;
    int64_t now = llm_clock_now(rig.clock);
    assert_int_equal(rig.remote.destroys, before + 1);
    assert_int_equal(rig.remote.creates, before + 1);
    assert_int_equal(rig.remote.reason, LLM_LIFETIME);
    if (first == 0) first = now;
    if (last != 0) assert_true(now - last >= 10 * SECOND);
    last = now;
  }
  assert_in_range(first - start, 72 * SECOND, 89 * SECOND);
  assert_in_range(rig.remote.destroys, 16, 24);
}

static void test_34_idle_expiry_spares_the_newest_and_min_idle(void **state) {
  (void)state;
  rig.options.idle_timeout_ns = 10 * SECOND;
  rig.options.min_idle = 2;
  rig_register("m", 5);
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY); /* c1 */
  assert_int_equal(ask(&b, SECOND), LLM_READY); /* c2 */
  rig_pass(6 * SECOND);
  give_back(&b);
  give_back(&a);
  assert_int_equal(llm_pool_due(rig.pool), RIG_START + 10 * SECOND);
  rig_pass(4 * SECOND);
  assert_int_equal(llm_pool_tick(rig.pool), RIG_START + 20 * SECOND);
  llm_stats stats = rig_stats(rig.model);
  assert_int_equal(stats.expired, 3); /* c3, c4, c5; two may stay */
  assert_int_equal(stats.idle, 2);
  assert_int_equal(stats.vacant, 3);
  assert_int_equal(rig_stats_of(rig.model, "c1").state, LLM_P_IDLE);
  assert_int_equal(rig_stats_of(rig.model, "c5").state, LLM_P_VACANT);
  rig_pass(60 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(rig_stats(rig.model).idle, 2);
  asker c;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_int_equal(ask(&c, SECOND), LLM_READY);
  assert_int_equal(rig.remote.reason, LLM_IDLE);
  give_back(&a);
  give_back(&b);
  give_back(&c);
}

static void test_34_the_oldest_goes_first(void **state) {
  (void)state;
  rig.options.idle_timeout_ns = 10 * SECOND;
  rig_register("m", 3);
  asker a[3];
  for (int i = 0; i < 3; i++) assert_int_equal(ask(&a[i], SECOND), LLM_READY);
  for (int i = 2; i >= 0; i--) {
    rig_pass(SECOND);
    give_back(&a[i]); /* c3 first */
  }
  rig_pass(8 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(rig_stats_of(rig.model, "c3").state, LLM_P_VACANT);
  assert_int_equal(rig_stats(rig.model).idle, 2);
  rig_pass(SECOND); /* found by the next question, without a tick */
  use();
  assert_int_equal(rig_stats_of(rig.model, "c2").state, LLM_P_VACANT);
}

static void test_35_renewed_while_lent(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  llm_model_renew(rig.model);
  assert_int_equal(rig.remote.destroys, 0);
  give_back(&a);
  assert_int_equal(rig.remote.destroys, 1); /* on its return */
  use();
  assert_int_equal(rig.remote.destroys, 2); /* the idle one, when it was due */
  assert_int_equal(rig.remote.creates, 1);
  assert_int_equal(rig.remote.reason, LLM_REPLACED);
  use();
  assert_int_equal(rig.remote.creates, 1);
  assert_int_equal(rig.remote.most_live, 2);
}

static void test_36_max_uses(void **state) {
  (void)state;
  rig.options.max_uses = 3;
  rig_register("m", 1);
  for (int i = 0; i < 9; i++) use();
  assert_int_equal(rig.remote.destroys, 3);
  assert_int_equal(rig.remote.creates, 2);
  assert_int_equal(rig.remote.reason, LLM_USES);
}

static void test_37_newest_first_keeps_few_in_use(void **state) {
  (void)state;
  rig_register("m", 3);
  for (int i = 0; i < 5; i++) assert_string_equal(use(), "c1");
}

static void test_37_oldest_first_goes_round(void **state) {
  (void)state;
  rig.options.order = LLM_FIFO;
  rig_register("m", 3);
  const char *ids[] = {"c1", "c2", "c3"};
  for (int i = 0; i < 6; i++) assert_string_equal(use(), ids[i % 3]);
}

/* ---- background -------------------------------------------------------- */

static void test_38_background_refills_and_yields(void **state) {
  (void)state;
  rig.vacant = true;
  rig.options.min_idle = 2;
  rig.factory.stepped = true;
  rig_register("m", 3);
  llm_lease refill, second;
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_CREATE);
  assert_int_equal(llm_pool_background(rig.pool, &second), LLM_FAILED);
  assert_int_equal(llm_lease_done(&refill, LLM_OK, rig_instance(), NULL, NULL),
                   LLM_READY);
  assert_true(llm_lease_return(&refill, LLM_KEEP));
  assert_false(llm_lease_is_held(&refill));
  assert_int_equal(rig_stats(rig.model).idle, 1);
  assert_int_equal(rig_stats(rig.model).acquired, 0);
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_CREATE);
  llm_lease_abort(&refill);
  asker a[4];
  assert_int_equal(ask(&a[0], SECOND), LLM_READY);
  assert_int_equal(ask(&a[1], SECOND), LLM_CREATE);
  assert_int_equal(ask(&a[2], SECOND), LLM_CREATE);
  assert_int_equal(ask(&a[3], SECOND), LLM_WAIT);
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_FAILED);
  llm_lease_abort(&a[1].lease);
  assert_int_equal(wake_up(&a[3]), LLM_CREATE);
  llm_lease_abort(&a[3].lease);
  llm_lease_abort(&a[2].lease);
  give_back(&a[0]);
}

static void test_38_background_creates_inside_and_minds_the_gate(void **state) {
  (void)state;
  rig.vacant = true;
  rig.options.min_idle = 1;
  rig.remote.fail_creates = 1;
  rig_register("m", 2);
  llm_lease refill;
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_FAILED);
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_FAILED);
  assert_int_equal(rig.remote.creates, 1);
  rig_pass(SECOND);
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_READY);
  assert_true(llm_lease_return(&refill, LLM_KEEP));
  assert_int_equal(llm_pool_background(rig.pool, &refill), LLM_FAILED);
  assert_int_equal(rig_stats(rig.model).idle, 1);
}

/* ---- refusals ---------------------------------------------------------- */

static void test_41_queue_full(void **state) {
  (void)state;
  rig.options.max_waiting = 2;
  rig_register("m", 1);
  asker a, b, c, d;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  assert_failed(ask(&d, SECOND), &d, QUEUE_FULL);
  llm_failure f = failure_of(&d);
  assert_string_equal(f.model, "m");
  assert_int_equal(f.waiting, 2);
  assert_int_equal(f.lent, 1);
  assert_int_equal(f.idle, 0);
  assert_int_equal(f.clients, 1);
  assert_int_equal(rig_stats(rig.model).queue_full, 1);
  assert_int_equal(rig_stats(rig.model).max_waiting_seen, 2);
  give_back(&a);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&c);
}

static void test_44_nested_with_one_client_ends_in_time(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  rig_pass(SECOND);
  assert_true(llm_lease_withdraw(&b.lease, LLM_TIMEOUT));
  assert_failed((llm_step)b.lease.step, &b, TIMEOUT);
  assert_int_equal(failure_of(&b).waited_ns, SECOND);
  give_back(&a);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_24_a_failed_create_gives_the_permit_back),
      TEST(test_24_the_next_in_line_tries),
      TEST(test_25_a_create_that_makes_nothing_has_failed),
      TEST(test_25_nor_does_a_stepped_one),
      TEST(test_a_creation_may_bring_its_own_spec),
      TEST(test_40_when_the_backend_is_down_all_fail_fast),
      TEST(test_a_creation_honours_the_shorter_bound),
      TEST(test_a_caller_in_a_hurry_shuts_no_gate),
      TEST(test_26_all_idle_are_sick),
      TEST(test_27_a_check_is_bounded),
      TEST(test_a_check_only_after_a_while),
      TEST(test_an_aborted_check_is_made_again),
      TEST(test_33_lifetimes_do_not_end_together),
      TEST(test_34_idle_expiry_spares_the_newest_and_min_idle),
      TEST(test_34_the_oldest_goes_first),
      TEST(test_35_renewed_while_lent),
      TEST(test_36_max_uses),
      TEST(test_37_newest_first_keeps_few_in_use),
      TEST(test_37_oldest_first_goes_round),
      TEST(test_38_background_refills_and_yields),
      TEST(test_38_background_creates_inside_and_minds_the_gate),
      TEST(test_41_queue_full),
      TEST(test_44_nested_with_one_client_ends_in_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
