/*
** test_clock.c - the two kinds of clock, ticks, time that saturates, and the
** table of errors.
*/
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "clock.h"

#define MS 1000000

static void test_42_the_real_clock_is_monotonic(void **state) {
  (void)state;
  llm_clock *clock = llm_clock_real();
  int64_t before = llm_clock_now(clock);
  struct timespec time;
  assert_false(llm_clock_is_manual(clock));
  assert_ptr_equal(clock, llm_clock_real());
  clock_gettime(CLOCK_MONOTONIC, &time);
  int64_t between = (int64_t)time.tv_sec * 1000 * MS + time.tv_nsec;
  assert_true(before <= between && between <= llm_clock_now(clock));
}

static void test_a_manual_clock_is_set_and_never_goes_back(void **state) {
  (void)state;
  llm_clock *clock = llm_clock_manual_new(5000);
  assert_true(llm_clock_is_manual(clock));
  assert_int_equal(llm_clock_now(clock), 5000);
  llm_clock_manual_set(clock, 7000);
  llm_clock_manual_set(clock, 6000);
  assert_int_equal(llm_clock_now(clock), 7000);
  assert_int_equal(llm_clock_ticks(clock), 7000);
  assert_int_equal(llm_clock_ticks_to_ns(clock, 1234567890123456789u),
                   1234567890123456789);
  assert_int_equal(llm_clock_ticks_to_ns(clock, UINT64_MAX), INT64_MAX);
  assert_int_equal(llm_clock_ns_to_ticks(clock, 777), 777);
  llm_clock_manual_free(clock);
}

/* How far ticks and nanoseconds are apart over some 10 ms, in parts of a
** thousand: the best of a few tries, since a try may be interrupted between
** its readings. */
static double tick_error(llm_clock *clock) {
  double best = 1e9;
  for (int i = 0; i < 10; i++) {
    int64_t ns = llm_clock_now(clock);
    uint64_t ticks = llm_clock_ticks(clock);
    nanosleep(&(struct timespec){.tv_nsec = 10 * MS}, NULL);
    ns = llm_clock_now(clock) - ns;
    ticks = llm_ticks_between(ticks, llm_clock_ticks(clock));
    double error =
        1000. * (double)llm_clock_ticks_to_ns(clock, ticks) / (double)ns -
        1000.;
    if (error < 0) error = -error;
    if (error < best) best = error;
  }
  return best;
}

static void test_ticks_measure_time(void **state) {
  (void)state;
  assert_true(tick_error(llm_clock_real()) < 2);
}

static void test_ticks_there_and_back(void **state) {
  (void)state;
  llm_clock *clock = llm_clock_real();
  for (int64_t ns = 1000; ns < (int64_t)1000 * 3600 * 1000 * MS; ns *= 10) {
    int64_t back =
        llm_clock_ticks_to_ns(clock, llm_clock_ns_to_ticks(clock, ns));
    assert_true(llabs(back - ns) <= ns / 500 + 2);
  }
  assert_int_equal(llm_clock_ns_to_ticks(clock, 0), 0);
  assert_int_equal(llm_clock_ns_to_ticks(clock, -5), 0);
  assert_int_equal(llm_clock_ns_to_ticks(clock, LLM_FOREVER), UINT64_MAX);
  assert_int_equal(llm_ticks_between(10, 7), 0);
  assert_int_equal(llm_ticks_between(7, 10), 3);
  assert_int_equal(llm_ticks_scale(UINT64_MAX, 2.5), INT64_MAX);
}

static void test_time_saturates(void **state) {
  (void)state;
  assert_int_equal(llm_time_after(100, 23), 123);
  assert_int_equal(llm_time_after(100, -23), 77);
  assert_int_equal(llm_time_after(100, LLM_FOREVER), LLM_FOREVER);
  assert_int_equal(llm_time_after(LLM_FOREVER, -1), LLM_FOREVER);
  assert_int_equal(llm_time_after(-100, LLM_FOREVER), LLM_FOREVER);
  assert_int_equal(llm_time_after(INT64_MAX - 5, 6), LLM_FOREVER);
  assert_int_equal(llm_time_after(-100, INT64_MIN + 5), INT64_MIN);
}

static void test_every_error_has_a_name_and_a_text(void **state) {
  (void)state;
  for (int i = 0; i < LLM_ERR_COUNT; i++) {
    assert_true(strlen(llm_err_name((llm_err)i)) > 0);
    assert_true(strlen(llm_err_text((llm_err)i)) > 0);
  }
  assert_string_equal(llm_err_name(LLM_QUEUE_FULL), "queue_full");
  assert_string_equal(llm_err_name(LLM_NOMEM), "out_of_memory");
  assert_string_equal(llm_err_text(LLM_CLOSED), "the pool is closed");
  assert_string_equal(llm_err_name((llm_err)99), "unknown");
  assert_string_equal(llm_err_text((llm_err)-1), "unknown error");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_42_the_real_clock_is_monotonic),
      cmocka_unit_test(test_a_manual_clock_is_set_and_never_goes_back),
      cmocka_unit_test(test_ticks_measure_time),
      cmocka_unit_test(test_ticks_there_and_back),
      cmocka_unit_test(test_time_saturates),
      cmocka_unit_test(test_every_error_has_a_name_and_a_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
