/*
** test_histogram.c - buckets and what is read from them, against exact
** percentiles of the same values.
*/
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"

#define MANY 5000

static llm_clock *clock_; /* manual: ticks are nanoseconds */
static llm_histogram histogram;

static int setup(void **state) {
  (void)state;
  clock_ = llm_clock_manual_new(0);
  memset(&histogram, 0, sizeof histogram);
  return clock_ == NULL;
}

static int teardown(void **state) {
  (void)state;
  llm_clock_manual_free(clock_);
  return 0;
}

static llm_summary summary(void) {
  llm_summary result;
  llm_histogram_summary(&histogram, clock_, &result);
  return result;
}

static void assert_bucket_of(uint64_t value) {
  unsigned bucket = llm_histogram_bucket(value);
  uint64_t bound = llm_histogram_bound(bucket);
  assert_true(bucket < LLM_HISTOGRAM_BUCKETS);
  assert_true(value <= bound);
  assert_true(bound - value <= value / LLM_HISTOGRAM_STEPS);
  if (bucket > 0) assert_true(value > llm_histogram_bound(bucket - 1));
}

static void test_a_bucket_is_at_most_a_sixteenth_wide(void **state) {
  (void)state;
  for (uint64_t value = 0; value < 70000; value++) assert_bucket_of(value);
  for (int i = 16; i < LLM_HISTOGRAM_OCTAVES; i++)
    for (uint64_t d = 0; d < 3; d++) {
      assert_bucket_of(((uint64_t)1 << i) - 1 + d);
      assert_bucket_of(((uint64_t)3 << (i - 1)) - 1 + d);
    }
  assert_int_equal(llm_histogram_bucket(UINT64_MAX), LLM_HISTOGRAM_BUCKETS - 1);
  assert_int_equal(llm_histogram_bucket(((uint64_t)1 << 48) - 1),
                   LLM_HISTOGRAM_BUCKETS - 1);
}

static void test_nothing_was_recorded(void **state) {
  (void)state;
  llm_summary s = summary();
  assert_int_equal(s.count, 0);
  assert_int_equal(s.p50_ns, 0);
  assert_int_equal(s.max_ns, 0);
  assert_int_equal(s.mean_ns, 0);
}

static void test_one_value_is_exact(void **state) {
  (void)state;
  llm_histogram_record(&histogram, 1000003);
  llm_summary s = summary();
  assert_int_equal(s.count, 1);
  assert_int_equal(s.p50_ns, 1000003);
  assert_int_equal(s.p99_ns, 1000003);
  assert_int_equal(s.max_ns, 1000003);
  assert_int_equal(s.mean_ns, 1000003);
}

static void test_zero_and_very_long(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) llm_histogram_record(&histogram, 0);
  llm_histogram_record(&histogram, (uint64_t)1 << 60);
  llm_summary s = summary();
  assert_int_equal(s.count, 4);
  assert_int_equal(s.p50_ns, 0);
  assert_int_equal(s.p95_ns, (int64_t)1 << 60);
  assert_int_equal(s.max_ns, (int64_t)1 << 60);
  assert_int_equal(s.mean_ns, (int64_t)1 << 58);
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* Nearest rank, at most a sixteenth above it and never above the maximum. */
static void assert_percentile(const uint64_t *sorted, size_t n, size_t percent,
                              int64_t got) {
  size_t rank = (n * percent + 99) / 100;
  int64_t exact = (int64_t)sorted[rank - 1];
  assert_true(got >= exact);
  assert_true(got <= exact + exact / 16);
  assert_true(got <= (int64_t)sorted[n - 1]);
}

static void compare(uint64_t *values, size_t n) {
  uint64_t sum = 0;
  memset(&histogram, 0, sizeof histogram);
  for (size_t i = 0; i < n; i++) {
    llm_histogram_record(&histogram, values[i]);
    sum += values[i];
  }
  qsort(values, n, sizeof *values, ascending);
  llm_summary s = summary();
  assert_int_equal(s.count, n);
  assert_int_equal(s.max_ns, values[n - 1]);
  assert_int_equal(s.mean_ns, sum / n);
  assert_percentile(values, n, 50, s.p50_ns);
  assert_percentile(values, n, 95, s.p95_ns);
  assert_percentile(values, n, 99, s.p99_ns);
}

static void test_percentiles_against_exact_ones(void **state) {
  (void)state;
  static uint64_t values[MANY];
  uint64_t seed = 1;
  for (size_t n = 1; n <= MANY; n = n * 3 + 1) {
    for (size_t i = 0; i < n; i++) { /* from 1 ns to an hour, log-uniform */
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      values[i] = (seed >> 20) >> (seed % 43);
    }
    compare(values, n);
    for (size_t i = 0; i < n; i++) values[i] = n - i;
    compare(values, n);
  }
}

static void test_ticks_are_converted(void **state) {
  (void)state;
  llm_clock *clock = llm_clock_real();
  llm_summary s;
  for (int i = 0; i < 100; i++) llm_histogram_record(&histogram, 1000000);
  llm_histogram_summary(&histogram, clock, &s);
  int64_t ns = llm_clock_ticks_to_ns(clock, 1000000);
  assert_true(llabs(s.max_ns - ns) <= ns / 500);
  assert_int_equal(s.p50_ns, s.max_ns);
  assert_int_equal(s.p99_ns, s.max_ns);
}

/* ---- read while it is written ------------------------------------------ */

static void *write_many(void *arg) {
  for (uint64_t i = 1; i <= 200000; i++) llm_histogram_record(&histogram, i);
  *(_Atomic bool *)arg = true;
  return NULL;
}

static void test_readers_stop_nobody(void **state) {
  (void)state;
  _Atomic bool done = false;
  pthread_t writer;
  uint64_t seen = 0;
  pthread_create(&writer, NULL, write_many, &done);
  while (!done) {
    llm_summary s = summary();
    assert_true(s.count >= seen);
    assert_true(s.p50_ns <= s.p95_ns && s.p95_ns <= s.p99_ns);
    assert_true(s.p99_ns <= s.max_ns);
    assert_true(s.max_ns >= (int64_t)s.count);
    seen = s.count;
  }
  pthread_join(writer, NULL);
  assert_int_equal(summary().count, 200000);
  assert_int_equal(summary().mean_ns, 100000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_bucket_is_at_most_a_sixteenth_wide),
      TEST(test_nothing_was_recorded),
      TEST(test_one_value_is_exact),
      TEST(test_zero_and_very_long),
      TEST(test_percentiles_against_exact_ones),
      TEST(test_ticks_are_converted),
      TEST(test_readers_stop_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
