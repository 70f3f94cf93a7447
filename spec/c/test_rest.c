/*
** test_rest.c - clients that rest, retire, come and are replaced while the
** pool is in use: whose permit pays, and who waits for whom.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static int64_t in(int64_t ns) { return llm_clock_now(rig.clock) + ns; }

static void cool_down(const char *id, int64_t ns) {
  assert_int_equal(llm_model_cool_down(rig.model, id, in(ns)), LLM_OK);
}

static void take_all(asker *a, int n) {
  for (int i = 0; i < n; i++) assert_int_equal(ask(&a[i], SECOND), LLM_READY);
}

static void give_all(asker *a, int n) {
  for (int i = 0; i < n; i++) give_back(&a[i]);
}

/* ---- rest -------------------------------------------------------------- */

static void test_an_idle_client_rests(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a, b;
  cool_down("c1", 5 * SECOND);
  assert_int_equal(rig_stats(rig.model).resting, 1);
  assert_int_equal(rig_stats_of(rig.model, "c1").state, LLM_P_RESTING);
  assert_int_equal(llm_pool_rest_due(rig.pool), in(5 * SECOND));
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_held(&a, "c2");
  assert_int_equal(ask(&b, 10 * SECOND), LLM_WAIT);
  assert_ledger(rig.model);
  rig_pass(5 * SECOND);
  assert_int_equal(llm_pool_tick(rig.pool), LLM_FOREVER);
  assert_int_equal(llm_pool_rest_due(rig.pool), LLM_FOREVER);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c1");
  give_back(&a);
  give_back(&b);
}

/* Its permit stays with it: whoever comes back first serves nobody for it. */
static void test_a_lent_client_rests_when_it_is_back(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a[2], b, c;
  take_all(a, 2);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  cool_down("c1", 5 * SECOND);
  assert_int_equal(rig_stats(rig.model).resting, 0);
  give_back(&a[1]); /* c2: nobody else's return pays for c1 */
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c2");
  give_back(&a[0]);
  assert_int_equal(c.wakes, 0);
  assert_int_equal(rig_stats(rig.model).resting, 1);
  assert_ledger(rig.model);
  give_back(&b);
  assert_int_equal(wake_up(&c), LLM_READY);
  assert_held(&c, "c2");
  give_back(&c);
}

static void test_a_rest_that_is_over_before_the_return_is_none(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  take_all(&a, 1);
  cool_down("c1", SECOND);
  rig_pass(2 * SECOND);
  give_back(&a);
  assert_int_equal(rig_stats(rig.model).idle, 1);
}

static void test_the_later_of_two_instants_holds(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  cool_down("c1", 5 * SECOND);
  cool_down("c1", 2 * SECOND);
  rig_pass(2 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(rig_stats(rig.model).resting, 1);
  cool_down("c1", 5 * SECOND); /* in all seven */
  rig_pass(3 * SECOND);
  assert_int_equal(llm_pool_tick(rig.pool), in(2 * SECOND));
  assert_int_equal(rig_stats(rig.model).resting, 1);
  rig_pass(2 * SECOND);
  assert_int_equal(ask(&a, SECOND), LLM_READY); /* does what is due itself */
  give_back(&a);
  assert_int_equal(llm_model_cool_down(rig.model, "x", in(1)),
                   LLM_UNKNOWN_CLIENT);
  assert_int_equal(llm_model_cool_down(rig.model, "c1", in(-1)), LLM_OK);
  assert_int_equal(rig_stats(rig.model).idle, 1);
}

static void test_a_vacant_place_rests(void **state) {
  (void)state;
  rig.vacant = true;
  rig_register("m", 2);
  cool_down("c1", SECOND);
  asker a;
  take_all(&a, 1);
  assert_held(&a, "c2");
  give_back(&a);
  rig_pass(SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(rig_stats(rig.model).vacant, 1);
}

static void test_a_client_is_checked_after_its_rest(void **state) {
  (void)state;
  rig_register("m", 1);
  cool_down("c1", SECOND / 2);
  rig_pass(SECOND / 2);
  asker a;
  take_all(&a, 1);
  assert_int_equal(rig.remote.checks, 1);
  give_back(&a);
}

static void test_when_all_rest(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a, b, c;
  llm_failure failure;
  llm_ask now = {.now = true};
  cool_down("c1", 8 * SECOND);
  cool_down("c2", 5 * SECOND);
  assert_failed(ask(&a, 4 * SECOND), &a, RESTING);
  llm_lease_failure(&a.lease, &failure);
  assert_int_equal(failure.retry_at_ns, in(5 * SECOND));
  assert_int_equal(failure.resting, 2);
  assert_failed(ask_as(&b, rig.model, &now), &b, RESTING);
  assert_int_equal(ask(&b, 6 * SECOND), LLM_WAIT); /* it is back in time */
  assert_int_equal(ask(&c, LLM_FOREVER), LLM_WAIT);
  rig_pass(5 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c2");
  give_back(&b);
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&c);
  assert_int_equal(rig_stats(rig.model).rested, 2);
}

/* One lent that is to rest, and one that leaves: nothing is free in time. */
static void test_a_lent_client_that_will_rest_counts_as_resting(void **state) {
  (void)state;
  rig_register("m", 3);
  asker a[3], b;
  take_all(a, 3);
  cool_down("c1", 60 * SECOND);
  assert_int_equal(llm_model_retire(rig.model, "c2"), LLM_OK);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT); /* c3 may come back */
  assert_true(llm_lease_withdraw(&b.lease, LLM_CANCELLED));
  cool_down("c3", LLM_FOREVER - in(0));
  assert_failed(ask(&b, SECOND), &b, RESTING);
  give_all(a, 3);
  assert_failed(ask(&b, SECOND), &b, RESTING);
  assert_int_equal(rig_stats(rig.model).clients, 2);
}

/* ---- the permit of a client that goes between a grant and the take ------- */

/* b has been granted, and has not looked yet, when the only idle client goes
** to rest: b waits again, before c, and nobody's permit is lost. */
static void test_a_grant_whose_client_rests_waits_in_front(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a[2], b, c;
  take_all(a, 2);
  assert_int_equal(ask(&b, 20 * SECOND), LLM_WAIT);
  assert_int_equal(ask(&c, 20 * SECOND), LLM_WAIT);
  give_back(&a[0]);
  assert_int_equal(b.wakes, 1);
  cool_down("c1", 5 * SECOND);
  assert_int_equal(rig.model->owed, 1);
  assert_int_equal(wake_up(&b), LLM_WAIT);
  assert_int_equal(rig.model->owed, 0);
  assert_ledger(rig.model);
  give_back(&a[1]);
  assert_int_equal(c.wakes, 0);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c2");
  rig_pass(5 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(wake_up(&c), LLM_READY);
  assert_held(&c, "c1");
  give_back(&b);
  give_back(&c);
}

/* Two of them, in either order: the first that was asked is first again. */
static void test_two_such_grants_keep_their_order(void **state) {
  for (int first = 0; first < 2; first++) {
    assert_int_equal(rig_setup(state), 0);
    rig_register("m", 3);
    asker a[3], b[2], c;
    take_all(a, 3);
    for (int i = 0; i < 2; i++) {
      assert_int_equal(ask(&b[i], 20 * SECOND), LLM_WAIT);
      rig_pass(1);
    }
    assert_int_equal(ask(&c, 20 * SECOND), LLM_WAIT);
    give_back(&a[0]);
    give_back(&a[1]);
    assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
    assert_int_equal(llm_model_retire(rig.model, "c2"), LLM_OK);
    assert_int_equal(rig.model->owed, 2);
    assert_int_equal(wake_up(&b[first]), LLM_WAIT);
    assert_int_equal(wake_up(&b[!first]), LLM_WAIT);
    give_back(&a[2]);
    assert_int_equal(wake_up(&b[0]), LLM_READY);
    give_back(&b[0]);
    assert_int_equal(wake_up(&b[1]), LLM_READY);
    give_back(&b[1]);
    assert_int_equal(wake_up(&c), LLM_READY);
    give_back(&c);
    rig_teardown(state);
  }
}

/* Or somebody's return pays, and the holder never notices. */
static void test_a_return_may_pay_instead(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a[2], b, c;
  take_all(a, 2);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  give_back(&a[0]);
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  give_back(&a[1]);
  assert_int_equal(rig.model->owed, 0);
  assert_int_equal(c.wakes, 0);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c2");
  give_back(&b);
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&c);
}

static void test_such_a_grant_is_refused_if_now_all_rest(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  take_all(&a, 1);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  give_back(&a);
  cool_down("c1", 5 * SECOND);
  assert_failed(wake_up(&b), &b, RESTING);
}

static void test_such_a_grant_given_up_pays(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  take_all(&a, 1);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  give_back(&a);
  cool_down("c1", 5 * SECOND);
  assert_false(llm_lease_withdraw(&b.lease, LLM_CANCELLED));
  assert_int_equal(b.wakes, 1);
  llm_lease_abort(&b.lease);
  assert_int_equal(b.lease.err, LLM_CANCELLED);
}

/* ---- retire ------------------------------------------------------------ */

static void test_retire(void **state) {
  (void)state;
  rig_register("m", 3);
  asker a[2], b;
  take_all(a, 2);
  assert_int_equal(llm_model_retire(rig.model, "c3"), LLM_OK); /* idle */
  assert_int_equal(rig.remote.destroys, 1);
  assert_int_equal(llm_model_retire(rig.model, "c3"), LLM_UNKNOWN_CLIENT);
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK); /* lent */
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_UNKNOWN_CLIENT);
  assert_int_equal(rig.remote.destroys, 1);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  give_back(&a[0]);
  assert_int_equal(rig.remote.destroys, 2);
  assert_int_equal(b.wakes, 0);
  assert_int_equal(rig_stats(rig.model).clients, 1);
  give_back(&a[1]);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "c2");
  give_back(&b);
  assert_int_equal(rig_stats(rig.model).retired, 2);
  assert_int_equal(rig_stats_of(rig.model, "c1").state, LLM_P_RETIRED);
}

static void test_retire_a_resting_client_while_paused(void **state) {
  (void)state;
  rig_register("m", 2);
  llm_model_pause(rig.model);
  cool_down("c1", SECOND);
  assert_int_equal(rig.model->owed, 0); /* its free permit was found */
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  assert_int_equal(llm_model_retire(rig.model, "c2"), LLM_OK);
  assert_int_equal(rig_stats(rig.model).clients, 0);
  llm_model_resume(rig.model);
}

/* ---- add --------------------------------------------------------------- */

static void test_add_serves_who_waits(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  take_all(&a, 1);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(rig_add(rig.model, "c1"), LLM_EXISTS);
  assert_int_equal(rig_add(rig.model, ""), LLM_INVALID);
  assert_int_equal(rig_add(rig.model, "new"), LLM_OK);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_held(&b, "new");
  give_back(&a);
  give_back(&b);
}

static void test_add_many(void **state) {
  (void)state;
  rig_register("m", 1);
  char ids[90][16];
  for (int i = 0; i < 90; i++) {
    snprintf(ids[i], sizeof ids[i], "n%d", i);
    assert_int_equal(rig_add(rig.model, ids[i]), LLM_OK);
  }
  for (int i = 0; i < 90; i++) {
    asker a;
    const char *const wanted[] = {ids[i]};
    llm_ask how = {.prefer = wanted, .n_prefer = 1};
    assert_int_equal(ask_as(&a, rig.model, &how), LLM_READY);
    assert_held(&a, ids[i]);
    give_back(&a);
  }
}

static void test_a_retired_id_may_come_back(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  assert_int_equal(ask(&a, SECOND), LLM_WAIT);
  assert_int_equal(rig_add(rig.model, "c1"), LLM_OK);
  assert_int_equal(wake_up(&a), LLM_READY);
  uint64_t version = llm_place_version(a.lease.place);
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
  assert_int_equal(rig_add(rig.model, "c1"), LLM_OK); /* while it is lent */
  assert_int_equal(rig_add(rig.model, "c1"), LLM_EXISTS);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  give_back(&a);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_true(llm_place_version(b.lease.place) > version);
  give_back(&b);
  assert_int_equal(rig.remote.live, 1);
  assert_int_equal(rig_stats(rig.model).clients, 1);
}

/* ---- replace ----------------------------------------------------------- */

static void replace(const char *id, bool has_instance) {
  llm_client_spec client = rig_client(id, has_instance);
  assert_int_equal(llm_model_replace(rig.model, &client), LLM_OK);
}

static void test_replace(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a, b;
  take_all(&a, 1);
  void *old = llm_place_instance(a.lease.place);
  replace("c1", false);
  replace("c1", false); /* the last word counts */
  replace("c2", false);
  assert_int_equal(rig.remote.destroys, 1);
  assert_ptr_equal(llm_place_instance(a.lease.place), old);
  assert_int_equal(rig_stats(rig.model).vacant, 1);
  take_all(&b, 1);
  assert_held(&b, "c2");
  assert_int_equal(rig.remote.reason, LLM_REPLACED);
  give_back(&a);
  assert_int_equal(rig.remote.destroys, 2);
  assert_int_equal(rig_stats(rig.model).vacant, 1);
  give_back(&b);
  assert_int_equal(rig.remote.specs, 3);
  llm_client_spec unknown = rig_client("x", true);
  assert_int_equal(llm_model_replace(rig.model, &unknown), LLM_UNKNOWN_CLIENT);
  assert_int_equal(rig_stats(rig.model).replaced, 2);
}

static void test_replace_by_an_instance(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  replace("c1", true);
  take_all(&a, 1);
  assert_int_equal(rig.remote.creates, 0);
  replace("c1", true);
  give_back(&a);
  assert_int_equal(rig_stats(rig.model).idle, 1);
  assert_int_equal(rig.remote.live, 1);
}

static void test_a_rest_goes_on_after_a_replacement(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  cool_down("c1", 5 * SECOND);
  replace("c1", true);
  assert_failed(ask(&a, SECOND), &a, RESTING);
  rig_pass(5 * SECOND);
  take_all(&a, 1);
  give_back(&a);
}

/* ---- limit ------------------------------------------------------------- */

static void test_limit(void **state) {
  (void)state;
  rig_register("m", 4);
  asker a[4], b, c;
  take_all(a, 4);
  assert_int_equal(llm_model_limit(rig.model, 2), LLM_OK);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  give_back(&a[0]);
  give_back(&a[1]);
  assert_int_equal(b.wakes, 0);
  give_back(&a[2]);
  assert_int_equal(wake_up(&b), LLM_READY);
  assert_int_equal(c.wakes, 0);
  assert_int_equal(llm_model_limit(rig.model, 3), LLM_OK);
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&a[3]);
  give_back(&b);
  give_back(&c);
  assert_int_equal(rig_stats(rig.model).limit, 3);
}

/* More clients than may be lent: one that rests takes nobody's permit. */
static void test_limit_counts_lends_not_clients(void **state) {
  (void)state;
  rig_register("m", 4);
  asker a[2], b;
  assert_int_equal(llm_model_limit(rig.model, 2), LLM_OK);
  cool_down("c1", SECOND);
  cool_down("c2", SECOND);
  take_all(a, 2);
  assert_int_equal(ask(&b, 10 * SECOND), LLM_WAIT);
  cool_down("c3", 2 * SECOND); /* lent: rests on its return */
  give_back(&a[0]);
  assert_int_equal(b.wakes, 0); /* only c4 is left, and it is lent */
  assert_ledger(rig.model);
  rig_pass(SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&a[1]);
  give_back(&b);
  assert_int_equal(llm_model_limit(rig.model, 0), LLM_OK);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_int_equal(llm_model_limit(rig.model, UINT32_MAX), LLM_OK);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
}

static void test_idle_expiry_of_clients_beyond_the_limit(void **state) {
  (void)state;
  rig.options.idle_timeout_ns = 10 * SECOND;
  rig_register("m", 3);
  asker a;
  assert_int_equal(llm_model_limit(rig.model, 1), LLM_OK);
  take_all(&a, 1); /* no permit is free */
  rig_pass(10 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(rig_stats(rig.model).expired, 2);
  assert_ledger(rig.model);
  give_back(&a);
}

/* ---- pause ------------------------------------------------------------- */

static void test_pause(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a, b, c;
  llm_ask now = {.now = true};
  take_all(&a, 1);
  llm_model_pause(rig.model);
  assert_true(rig_stats(rig.model).paused);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_failed(ask_as(&c, rig.model, &now), &c, TIMEOUT);
  give_back(&a);
  assert_int_equal(b.wakes, 0);
  llm_model_resume(rig.model);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_an_idle_client_rests),
      TEST(test_a_lent_client_rests_when_it_is_back),
      TEST(test_a_rest_that_is_over_before_the_return_is_none),
      TEST(test_the_later_of_two_instants_holds),
      TEST(test_a_vacant_place_rests),
      TEST(test_a_client_is_checked_after_its_rest),
      TEST(test_when_all_rest),
      TEST(test_a_lent_client_that_will_rest_counts_as_resting),
      TEST(test_a_grant_whose_client_rests_waits_in_front),
      cmocka_unit_test(test_two_such_grants_keep_their_order),
      TEST(test_a_return_may_pay_instead),
      TEST(test_such_a_grant_is_refused_if_now_all_rest),
      TEST(test_such_a_grant_given_up_pays),
      TEST(test_retire),
      TEST(test_retire_a_resting_client_while_paused),
      TEST(test_add_serves_who_waits),
      TEST(test_add_many),
      TEST(test_a_retired_id_may_come_back),
      TEST(test_replace),
      TEST(test_replace_by_an_instance),
      TEST(test_a_rest_goes_on_after_a_replacement),
      TEST(test_limit),
      TEST(test_limit_counts_lends_not_clients),
      TEST(test_idle_expiry_of_clients_beyond_the_limit),
      TEST(test_pause),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
