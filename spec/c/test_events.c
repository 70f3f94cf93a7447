/*
** test_events.c - what a pool tells: events in order, rings that fill up,
** listeners that go; and what it can be asked: statistics.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static llm_listener *listener;
static int notified;

static void notify(void *user) { (*(int *)user)++; }

static void listen_for(size_t capacity) {
  notified = 0;
  listener = llm_pool_listen(rig.pool, capacity, notify, &notified);
  assert_non_null(listener);
}

/* The kinds of all events so far, as one text; their sequence has no gap. */
static const char *kinds(void) {
  static char text[1024];
  static llm_event events[100];
  size_t n = llm_listener_read(listener, events, 100);
  text[0] = 0;
  for (size_t i = 0; i < n; i++) {
    if (i > 0) assert_int_equal(events[i].seq, events[i - 1].seq + 1);
    if (i > 0) assert_true(events[i].time_ns >= events[i - 1].time_ns);
    if (i > 0) strcat(text, " ");
    strcat(text, llm_event_name(events[i].kind));
  }
  return text;
}

#define assert_kinds(text) assert_string_equal(kinds(), text)

/* ---- what is told ------------------------------------------------------ */

static void test_the_story_of_a_lease(void **state) {
  (void)state;
  llm_event e[8];
  rig_register("m", 1);
  listen_for(100);
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  rig_pass(5 * MS);
  give_back(&a);
  assert_int_equal(wake_up(&b), LLM_READY);
  rig_pass(7 * MS);
  give_back(&b);
  assert_int_equal(llm_listener_read(listener, e, 8), 5);
  assert_int_equal(e[0].kind, LLM_EV_LENT);
  assert_int_equal(e[1].kind, LLM_EV_QUEUED);
  assert_int_equal(e[2].kind, LLM_EV_RETURNED);
  assert_int_equal(e[3].kind, LLM_EV_LENT);
  assert_int_equal(e[4].kind, LLM_EV_RETURNED);
  assert_int_equal(e[0].ask, e[2].ask);
  assert_int_equal(e[1].ask, e[3].ask);
  assert_int_equal(e[3].ask, e[4].ask);
  assert_int_not_equal(e[0].ask, e[1].ask);
  assert_int_equal(e[2].span_ns, 5 * MS);
  assert_int_equal(e[3].span_ns, 5 * MS);
  assert_int_equal(e[4].span_ns, 7 * MS);
  assert_int_equal(e[4].time_ns, RIG_START + 12 * MS);
  assert_string_equal(e[3].model, "m");
  assert_string_equal(e[3].client, "c1");
  assert_null(e[1].client);
  llm_listener_close(listener);
}

static void test_every_ask_has_one_end(void **state) {
  (void)state;
  rig.options.max_waiting = 1;
  rig_register("m", 1);
  listen_for(100);
  asker a, b, c;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_failed(ask(&c, SECOND), &c, QUEUE_FULL);
  assert_true(llm_lease_withdraw(&b.lease, LLM_TIMEOUT));
  assert_kinds("lent queued queue_full timeout");
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_true(llm_lease_withdraw(&b.lease, LLM_CANCELLED));
  assert_kinds("queued cancelled");
  llm_model_cool_down(rig.model, "c1", llm_clock_now(rig.clock) + 9 * SECOND);
  give_back(&a);
  assert_failed(ask(&b, SECOND), &b, RESTING);
  rig_pass(9 * SECOND);
  llm_pool_tick(rig.pool);
  assert_kinds("returned resting refused rested");
  llm_listener_close(listener);
}

static void test_clients_and_models_come_and_go(void **state) {
  (void)state;
  listen_for(100);
  rig_register("m", 1);
  assert_int_equal(rig_add(rig.model, "new"), LLM_OK);
  assert_int_equal(llm_model_retire(rig.model, "new"), LLM_OK);
  llm_client_spec client = rig_client("c1", false);
  assert_int_equal(llm_model_replace(rig.model, &client), LLM_OK);
  assert_kinds("registered added retired replaced");
  rig.remote.fail_creates = 1;
  asker a;
  assert_failed(ask(&a, SECOND), &a, CREATE_FAILED);
  rig_pass(SECOND);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  llm_lease_leaked(&a.lease);
  llm_lease_return(&a.lease, LLM_POISON);
  assert_kinds("create_failed refused created lent leaked returned replaced");
  llm_model_pause(rig.model);
  llm_model_resume(rig.model);
  llm_pool_close(rig.pool);
  llm_pool_unregister(rig.pool, "m");
  assert_kinds("paused resumed closed unregistered");
  assert_int_equal(rig_stats(rig.model).leaked, 1);
  llm_listener_close(listener);
}

static void test_why_a_client_was_replaced(void **state) {
  (void)state;
  llm_event e[8];
  rig.options.check_after_ns = 0;
  rig.options.idle_timeout_ns = 10 * SECOND;
  rig_register("m", 1);
  rig.remote.fail_checks = 1;
  listen_for(100);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  give_back(&a);
  assert_int_equal(llm_listener_read(listener, e, 8), 5);
  assert_int_equal(e[0].kind, LLM_EV_CHECK_FAILED);
  assert_int_equal(e[1].kind, LLM_EV_REPLACED);
  assert_int_equal(e[1].reason, LLM_SICK);
  assert_int_equal(e[2].kind, LLM_EV_CREATED);
  assert_int_equal(e[2].reason, LLM_SICK);
  rig_pass(10 * SECOND);
  llm_pool_tick(rig.pool);
  assert_kinds("expired");
  llm_listener_close(listener);
}

static void test_a_wait_in_several_lines(void **state) {
  (void)state;
  llm_event e[8];
  llm_model *models[2] = {rig_register("m", 1), rig_register("n", 1)};
  llm_waiter nodes[2];
  struct llm_group group;
  asker a, b, c = {.wakes = 0}; /* nobody wakes c */
  assert_int_equal(ask_as(&a, models[0], NULL), LLM_READY);
  assert_int_equal(ask_as(&b, models[1], NULL), LLM_READY);
  listen_for(100);
  assert_int_equal(
      llm_lease_begin_any(&c.lease, models, nodes, &group, 2, NULL, NULL),
      LLM_WAIT);
  assert_true(llm_lease_withdraw(&c.lease, LLM_CANCELLED));
  assert_int_equal(llm_listener_read(listener, e, 8), 3);
  assert_int_equal(e[0].ask, e[1].ask);
  assert_string_equal(e[0].model, "m");
  assert_string_equal(e[1].model, "n");
  assert_int_equal(e[2].kind, LLM_EV_CANCELLED);
  assert_int_equal(e[2].ask, e[0].ask);
  llm_listener_close(listener);
  give_back(&a);
  give_back(&b);
  llm_model_unref(models[1]);
}

/* ---- rings ------------------------------------------------------------- */

static void lend_once(void) {
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  give_back(&a);
}

static void test_a_full_ring_drops_the_newest(void **state) {
  (void)state;
  rig_register("m", 1);
  listen_for(3);
  lend_once();
  lend_once();
  assert_int_equal(llm_listener_dropped(listener), 1);
  assert_int_equal(notified, 1);
  assert_kinds("lent returned lent");
  lend_once();
  assert_int_equal(notified, 2); /* empty, then not */
  assert_kinds("lent returned");
  assert_kinds("");
  assert_int_equal(llm_listener_dropped(listener), 1);
  llm_listener_close(listener);
}

static void test_a_ring_is_read_in_parts(void **state) {
  (void)state;
  llm_event e[300];
  rig_register("m", 1);
  listen_for(300);
  for (int i = 0; i < 125; i++) lend_once();
  assert_int_equal(llm_listener_read(listener, e, 1), 1);
  assert_int_equal(llm_listener_read(listener, e, 200), 200);
  assert_int_equal(llm_listener_read(listener, e, 300), 49);
  assert_int_equal(notified, 1);
  llm_listener_close(listener);
}

static void test_listeners_are_independent(void **state) {
  (void)state;
  llm_event e[8];
  rig_register("m", 1);
  listen_for(8);
  llm_listener *other = llm_pool_listen(rig.pool, 8, NULL, NULL);
  lend_once();
  llm_listener_close(listener);
  lend_once();
  assert_int_equal(notified, 1);
  assert_int_equal(llm_listener_read(other, e, 8), 4);
  llm_listener_close(other);
  assert_int_equal(atomic_load(&rig.pool->attention), 0);
  assert_null(llm_pool_listen(rig.pool, SIZE_MAX, NULL, NULL));
}

static void test_names_outlive_the_model_and_the_pool(void **state) {
  (void)state;
  llm_event e[8];
  llm_model *model = rig_register("m", 1);
  rig.model = NULL;
  listen_for(8);
  llm_pool_unregister(rig.pool, "m");
  llm_model_unref(model);
  llm_pool_unref(rig.pool);
  rig.pool = NULL;
  assert_int_equal(llm_listener_read(listener, e, 8), 2);
  assert_string_equal(e[0].model, "m");
  llm_listener_close(listener);
}

/* ---- statistics -------------------------------------------------------- */

static void test_stats_of_a_model(void **state) {
  (void)state;
  rig_register("m", 4);
  asker a, b, c, d;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(
      llm_model_cool_down(rig.model, "c4", llm_clock_now(rig.clock) + SECOND),
      LLM_OK);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_int_equal(ask(&c, SECOND), LLM_READY);
  assert_int_equal(ask(&d, SECOND), LLM_WAIT);
  rig_pass(3 * MS);
  llm_lease_return(&c.lease, LLM_POISON);
  llm_stats s = rig_stats(rig.model);
  assert_int_equal(s.clients, 4);
  assert_int_equal(s.lent, 2);
  assert_int_equal(s.resting, 1);
  assert_int_equal(s.vacant, 1);
  assert_int_equal(s.idle, 0);
  assert_int_equal(s.acquired, 3);
  assert_int_equal(s.returned, 1);
  assert_int_equal(s.hold.p99_ns, 3 * MS);
  assert_int_equal(s.earliest_rest_ns, RIG_START + SECOND);
  assert_int_equal(s.limit, UINT32_MAX);
  assert_false(s.paused);
  assert_false(s.closed_now);
  assert_int_equal(wake_up(&d), LLM_READY);
  assert_int_equal(rig_stats(rig.model).wait.max_ns, 3 * MS);
  give_back(&a);
  give_back(&b);
  give_back(&d);
}

static void test_stats_of_the_head_of_the_line(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  rig_pass(7 * MS);
  assert_int_equal(rig_stats(rig.model).oldest_wait_ns, 7 * MS);
  assert_int_equal(rig_stats(rig.model).waiting, 1);
  assert_true(llm_lease_withdraw(&b.lease, LLM_TIMEOUT));
  assert_int_equal(rig_stats(rig.model).oldest_wait_ns, 0);
  give_back(&a);
}

static void test_stats_of_clients(void **state) {
  (void)state;
  llm_client_stats few[1];
  rig_register("m", 3);
  asker a;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  llm_model_cool_down(rig.model, "c3", RIG_START + SECOND);
  rig_pass(4 * MS);
  llm_client_stats s = rig_stats_of(rig.model, "c1");
  assert_int_equal(s.state, LLM_P_LENT);
  assert_string_equal(llm_place_state_name(s.state), "lent");
  assert_int_equal(s.held_ns, 4 * MS);
  assert_int_equal(s.acquired, 1);
  assert_int_equal(rig_stats_of(rig.model, "c3").rest_until_ns,
                   RIG_START + SECOND);
  assert_int_equal(llm_model_clients(rig.model, few, 1), 3);
  assert_string_equal(few[0].id, "c1");
  give_back(&a);
  assert_int_equal(rig_stats_of(rig.model, "c1").hold.count, 1);
  assert_int_equal(rig_stats_of(rig.model, "c1").held_ns, 0);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_the_story_of_a_lease),
      TEST(test_every_ask_has_one_end),
      TEST(test_clients_and_models_come_and_go),
      TEST(test_why_a_client_was_replaced),
      TEST(test_a_wait_in_several_lines),
      TEST(test_a_full_ring_drops_the_newest),
      TEST(test_a_ring_is_read_in_parts),
      TEST(test_listeners_are_independent),
      TEST(test_names_outlive_the_model_and_the_pool),
      TEST(test_stats_of_a_model),
      TEST(test_stats_of_the_head_of_the_line),
      TEST(test_stats_of_clients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
