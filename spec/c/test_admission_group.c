/*
** test_admission_group.c - one caller in several lines at once, and lines of
** different priority; one thread. A group has one end and at most one wake.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "callers.h"

#define NO_LIMIT UINT32_MAX
#define N 3

static llm_clock *clock_;
static llm_sem sems[N];
static struct llm_group group;

/* The group's own three nodes, contiguous as the owner keeps them; its wakes
** are recorded as 0 to 2. Others in line are callers of their own. */
static llm_waiter nodes[N];
static int group_wakes;

static void record_node(llm_waiter *waiter) {
  assert_true(waiter == atomic_load(&group.winner));
  woken.numbers[woken.count++] = (int)(waiter - nodes);
  group_wakes++;
}

static void make_group(int64_t deadline_ns) {
  llm_group_init(&group);
  group_wakes = 0;
  for (int i = 0; i < N; i++) {
    llm_waiter_init(&nodes[i], record_node, deadline_ns, 0);
    nodes[i].group = &group;
  }
}

static int setup(void **state) {
  (void)state;
  clock_ = llm_clock_manual_new(0);
  callers_reset();
  for (int i = 0; i < N; i++) {
    llm_sem_init(&sems[i], 1, NO_LIMIT, clock_);
    assert_true(llm_sem_try(&sems[i]));
  }
  make_group(LLM_FOREVER);
  return clock_ == NULL;
}

static int teardown(void **state) {
  (void)state;
  for (int i = 0; i < N; i++) llm_sem_destroy(&sems[i]);
  llm_clock_manual_free(clock_);
  return 0;
}

static llm_begun begin(int i) { return llm_sem_begin(&sems[i], &nodes[i]); }

/* In line everywhere, with one wake due. */
static void line_up(void) {
  for (int i = 0; i < N; i++) assert_int_equal(begin(i), LLM_BEGUN_QUEUED);
  assert_true(llm_group_seal(&group, nodes, N));
}

static void assert_states(llm_wait_state a, llm_wait_state b,
                          llm_wait_state c) {
  assert_int_equal(llm_waiter_state(&nodes[0]), a);
  assert_int_equal(llm_waiter_state(&nodes[1]), b);
  assert_int_equal(llm_waiter_state(&nodes[2]), c);
}

static void assert_winner(int i) {
  assert_ptr_equal(atomic_load(&group.winner), &nodes[i]);
}

static void test_the_first_grant_wins(void **state) {
  (void)state;
  line_up();
  llm_sem_release(&sems[1]);
  assert_winner(1);
  assert_states(LLM_W_QUEUED, LLM_W_GRANTED, LLM_W_QUEUED);
  llm_sem_release(&sems[2]); /* finds the group ended: its permit is free */
  assert_states(LLM_W_QUEUED, LLM_W_GRANTED, LLM_W_LOST);
  assert_int_equal(sems[2].word, LLM_SEM_PERMIT);
  llm_group_finish(nodes, N);
  assert_states(LLM_W_LOST, LLM_W_GRANTED, LLM_W_LOST);
  assert_int_equal(sems[0].word, 0);
  ASSERT_WOKEN(1);
}

static void test_a_loser_is_skipped_for_the_next(void **state) {
  (void)state;
  caller c[1];
  line_up();
  caller_init(&c[0], 7, LLM_FOREVER, 0);
  callers_queue(&sems[0], c, 1);
  llm_sem_release(&sems[1]);
  llm_sem_release(&sems[0]);
  assert_states(LLM_W_LOST, LLM_W_GRANTED, LLM_W_QUEUED);
  ASSERT_WOKEN(1, 7);
  llm_group_finish(nodes, N);
  assert_sem(&sems[2], 0, 1, 0, 0);
}

static void test_a_free_permit_ends_the_first_pass(void **state) {
  (void)state;
  llm_sem_release(&sems[1]);
  assert_int_equal(begin(0), LLM_BEGUN_QUEUED);
  assert_int_equal(begin(1), LLM_BEGUN_GRANTED);
  assert_winner(1);
  llm_sem_release(&sems[0]);
  llm_group_finish(nodes, N);
  assert_states(LLM_W_LOST, LLM_W_GRANTED, LLM_W_INIT);
  assert_int_equal(sems[0].word, LLM_SEM_PERMIT);
  assert_nobody_woken();
}

static void test_a_begin_respects_the_winner(void **state) {
  (void)state;
  assert_int_equal(begin(0), LLM_BEGUN_QUEUED);
  llm_sem_release(&sems[0]); /* granted before the pass is over */
  llm_sem_release(&sems[1]);
  assert_int_equal(begin(1), LLM_BEGUN_LOST); /* though a permit is free */
  assert_int_equal(begin(2), LLM_BEGUN_LOST);
  assert_true(llm_group_seal(&group, nodes, N));
  assert_states(LLM_W_GRANTED, LLM_W_LOST, LLM_W_LOST);
  assert_int_equal(sems[1].word, LLM_SEM_PERMIT);
  ASSERT_WOKEN(0);
  llm_group_finish(nodes, N);
}

static void test_the_owner_withdraws_all(void **state) {
  (void)state;
  line_up();
  assert_true(llm_group_withdraw(&group, nodes, N, LLM_W_TIMEDOUT));
  assert_states(LLM_W_TIMEDOUT, LLM_W_TIMEDOUT, LLM_W_TIMEDOUT);
  for (int i = 0; i < N; i++) {
    llm_sem_release(&sems[i]);
    assert_int_equal(sems[i].word, LLM_SEM_PERMIT);
  }
  assert_nobody_woken();
}

static void test_a_withdraw_that_comes_too_late(void **state) {
  (void)state;
  line_up();
  llm_sem_release(&sems[2]);
  assert_false(llm_group_withdraw(&group, nodes, N, LLM_W_CANCELLED));
  assert_winner(2);
  assert_states(LLM_W_LOST, LLM_W_LOST, LLM_W_GRANTED);
  ASSERT_WOKEN(2);
  assert_int_equal(sems[0].word, 0);
  assert_int_equal(sems[1].word, 0);
}

static void test_a_closed_model_drops_out(void **state) {
  (void)state;
  line_up();
  llm_sem_close(&sems[0]);
  llm_sem_close(&sems[2]);
  assert_nobody_woken();
  assert_states(LLM_W_CLOSED, LLM_W_QUEUED, LLM_W_CLOSED);
  llm_sem_release(&sems[1]);
  assert_winner(1);
  ASSERT_WOKEN(1);
  llm_group_finish(nodes, N);
}

static void test_the_last_close_ends_the_group(void **state) {
  (void)state;
  line_up();
  llm_sem_close(&sems[1]);
  llm_sem_close(&sems[0]);
  assert_nobody_woken();
  llm_sem_close(&sems[2]);
  ASSERT_WOKEN(2);
  assert_winner(2);
  assert_states(LLM_W_CLOSED, LLM_W_CLOSED, LLM_W_CLOSED);
  assert_false(llm_group_withdraw(&group, nodes, N, LLM_W_TIMEDOUT));
}

static void test_closes_during_the_first_pass(void **state) {
  (void)state;
  assert_int_equal(begin(0), LLM_BEGUN_QUEUED);
  llm_sem_close(&sems[0]); /* the only one in line, but more are to come */
  assert_nobody_woken();
  llm_sem_close(&sems[1]);
  assert_int_equal(begin(1), LLM_BEGUN_CLOSED);
  assert_int_equal(begin(2), LLM_BEGUN_QUEUED);
  assert_true(llm_group_seal(&group, nodes, N));
  llm_sem_close(&sems[2]);
  ASSERT_WOKEN(2);
}

static void test_nothing_is_left_at_the_seal(void **state) {
  (void)state;
  assert_int_equal(begin(0), LLM_BEGUN_QUEUED);
  llm_sem_close(&sems[0]);
  llm_sem_close(&sems[1]);
  assert_int_equal(begin(1), LLM_BEGUN_CLOSED);
  nodes[2].deadline_ns = 0;
  assert_int_equal(begin(2), LLM_BEGUN_LATE);
  assert_false(llm_group_seal(&group, nodes, N));
  assert_states(LLM_W_CLOSED, LLM_W_CLOSED, LLM_W_TIMEDOUT);
  assert_nobody_woken();
}

static void test_a_full_line_is_left_out(void **state) {
  (void)state;
  sems[0].max_waiting = 0;
  assert_int_equal(begin(0), LLM_BEGUN_FULL);
  assert_int_equal(begin(1), LLM_BEGUN_QUEUED);
  assert_true(llm_group_seal(&group, nodes, N));
  llm_sem_close(&sems[1]);
  ASSERT_WOKEN(1);
  llm_group_finish(nodes, N);
}

static void test_a_granter_finds_the_group_late(void **state) {
  (void)state;
  make_group(100);
  line_up();
  llm_clock_manual_set(clock_, 100);
  llm_sem_release(&sems[1]);
  ASSERT_WOKEN(1);
  assert_states(LLM_W_QUEUED, LLM_W_TIMEDOUT, LLM_W_QUEUED);
  assert_int_equal(sems[1].word, LLM_SEM_PERMIT);
  llm_sem_release(&sems[0]); /* late as well, but it has been told */
  assert_states(LLM_W_LOST, LLM_W_TIMEDOUT, LLM_W_QUEUED);
  llm_group_finish(nodes, N);
  ASSERT_WOKEN(1);
}

static void test_cancel_ends_the_whole_group(void **state) {
  (void)state;
  line_up();
  assert_true(llm_sem_cancel(&nodes[2]));
  assert_false(llm_sem_cancel(&nodes[0]));
  assert_states(LLM_W_LOST, LLM_W_QUEUED, LLM_W_CANCELLED);
  ASSERT_WOKEN(2);
  llm_group_finish(nodes, N);
  assert_int_equal(sems[1].word, 0);
}

static void test_a_grant_after_a_close_of_a_loser(void **state) {
  (void)state;
  line_up();
  llm_sem_release(&sems[0]);
  for (int i = 0; i < N; i++) llm_sem_close(&sems[i]);
  assert_winner(0);
  assert_states(LLM_W_GRANTED, LLM_W_CLOSED, LLM_W_CLOSED);
  ASSERT_WOKEN(0);
}

/* ---- priorities -------------------------------------------------------- */

static void test_larger_levels_first(void **state) {
  (void)state;
  caller c[8];
  for (int i = 0; i < 8; i++) {
    caller_init(&c[i], i, LLM_FOREVER, (uint8_t)(i % LLM_PRIORITIES));
    callers_queue(&sems[0], &c[i], 1);
  }
  for (int i = 0; i < 8; i++) llm_sem_release(&sems[0]);
  ASSERT_WOKEN(3, 7, 2, 6, 1, 5, 0, 4);
}

/* A level that is passed over eight times goes next, once. */
static void test_nobody_is_passed_over_for_ever(void **state) {
  (void)state;
  caller c[30];
  for (int i = 0; i < 30; i++) {
    caller_init(&c[i], i, LLM_FOREVER, i < 2 ? 1 : 3);
    callers_queue(&sems[0], &c[i], 1);
  }
  for (int i = 0; i < 20; i++) llm_sem_release(&sems[0]);
  ASSERT_WOKEN(2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 11, 12, 13, 14, 15, 16, 17, 1, 18,
               19);
  llm_sem_close(&sems[0]);
}

static void test_of_several_passed_over_the_larger_goes_first(void **state) {
  (void)state;
  caller c[12];
  for (int i = 0; i < 12; i++) {
    caller_init(&c[i], i, LLM_FOREVER, i < 3 ? (uint8_t)i : 3);
    callers_queue(&sems[0], &c[i], 1);
  }
  for (int i = 0; i < 12; i++) llm_sem_release(&sems[0]);
  ASSERT_WOKEN(3, 4, 5, 6, 7, 8, 9, 10, 2, 1, 0, 11);
}

/* Heads that give up do not set back those behind them; an emptied level
** starts anew. */
static void test_what_counts_as_passed_over(void **state) {
  (void)state;
  caller low[3], high[20];
  for (int i = 0; i < 20; i++) {
    caller_init(&high[i], i, LLM_FOREVER, 2);
    callers_queue(&sems[0], &high[i], 1);
  }
  for (int i = 0; i < 3; i++) caller_init(&low[i], 100 + i, LLM_FOREVER, 0);
  callers_queue(&sems[0], low, 1);
  for (int i = 0; i < 5; i++) llm_sem_release(&sems[0]);
  llm_sem_withdraw(&low[0].waiter, LLM_W_TIMEDOUT); /* emptied: anew */
  callers_queue(&sems[0], low + 1, 2);
  for (int i = 0; i < 7; i++) llm_sem_release(&sems[0]);
  llm_sem_withdraw(&low[1].waiter, LLM_W_TIMEDOUT); /* one stays behind */
  for (int i = 0; i < 2; i++) llm_sem_release(&sems[0]);
  ASSERT_WOKEN(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 102);
  llm_sem_close(&sems[0]);
}

static void test_close_tells_larger_levels_first(void **state) {
  (void)state;
  caller c[6];
  for (int i = 0; i < 6; i++) {
    caller_init(&c[i], i, LLM_FOREVER, (uint8_t)(i % 3));
    callers_queue(&sems[0], &c[i], 1);
  }
  llm_sem_close(&sems[0]);
  ASSERT_WOKEN(2, 5, 1, 4, 0, 3);
}

static void test_the_oldest_of_all_levels(void **state) {
  (void)state;
  caller c[2];
  for (int i = 0; i < 2; i++) {
    caller_init(&c[i], i, LLM_FOREVER, (uint8_t)(3 * i));
    llm_clock_manual_set(clock_, 10 * (i + 1));
    callers_queue(&sems[0], &c[i], 1);
  }
  assert_int_equal(llm_sem_oldest_since(&sems[0]), 10);
  llm_sem_withdraw(&c[0].waiter, LLM_W_TIMEDOUT);
  assert_int_equal(llm_sem_oldest_since(&sems[0]), 20);
  llm_sem_close(&sems[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_the_first_grant_wins),
      TEST(test_a_loser_is_skipped_for_the_next),
      TEST(test_a_free_permit_ends_the_first_pass),
      TEST(test_a_begin_respects_the_winner),
      TEST(test_the_owner_withdraws_all),
      TEST(test_a_withdraw_that_comes_too_late),
      TEST(test_a_closed_model_drops_out),
      TEST(test_the_last_close_ends_the_group),
      TEST(test_closes_during_the_first_pass),
      TEST(test_nothing_is_left_at_the_seal),
      TEST(test_a_full_line_is_left_out),
      TEST(test_a_granter_finds_the_group_late),
      TEST(test_cancel_ends_the_whole_group),
      TEST(test_a_grant_after_a_close_of_a_loser),
      TEST(test_larger_levels_first),
      TEST(test_nobody_is_passed_over_for_ever),
      TEST(test_of_several_passed_over_the_larger_goes_first),
      TEST(test_what_counts_as_passed_over),
      TEST(test_close_tells_larger_levels_first),
      TEST(test_the_oldest_of_all_levels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
