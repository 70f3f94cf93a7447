/*
** test_admission_capacity.c - the semaphore while its capacity and its state
** change: resize, debt, drop, take_own, pause, close; one thread. The numbers
** are those of the design's list.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "callers.h"

#define NO_LIMIT UINT32_MAX

static llm_clock *clock_;
static llm_sem sem;

static int setup(void **state) {
  (void)state;
  clock_ = llm_clock_manual_new(0);
  callers_reset();
  return clock_ == NULL;
}

static int teardown(void **state) {
  (void)state;
  llm_sem_destroy(&sem);
  llm_clock_manual_free(clock_);
  return 0;
}

static void make(uint32_t cap, uint32_t taken) {
  llm_sem_init(&sem, cap, NO_LIMIT, clock_);
  while (taken-- > 0) assert_true(llm_sem_try(&sem));
}

static uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* ---- 15: every small case ---------------------------------------------- */

typedef struct small_case {
  uint32_t cap, in_use, waiters, sizes[2];
  bool paused;
} small_case;

/* What must hold: I1, and I2 to I5 besides what the semaphore checks itself. */
static void assert_balance(uint32_t in_use, bool paused) {
  uint32_t avail = llm_sem_avail(&sem), waiting = llm_sem_waiting(&sem);
  uint64_t debt = llm_sem_debt(&sem), flags = 0;
  assert_int_equal(avail + in_use, llm_sem_cap(&sem) + debt);
  assert_true(debt == 0 || avail == 0);
  assert_true(waiting == 0 || avail == 0 || paused);
  if (waiting > 0) flags |= LLM_SEM_WAITERS;
  if (debt > 0) flags |= LLM_SEM_DEBT;
  if (paused) flags |= LLM_SEM_PAUSED;
  assert_int_equal(llm_sem_flags(&sem), flags);
}

/* As many hold a permit as did, and those who were woken, in their order. */
static uint32_t held(const small_case *s) {
  for (int i = 0; i < woken.count; i++) assert_int_equal(woken.numbers[i], i);
  return s->in_use + (uint32_t)woken.count;
}

static void resize_twice(const small_case *s) {
  for (int i = 0; i < 2; i++) {
    uint32_t before = held(s), size = s->sizes[i];
    uint32_t wanted = s->in_use + s->waiters;
    assert_true(llm_sem_resize(&sem, size));
    assert_int_equal(llm_sem_cap(&sem), size);
    assert_balance(held(s), s->paused);
    if (!s->paused && size > before)
      assert_int_equal(held(s), min(size, wanted));
    else
      assert_int_equal(held(s), before);
  }
}

/* All come back, until nobody waits and everything is free. */
static void give_all_back(const small_case *s) {
  if (s->paused) llm_sem_resume(&sem);
  for (uint32_t returned = 0; returned < held(s); returned++) {
    assert_balance(held(s) - returned, false);
    llm_sem_release(&sem);
  }
  assert_int_equal(llm_sem_avail(&sem), llm_sem_cap(&sem));
  if (llm_sem_cap(&sem) > 0) assert_int_equal(woken.count, s->waiters);
}

static void run_small_case(const small_case *s) {
  caller c[4];
  callers_reset();
  callers_init(c, 4);
  make(s->cap, s->in_use);
  if (s->paused) llm_sem_pause(&sem);
  for (uint32_t i = 0; i < s->waiters; i++)
    assert_int_equal(llm_sem_begin(&sem, &c[i].waiter), LLM_BEGUN_QUEUED);
  resize_twice(s);
  give_all_back(s);
  llm_sem_close(&sem);
  assert_int_equal(woken.count, s->waiters);
  for (uint32_t i = 0; i < s->waiters; i++) assert_int_equal(c[i].wakes, 1);
}

/* Nobody waits while a permit is free, unless paused. */
static bool is_possible(const small_case *s) {
  return s->in_use <= s->cap &&
         (s->waiters == 0 || s->in_use == s->cap || s->paused);
}

static void test_15_every_small_case(void **state) {
  (void)state;
  int count = 0;
  /* cap 0-4, in_use 0-4, waiters 0-4, two sizes 0-6, paused or not */
  for (uint32_t n = 0; n < 5 * 5 * 5 * 7 * 7 * 2; n++) {
    small_case s = {n % 5,
                    n / 5 % 5,
                    n / 25 % 5,
                    {n / 125 % 7, n / 875 % 7},
                    n / 6125 % 2 == 1};
    if (!is_possible(&s)) continue;
    run_small_case(&s);
    count++;
  }
  assert_int_equal(count, 49 * (5 * 5 + 10 + 15 * 5));
}

/* ---- resize ------------------------------------------------------------ */

static void test_16_shrink_below_what_is_out_then_grow(void **state) {
  (void)state;
  caller c[2];
  make(4, 4);
  callers_init(c, 2);
  callers_queue(&sem, c, 2);
  assert_true(llm_sem_resize(&sem, 1));
  assert_sem(&sem, 0, 1, 3, 2);
  assert_true(llm_sem_resize(&sem, 3)); /* still one too many is out */
  assert_sem(&sem, 0, 3, 1, 2);
  assert_nobody_woken();
  llm_sem_release(&sem);
  assert_sem(&sem, 0, 3, 0, 2);
  assert_nobody_woken();
  llm_sem_release(&sem);
  ASSERT_WOKEN(0);
  assert_true(llm_sem_grow(&sem, 3));
  ASSERT_WOKEN(0, 1);
  assert_sem(&sem, 2, 6, 0, 0);
}

static void test_17_shrink_to_nothing_and_back(void **state) {
  (void)state;
  caller c[2];
  make(2, 0);
  callers_init(c, 2);
  assert_true(llm_sem_resize(&sem, 0));
  assert_int_equal(sem.word, 0);
  callers_queue(&sem, c, 2);
  assert_true(llm_sem_resize(&sem, 1));
  ASSERT_WOKEN(0);
  assert_sem(&sem, 0, 1, 0, 1);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1);
}

static void test_18_resize_keeps_the_other_flags(void **state) {
  (void)state;
  caller c[1];
  make(3, 2);
  llm_sem_pause(&sem);
  callers_init(c, 1);
  callers_queue(&sem, c, 1);
  assert_true(llm_sem_shrink(&sem, 2));
  assert_int_equal(llm_sem_flags(&sem),
                   LLM_SEM_PAUSED | LLM_SEM_WAITERS | LLM_SEM_DEBT);
  assert_true(llm_sem_grow(&sem, 3));
  assert_int_equal(sem.word,
                   2 * LLM_SEM_PERMIT | LLM_SEM_PAUSED | LLM_SEM_WAITERS);
  assert_true(llm_sem_close(&sem));
  assert_int_equal(sem.word,
                   2 * LLM_SEM_PERMIT | LLM_SEM_PAUSED | LLM_SEM_CLOSED);
  ASSERT_WOKEN(0);
  llm_sem_drop(&sem);
  llm_sem_resume(&sem);
  assert_int_equal(sem.word, 2 * LLM_SEM_PERMIT | LLM_SEM_CLOSED);
}

static void test_18_a_closed_one_is_not_resized(void **state) {
  (void)state;
  make(3, 2);
  llm_sem_close(&sem);
  assert_false(llm_sem_resize(&sem, 5));
  assert_false(llm_sem_grow(&sem, 1));
  assert_false(llm_sem_shrink(&sem, 1));
  assert_sem(&sem, 1, 3, 0, 0);
}

static void test_18_a_debt_outlives_the_close(void **state) {
  (void)state;
  make(3, 3);
  assert_true(llm_sem_resize(&sem, 1));
  llm_sem_close(&sem);
  assert_int_equal(llm_sem_flags(&sem), LLM_SEM_CLOSED | LLM_SEM_DEBT);
  llm_sem_release(&sem);
  llm_sem_release(&sem);
  assert_int_equal(llm_sem_flags(&sem), LLM_SEM_CLOSED);
  llm_sem_release(&sem);
  assert_sem(&sem, 1, 1, 0, 0);
}

/* ---- pause ------------------------------------------------------------- */

static void test_19_pause_queues_and_resume_grants(void **state) {
  (void)state;
  caller c[4];
  make(3, 1);
  llm_sem_pause(&sem);
  assert_false(llm_sem_try(&sem));
  callers_init(c, 4);
  callers_queue(&sem, c, 4);
  llm_sem_release(&sem);
  assert_nobody_woken();
  assert_sem(&sem, 3, 3, 0, 4);
  llm_sem_resume(&sem);
  ASSERT_WOKEN(0, 1, 2);
  assert_int_equal(sem.word, LLM_SEM_WAITERS);
  llm_sem_resume(&sem); /* does nothing */
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1, 2, 3);
}

static void test_19_resume_with_more_permits_than_callers(void **state) {
  (void)state;
  caller c[2];
  make(4, 0);
  llm_sem_pause(&sem);
  callers_init(c, 2);
  callers_queue(&sem, c, 2);
  llm_sem_resume(&sem);
  ASSERT_WOKEN(0, 1);
  assert_int_equal(sem.word, 2 * LLM_SEM_PERMIT);
  llm_sem_pause(&sem);
  llm_sem_pause(&sem);
  llm_sem_resume(&sem);
  assert_int_equal(sem.word, 2 * LLM_SEM_PERMIT);
  assert_true(llm_sem_try(&sem));
}

static void test_19_deadlines_go_on_while_paused(void **state) {
  (void)state;
  caller c[2];
  make(1, 0);
  llm_sem_pause(&sem);
  callers_init(c, 2);
  c[0].waiter.deadline_ns = 10;
  callers_queue(&sem, c, 2);
  llm_clock_manual_set(clock_, 10);
  llm_sem_resume(&sem);
  ASSERT_WOKEN(0, 1);
  assert_int_equal(caller_state(&c[0]), LLM_W_TIMEDOUT);
  assert_int_equal(caller_state(&c[1]), LLM_W_GRANTED);
}

static void test_19_the_last_waiter_leaves_while_paused(void **state) {
  (void)state;
  caller c[1];
  make(1, 0);
  llm_sem_pause(&sem);
  callers_init(c, 1);
  callers_queue(&sem, c, 1);
  assert_true(llm_sem_withdraw(&c[0].waiter, LLM_W_CANCELLED));
  assert_int_equal(sem.word, LLM_SEM_PERMIT | LLM_SEM_PAUSED);
  llm_sem_resume(&sem);
  assert_true(llm_sem_try(&sem));
}

static void test_20_pause_and_close(void **state) {
  (void)state;
  caller c[2];
  make(2, 1);
  llm_sem_pause(&sem);
  callers_init(c, 2);
  callers_queue(&sem, c, 2);
  llm_sem_close(&sem);
  ASSERT_WOKEN(0, 1);
  llm_sem_release(&sem);
  llm_sem_resume(&sem);
  assert_int_equal(sem.word, 2 * LLM_SEM_PERMIT | LLM_SEM_CLOSED);
  assert_false(llm_sem_try(&sem));
  assert_int_equal(woken.count, 2);
}

static void test_20_pause_and_resize(void **state) {
  (void)state;
  caller c[3];
  make(2, 2);
  llm_sem_pause(&sem);
  callers_init(c, 3);
  callers_queue(&sem, c, 3);
  assert_true(llm_sem_resize(&sem, 4));
  assert_sem(&sem, 2, 4, 0, 3);
  assert_true(llm_sem_resize(&sem, 1));
  assert_sem(&sem, 0, 1, 1, 3);
  llm_sem_release(&sem); /* pays the debt, paused or not */
  assert_sem(&sem, 0, 1, 0, 3);
  llm_sem_release(&sem);
  assert_sem(&sem, 1, 1, 0, 3);
  assert_nobody_woken();
  llm_sem_resume(&sem);
  ASSERT_WOKEN(0);
  llm_sem_close(&sem);
}

/* ---- capacity that belongs to a client --------------------------------- */

static void test_take_own_and_drop(void **state) {
  (void)state;
  make(3, 1);
  assert_true(llm_sem_take_own(&sem)); /* an idle client's own permit */
  llm_sem_drop(&sem);
  assert_sem(&sem, 1, 2, 0, 0);
  llm_sem_pause(&sem);
  assert_true(llm_sem_take_own(&sem)); /* also while paused */
  llm_sem_drop(&sem);
  assert_sem(&sem, 0, 1, 0, 0);
  assert_false(llm_sem_take_own(&sem));
  assert_int_equal(llm_sem_flags(&sem), LLM_SEM_PAUSED);
  llm_sem_close(&sem);
  llm_sem_drop(&sem); /* the lent one, after the close */
  assert_sem(&sem, 0, 0, 0, 0);
}

static void test_drop_frees_nothing_for_those_in_line(void **state) {
  (void)state;
  caller c[1];
  make(2, 2);
  callers_init(c, 1);
  callers_queue(&sem, c, 1);
  llm_sem_drop(&sem);
  assert_nobody_woken();
  assert_sem(&sem, 0, 1, 0, 1);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0);
}

static void test_drop_of_what_is_owed(void **state) {
  (void)state;
  make(2, 2);
  assert_true(llm_sem_resize(&sem, 0));
  llm_sem_drop(&sem);
  assert_sem(&sem, 0, 0, 1, 0);
  llm_sem_drop(&sem);
  assert_int_equal(sem.word, 0);
}

/* ---- back in line ------------------------------------------------------ */

/* `c` holds a permit whose client is gone. */
static llm_begun requeue(caller *c) {
  return llm_sem_requeue(&sem, &c->waiter);
}

static void test_requeue_goes_to_the_front(void **state) {
  (void)state;
  caller c[4];
  make(2, 2);
  callers_init(c, 4);
  for (int i = 0; i < 4; i++) {
    llm_clock_manual_set(clock_, 10 + i);
    callers_queue(&sem, &c[i], 1);
  }
  llm_sem_release(&sem);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1);
  assert_int_equal(requeue(&c[1]), LLM_BEGUN_QUEUED);
  assert_sem(&sem, 0, 1, 0, 3);
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_QUEUED); /* was first, and is */
  assert_sem(&sem, 0, 0, 0, 4);
  assert_int_equal(llm_sem_oldest_since(&sem), 10);
  assert_true(llm_sem_grow(&sem, 3));
  ASSERT_WOKEN(0, 1, 0, 1, 2);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1, 0, 1, 2, 3);
}

static void test_requeue_of_one_who_never_waited(void **state) {
  (void)state;
  caller c[3];
  make(1, 0);
  callers_init(c, 3);
  llm_clock_manual_set(clock_, 5);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  callers_queue(&sem, c + 1, 2);
  sem.max_waiting = 2; /* does not count for who was served already */
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_QUEUED);
  assert_int_equal(c[0].waiter.since_ns, 5);
  assert_true(llm_sem_grow(&sem, 2));
  ASSERT_WOKEN(0, 1);
  llm_sem_close(&sem);
}

static void test_requeue_keeps_to_its_level(void **state) {
  (void)state;
  caller c[3];
  make(1, 0);
  for (int i = 0; i < 3; i++) caller_init(&c[i], i, LLM_FOREVER, i == 1);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  callers_queue(&sem, c + 1, 2);
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_QUEUED);
  assert_true(llm_sem_grow(&sem, 3));
  ASSERT_WOKEN(1, 0, 2);
}

static void test_requeue_takes_what_is_free(void **state) {
  (void)state;
  caller c[1];
  make(2, 0);
  callers_init(c, 1);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_GRANTED);
  assert_sem(&sem, 0, 1, 0, 0);
  c[0].waiter.deadline_ns = 0;
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_LATE);
  assert_int_equal(caller_state(&c[0]), LLM_W_TIMEDOUT);
  assert_sem(&sem, 0, 0, 0, 0);
  assert_nobody_woken();
}

static void test_requeue_while_paused_and_closed(void **state) {
  (void)state;
  caller c[2];
  make(3, 0);
  callers_init(c, 2);
  for (int i = 0; i < 2; i++)
    assert_int_equal(llm_sem_begin(&sem, &c[i].waiter), LLM_BEGUN_GRANTED);
  llm_sem_pause(&sem);
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_QUEUED);
  assert_sem(&sem, 1, 2, 0, 1);
  llm_sem_close(&sem);
  ASSERT_WOKEN(0);
  assert_int_equal(requeue(&c[1]), LLM_BEGUN_CLOSED);
  assert_int_equal(caller_state(&c[1]), LLM_W_CLOSED);
  assert_sem(&sem, 1, 1, 0, 0);
}

/* A node that is used again is a newcomer. */
static void test_requeue_is_forgotten(void **state) {
  (void)state;
  caller c[2];
  make(1, 0);
  callers_init(c, 2);
  assert_int_equal(llm_sem_begin(&sem, &c[0].waiter), LLM_BEGUN_GRANTED);
  assert_int_equal(requeue(&c[0]), LLM_BEGUN_QUEUED);
  assert_true(llm_sem_grow(&sem, 1));
  callers_queue(&sem, c + 1, 1);
  callers_queue(&sem, c, 1);
  llm_sem_release(&sem);
  llm_sem_release(&sem);
  ASSERT_WOKEN(0, 1, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_15_every_small_case),
      TEST(test_16_shrink_below_what_is_out_then_grow),
      TEST(test_17_shrink_to_nothing_and_back),
      TEST(test_18_resize_keeps_the_other_flags),
      TEST(test_18_a_closed_one_is_not_resized),
      TEST(test_18_a_debt_outlives_the_close),
      TEST(test_19_pause_queues_and_resume_grants),
      TEST(test_19_resume_with_more_permits_than_callers),
      TEST(test_19_deadlines_go_on_while_paused),
      TEST(test_19_the_last_waiter_leaves_while_paused),
      TEST(test_20_pause_and_close),
      TEST(test_20_pause_and_resize),
      TEST(test_take_own_and_drop),
      TEST(test_drop_frees_nothing_for_those_in_line),
      TEST(test_drop_of_what_is_owed),
      TEST(test_requeue_goes_to_the_front),
      TEST(test_requeue_of_one_who_never_waited),
      TEST(test_requeue_keeps_to_its_level),
      TEST(test_requeue_takes_what_is_free),
      TEST(test_requeue_while_paused_and_closed),
      TEST(test_requeue_is_forgotten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
