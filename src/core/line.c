/*
** line.c - what happens under the semaphore's lock (line.h has the contracts).
**
** Nobody outside the lock reads the line; the word is the only thing that the
** fast paths share with it.
*/
#include "line.h"

/* ---- invariants -------------------------------------------------------- */

#ifdef LLM_CHECKS
static void check_line(const llm_line *line, uint32_t *count) {
  const llm_waiter *prev = NULL;
  for (const llm_waiter *w = line->queue.head; w != NULL; w = w->next) {
    LLM_CHECK(llm_waiter_state(w) == LLM_W_QUEUED, "I6: linked, not queued");
    LLM_CHECK(w->prev == prev, "I6: the line's links");
    prev = w;
    ++*count;
  }
  LLM_CHECK(line->queue.tail == prev, "I6: the line's tail");
}

/* I1 to I6, as far as they show in one semaphore. Long lines are not walked,
** which would turn a storm quadratic. */
static void check(llm_sem *sem) {
  uint64_t word = llm_word_load(sem), avail = word / LLM_SEM_PERMIT;
  uint64_t debt = llm_sem_load(&sem->debt);
  uint32_t waiting = llm_sem_waiting(sem), count = 0;
  LLM_CHECK(avail <= llm_sem_load(&sem->cap),
            "I1: more permits free than there are");
  LLM_CHECK(!(word & LLM_SEM_WAITERS) == (waiting == 0), "I2: WAITERS");
  LLM_CHECK(!(word & LLM_SEM_WAITERS) || (word & LLM_SEM_PAUSED) || avail == 0,
            "I3: a permit is free while callers wait");
  LLM_CHECK(!(word & LLM_SEM_DEBT) == (debt == 0), "I4: DEBT");
  LLM_CHECK(debt == 0 || avail == 0, "I4: a permit is free despite debt");
  LLM_CHECK(!(word & LLM_SEM_CLOSED) || waiting == 0, "I5: waits on closed");
  if (waiting > 64) return;
  for (int i = 0; i < LLM_PRIORITIES; i++) check_line(&sem->lines[i], &count);
  LLM_CHECK(count == waiting, "I6: the number of waiters");
}

void llm_sem_check(llm_sem *sem) {
  llm_lock_enter(&sem->lock);
  check(sem);
  llm_lock_leave(&sem->lock);
}
#else
#define check(sem) ((void)0)
#endif

/* ---- the turn ---------------------------------------------------------- */

void llm_turn_enter(llm_sem *sem) { llm_lock_enter(&sem->lock); }

/* A waiter may be gone right after its wake. */
void llm_turn_leave(llm_sem *sem, const llm_turn *t) {
  llm_waiter *waiter = t->first;
  check(sem);
  llm_lock_leave(&sem->lock);
  while (waiter != NULL) {
    llm_waiter *next = waiter == t->last ? NULL : waiter->next;
    llm_chaos();
    waiter->wake(waiter);
    waiter = next;
  }
}

static void wake_later(llm_turn *t, llm_waiter *waiter) {
  if (t->last != NULL)
    t->last->next = waiter;
  else
    t->first = waiter;
  t->last = waiter;
}

static bool is_late(llm_turn *t, const llm_waiter *waiter) {
  if (waiter->deadline_ns == LLM_FOREVER) return false;
  if (!t->has_now) t->now_ns = llm_clock_now(waiter->sem->clock);
  t->has_now = true;
  return waiter->deadline_ns <= t->now_ns;
}

/* ---- the word ---------------------------------------------------------- */

void llm_word_update(llm_sem *sem, uint64_t clear, uint64_t set, int64_t add) {
  uint64_t word = llm_word_load(sem), next;
  do {
    next = ((word & ~clear) | set) + (uint64_t)add * LLM_SEM_PERMIT;
    if (next == word) return;
  } while (!llm_word_swap(sem, &word, next));
}

void llm_word_settle(llm_sem *sem, uint64_t clear, int64_t add) {
  if (llm_sem_waiting(sem) == 0) clear |= LLM_SEM_WAITERS;
  if (llm_sem_load(&sem->debt) == 0) clear |= LLM_SEM_DEBT;
  llm_word_update(sem, clear, 0, add);
}

/* ---- the line ---------------------------------------------------------- */

static llm_line *line_of(llm_sem *sem, const llm_waiter *waiter) {
  unsigned level = waiter->priority;
  return &sem->lines[level < LLM_PRIORITIES ? level : LLM_PRIORITIES - 1];
}

/* Before everybody else, behind those that came back before it; but a node of a
** group may have stood anywhere. */
static bool goes_behind(const llm_waiter *waiter, const llm_waiter *other) {
  return (other->came_back || waiter->group != NULL) &&
         other->since_ns <= waiter->since_ns;
}

static void take_back(llm_line *line, llm_waiter *waiter) {
  llm_waiter *next = line->queue.head;
  while (next != NULL && goes_behind(waiter, next)) next = next->next;
  if (next == NULL) {
    llm_queue_push(&line->queue, waiter);
    return;
  }
  waiter->next = next;
  waiter->prev = next->prev;
  if (next->prev != NULL)
    next->prev->next = waiter;
  else
    line->queue.head = waiter;
  next->prev = waiter;
}

void llm_line_enter(llm_sem *sem, llm_waiter *waiter) {
  uint32_t waiting = llm_sem_waiting(sem) + 1;
  llm_line *line = line_of(sem, waiter);
  atomic_store_explicit(&waiter->state, LLM_W_QUEUED, memory_order_relaxed);
  if (waiter->came_back)
    take_back(line, waiter);
  else
    llm_queue_push(&line->queue, waiter);
  atomic_store_explicit(&sem->waiting, waiting, memory_order_relaxed);
  if (waiting > llm_sem_waiting_max(sem))
    atomic_store_explicit(&sem->waiting_max, waiting, memory_order_relaxed);
}

void llm_line_leave(llm_sem *sem, llm_waiter *waiter) {
  llm_line *line = line_of(sem, waiter);
  llm_queue_remove(&line->queue, waiter);
  if (llm_queue_is_empty(&line->queue)) line->passed = 0;
  atomic_store_explicit(&sem->waiting, llm_sem_waiting(sem) - 1,
                        memory_order_relaxed);
}

/* The highest level that was passed over too often, else the highest. */
static int next_level(const llm_sem *sem) {
  int highest = -1;
  for (int i = LLM_PRIORITIES - 1; i >= 0; i--) {
    if (llm_queue_is_empty(&sem->lines[i].queue)) continue;
    if (sem->lines[i].passed >= LLM_SEM_PATIENCE) return i;
    if (highest < 0) highest = i;
  }
  return highest;
}

/* The count is the level's, not its head's: callers who give up at the head do
** not set back those behind them. */
static void count_passed(llm_sem *sem, int served) {
  sem->lines[served].passed = 0;
  for (int i = 0; i < served; i++)
    if (!llm_queue_is_empty(&sem->lines[i].queue)) sem->lines[i].passed++;
}

/* ---- ending a wait ----------------------------------------------------- */

bool llm_group_claim(struct llm_group *group, llm_waiter *waiter) {
  llm_waiter *none = NULL;
  llm_chaos();
  return atomic_compare_exchange_strong_explicit(&group->winner, &none, waiter,
                                                 memory_order_acq_rel,
                                                 memory_order_acquire);
}

/* Storing the state is the last touch of a node that gets no wake: its owner
** may look at nothing else before it reuses it. */
bool llm_line_end(llm_sem *sem, llm_turn *t, llm_waiter *waiter,
                  llm_wait_state state) {
  bool is_ours =
      waiter->group == NULL || llm_group_claim(waiter->group, waiter);
  llm_line_leave(sem, waiter);
  if (is_ours) wake_later(t, waiter);
  llm_waiter_set(waiter, is_ours ? state : LLM_W_LOST);
  return is_ours;
}

void llm_line_close(llm_sem *sem, llm_turn *t, llm_waiter *waiter,
                    llm_wait_state state) {
  struct llm_group *group = waiter->group;
  bool is_ours = true;
  if (group != NULL)
    is_ours =
        atomic_fetch_sub_explicit(&group->open, 1, memory_order_acq_rel) == 1 &&
        llm_group_claim(group, waiter);
  llm_line_leave(sem, waiter);
  if (is_ours) wake_later(t, waiter);
  llm_waiter_set(waiter, state);
}

/* Grants one permit to whoever is next; on the way, those whose time is over
** are told, and those whose group has ended leave. False: nobody is left. */
static bool grant_next(llm_sem *sem, llm_turn *t) {
  int level;
  while ((level = next_level(sem)) >= 0) {
    llm_waiter *waiter = sem->lines[level].queue.head;
    if (is_late(t, waiter)) {
      llm_line_end(sem, t, waiter, LLM_W_TIMEDOUT);
    } else if (llm_line_end(sem, t, waiter, LLM_W_GRANTED)) {
      count_passed(sem, level);
      return true;
    }
  }
  return false;
}

uint64_t llm_line_grant(llm_sem *sem, llm_turn *t, uint64_t n) {
  while (n > 0 && llm_sem_waiting(sem) > 0 && grant_next(sem, t)) n--;
  return n;
}

void llm_line_give(llm_sem *sem, llm_turn *t, uint64_t n) {
  uint64_t debt = llm_sem_load(&sem->debt), paid = n < debt ? n : debt;
  llm_sem_store(&sem->debt, debt - paid);
  n -= paid;
  if (!(llm_word_load(sem) & LLM_SEM_PAUSED)) n = llm_line_grant(sem, t, n);
  llm_word_settle(sem, 0, (int64_t)n);
}
