/*
** test_slot.c - who holds a permit, finds no client idle, and waits for its
** turn to create one: what comes back meanwhile is theirs first. (39 is of the
** design's list.)
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rig.h"

/* Five idle, fifty callers at once, a slow create that nobody should need. */
static void test_39_a_spike_creates_few_at_a_time(void **state) {
  (void)state;
  rig.factory.stepped = true;
  rig_register("m", 5);
  rig.vacant = true;
  for (int i = 0; i < 20; i++) {
    char id[16] = {'v', (char)('a' + i)};
    assert_int_equal(rig_add(rig.model, id), LLM_OK);
  }
  static asker a[50];
  int ready = 0, creating = 0, waiting = 0;
  for (int i = 0; i < 50; i++) {
    llm_step step = ask(&a[i], SECOND);
    ready += step == LLM_READY;
    creating += step == LLM_CREATE;
    waiting += step == LLM_WAIT;
  }
  assert_int_equal(ready, 5);
  assert_int_equal(creating, 2); /* max_creates */
  assert_int_equal(waiting, 43); /* 18 of them for a slot */
  for (int i = 0; i < 5; i++) give_back(&a[i]);
  /* in order of arrival: those who wait for a slot came before those in line */
  for (int i = 7; i < 50; i++) {
    assert_int_equal(wake_up(&a[i]), LLM_READY);
    give_back(&a[i]);
  }
  llm_lease_abort(&a[5].lease);
  llm_lease_abort(&a[6].lease);
  assert_int_equal(rig_stats(rig.model).created, 0);
  assert_int_equal(rig_stats(rig.model).vacant, 20);
}

/* One idle client, lent; three vacant ones, of which one is being created. */
static void set_up_for_a_nudge(asker *holder, asker *creator) {
  rig.factory.stepped = true;
  rig.options.max_creates = 1;
  rig_register("m", 1);
  rig.vacant = true;
  assert_int_equal(rig_add(rig.model, "x"), LLM_OK);
  assert_int_equal(rig_add(rig.model, "y"), LLM_OK);
  assert_int_equal(rig_add(rig.model, "z"), LLM_OK);
  assert_int_equal(ask(holder, SECOND), LLM_READY);
  assert_int_equal(ask(creator, SECOND), LLM_CREATE);
}

static void test_a_nudge_in_vain_keeps_the_place_in_line(void **state) {
  (void)state;
  asker holder, creator, first, second, quick;
  set_up_for_a_nudge(&holder, &creator);
  assert_int_equal(ask(&first, SECOND), LLM_WAIT);
  assert_int_equal(ask(&second, SECOND), LLM_WAIT);
  give_back(&holder);
  assert_int_equal(ask(&quick, SECOND), LLM_READY); /* before `first` looks */
  assert_int_equal(wake_up(&first), LLM_WAIT);
  assert_int_equal(second.wakes, 0);
  llm_lease_abort(&creator.lease);
  assert_int_equal(wake_up(&first), LLM_CREATE);
  assert_int_equal(second.wakes, 0);
  give_back(&quick);
  assert_int_equal(wake_up(&second), LLM_READY);
  give_back(&second);
  llm_lease_abort(&first.lease);
}

static void test_who_is_nudged_and_goes_nudges_the_next(void **state) {
  (void)state;
  asker holder, creator, first, second;
  set_up_for_a_nudge(&holder, &creator);
  assert_int_equal(ask(&first, SECOND), LLM_WAIT);
  assert_int_equal(ask(&second, SECOND), LLM_WAIT);
  give_back(&holder);
  assert_false(llm_lease_withdraw(&first.lease, LLM_CANCELLED));
  first.wakes = 0; /* is consumed */
  llm_lease_abort(&first.lease);
  assert_int_equal(wake_up(&second), LLM_READY);
  give_back(&second);
  llm_lease_abort(&creator.lease);
}

static void test_nobody_is_nudged_for_what_it_excludes(void **state) {
  (void)state;
  asker holder, creator, first, second;
  set_up_for_a_nudge(&holder, &creator);
  const char *other[] = {llm_place_id(holder.lease.place)};
  llm_ask picky = {.exclude = other, .n_exclude = 1};
  assert_int_equal(ask_as(&first, rig.model, &picky), LLM_WAIT);
  assert_int_equal(ask(&second, SECOND), LLM_WAIT);
  give_back(&holder);
  assert_int_equal(first.wakes, 0);
  assert_int_equal(wake_up(&second), LLM_READY);
  give_back(&second);
  llm_lease_abort(&first.lease);
  llm_lease_abort(&creator.lease);
}

static void
test_what_is_added_idle_is_no_reason_to_wait_for_a_slot(void **state) {
  (void)state;
  asker holder, creator, first;
  set_up_for_a_nudge(&holder, &creator);
  assert_int_equal(ask(&first, SECOND), LLM_WAIT);
  rig.vacant = false;
  assert_int_equal(rig_add(rig.model, "new"), LLM_OK);
  assert_int_equal(wake_up(&first), LLM_READY);
  give_back(&first);
  give_back(&holder);
  llm_lease_abort(&creator.lease);
}

static void test_the_wait_for_a_slot_ends_in_time(void **state) {
  (void)state;
  rig.vacant = true;
  rig.factory.stepped = true;
  rig.options.max_creates = 1;
  rig_register("m", 2);
  asker a, b, c;
  llm_ask now = {.now = true};
  assert_int_equal(ask(&a, SECOND), LLM_CREATE);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  assert_failed(ask_as(&c, rig.model, &now), &c, TIMEOUT);
  assert_true(llm_lease_withdraw(&b.lease, LLM_TIMEOUT));
  assert_int_equal(b.lease.err, LLM_TIMEOUT);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  llm_lease_abort(&a.lease);
  assert_int_equal(wake_up(&b), LLM_CREATE);
  assert_int_equal(llm_lease_done(&b.lease, LLM_OK, rig_instance(), NULL, NULL),
                   LLM_READY);
  give_back(&b);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_39_a_spike_creates_few_at_a_time),
      TEST(test_a_nudge_in_vain_keeps_the_place_in_line),
      TEST(test_who_is_nudged_and_goes_nudges_the_next),
      TEST(test_nobody_is_nudged_for_what_it_excludes),
      TEST(test_what_is_added_idle_is_no_reason_to_wait_for_a_slot),
      TEST(test_the_wait_for_a_slot_ends_in_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
