/*
** test_parker.c - sleeping on a token; test_parker_portable.c runs the same
** over the fallback for systems without a futex.
*/
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "parker.h"

#define MS 1000000

static void nap(int64_t ns) {
  nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

static int64_t soon(int64_t ns) { return llm_clock_now(llm_clock_real()) + ns; }

/* This thread's wait on the real clock for that long. */
static llm_parked wait_for(int64_t ns) {
  return llm_parker_wait(llm_parker_self(), llm_clock_real(), soon(ns));
}

static void test_64_a_wake_before_the_wait_is_kept(void **state) {
  (void)state;
  llm_parker *self = llm_parker_self();
  llm_parker_wake(self);
  assert_int_equal(wait_for(1000 * MS), LLM_PARK_WOKEN);
  assert_int_equal(wait_for(0), LLM_PARK_DUE); /* one token, one wake */
  llm_parker_wake(self);
  assert_int_equal(wait_for(-1), LLM_PARK_WOKEN); /* goes before the time */
}

static void test_the_time_comes(void **state) {
  (void)state;
  int64_t end = soon(5 * MS);
  assert_int_equal(llm_parker_wait(llm_parker_self(), llm_clock_real(), end),
                   LLM_PARK_DUE);
  assert_true(soon(0) >= end);
  assert_int_equal(
      llm_parker_wait(llm_parker_self(), llm_clock_real(), INT64_MIN),
      LLM_PARK_DUE);
}

static void test_a_poke_is_no_wake(void **state) {
  (void)state;
  llm_parker *self = llm_parker_self();
  llm_parker_poke(self);
  assert_int_equal(wait_for(1000 * MS), LLM_PARK_POKED);
  assert_int_equal(wait_for(0), LLM_PARK_DUE);
  llm_parker_poke(self);
  assert_int_equal(wait_for(-1), LLM_PARK_DUE); /* the time goes before it */
  llm_parker_wake(self);
  assert_int_equal(wait_for(0), LLM_PARK_WOKEN); /* as does the token */
  assert_int_equal(wait_for(1000 * MS), LLM_PARK_POKED);
}

/* ---- two threads ------------------------------------------------------- */

typedef struct peer {
  pthread_t thread;
  _Atomic(llm_parker *) parker;
  llm_clock *clock;
  int64_t until_ns;
  int payload; /* plain: what a waker writes must be seen */
  _Atomic int result;
} peer;

static void *sleep_once(void *arg) {
  peer *p = arg;
  p->parker = llm_parker_self();
  llm_parked parked = llm_parker_wait(llm_parker_self(), p->clock, p->until_ns);
  p->result = parked == LLM_PARK_WOKEN ? p->payload : -(int)parked;
  return NULL;
}

static void start(peer *p, void *(*run)(void *), llm_clock *clock,
                  int64_t until_ns) {
  *p = (peer){.clock = clock, .until_ns = until_ns};
  assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
  while (p->parker == NULL) nap(10000);
}

static int finish(peer *p) {
  pthread_join(p->thread, NULL);
  return p->result;
}

static void test_a_sleeper_is_woken_and_sees_what_was_written(void **state) {
  (void)state;
  peer p;
  for (int i = 0; i < 3; i++) {
    start(&p, sleep_once, llm_clock_real(), LLM_FOREVER);
    nap(i * 2 * MS); /* awake still, or asleep */
    p.payload = 42;
    llm_parker_wake(p.parker);
    assert_int_equal(finish(&p), 42);
  }
}

static void test_a_sleeper_is_poked(void **state) {
  (void)state;
  peer p;
  start(&p, sleep_once, llm_clock_real(), LLM_FOREVER);
  nap(2 * MS);
  llm_parker_poke(p.parker);
  assert_int_equal(finish(&p), -LLM_PARK_POKED);
}

static void *take_once(void *arg) {
  peer *p = arg;
  p->parker = llm_parker_self();
  llm_parker_take(llm_parker_self());
  p->result = 1;
  return NULL;
}

static void test_take_waits_for_the_token_alone(void **state) {
  (void)state;
  peer p;
  start(&p, take_once, NULL, 0);
  for (int i = 0; i < 3; i++) {
    llm_parker_poke(p.parker);
    nap(MS);
  }
  assert_int_equal(p.result, 0);
  llm_parker_wake(p.parker);
  assert_int_equal(finish(&p), 1);
}

static void ignore(int signal) { (void)signal; }

static void test_54_signals_do_not_end_a_wait(void **state) {
  (void)state;
  peer p;
  struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART */
  sigaction(SIGUSR1, &action, NULL);
  int64_t end = soon(20 * MS);
  start(&p, sleep_once, llm_clock_real(), end);
  for (int i = 0; i < 8; i++) {
    pthread_kill(p.thread, SIGUSR1);
    nap(MS);
  }
  assert_int_equal(finish(&p), -LLM_PARK_DUE);
  assert_true(soon(0) >= end);
}

static void test_a_manual_clock_is_noticed(void **state) {
  (void)state;
  peer p;
  llm_clock *clock = llm_clock_manual_new(0);
  start(&p, sleep_once, clock, 1000);
  llm_clock_manual_set(clock, 999);
  nap(5 * MS);
  assert_int_equal(p.result, 0);
  llm_clock_manual_set(clock, 1000);
  assert_int_equal(finish(&p), -LLM_PARK_DUE);
  llm_clock_manual_free(clock);
}

static void test_54_a_forked_child_has_its_own(void **state) {
  (void)state;
  int status;
  llm_parker_self();
  pid_t child = fork();
  if (child == 0) {
    llm_parker_wake(llm_parker_self());
    _exit(wait_for(1000 * MS) == LLM_PARK_WOKEN ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(wait_for(0), LLM_PARK_DUE);
}

/* ---- lifetime ---------------------------------------------------------- */

static void test_one_to_a_thread_and_used_again(void **state) {
  (void)state;
  peer p;
  llm_parker *first;
  assert_ptr_equal(llm_parker_self(), llm_parker_self());
  start(&p, take_once, NULL, 0);
  first = p.parker;
  assert_ptr_not_equal(first, llm_parker_self());
  llm_parker_wake(first);
  finish(&p);
  llm_parker_wake(first); /* nobody's now: a token left behind */
  start(&p, sleep_once, llm_clock_real(), soon(MS));
  assert_ptr_equal(p.parker, first);
  assert_int_equal(finish(&p), -LLM_PARK_DUE); /* which the next does not get */
}

/* The thread ends at once when woken, while its waker is still in wake. */
static void test_53_a_thread_ends_under_its_waker(void **state) {
  (void)state;
  peer p;
  for (int i = 0; i < 300; i++) {
    start(&p, take_once, NULL, 0);
    if (i % 2 == 0) nap(50000);
    llm_parker_wake(p.parker);
    assert_int_equal(finish(&p), 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_64_a_wake_before_the_wait_is_kept),
      cmocka_unit_test(test_the_time_comes),
      cmocka_unit_test(test_a_poke_is_no_wake),
      cmocka_unit_test(test_a_sleeper_is_woken_and_sees_what_was_written),
      cmocka_unit_test(test_a_sleeper_is_poked),
      cmocka_unit_test(test_take_waits_for_the_token_alone),
      cmocka_unit_test(test_54_signals_do_not_end_a_wait),
      cmocka_unit_test(test_a_manual_clock_is_noticed),
      cmocka_unit_test(test_54_a_forked_child_has_its_own),
      cmocka_unit_test(test_one_to_a_thread_and_used_again),
      cmocka_unit_test(test_53_a_thread_ends_under_its_waker),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
