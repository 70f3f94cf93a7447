/*
** stress_admission.c - random mixes on the semaphore with real threads: tests
** 45 (all operations), 46 (timeouts of 0-200 us against grants), 49 (resize
** storm) and 54 (signals) of the design's list. The targeted storms are in
** stress_admission_cases.c; each has a twin with random yields (56).
**
** Actors take, wait, withdraw and cancel each other on three semaphores; one
** controller resizes, pauses and, in one round of ten, closes. Semaphore 0 is
** never resized: no more than its capacity may ever be held. At the end of a
** round everything is back, and no token is left anywhere.
*/
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "admission.h"
#include "parker.h"
#include "stress.h"

#define SEMS 3
#define ACTORS 6
#define MOST 8 /* capacity that a resize may give */
#define ROUND_NS 40000000

typedef struct mix { /* percentages of an actor's and the controller's acts */
  const char *name;
  uint32_t tries, groups, aborts, cancels, drops; /* actors; else: wait */
  uint32_t endless;                               /* waits without deadline */
  uint32_t timeout_us;                            /* else at random below it */
  uint32_t resizes, pauses, signals;              /* controller; else: rest */
  bool closes;
} mix;

typedef struct actor {
  pthread_t thread;
  stress_rng rng;
  llm_parker *parker;
  pthread_mutex_t slot; /* guards published: others may cancel only then */
  uint32_t published;   /* so many nodes are in line */
  llm_waiter nodes[SEMS];
  struct llm_group group;
  _Atomic uint32_t wakes; /* of this wait */
  uint64_t granted, lost_races, late, cancelled, closed;
} actor;

static llm_sem sems[SEMS];
static const uint32_t base_cap[SEMS] = {2, 3, 1};
static _Atomic uint32_t held[SEMS];
static actor actors[ACTORS];
static const mix *now_on;
static _Atomic bool stop;

/* ---- one caller -------------------------------------------------------- */

static void wake_actor(llm_waiter *waiter) {
  ptrdiff_t offset = (char *)waiter - (char *)actors;
  actor *a = &actors[(size_t)offset / sizeof *actors];
  a->wakes++;
  llm_parker_wake(a->parker);
}

static void publish(actor *a, uint32_t n) {
  pthread_mutex_lock(&a->slot);
  a->published = n;
  pthread_mutex_unlock(&a->slot);
}

/* Holds a permit of semaphore s for a moment and gives it back, or lets it
** vanish with its client and another appear. */
static void use(actor *a, size_t s) {
  uint32_t n = ++held[s];
  a->granted++;
  REQUIRE(s != 0 || n <= base_cap[0]);
  REQUIRE(n <= MOST + ACTORS);
  uint32_t what = stress_random(&a->rng, 8);
  if (what == 0) stress_sleep(stress_random(&a->rng, 60) * 1000);
  if (what == 1) sched_yield();
  held[s]--;
  if (s != 1 || !stress_chance(&a->rng, now_on->drops)) {
    llm_sem_release(&sems[s]);
  } else {
    llm_sem_drop(&sems[s]);
    REQUIRE(llm_sem_grow(&sems[s], 1));
  }
}

static int64_t draw_deadline(actor *a) {
  if (stress_chance(&a->rng, now_on->endless)) return LLM_FOREVER;
  return stress_now() + stress_random(&a->rng, now_on->timeout_us) * 1000;
}

/* Parks until the wake (true) or the deadline. */
static bool park(actor *a, int64_t deadline_ns) {
  llm_parked parked;
  do {
    parked = llm_parker_wait(a->parker, llm_clock_real(), deadline_ns);
  } while (parked == LLM_PARK_POKED);
  return parked == LLM_PARK_WOKEN;
}

/* The wait is over: so many wakes there were, and no token is left. */
static void require_wakes(actor *a, uint32_t wakes) {
  REQUIRE(a->wakes == wakes);
  REQUIRE(llm_parker_wait(a->parker, llm_clock_real(), INT64_MIN) ==
          LLM_PARK_DUE);
}

static void act_on(actor *a, const llm_waiter *waiter) {
  llm_wait_state state = llm_waiter_state(waiter);
  if (state == LLM_W_GRANTED)
    use(a, (size_t)(waiter->sem - sems));
  else if (state == LLM_W_TIMEDOUT)
    a->late++;
  else if (state == LLM_W_CANCELLED)
    a->cancelled++;
  else if (state == LLM_W_CLOSED)
    a->closed++;
  else
    REQUIRE(!"a wait ended in no final state");
}

/* A withdraw has lost: the wake is due. */
static void consume_late(actor *a) {
  a->lost_races++;
  llm_parker_take(a->parker);
}

/* In line with one node, until the wake or a withdraw. */
static void await_one(actor *a, llm_waiter *waiter) {
  bool aborts = stress_chance(&a->rng, now_on->aborts), woken = true;
  publish(a, 1);
  if (aborts || !park(a, waiter->deadline_ns)) {
    woken =
        !llm_sem_withdraw(waiter, aborts ? LLM_W_CANCELLED : LLM_W_TIMEDOUT);
    if (woken) consume_late(a);
  }
  publish(a, 0);
  require_wakes(a, woken);
  a->wakes = 0;
}

/* On semaphore 1 a client is gone at times: its holder goes back in line, and
** another client appears. */
static bool comes_back(actor *a, const llm_waiter *waiter) {
  return llm_waiter_state(waiter) == LLM_W_GRANTED && waiter->sem == &sems[1] &&
         stress_chance(&a->rng, now_on->drops);
}

static void wait_one(actor *a) {
  llm_sem *sem = &sems[stress_random(&a->rng, SEMS)];
  llm_waiter *waiter = &a->nodes[0];
  a->wakes = 0;
  llm_waiter_init(waiter, wake_actor, draw_deadline(a),
                  (uint8_t)stress_random(&a->rng, LLM_PRIORITIES));
  llm_begun begun = llm_sem_begin(sem, waiter);
  if (begun == LLM_BEGUN_QUEUED) await_one(a, waiter);
  while (comes_back(a, waiter)) {
    begun = llm_sem_requeue(sem, waiter);
    REQUIRE(llm_sem_grow(sem, 1));
    if (begun == LLM_BEGUN_QUEUED) await_one(a, waiter);
  }
  act_on(a, waiter);
}

static llm_begun begin_all(actor *a, int64_t deadline_ns) {
  llm_begun begun = LLM_BEGUN_FULL;
  uint32_t first = stress_random(&a->rng, SEMS);
  a->wakes = 0;
  llm_group_init(&a->group);
  for (uint32_t i = 0; i < SEMS; i++) {
    llm_waiter_init(&a->nodes[i], wake_actor, deadline_ns, 0);
    a->nodes[i].group = &a->group;
  }
  for (uint32_t i = 0; i < SEMS; i++) {
    begun = llm_sem_begin(&sems[(first + i) % SEMS], &a->nodes[i]);
    if (begun == LLM_BEGUN_GRANTED || begun == LLM_BEGUN_LOST) return begun;
  }
  return begun;
}

/* True: its one wake was consumed. False: the group ended without one. */
static bool await_group(actor *a, int64_t deadline_ns) {
  bool aborts = stress_chance(&a->rng, now_on->aborts), woken = true;
  publish(a, SEMS);
  if (aborts || !park(a, deadline_ns)) {
    woken = !llm_group_withdraw(&a->group, a->nodes, SEMS,
                                aborts ? LLM_W_CANCELLED : LLM_W_TIMEDOUT);
    if (woken) consume_late(a);
  }
  publish(a, 0);
  return woken;
}

static void wait_any(actor *a) {
  int64_t deadline_ns = draw_deadline(a);
  llm_begun begun = begin_all(a, deadline_ns);
  bool woken = false;
  if (begun != LLM_BEGUN_GRANTED && llm_group_seal(&a->group, a->nodes, SEMS))
    woken = await_group(a, deadline_ns);
  llm_group_finish(a->nodes, SEMS);
  for (uint32_t i = 0; i < SEMS; i++)
    REQUIRE(llm_waiter_state(&a->nodes[i]) != LLM_W_QUEUED);
  require_wakes(a, woken);
  const llm_waiter *winner = a->group.winner;
  REQUIRE(winner != NULL);
  for (uint32_t i = 0; i < SEMS; i++)
    REQUIRE(&a->nodes[i] == winner ||
            llm_waiter_state(&a->nodes[i]) != LLM_W_GRANTED);
  if (winner->sem != NULL && llm_waiter_state(winner) != LLM_W_LOST)
    act_on(a, winner);
}

static void cancel_somebody(actor *a) {
  actor *other = &actors[stress_random(&a->rng, ACTORS)];
  pthread_mutex_lock(&other->slot);
  if (other->published > 0) {
    llm_waiter *node = &other->nodes[stress_random(&a->rng, other->published)];
    llm_sem_cancel(node); /* its wake runs before this returns */
  }
  pthread_mutex_unlock(&other->slot);
}

static void *play(void *arg) {
  actor *a = arg;
  a->parker = llm_parker_self();
  REQUIRE(a->parker != NULL);
  while (!stop) {
    size_t s = stress_random(&a->rng, SEMS);
    if (stress_chance(&a->rng, now_on->cancels)) {
      cancel_somebody(a);
    } else if (stress_chance(&a->rng, now_on->tries)) {
      if (llm_sem_try(&sems[s])) use(a, s);
    } else if (stress_chance(&a->rng, now_on->groups)) {
      wait_any(a);
    } else {
      wait_one(a);
    }
  }
  return NULL;
}

/* ---- the controller ---------------------------------------------------- */

static void resize_somehow(stress_rng *rng) {
  llm_sem *sem = &sems[1 + stress_random(rng, SEMS - 1)];
  uint32_t cap = llm_sem_cap(sem);
  switch (stress_random(rng, 4)) {
  case 0: /* an idle client leaves with its permit */
    if (llm_sem_take_own(sem)) llm_sem_drop(sem);
    break;
  case 1:
    if (cap < MOST) llm_sem_grow(sem, 1 + stress_random(rng, MOST - cap));
    break;
  case 2:
    if (cap > 0) llm_sem_shrink(sem, 1);
    break;
  default: llm_sem_resize(sem, stress_random(rng, MOST + 1));
  }
}

static void control(stress_rng *rng, bool closing) {
  llm_sem *any = &sems[stress_random(rng, SEMS)];
  if (stress_chance(rng, now_on->resizes)) resize_somehow(rng);
  if (stress_chance(rng, now_on->pauses)) llm_sem_pause(any);
  if (stress_chance(rng, now_on->pauses)) llm_sem_resume(any);
  if (stress_chance(rng, now_on->signals))
    pthread_kill(actors[stress_random(rng, ACTORS)].thread, SIGUSR1);
  if (closing && stress_chance(rng, 2))
    llm_sem_close(&sems[stress_random(rng, SEMS - 1) * 2]);
  llm_sem_oldest_since(any);
  stress_sleep(stress_random(rng, 40) * 1000);
}

/* ---- a round ----------------------------------------------------------- */

static void begin_round(uint64_t number) {
  stop = false;
  for (int i = 0; i < SEMS; i++) {
    llm_sem_init(&sems[i], base_cap[i], UINT32_MAX, llm_clock_real());
    held[i] = 0;
  }
  for (uint64_t i = 0; i < ACTORS; i++) {
    actors[i].rng = stress_rng_of(number * 100 + i);
    REQUIRE(pthread_create(&actors[i].thread, NULL, play, &actors[i]) == 0);
  }
}

/* Capacity for all, so that every endless wait ends. */
static void end_round(void) {
  stop = true;
  for (int i = 0; i < SEMS; i++) {
    llm_sem_resume(&sems[i]);
    llm_sem_resize(&sems[i], base_cap[i]);
  }
  for (int i = 0; i < ACTORS; i++) pthread_join(actors[i].thread, NULL);
  for (int i = 0; i < SEMS; i++) {
    REQUIRE(held[i] == 0);
    REQUIRE(llm_sem_waiting(&sems[i]) == 0);
    REQUIRE(llm_sem_debt(&sems[i]) == 0);
    REQUIRE(llm_sem_avail(&sems[i]) == llm_sem_cap(&sems[i]));
    REQUIRE((llm_sem_flags(&sems[i]) & ~(uint64_t)LLM_SEM_CLOSED) == 0);
    llm_sem_destroy(&sems[i]);
  }
}

static void ignore(int signal) { (void)signal; }

static void report(const mix *m, int rounds) {
  actor sum = {0};
  for (int i = 0; i < ACTORS; i++) {
    sum.granted += actors[i].granted;
    sum.lost_races += actors[i].lost_races;
    sum.late += actors[i].late;
    sum.cancelled += actors[i].cancelled;
    sum.closed += actors[i].closed;
  }
  printf("%-10s %3d rounds: %llu granted, %llu late, %llu cancelled, "
         "%llu closed, %llu withdraws lost\n",
         m->name, rounds, (unsigned long long)sum.granted,
         (unsigned long long)sum.late, (unsigned long long)sum.cancelled,
         (unsigned long long)sum.closed, (unsigned long long)sum.lost_races);
  fflush(stdout);
}

static void run(const mix *m, int64_t end_ns) {
  static uint64_t number;
  int rounds = 0;
  now_on = m;
  memset(actors, 0, sizeof actors);
  for (int i = 0; i < ACTORS; i++) pthread_mutex_init(&actors[i].slot, NULL);
  do {
    stress_rng rng = stress_rng_of(++number * 100 + 99);
    int64_t round_end_ns = stress_now() + ROUND_NS;
    begin_round(number);
    while (stress_now() < round_end_ns)
      control(&rng, m->closes && rounds % 10 == 1);
    end_round();
    rounds++;
  } while (stress_now() < end_ns);
  for (int i = 0; i < ACTORS; i++) pthread_mutex_destroy(&actors[i].slot);
  report(m, rounds);
}

static const mix mixes[] = {
    {.name = "all",
     .tries = 10,
     .groups = 25,
     .aborts = 5,
     .cancels = 15,
     .drops = 10,
     .endless = 40,
     .timeout_us = 2000,
     .resizes = 40,
     .pauses = 10,
     .closes = true},
    {.name = "timeouts", .groups = 20, .aborts = 5, .timeout_us = 200},
    {.name = "cancels",
     .groups = 30,
     .aborts = 20,
     .cancels = 60,
     .endless = 100,
     .timeout_us = 1},
    {.name = "resizes",
     .tries = 20,
     .drops = 30,
     .endless = 80,
     .timeout_us = 500,
     .resizes = 100},
    {.name = "signals",
     .groups = 20,
     .cancels = 5,
     .endless = 50,
     .timeout_us = 3000,
     .pauses = 5,
     .signals = 100},
};

int main(int argc, char **argv) {
  struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART */
  int n = (int)(sizeof mixes / sizeof *mixes);
  stress_start(argc, argv);
  sigaction(SIGUSR1, &action, NULL);
  for (int i = 0; i < n; i++) run(&mixes[i], stress_slice(n));
  return 0;
}
