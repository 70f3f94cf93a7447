/*
** test_parker_portable.c - test_parker.c again, over the mutex and condition
** that stand in for the futex elsewhere: a parker of this program's own, which
** the linker then takes from no library. Being its own, it may lack memory.
*/
#ifndef LLM_PORTABLE
#define LLM_PORTABLE
#endif
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>

static _Bool no_memory;

static void *maybe_calloc(size_t n, size_t size) {
  return no_memory ? NULL : calloc(n, size);
}

#define calloc maybe_calloc
#include "parker.c"
#undef calloc
#define main run_parker_tests
#include "test_parker.c"
#undef main

static void *ask_twice(void *arg) {
  llm_parker **got = arg;
  no_memory = true;
  got[0] = llm_parker_self();
  no_memory = false;
  got[1] = llm_parker_self();
  return NULL;
}

/* The first test: nothing is in the free list yet. */
static void test_55_no_memory_for_a_parker(void **state) {
  (void)state;
  pthread_t thread;
  llm_parker *got[2];
  assert_int_equal(pthread_create(&thread, NULL, ask_twice, got), 0);
  pthread_join(thread, NULL);
  assert_null(got[0]);
  assert_non_null(got[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_55_no_memory_for_a_parker),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return failed + run_parker_tests();
}
