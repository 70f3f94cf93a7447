/*
** test_bucket.c - the token bucket alone: bursts, refill, debts, refunds, and
** that no window ever gets more than it may, nor a caller waits too long.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bucket.h"

#define SECOND INT64_C(1000000000)
#define START (100 * SECOND)

static bool can(const llm_bucket *b, uint64_t cost, int64_t now) {
  return llm_bucket_ready_ns(b, cost) <= now;
}

static void assert_level(const llm_bucket *b, int64_t now, double level) {
  assert_true(fabs(llm_bucket_level(b, now) - level) < 1e-6);
}

static void test_it_starts_full_and_refills(void **state) {
  (void)state;
  llm_bucket b;
  llm_bucket_init(&b, 60, 0, START);
  assert_level(&b, START, 60);
  for (int i = 0; i < 60; i++) {
    assert_true(can(&b, 1, START));
    llm_bucket_debit(&b, 1, START);
  }
  assert_false(can(&b, 1, START));
  assert_int_equal(llm_bucket_ready_ns(&b, 1), START + SECOND + 1);
  assert_level(&b, START + SECOND / 2, 0.5);
  assert_int_equal(llm_bucket_ready_ns(&b, 60), START + 60 * SECOND + 1);
  assert_level(&b, START + 1000 * SECOND, 60); /* it runs over */
}

static void test_a_burst_of_its_own(void **state) {
  (void)state;
  llm_bucket b;
  llm_bucket_init(&b, 600, 2, START);
  llm_bucket_debit(&b, 1, START);
  llm_bucket_debit(&b, 1, START);
  assert_false(can(&b, 1, START));
  assert_true(can(&b, 1, START + SECOND / 10 + 1));
  assert_level(&b, START + 10 * SECOND, 2);
}

static void test_no_limit(void **state) {
  (void)state;
  llm_bucket none, huge;
  llm_bucket_init(&none, 0, 0, START);
  llm_bucket_init(&huge, INFINITY, 0, START);
  assert_false(llm_bucket_has_limit(&none));
  assert_false(llm_bucket_has_limit(&huge));
  llm_bucket_debit(&none, 1u << 30, START);
  assert_true(can(&none, UINT64_C(1) << 49, START));
}

/* More than it ever holds: a full one bears it, and owes the rest. */
static void test_a_cost_larger_than_it_is_served_once(void **state) {
  (void)state;
  llm_bucket b;
  llm_bucket_init(&b, 60, 60, START);
  llm_bucket_debit(&b, 1, START);
  assert_int_equal(llm_bucket_ready_ns(&b, 150), START + SECOND + 1);
  int64_t now = START + SECOND + 1;
  llm_bucket_debit(&b, 150, now);
  assert_level(&b, now, -90);
  assert_false(can(&b, 1, now + 90 * SECOND));
  assert_true(can(&b, 1, now + 91 * SECOND + 1));
}

static void test_a_refund_undoes_a_debit(void **state) {
  (void)state;
  llm_bucket b, untouched;
  llm_bucket_init(&b, 100, 30, START);
  llm_bucket_init(&untouched, 100, 30, START);
  llm_bucket_debit(&b, 7, START + 5);
  llm_bucket_refund(&b, 7);
  for (int64_t at = START + 5; at < START + 90 * SECOND; at += 7 * SECOND)
    assert_true(llm_bucket_level(&b, at) == llm_bucket_level(&untouched, at));
  llm_bucket_debit(&b, 10, START + 100 * SECOND);
  llm_bucket_refund(&b, 10);
  assert_level(&b, START + 100 * SECOND, 30);
}

static void test_extremes_do_not_overflow(void **state) {
  (void)state;
  static const double rates[] = {1e-9, 1e-6, 0.3, 7, 1e9, 1e17};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    llm_bucket b;
    llm_bucket_init(&b, rates[i], 0, START);
    for (int j = 0; j < 1000; j++)
      llm_bucket_debit(&b, UINT64_C(1) << 49, START);
    int64_t ready = llm_bucket_ready_ns(&b, 1);
    assert_true(ready > START);
    assert_true(llm_bucket_level(&b, START) < 0);
    for (int j = 0; j < 1000; j++) llm_bucket_refund(&b, UINT64_C(1) << 49);
    assert_true(llm_bucket_ready_ns(&b, 1) <= ready);
  }
}

/* ---- the property ------------------------------------------------------ */

#define GRANTS 400

typedef struct grant {
  int64_t at_ns;
  uint64_t cost;
} grant;

static uint64_t random_state = 88172645463325252u;

static uint64_t pick(uint64_t below) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state % below;
}

/* Over every window from one grant to another: what was granted is no more than
** burst + rate * window. */
static void check_windows(const grant *grants, double rate, double burst) {
  for (int i = 0; i < GRANTS; i++) {
    double sum = 0;
    for (int j = i; j < GRANTS; j++) {
      sum += (double)grants[j].cost;
      double span = (double)(grants[j].at_ns - grants[i].at_ns);
      assert_true(sum <= burst + rate * span / 60e9 + 1e-6);
    }
  }
}

static void run(double rate, double burst) {
  llm_bucket b;
  grant grants[GRANTS];
  int64_t now = START;
  uint64_t most = burst < 1 ? 1 : (uint64_t)burst;
  llm_bucket_init(&b, rate, burst, now);
  for (int i = 0; i < GRANTS; i++) {
    uint64_t cost = 1 + pick(most);
    if (pick(3) == 0) now += (int64_t)pick((uint64_t)(60e9 / rate * 3));
    int64_t ready = llm_bucket_ready_ns(&b, cost);
    if (ready > now) {
      assert_true(llm_bucket_level(&b, ready - 1) <= (double)cost);
      assert_true(llm_bucket_level(&b, ready - 2) < (double)cost);
      now = ready; /* not a nanosecond too soon, nor too late */
    }
    if (pick(8) == 0) { /* nothing was sent: as if it had not been asked */
      llm_bucket_debit(&b, cost, now);
      llm_bucket_refund(&b, cost);
      i--;
      continue;
    }
    llm_bucket_debit(&b, cost, now);
    grants[i] = (grant){now, cost};
  }
  check_windows(grants, rate, burst);
}

static void test_no_window_gets_too_much_and_no_wait_is_too_long(void **state) {
  (void)state;
  static const double rates[] = {1, 7, 60, 333.3, 40000, 1e6};
  static const double bursts[] = {1, 2.5, 10, 1000};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
    for (size_t j = 0; j < sizeof bursts / sizeof *bursts; j++)
      run(rates[i], bursts[j]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_it_starts_full_and_refills),
      cmocka_unit_test(test_a_burst_of_its_own),
      cmocka_unit_test(test_no_limit),
      cmocka_unit_test(test_a_cost_larger_than_it_is_served_once),
      cmocka_unit_test(test_a_refund_undoes_a_debit),
      cmocka_unit_test(test_extremes_do_not_overflow),
      cmocka_unit_test(test_no_window_gets_too_much_and_no_wait_is_too_long),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
