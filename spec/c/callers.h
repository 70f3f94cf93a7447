/*
** callers.h - callers for the tests of admission: a waiter with a number that
** records its wakes, and a log of who was woken in which order.
**
** One thread only. A caller's wake does nothing but record, unless the test
** gives it something to do.
*/
#ifndef CALLERS_H
#define CALLERS_H

#include "admission.h"

#define CALLERS_LOG 256

typedef struct caller {
  llm_waiter waiter; /* first: a wake casts */
  int number;
  int wakes;
  void (*then)(struct caller *caller); /* run by the wake, after recording */
} caller;

typedef struct caller_log {
  int numbers[CALLERS_LOG]; /* in order of their wakes */
  int count;
} caller_log;

extern caller_log woken;

/* Forgets all wakes. */
void callers_reset(void);
void caller_init(caller *c, int number, int64_t deadline_ns, uint8_t priority);
/* Numbered callers without a deadline, of level 0. */
void callers_init(caller *callers, int n);
/* Each begins, and must be queued. */
void callers_queue(llm_sem *sem, caller *callers, int n);
llm_wait_state caller_state(const caller *c);
/* The log is exactly these n numbers. */
void assert_woken(const int *numbers, int n);
#define ASSERT_WOKEN(...)                  \
  assert_woken((const int[]){__VA_ARGS__}, \
               (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))
void assert_nobody_woken(void);

/* free permits, permits that there are, debt, callers in line */
void assert_sem(llm_sem *sem, uint32_t avail, uint32_t cap, uint64_t debt,
                uint32_t waiting);

/* Whether `run` aborts, tried in a child process. */
bool aborts(void (*run)(void *arg), void *arg);

#endif
