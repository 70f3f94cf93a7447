/*
** parker.c - sleeping on a token: a futex, or a mutex and a condition.
**
** The word holds what has been left for the thread, and whether it sleeps, so
** that a wake of a thread that is still awake costs no system call. Others
** only set bits in it; the thread itself clears them. Every return from the
** kernel is taken as no more than a reason to look again.
*/
#define _POSIX_C_SOURCE 200809L /* CLOCK_MONOTONIC */
#include "parker.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lock.h"

#define TOKEN 1u
#define POKE 2u
#define ASLEEP 4u
#define MANUAL_LOOK_NS 1000000 /* how often a manual clock is looked at */

struct llm_parker {
  _Atomic uint32_t word;
  llm_parker *next; /* in the free list; guarded by free_lock */
#ifdef LLM_PORTABLE
  pthread_mutex_t mutex;
  pthread_cond_t cond;
#endif
};

static _Thread_local llm_parker *mine;
static llm_lock free_lock = LLM_LOCK_INIT;
static llm_parker *free_list; /* guarded by free_lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* its destructor is how a thread's end is seen */
static bool has_key;

/* ---- the two ways to sleep --------------------------------------------- */

static struct timespec to_timespec(int64_t ns) {
  if (ns < 0) ns = 0;
  return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                           .tv_nsec = (long)(ns % 1000000000)};
}

static uint32_t look(llm_parker *parker) {
  llm_chaos();
  return atomic_load_explicit(&parker->word, memory_order_acquire);
}

#ifdef LLM_PORTABLE
static bool prepare(llm_parker *parker) {
  pthread_condattr_t attr;
  if (pthread_condattr_init(&attr) != 0) return false;
  bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
            pthread_cond_init(&parker->cond, &attr) == 0;
  pthread_condattr_destroy(&attr);
  return ok && pthread_mutex_init(&parker->mutex, NULL) == 0;
}

static void set_bit(llm_parker *parker, uint32_t bit) {
  llm_chaos();
  pthread_mutex_lock(&parker->mutex);
  atomic_fetch_or_explicit(&parker->word, bit, memory_order_release);
  pthread_cond_signal(&parker->cond);
  pthread_mutex_unlock(&parker->mutex);
}

static void sleep_until(llm_parker *parker, int64_t end_ns) {
  struct timespec end = to_timespec(end_ns);
  pthread_mutex_lock(&parker->mutex);
  if (look(parker) & (TOKEN | POKE)) {
  } else if (end_ns == LLM_FOREVER) {
    pthread_cond_wait(&parker->cond, &parker->mutex);
  } else {
    pthread_cond_timedwait(&parker->cond, &parker->mutex, &end);
  }
  pthread_mutex_unlock(&parker->mutex);
}
#else
static bool prepare(llm_parker *parker) {
  (void)parker;
  return true;
}

static void set_bit(llm_parker *parker, uint32_t bit) {
  llm_chaos();
  uint32_t was =
      atomic_fetch_or_explicit(&parker->word, bit, memory_order_release);
  llm_chaos();
  if (was & ASLEEP) llm_futex_wake_one(&parker->word);
}

static void sleep_until(llm_parker *parker, int64_t end_ns) {
  struct timespec end = to_timespec(end_ns);
  uint32_t word = look(parker);
  if (word & (TOKEN | POKE)) return;
  if (!atomic_compare_exchange_strong_explicit(
          &parker->word, &word, word | ASLEEP, memory_order_relaxed,
          memory_order_relaxed))
    return;
  llm_futex_wait(&parker->word, word | ASLEEP,
                 end_ns == LLM_FOREVER ? NULL : &end);
  atomic_fetch_and_explicit(&parker->word, ~ASLEEP, memory_order_relaxed);
}
#endif

/* ---- one parker to a thread -------------------------------------------- */

static void put_back(void *value) {
  llm_parker *parker = value;
  mine = NULL;
  llm_lock_enter(&free_lock);
  parker->next = free_list;
  free_list = parker;
  llm_lock_leave(&free_lock);
}

static void make_key(void) {
  has_key = pthread_key_create(&key, put_back) == 0;
}

static llm_parker *take_free(void) {
  llm_lock_enter(&free_lock);
  llm_parker *parker = free_list;
  if (parker != NULL) free_list = parker->next;
  llm_lock_leave(&free_lock);
  return parker;
}

static llm_parker *make(void) {
  llm_parker *parker = calloc(1, sizeof *parker);
  if (parker != NULL && prepare(parker)) return parker;
  free(parker);
  return NULL;
}

static llm_parker *adopt(void) {
  pthread_once(&once, make_key);
  if (!has_key) return NULL;
  llm_parker *parker = take_free();
  if (parker == NULL) parker = make();
  if (parker == NULL) return NULL;
  if (pthread_setspecific(key, parker) != 0) {
    put_back(parker);
    return NULL;
  }
  atomic_store_explicit(&parker->word, 0, memory_order_relaxed);
  return mine = parker;
}

llm_parker *llm_parker_self(void) { return mine != NULL ? mine : adopt(); }

/* ---- wake, poke, wait -------------------------------------------------- */

void llm_parker_wake(llm_parker *parker) { set_bit(parker, TOKEN); }

void llm_parker_poke(llm_parker *parker) { set_bit(parker, POKE); }

static bool consume(llm_parker *parker, uint32_t bit) {
  if (!(look(parker) & bit)) return false;
  atomic_fetch_and_explicit(&parker->word, ~bit, memory_order_acquire);
  return true;
}

/* When to look again, on the monotonic clock that the kernel knows. */
static int64_t look_at(const llm_clock *clock, int64_t until_ns) {
  if (until_ns == LLM_FOREVER || !llm_clock_is_manual(clock)) return until_ns;
  return llm_time_after(llm_clock_now(llm_clock_real()), MANUAL_LOOK_NS);
}

llm_parked llm_parker_wait(llm_parker *parker, const llm_clock *clock,
                           int64_t until_ns) {
  for (;;) {
    if (consume(parker, TOKEN)) return LLM_PARK_WOKEN;
    if (until_ns != LLM_FOREVER && llm_clock_now(clock) >= until_ns)
      return LLM_PARK_DUE;
    if (consume(parker, POKE)) return LLM_PARK_POKED;
    sleep_until(parker, look_at(clock, until_ns));
  }
}

void llm_parker_take(llm_parker *parker) {
  while (llm_parker_wait(parker, NULL, LLM_FOREVER) != LLM_PARK_WOKEN) {}
}
