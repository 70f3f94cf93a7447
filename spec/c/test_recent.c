/*
** test_recent.c - the percentile of the last 64 against sorting them.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recent.h"

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Of the last 64 of n, by the nearest rank. */
static int64_t sorted_p95(const int64_t *all, size_t n) {
  int64_t sorted[LLM_RECENT];
  size_t m = n < LLM_RECENT ? n : LLM_RECENT;
  memcpy(sorted, all + n - m, m * sizeof *sorted);
  qsort(sorted, m, sizeof *sorted, by_size);
  return sorted[(m * 95 + 99) / 100 - 1];
}

static void test_nothing_is_zero(void **state) {
  (void)state;
  llm_recent recent = {0};
  assert_int_equal(llm_recent_p95(&recent), 0);
  llm_recent_add(&recent, 7);
  assert_int_equal(llm_recent_p95(&recent), 7);
}

/* With many ties, with few, and not looked at after every one. */
static void test_it_is_what_sorting_finds(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  static int64_t all[COUNT];
  static const int ranges[] = {1, 2, 3, 10, 100, 100000};
  srand(7);
  for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
    llm_recent recent = {0};
    for (size_t n = 0; n < COUNT; n++) {
      all[n] = 1 + rand() % ranges[r];
      llm_recent_add(&recent, all[n]);
      if (rand() % 3 > 0)
        assert_int_equal(llm_recent_p95(&recent), sorted_p95(all, n + 1));
    }
  }
}

static void test_its_count_does_not_run_over(void **state) {
  (void)state;
  llm_recent recent = {.count = UINT32_MAX - 100};
  for (int i = 0; i < LLM_RECENT; i++) recent.ns[i] = 5;
  assert_int_equal(llm_recent_p95(&recent), 5);
  for (int64_t i = 1; i <= 200; i++) llm_recent_add(&recent, i);
  assert_int_equal(llm_recent_p95(&recent), 197); /* of 137 to 200 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_is_zero),
      cmocka_unit_test(test_it_is_what_sorting_finds),
      cmocka_unit_test(test_its_count_does_not_run_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
