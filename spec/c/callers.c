/*
** callers.c - recording wakes, and assertions on what was recorded.
*/
#define _POSIX_C_SOURCE 200809L
#include "callers.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

caller_log woken;

static void record(llm_waiter *waiter) {
  caller *c = (caller *)waiter;
  assert_true(woken.count < CALLERS_LOG);
  woken.numbers[woken.count++] = c->number;
  c->wakes++;
  if (c->then != NULL) c->then(c);
}

void callers_reset(void) { woken.count = 0; }

void caller_init(caller *c, int number, int64_t deadline_ns, uint8_t priority) {
  llm_waiter_init(&c->waiter, record, deadline_ns, priority);
  c->number = number;
  c->wakes = 0;
  c->then = NULL;
}

void callers_init(caller *callers, int n) {
  for (int i = 0; i < n; i++) caller_init(&callers[i], i, LLM_FOREVER, 0);
}

void callers_queue(llm_sem *sem, caller *callers, int n) {
  for (int i = 0; i < n; i++) {
    assert_int_equal(llm_sem_begin(sem, &callers[i].waiter), LLM_BEGUN_QUEUED);
    assert_int_equal(caller_state(&callers[i]), LLM_W_QUEUED);
  }
}

llm_wait_state caller_state(const caller *c) {
  return llm_waiter_state(&c->waiter);
}

void assert_woken(const int *numbers, int n) {
  assert_int_equal(woken.count, n);
  for (int i = 0; i < n; i++) assert_int_equal(woken.numbers[i], numbers[i]);
}

void assert_nobody_woken(void) { assert_int_equal(woken.count, 0); }

void assert_sem(llm_sem *sem, uint32_t avail, uint32_t cap, uint64_t debt,
                uint32_t waiting) {
  assert_int_equal(llm_sem_avail(sem), avail);
  assert_int_equal(llm_sem_cap(sem), cap);
  assert_int_equal(llm_sem_debt(sem), debt);
  assert_int_equal(llm_sem_waiting(sem), waiting);
}

bool aborts(void (*run)(void *arg), void *arg) {
  int status;
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    signal(SIGABRT, SIG_DFL);
    if (freopen("/dev/null", "w", stderr) == NULL) _exit(2);
    run(arg);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
