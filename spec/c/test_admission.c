/*
** test_admission.c - the semaphore, one thread, on a manual clock: taking,
** giving back, waiting, ending a wait. The numbers are those of the design's
** list; capacity and state are in test_admission_capacity.c, groups and
** priorities in test_admission_group.c, threads in stress_admission.c. Test 14
** (drain) is the pool's.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "callers.h"

#define NO_LIMIT UINT32_MAX

static llm_clock *clock_;
static llm_sem sem;

static int setup(void **state) {
  (void)state;
  clock_ = llm_clock_manual_new(1000);
  callers_reset();
  return clock_ == NULL;
}

static int teardown(void **state) {
  (void)state;
  llm_sem_destroy(&sem);
  llm_clock_manual_free(clock_);
  return 0;
}

static void make(uint32_t cap) { llm_sem_init(&sem, cap, NO_LIMIT, clock_); }

/* All permits are out. */
static void make_taken(uint32_t cap) {
  make(cap);
  while (llm_sem_try(&sem)) {}
}

static void release_once_too_often(void *arg) {
  (void)arg;
  llm_sem_release(&sem);
}

static void test_1_try_as_often_as_there_are_permits(void **state) {
  (void)state;
  make(5);
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(sem.word, (5 - i) * LLM_SEM_PERMIT);
    assert_true(llm_sem_try(&sem));
  }
  assert_false(llm_sem_try(&sem));
  assert_int_equal(sem.word, 0);
}

static void test_2_release_restores_and_no_more(void **state) {
  (void)state;
  make(3);
  for (int i = 0; i < 3; i++) assert_true(llm_sem_try(&sem));
  for (int i = 0; i < 3; i++) llm_sem_release(&sem);
  assert_int_equal(sem.word, 3 * LLM_SEM_PERMIT);
  assert_true(aborts(release_once_too_often, NULL));
  llm_sem_pause(&sem); /* now by the slow path */
  assert_true(aborts(release_once_too_often, NULL));
}

static void test_3_begin_queues_and_release_hands_over(void **state) {
  (void)state;
  caller c[1];
  make_taken(1);
  callers_init(c, 1);
  callers_queue(&sem, c, 1);
  assert_sem(&sem, 0, 1, 0, 1);
  assert_int_equal(c[0].waiter.since_ns, 1000);
  assert_int_equal(llm_sem_oldest_since(&sem), 1000);
  llm_sem_release(&sem);
  assert_int_equal(caller_state(&c[0]), LLM_W_GRANTED);
  ASSERT_WOKEN(0);
  assert_sem(&sem, 0, 1, 0, 0);
  assert_int_equal(llm_sem_oldest_since(&sem), LLM_FOREVER);
  llm_sem_release(&sem);
  assert_int_equal(sem.word, LLM_SEM_PERMIT);
}

static void test_3_begin_takes_a_free_permit(void **state) {
  (void)state;
  caller c[2];
  make(2);
  callers_init(c, 2);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  assert_int_equal(caller_state(&c[0]), LLM_W_GRANTED);
  /* freed between the look at the word and the lock: seen once more */
  assert_int_equal(llm_sem_begin_slow(&sem, &c[1].waiter), LLM_BEGUN_GRANTED);
  assert_int_equal(caller_state(&c[1]), LLM_W_GRANTED);
  assert_sem(&sem, 0, 2, 0, 0);
  assert_nobody_woken();
}

static void test_4_first_come_first_served(void **state) {
  (void)state;
  static caller c[100];
  make_taken(3);
  callers_init(c, 100);
  callers_queue(&sem, c, 100);
  for (int i = 0; i < 100; i++) llm_sem_release(&sem);
  assert_int_equal(woken.count, 100);
  for (int i = 0; i < 100; i++) assert_int_equal(woken.numbers[i], i);
  assert_int_equal(sem.word, 0);
  assert_int_equal(llm_sem_waiting_max(&sem), 100);
}

static void test_5_nobody_barges(void **state) {
  (void)state;
  caller c[2];
  make_taken(1);
  callers_init(c, 2);
  callers_queue(&sem, c, 2);
  assert_false(llm_sem_try(&sem));
  llm_sem_release(&sem);
  assert_false(llm_sem_try(&sem));
  assert_false(llm_sem_take_own(&sem));
  ASSERT_WOKEN(0);
  llm_sem_release(&sem);
  assert_false(llm_sem_try(&sem));
  ASSERT_WOKEN(0, 1);
}

/* `out` leaves a line of n; the others are served in order. */
static void withdraw_one(int n, int out) {
  caller c[4];
  make_taken(1);
  callers_reset();
  callers_init(c, n);
  callers_queue(&sem, c, n);
  assert_true(llm_sem_withdraw(&c[out].waiter, LLM_W_TIMEDOUT));
  assert_int_equal(caller_state(&c[out]), LLM_W_TIMEDOUT);
  assert_sem(&sem, 0, 1, 0, (uint32_t)n - 1);
  assert_int_equal(llm_sem_flags(&sem), n > 1 ? LLM_SEM_WAITERS : 0);
  for (int i = 1; i < n; i++) llm_sem_release(&sem);
  assert_int_equal(woken.count, n - 1);
  for (int i = 0; i < n - 1; i++)
    assert_int_equal(woken.numbers[i], i < out ? i : i + 1);
  llm_sem_release(&sem);
  assert_int_equal(sem.word, LLM_SEM_PERMIT);
}

static void test_6_withdraw_wherever_it_stands(void **state) {
  (void)state;
  for (int n = 1; n <= 4; n++)
    for (int out = 0; out < n; out++) withdraw_one(n, out);
}

static void test_7_withdraw_after_the_grant(void **state) {
  (void)state;
  caller c[2];
  make_taken(1);
  callers_init(c, 2);
  callers_queue(&sem, c, 2);
  llm_sem_release(&sem);
  assert_false(llm_sem_withdraw(&c[0].waiter, LLM_W_TIMEDOUT));
  assert_int_equal(caller_state(&c[0]), LLM_W_GRANTED);
  ASSERT_WOKEN(0);
  llm_sem_release(&sem); /* it did not want it any more */
  ASSERT_WOKEN(0, 1);
}

static void test_8_cancel_after_the_grant(void **state) {
  (void)state;
  caller c[1];
  make_taken(1);
  callers_init(c, 1);
  assert_false(llm_sem_cancel(&c[0].waiter)); /* never begun */
  callers_queue(&sem, c, 1);
  llm_sem_release(&sem);
  assert_false(llm_sem_cancel(&c[0].waiter));
  assert_int_equal(caller_state(&c[0]), LLM_W_GRANTED);
  ASSERT_WOKEN(0);
}

static void test_9_cancel_in_line(void **state) {
  (void)state;
  caller c[3];
  make_taken(1);
  callers_init(c, 3);
  callers_queue(&sem, c, 3);
  assert_true(llm_sem_cancel(&c[0].waiter));
  assert_int_equal(caller_state(&c[0]), LLM_W_CANCELLED);
  ASSERT_WOKEN(0);
  assert_false(llm_sem_cancel(&c[0].waiter));
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1);
  assert_true(llm_sem_cancel(&c[2].waiter));
  assert_int_equal(sem.word, 0);
  ASSERT_WOKEN(0, 1, 2);
}

static void test_10_late_callers_are_skipped(void **state) {
  (void)state;
  caller c[4];
  make_taken(1);
  callers_init(c, 4);
  c[0].waiter.deadline_ns = c[1].waiter.deadline_ns = 2000;
  c[2].waiter.deadline_ns = 2001;
  callers_queue(&sem, c, 4);
  llm_clock_manual_set(clock_, 2000);
  llm_sem_release(&sem);
  assert_int_equal(caller_state(&c[0]), LLM_W_TIMEDOUT);
  assert_int_equal(caller_state(&c[1]), LLM_W_TIMEDOUT);
  assert_int_equal(caller_state(&c[2]), LLM_W_GRANTED);
  ASSERT_WOKEN(0, 1, 2);
  assert_false(llm_sem_withdraw(&c[0].waiter, LLM_W_TIMEDOUT));
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1, 2, 3);
}

static void test_10_all_are_late(void **state) {
  (void)state;
  caller c[3];
  make_taken(1);
  for (int i = 0; i < 3; i++) caller_init(&c[i], i, 2000, 0);
  callers_queue(&sem, c, 3);
  llm_clock_manual_set(clock_, 3000);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1, 2);
  for (int i = 0; i < 3; i++)
    assert_int_equal(caller_state(&c[i]), LLM_W_TIMEDOUT);
  assert_int_equal(sem.word, LLM_SEM_PERMIT);
}

static void test_11_the_deadline_has_passed_at_begin(void **state) {
  (void)state;
  caller c[2];
  make(1);
  for (int i = 0; i < 2; i++) caller_init(&c[i], i, 1000, 0);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  assert_int_equal(llm_sem_begin(&sem, &c[1].waiter), LLM_BEGUN_LATE);
  assert_int_equal(caller_state(&c[1]), LLM_W_TIMEDOUT);
  assert_int_equal(sem.word, 0);
  assert_nobody_woken();
}

static void close_with(int n) {
  static caller c[50];
  caller late;
  make_taken(2);
  callers_reset();
  callers_init(c, n);
  callers_queue(&sem, c, n);
  assert_true(llm_sem_close(&sem));
  assert_int_equal(woken.count, n);
  for (int i = 0; i < n; i++) {
    assert_int_equal(woken.numbers[i], i);
    assert_int_equal(caller_state(&c[i]), LLM_W_CLOSED);
  }
  caller_init(&late, n, LLM_FOREVER, 0);
  assert_int_equal(llm_sem_begin(&sem, &late.waiter), LLM_BEGUN_CLOSED);
  assert_int_equal(caller_state(&late), LLM_W_CLOSED);
  llm_sem_release(&sem);
  assert_false(llm_sem_try(&sem));
  assert_int_equal(llm_sem_begin(&sem, &late.waiter), LLM_BEGUN_CLOSED);
  llm_sem_release(&sem);
  assert_int_equal(sem.word, 2 * LLM_SEM_PERMIT | LLM_SEM_CLOSED);
  assert_int_equal(woken.count, n);
}

static void test_12_close_ends_every_wait_once(void **state) {
  (void)state;
  close_with(0);
  close_with(1);
  close_with(50);
}

static void test_13_closing_twice(void **state) {
  (void)state;
  caller c[2];
  make_taken(1);
  callers_init(c, 2);
  callers_queue(&sem, c, 2);
  assert_true(llm_sem_close(&sem));
  assert_false(llm_sem_close(&sem));
  ASSERT_WOKEN(0, 1);
}

/* ---- 21: wakes that come back in --------------------------------------- */

static caller third, another;

static void do_everything(caller *c) {
  (void)c;
  assert_false(llm_sem_try(&sem));
  assert_true(llm_sem_cancel(&third.waiter));
  assert_int_equal(llm_sem_begin(&sem, &another.waiter), LLM_BEGUN_QUEUED);
  llm_sem_release(&sem); /* its own permit, to the next in line */
}

static void test_21_a_wake_may_use_the_semaphore(void **state) {
  (void)state;
  caller c[2];
  make_taken(1);
  callers_init(c, 2);
  caller_init(&third, 2, LLM_FOREVER, 0);
  caller_init(&another, 3, LLM_FOREVER, 0);
  c[0].then = do_everything;
  callers_queue(&sem, c, 2);
  callers_queue(&sem, &third, 1);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 2, 1);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 2, 1, 3);
  assert_int_equal(sem.word, 0);
}

/* ---- 22: memory that is gone right after ------------------------------- */

static void gone(llm_waiter *waiter) {
  memset(waiter, 0x55, sizeof *waiter);
  free(waiter);
  woken.count++;
}

static llm_waiter *fleeting(int64_t deadline_ns) {
  llm_waiter *waiter = malloc(sizeof *waiter);
  assert_non_null(waiter);
  llm_waiter_init(waiter, gone, deadline_ns, 0);
  assert_int_equal(llm_sem_begin(&sem, waiter), LLM_BEGUN_QUEUED);
  return waiter;
}

static void test_22_a_woken_waiter_is_never_touched_again(void **state) {
  (void)state;
  make_taken(2);
  for (int i = 0; i < 6; i++) fleeting(i < 3 ? 2000 : LLM_FOREVER);
  llm_waiter *own = fleeting(LLM_FOREVER), *other = fleeting(LLM_FOREVER);
  assert_true(llm_sem_withdraw(own, LLM_W_CANCELLED));
  gone(own);
  assert_true(llm_sem_cancel(other));
  llm_clock_manual_set(clock_, 2000);
  llm_sem_release(&sem); /* three late ones and a grant */
  assert_int_equal(woken.count, 6);
  llm_sem_grow(&sem, 1);
  assert_int_equal(woken.count, 7);
  for (int i = 0; i < 3; i++) fleeting(LLM_FOREVER);
  llm_sem_close(&sem);
  assert_int_equal(woken.count, 11);
}

/* ---- limits ------------------------------------------------------------ */

static void test_23_counters_do_not_overflow(void **state) {
  (void)state;
  llm_sem_init(&sem, LLM_SEM_MAX, NO_LIMIT, clock_);
  assert_false(llm_sem_grow(&sem, 1));
  assert_false(llm_sem_grow(&sem, UINT32_MAX));
  assert_sem(&sem, LLM_SEM_MAX, LLM_SEM_MAX, 0, 0);
  assert_true(llm_sem_try(&sem));
  assert_true(llm_sem_shrink(&sem, LLM_SEM_MAX));
  assert_sem(&sem, 0, 0, 1, 0);
  assert_false(llm_sem_shrink(&sem, 1));
  assert_true(llm_sem_grow(&sem, LLM_SEM_MAX));
  assert_sem(&sem, LLM_SEM_MAX - 1, LLM_SEM_MAX, 0, 0);
  llm_sem_release(&sem);
}

static void test_41_a_full_line_refuses(void **state) {
  (void)state;
  caller c[4];
  llm_sem_init(&sem, 1, 2, clock_);
  callers_init(c, 4);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  callers_queue(&sem, c + 1, 2);
  assert_int_equal(llm_sem_begin(&sem, &c[3].waiter), LLM_BEGUN_FULL);
  assert_int_equal(caller_state(&c[3]), LLM_W_INIT);
  c[3].waiter.deadline_ns = 1000;
  assert_int_equal(llm_sem_begin(&sem, &c[3].waiter), LLM_BEGUN_LATE);
  c[3].waiter.deadline_ns = LLM_FOREVER;
  llm_sem_release(&sem);
  callers_queue(&sem, c + 3, 1);
  assert_true(llm_sem_withdraw(&c[2].waiter, LLM_W_TIMEDOUT));
  assert_true(llm_sem_withdraw(&c[3].waiter, LLM_W_TIMEDOUT));
}

static void test_41_a_line_of_nobody(void **state) {
  (void)state;
  caller c[2];
  llm_sem_init(&sem, 1, 0, clock_);
  callers_init(c, 2);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  assert_int_equal(llm_sem_begin(&sem, &c[1].waiter), LLM_BEGUN_FULL);
  assert_int_equal(sem.word, 0); /* WAITERS was not set for it */
  llm_sem_release(&sem);
  assert_int_equal(llm_sem_begin(&sem, &c[1].waiter), LLM_BEGUN_GRANTED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_1_try_as_often_as_there_are_permits),
      TEST(test_2_release_restores_and_no_more),
      TEST(test_3_begin_queues_and_release_hands_over),
      TEST(test_3_begin_takes_a_free_permit),
      TEST(test_4_first_come_first_served),
      TEST(test_5_nobody_barges),
      TEST(test_6_withdraw_wherever_it_stands),
      TEST(test_7_withdraw_after_the_grant),
      TEST(test_8_cancel_after_the_grant),
      TEST(test_9_cancel_in_line),
      TEST(test_10_late_callers_are_skipped),
      TEST(test_10_all_are_late),
      TEST(test_11_the_deadline_has_passed_at_begin),
      TEST(test_12_close_ends_every_wait_once),
      TEST(test_13_closing_twice),
      TEST(test_21_a_wake_may_use_the_semaphore),
      TEST(test_22_a_woken_waiter_is_never_touched_again),
      TEST(test_23_counters_do_not_overflow),
      TEST(test_41_a_full_line_refuses),
      TEST(test_41_a_line_of_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
