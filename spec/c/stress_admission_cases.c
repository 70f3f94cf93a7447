/*
** stress_admission_cases.c - targeted storms on the semaphore: 47 cancel
** storms, 48 a grant against a cancel on one waiter, 50 close against begin,
** 51 order by ticket, 52 fairness, 53 threads that end right after a grant.
** The random mixes are in stress_admission.c.
**
** Nothing here depends on how fast the machine is, except that a storm's cost
** must be linear, which is taken in processor time and with room to spare.
*/
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admission.h"
#include "parker.h"
#include "stress.h"

/* A waiter that parks its thread, and counts. */
typedef struct sleeper {
  llm_waiter waiter; /* first: a wake casts */
  llm_parker *parker;
  _Atomic uint32_t wakes;
} sleeper;

static llm_sem sem;

static void wake_sleeper(llm_waiter *waiter) {
  sleeper *s = (sleeper *)waiter;
  llm_parker *parker = s->parker;
  s->wakes++;
  llm_parker_wake(parker); /* the last touch: the sleeper may be gone */
}

static void sleeper_init(sleeper *s, int64_t deadline_ns) {
  s->parker = llm_parker_self();
  REQUIRE(s->parker != NULL);
  s->wakes = 0;
  llm_waiter_init(&s->waiter, wake_sleeper, deadline_ns, 0);
}

/* The rest of a wait that was QUEUED; how it ended. */
static llm_wait_state sleep_through(sleeper *s) {
  if (llm_parker_wait(s->parker, llm_clock_real(), s->waiter.deadline_ns) !=
      LLM_PARK_WOKEN) {
    if (llm_sem_withdraw(&s->waiter, LLM_W_TIMEDOUT)) return LLM_W_TIMEDOUT;
    llm_parker_take(s->parker);
  }
  return llm_waiter_state(&s->waiter);
}

static void sem_start(uint32_t cap) {
  llm_sem_init(&sem, cap, UINT32_MAX, llm_clock_real());
}

static void sem_finish(uint32_t cap) {
  REQUIRE(llm_sem_avail(&sem) == cap && llm_sem_waiting(&sem) == 0);
  REQUIRE(llm_sem_debt(&sem) == 0);
  llm_sem_destroy(&sem);
}

static void start_all(pthread_t *threads, int n, void *(*run)(void *)) {
  for (intptr_t i = 0; i < n; i++)
    REQUIRE(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
}

static void join_all(pthread_t *threads, int n) {
  for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

/* ---- 47: cancel storms ------------------------------------------------- */

#define STORM 10000
#define CANCELLERS 3

static sleeper *storm; /* its nodes are never parked on */
static uint32_t storm_size;

static void count_wake(llm_waiter *waiter) { ((sleeper *)waiter)->wakes++; }

static void storm_start(uint32_t n) {
  storm = calloc(n, sizeof *storm);
  REQUIRE(storm != NULL);
  storm_size = n;
  sem_start(1);
  REQUIRE(llm_sem_try(&sem));
  for (uint32_t i = 0; i < n; i++) {
    llm_waiter_init(&storm[i].waiter, count_wake, LLM_FOREVER, 0);
    REQUIRE(llm_sem_begin(&sem, &storm[i].waiter) == LLM_BEGUN_QUEUED);
  }
}

static bool is_spared(uint32_t i) { return i % 100 == 50; }

/* Cancels every third of all but one in a hundred, back to front. */
static void *cancel_third(void *arg) {
  uint32_t part = (uint32_t)(intptr_t)arg;
  for (uint32_t i = storm_size; i-- > 0;)
    if (i % CANCELLERS == part && !is_spared(i))
      llm_sem_cancel(&storm[i].waiter);
  return NULL;
}

/* Everyone was woken once; as many permits are out as were granted. */
static void storm_finish(uint32_t released) {
  uint32_t granted = 0;
  while (llm_sem_waiting(&sem) > 0) {
    llm_sem_release(&sem);
    released++;
  }
  for (uint32_t i = 0; i < storm_size; i++) {
    llm_wait_state state = llm_waiter_state(&storm[i].waiter);
    REQUIRE(storm[i].wakes == 1);
    REQUIRE(state == LLM_W_GRANTED ||
            (state == LLM_W_CANCELLED && !is_spared(i)));
    granted += state == LLM_W_GRANTED;
  }
  REQUIRE(granted == released);
  llm_sem_release(&sem);
  sem_finish(1);
  free(storm);
}

static void storm_with_threads(void) {
  pthread_t threads[CANCELLERS];
  uint32_t released = 0;
  storm_start(STORM);
  start_all(threads, CANCELLERS, cancel_third);
  for (; released < STORM / 200; released++) {
    llm_sem_release(&sem);
    sched_yield();
  }
  join_all(threads, CANCELLERS);
  storm_finish(released);
}

/* Processor time of a storm that all is cancelled in, from the middle out. */
static double storm_time(uint32_t n) {
  struct timespec from, to;
  storm_start(n);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t k = i % 2 == 0 ? n / 2 + i / 2 : n / 2 - 1 - i / 2;
    if (!is_spared(k)) REQUIRE(llm_sem_cancel(&storm[k].waiter));
  }
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
  storm_finish(0);
  return (double)(to.tv_sec - from.tv_sec) +
         (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static double best_storm_time(uint32_t n) {
  double best = storm_time(n);
  for (int i = 0; i < 4; i++) {
    double time = storm_time(n);
    if (time < best) best = time;
  }
  return best;
}

static void run_47(int64_t end_ns) {
  int rounds = 0;
  double small = best_storm_time(STORM), large = best_storm_time(8 * STORM);
  REQUIRE(large < 8 * small * 4); /* square would be 64 times */
  do {
    storm_with_threads();
    rounds++;
  } while (stress_now() < end_ns);
  printf("47 cancel storms: %d of %d waiters; 8 times as many cost %.1f "
         "times as much\n",
         rounds, STORM, large / small);
}

/* ---- 48: a grant against a cancel -------------------------------------- */

static llm_waiter ball;
static _Atomic uint32_t ball_wakes;
static _Atomic uint32_t serve, answered[2]; /* rounds begun, and done */
static _Atomic bool cancelled;

static void wake_ball(llm_waiter *waiter) {
  (void)waiter;
  ball_wakes++;
}

/* 0 releases, 1 cancels, as soon as a round begins. */
static void *hit(void *arg) {
  int side = (int)(intptr_t)arg;
  for (uint32_t round = 1;; round++) {
    while (serve != round && serve != UINT32_MAX) sched_yield();
    if (serve == UINT32_MAX) return NULL;
    if (side == 0)
      llm_sem_release(&sem);
    else
      cancelled = llm_sem_cancel(&ball);
    answered[side] = round;
  }
}

static void run_48(int64_t end_ns) {
  pthread_t threads[2];
  uint32_t round = 0, grants = 0;
  serve = answered[0] = answered[1] = 0;
  sem_start(1);
  start_all(threads, 2, hit);
  while (stress_now() < end_ns) {
    REQUIRE(llm_sem_try(&sem));
    llm_waiter_init(&ball, wake_ball, LLM_FOREVER, 0);
    ball_wakes = 0;
    REQUIRE(llm_sem_begin(&sem, &ball) == LLM_BEGUN_QUEUED);
    serve = ++round;
    while (answered[0] != round || answered[1] != round) sched_yield();
    REQUIRE(ball_wakes == 1);
    bool is_granted = llm_waiter_state(&ball) == LLM_W_GRANTED;
    REQUIRE(is_granted != cancelled);
    REQUIRE(llm_sem_avail(&sem) == (is_granted ? 0 : 1));
    if (is_granted) llm_sem_release(&sem);
    grants += is_granted;
  }
  serve = UINT32_MAX;
  join_all(threads, 2);
  sem_finish(1);
  printf("48 grant against cancel: %u rounds, %u granted\n", round, grants);
}

/* ---- 50: close against begin ------------------------------------------- */

#define CLOSERS 16

static pthread_barrier_t gate;
static _Atomic bool over;
static _Atomic uint32_t refused, served;

static void *begin_under_close(void *arg) {
  sleeper s;
  (void)arg;
  for (;;) {
    pthread_barrier_wait(&gate);
    if (over) return NULL;
    sleeper_init(&s, LLM_FOREVER);
    llm_begun begun = llm_sem_begin(&sem, &s.waiter);
    llm_wait_state state = begun == LLM_BEGUN_QUEUED
                               ? sleep_through(&s)
                               : llm_waiter_state(&s.waiter);
    REQUIRE(state == LLM_W_GRANTED || state == LLM_W_CLOSED);
    REQUIRE(s.wakes == (begun == LLM_BEGUN_QUEUED));
    if (state == LLM_W_GRANTED) {
      served++;
      llm_sem_release(&sem);
    } else {
      refused++;
    }
    pthread_barrier_wait(&gate);
  }
}

static void run_50(int64_t end_ns) {
  pthread_t threads[CLOSERS];
  stress_rng rng = stress_rng_of(50);
  int rounds = 0;
  refused = served = 0;
  over = false;
  pthread_barrier_init(&gate, NULL, CLOSERS + 1);
  start_all(threads, CLOSERS, begin_under_close);
  for (; stress_now() < end_ns; rounds++) {
    sem_start(2);
    bool holds = stress_chance(&rng, 50) && llm_sem_try(&sem);
    pthread_barrier_wait(&gate);
    for (uint32_t i = stress_random(&rng, 8); i > 0; i--) sched_yield();
    REQUIRE(llm_sem_close(&sem));
    pthread_barrier_wait(&gate);
    if (holds) llm_sem_release(&sem);
    sem_finish(2);
  }
  over = true;
  pthread_barrier_wait(&gate);
  join_all(threads, CLOSERS);
  pthread_barrier_destroy(&gate);
  printf("50 close against begin: %d rounds, %u served, %u refused\n", rounds,
         served, refused);
}

/* ---- 50: closes against a group ---------------------------------------- */

static llm_sem pair[2];
static struct two { /* the owner's, and poisoned when it has ended */
  struct llm_group group;
  llm_waiter nodes[2];
} two;
static llm_parker *two_parker;
static _Atomic uint32_t two_wakes;

static void wake_two(llm_waiter *waiter) {
  (void)waiter;
  two_wakes++;
  llm_parker_wake(two_parker);
}

static void *close_one(void *arg) {
  intptr_t i = (intptr_t)arg;
  stress_rng rng = stress_rng_of(5000 + (uint64_t)i);
  for (;;) {
    pthread_barrier_wait(&gate);
    if (over) return NULL;
    for (uint32_t n = stress_random(&rng, 4); n > 0; n--) sched_yield();
    REQUIRE(llm_sem_close(&pair[i]));
    pthread_barrier_wait(&gate);
  }
}

/* Asks both, which are about to close; true: by a seal that found nothing. */
static bool ask_both(stress_rng *rng) {
  llm_group_init(&two.group);
  for (int i = 0; i < 2; i++) {
    llm_waiter_init(&two.nodes[i], wake_two, LLM_FOREVER, 0);
    two.nodes[i].group = &two.group;
    llm_begun begun = llm_sem_begin(&pair[i], &two.nodes[i]);
    REQUIRE(begun == LLM_BEGUN_QUEUED || begun == LLM_BEGUN_CLOSED);
    if (stress_chance(rng, 30)) sched_yield();
  }
  if (!llm_group_seal(&two.group, two.nodes, 2)) {
    REQUIRE(two_wakes == 0);
    return true;
  }
  if (stress_chance(rng, 30) &&
      llm_group_withdraw(&two.group, two.nodes, 2, LLM_W_CANCELLED)) {
    REQUIRE(two_wakes == 0);
    return false;
  }
  llm_parker_take(two_parker);
  REQUIRE(llm_waiter_state(two.group.winner) == LLM_W_CLOSED);
  llm_group_finish(two.nodes, 2);
  return false;
}

static void require_untouched(void) {
  const unsigned char *bytes = (const unsigned char *)&two;
  for (size_t i = 0; i < sizeof two; i++) REQUIRE(bytes[i] == 0x55);
  REQUIRE(two_wakes <= 1);
}

static void run_50_groups(int64_t end_ns) {
  pthread_t threads[2];
  stress_rng rng = stress_rng_of(501);
  int rounds = 0, sealed = 0;
  over = false;
  two_parker = llm_parker_self();
  pthread_barrier_init(&gate, NULL, 3);
  start_all(threads, 2, close_one);
  for (; stress_now() < end_ns; rounds++) {
    for (int i = 0; i < 2; i++)
      llm_sem_init(&pair[i], 0, UINT32_MAX, llm_clock_real());
    two_wakes = 0;
    pthread_barrier_wait(&gate);
    for (uint32_t n = stress_random(&rng, 4); n > 0; n--) sched_yield();
    sealed += ask_both(&rng);
    memset(&two, 0x55, sizeof two);
    pthread_barrier_wait(&gate);
    require_untouched();
    for (int i = 0; i < 2; i++) llm_sem_destroy(&pair[i]);
  }
  over = true;
  pthread_barrier_wait(&gate);
  join_all(threads, 2);
  pthread_barrier_destroy(&gate);
  printf("50 closes against a group: %d rounds, %d ended by the seal\n", rounds,
         sealed);
}

/* ---- 51: order, by ticket ---------------------------------------------- */

#define TAKERS 8

static pthread_mutex_t counter = PTHREAD_MUTEX_INITIALIZER;
static uint64_t next_ticket;         /* guarded by counter */
static _Atomic uint64_t last_served; /* of a semaphore of one */
static int64_t order_end_ns;

/* Tickets are drawn in the order of the queue: both under the counter. */
static void *draw_tickets(void *arg) {
  sleeper s;
  stress_rng rng = stress_rng_of(5100 + (uint64_t)(intptr_t)arg);
  while (stress_now() < order_end_ns) {
    int64_t deadline_ns = stress_now() + stress_random(&rng, 2000) * 1000;
    sleeper_init(&s, stress_chance(&rng, 70) ? LLM_FOREVER : deadline_ns);
    pthread_mutex_lock(&counter);
    uint64_t ticket = ++next_ticket;
    llm_begun begun = llm_sem_begin(&sem, &s.waiter);
    pthread_mutex_unlock(&counter);
    llm_wait_state state = begun == LLM_BEGUN_QUEUED
                               ? sleep_through(&s)
                               : llm_waiter_state(&s.waiter);
    if (state != LLM_W_GRANTED) continue;
    REQUIRE(ticket > last_served);
    last_served = ticket;
    if (stress_chance(&rng, 30)) sched_yield();
    llm_sem_release(&sem);
  }
  return NULL;
}

static void run_51(int64_t end_ns) {
  pthread_t threads[TAKERS];
  next_ticket = last_served = 0;
  order_end_ns = end_ns;
  sem_start(1);
  start_all(threads, TAKERS, draw_tickets);
  join_all(threads, TAKERS);
  sem_finish(1);
  printf("51 order: %llu tickets\n", (unsigned long long)next_ticket);
}

/* ---- 52: fairness ------------------------------------------------------ */

#define CROWD 64
#define DESKS 4

static uint32_t turns[CROWD];
static int64_t crowd_end_ns;

static void *take_turns(void *arg) {
  intptr_t me = (intptr_t)arg;
  sleeper s;
  pthread_barrier_wait(&gate);
  while (stress_now() < crowd_end_ns) {
    sleeper_init(&s, LLM_FOREVER);
    if (llm_sem_begin(&sem, &s.waiter) == LLM_BEGUN_QUEUED)
      REQUIRE(sleep_through(&s) == LLM_W_GRANTED);
    turns[me]++;
    stress_sleep(1000000);
    llm_sem_release(&sem);
  }
  return NULL;
}

/* In turn, so nobody is more than a few rounds ahead, whatever the machine
** does; 5 % on top for those who are slow to line up again. */
static void run_52(int64_t end_ns) {
  pthread_t threads[CROWD];
  uint32_t least = UINT32_MAX, most = 0;
  crowd_end_ns = end_ns + 200000000;
  sem_start(DESKS);
  pthread_barrier_init(&gate, NULL, CROWD);
  start_all(threads, CROWD, take_turns);
  join_all(threads, CROWD);
  pthread_barrier_destroy(&gate);
  for (int i = 0; i < CROWD; i++) {
    if (turns[i] < least) least = turns[i];
    if (turns[i] > most) most = turns[i];
  }
  REQUIRE(most - least <= 3 + most / 20);
  sem_finish(DESKS);
  printf("52 fairness: %d threads had %u to %u turns each\n", CROWD, least,
         most);
}

/* ---- 53: threads that end right after the grant ------------------------ */

#define LEAVERS 4

static _Atomic int leaving;

static void *be_granted_and_end(void *arg) {
  sleeper s;
  (void)arg;
  sleeper_init(&s, LLM_FOREVER);
  if (llm_sem_begin(&sem, &s.waiter) == LLM_BEGUN_QUEUED)
    REQUIRE(sleep_through(&s) == LLM_W_GRANTED);
  leaving++;
  return NULL; /* its permit is given back by the main thread */
}

static void run_53(int64_t end_ns) {
  int rounds = 0;
  sem_start(1);
  for (; stress_now() < end_ns; rounds++) {
    pthread_t threads[LEAVERS];
    leaving = 0;
    REQUIRE(llm_sem_try(&sem));
    start_all(threads, LEAVERS, be_granted_and_end);
    for (int i = 0; i < LEAVERS; i++) {
      llm_sem_release(&sem); /* from inside, its wake sees the thread end */
      while (leaving <= i) sched_yield();
    }
    llm_sem_release(&sem);
    join_all(threads, LEAVERS);
  }
  sem_finish(1);
  printf("53 threads that end: %d\n", rounds * LEAVERS);
}

int main(int argc, char **argv) {
  void (*const runs[])(int64_t) = {run_47, run_48, run_50, run_50_groups,
                                   run_51, run_52, run_53};
  int n = (int)(sizeof runs / sizeof *runs);
  stress_start(argc, argv);
  for (int i = 0; i < n; i++) {
    runs[i](stress_slice(n));
    fflush(stdout);
  }
  return 0;
}
