/*
** admission.c - the slow half of the semaphore: its operations, each one turn
** under the lock (line.h), and the groups.
*/
#include "line.h"

/* ---- life -------------------------------------------------------------- */

void llm_sem_init(llm_sem *sem, uint32_t cap, uint32_t max_waiting,
                  llm_clock *clock) {
  atomic_init(&sem->word, (uint64_t)cap * LLM_SEM_PERMIT);
  llm_lock_init(&sem->lock);
  for (int i = 0; i < LLM_PRIORITIES; i++) {
    llm_queue_init(&sem->lines[i].queue);
    sem->lines[i].passed = 0;
  }
  atomic_init(&sem->waiting, 0);
  atomic_init(&sem->waiting_max, 0);
  atomic_init(&sem->cap, cap);
  atomic_init(&sem->debt, 0);
  sem->last_since_ns = 0;
  sem->max_waiting = max_waiting;
  sem->clock = clock;
}

void llm_sem_destroy(llm_sem *sem) {
  LLM_CHECK(llm_sem_waiting(sem) == 0, "I8: destroyed with callers in line");
  llm_lock_destroy(&sem->lock);
}

/* ---- permits and waiting ----------------------------------------------- */

void llm_sem_release_slow(llm_sem *sem) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  llm_line_give(sem, &t, 1);
  llm_turn_leave(sem, &t);
}

static llm_begun refuse(llm_waiter *waiter, llm_wait_state state,
                        llm_begun begun) {
  llm_waiter_set(waiter, state);
  return begun;
}

/* A permit was taken: it is the waiter's, unless its group has ended. */
static llm_begun keep(llm_sem *sem, llm_turn *t, llm_waiter *waiter) {
  if (waiter->group == NULL || llm_group_claim(waiter->group, waiter))
    return refuse(waiter, LLM_W_GRANTED, LLM_BEGUN_GRANTED);
  llm_line_give(sem, t, 1);
  return refuse(waiter, LLM_W_LOST, LLM_BEGUN_LOST);
}

static llm_begun enter(llm_sem *sem, llm_waiter *waiter) {
  if (waiter->group != NULL)
    atomic_fetch_add_explicit(&waiter->group->open, 1, memory_order_relaxed);
  llm_line_enter(sem, waiter);
  return LLM_BEGUN_QUEUED;
}

/* Its time says its place in the line, should it come back: so it is a little
** later than that of whoever came before it. */
static llm_begun line_up(llm_sem *sem, llm_waiter *waiter, int64_t now_ns) {
  bool is_later = now_ns > sem->last_since_ns;
  sem->last_since_ns = is_later ? now_ns : sem->last_since_ns + 1;
  waiter->since_ns = sem->last_since_ns;
  waiter->came_back = false;
  return enter(sem, waiter);
}

/* Setting WAITERS by compare-exchange is the decision that no permit is free:
** a release came before, then the exchange fails and sees its permit, or comes
** after, then it sees WAITERS and must have the lock that we hold. */
static llm_begun admit(llm_sem *sem, llm_turn *t, llm_waiter *waiter,
                       int64_t now_ns) {
  uint64_t word = llm_word_load(sem);
  for (;;) {
    if (word & LLM_SEM_CLOSED)
      return refuse(waiter, LLM_W_CLOSED, LLM_BEGUN_CLOSED);
    if (word >= LLM_SEM_PERMIT && !(word & LLM_SEM_FLAGS)) {
      if (llm_word_swap(sem, &word, word - LLM_SEM_PERMIT))
        return keep(sem, t, waiter);
      continue;
    }
    if (waiter->deadline_ns <= now_ns)
      return refuse(waiter, LLM_W_TIMEDOUT, LLM_BEGUN_LATE);
    if (llm_sem_waiting(sem) >= sem->max_waiting)
      return refuse(waiter, LLM_W_INIT, LLM_BEGUN_FULL);
    if (word & LLM_SEM_WAITERS ||
        llm_word_swap(sem, &word, word | LLM_SEM_WAITERS))
      return line_up(sem, waiter, now_ns);
  }
}

llm_begun llm_sem_begin_slow(llm_sem *sem, llm_waiter *waiter) {
  llm_turn t = {0};
  LLM_CHECK(llm_waiter_state(waiter) != LLM_W_QUEUED, "I8: begun twice");
  waiter->sem = sem;
  if (waiter->group != NULL && llm_group_is_over(waiter->group))
    return refuse(waiter, LLM_W_LOST, LLM_BEGUN_LOST);
  int64_t now_ns = llm_clock_now(sem->clock);
  llm_turn_enter(sem);
  llm_begun begun = admit(sem, &t, waiter, now_ns);
  llm_turn_leave(sem, &t);
  return begun;
}

/* With no capacity left to lower, what the caller holds is itself debt. */
static void drop(llm_sem *sem) {
  _Atomic uint64_t *from = llm_sem_load(&sem->cap) > 0 ? &sem->cap : &sem->debt;
  LLM_CHECK(llm_sem_load(from) > 0, "I1: a permit is dropped that nobody held");
  llm_sem_store(from, llm_sem_load(from) - 1);
  llm_word_settle(sem, 0, 0);
}

void llm_sem_drop(llm_sem *sem) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  drop(sem);
  llm_turn_leave(sem, &t);
}

/* As admit, but what it asks for is its own: neither the line nor its length
** comes before it. */
static llm_begun readmit(llm_sem *sem, llm_turn *t, llm_waiter *waiter,
                         int64_t now_ns) {
  uint64_t word = llm_word_load(sem);
  for (;;) {
    if (word & LLM_SEM_CLOSED)
      return refuse(waiter, LLM_W_CLOSED, LLM_BEGUN_CLOSED);
    if (word >= LLM_SEM_PERMIT && !(word & LLM_SEM_PAUSED)) {
      if (llm_word_swap(sem, &word, word - LLM_SEM_PERMIT))
        return keep(sem, t, waiter);
      continue;
    }
    if (waiter->deadline_ns <= now_ns)
      return refuse(waiter, LLM_W_TIMEDOUT, LLM_BEGUN_LATE);
    if (word & LLM_SEM_WAITERS ||
        llm_word_swap(sem, &word, word | LLM_SEM_WAITERS))
      return enter(sem, waiter);
  }
}

static llm_begun come_back(llm_sem *sem, llm_waiter *waiter, bool drops) {
  llm_turn t = {0};
  int64_t now_ns = llm_clock_now(sem->clock);
  LLM_CHECK(waiter->group == NULL || !drops, "a group's permit is dropped");
  waiter->sem = sem;
  if (waiter->group != NULL && llm_group_is_over(waiter->group))
    return refuse(waiter, LLM_W_LOST, LLM_BEGUN_LOST);
  waiter->came_back = true;
  if (waiter->since_ns == 0) waiter->since_ns = now_ns;
  llm_turn_enter(sem);
  if (drops) drop(sem);
  llm_begun begun = readmit(sem, &t, waiter, now_ns);
  llm_turn_leave(sem, &t);
  return begun;
}

llm_begun llm_sem_requeue(llm_sem *sem, llm_waiter *waiter) {
  return come_back(sem, waiter, true);
}

llm_begun llm_sem_rejoin(llm_sem *sem, llm_waiter *waiter) {
  return come_back(sem, waiter, false);
}

/* Takes the owner's node out of line; false: it was not in it any more. */
static bool withdraw(llm_waiter *waiter, llm_wait_state why) {
  llm_sem *sem = waiter->sem;
  llm_turn t = {0};
  llm_turn_enter(sem);
  bool won = llm_waiter_state(waiter) == LLM_W_QUEUED;
  if (won) {
    llm_line_leave(sem, waiter);
    llm_waiter_set(waiter, why);
    llm_word_settle(sem, 0, 0);
  }
  llm_turn_leave(sem, &t);
  return won;
}

bool llm_sem_withdraw(llm_waiter *waiter, llm_wait_state why) {
  LLM_CHECK(waiter->group == NULL, "a group is withdrawn as a whole");
  return withdraw(waiter, why);
}

bool llm_sem_cancel(llm_waiter *waiter) {
  llm_sem *sem = waiter->sem;
  llm_turn t = {0};
  bool won = false;
  if (sem == NULL) return false;
  llm_turn_enter(sem);
  if (llm_waiter_state(waiter) == LLM_W_QUEUED) {
    won = llm_line_end(sem, &t, waiter, LLM_W_CANCELLED);
    llm_word_settle(sem, 0, 0);
  }
  llm_turn_leave(sem, &t);
  return won;
}

/* ---- groups ------------------------------------------------------------ */

void llm_group_init(struct llm_group *group) {
  atomic_init(&group->winner, NULL);
  atomic_init(&group->open, 1); /* the owner, while it begins */
}

/* A node that is not QUEUED any more needs no lock: whoever ended it has
** stored its state last. */
static void take_out(llm_waiter *nodes, uint32_t n, llm_wait_state state) {
  for (uint32_t i = 0; i < n; i++)
    if (llm_waiter_state(&nodes[i]) == LLM_W_QUEUED) withdraw(&nodes[i], state);
}

bool llm_group_seal(struct llm_group *group, llm_waiter *nodes, uint32_t n) {
  if (atomic_fetch_sub_explicit(&group->open, 1, memory_order_acq_rel) != 1)
    return true;
  if (!llm_group_claim(group, &nodes[0])) return true;
  take_out(nodes, n, LLM_W_LOST); /* a close may be about to store CLOSED */
  return false;
}

bool llm_group_withdraw(struct llm_group *group, llm_waiter *nodes, uint32_t n,
                        llm_wait_state why) {
  bool won = llm_group_claim(group, &nodes[0]);
  take_out(nodes, n, won ? why : LLM_W_LOST);
  return won;
}

void llm_group_finish(llm_waiter *nodes, uint32_t n) {
  take_out(nodes, n, LLM_W_LOST);
}

/* ---- capacity ---------------------------------------------------------- */

static bool grow(llm_sem *sem, llm_turn *t, uint64_t k) {
  uint64_t cap = llm_sem_load(&sem->cap);
  if (k > LLM_SEM_MAX - cap) return false;
  llm_sem_store(&sem->cap,
                cap + k); /* first, so that free permits stay below it */
  llm_line_give(sem, t, k);
  return true;
}

static bool shrink(llm_sem *sem, uint64_t k) {
  uint64_t word = llm_word_load(sem), avail, debt, next;
  if (k > llm_sem_load(&sem->cap)) return false;
  do {
    avail = word / LLM_SEM_PERMIT;
    debt = k > avail ? k - avail : 0;
    next = word - (k - debt) * LLM_SEM_PERMIT;
    if (debt > 0) next |= LLM_SEM_DEBT;
  } while (!llm_word_swap(sem, &word, next));
  llm_sem_store(&sem->debt, llm_sem_load(&sem->debt) + debt);
  llm_sem_store(&sem->cap, llm_sem_load(&sem->cap) - k);
  return true;
}

static bool is_closed(llm_sem *sem) {
  return (llm_word_load(sem) & LLM_SEM_CLOSED) != 0;
}

bool llm_sem_grow(llm_sem *sem, uint32_t k) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  bool done = !is_closed(sem) && grow(sem, &t, k);
  llm_turn_leave(sem, &t);
  return done;
}

bool llm_sem_shrink(llm_sem *sem, uint32_t k) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  bool done = !is_closed(sem) && shrink(sem, k);
  llm_turn_leave(sem, &t);
  return done;
}

bool llm_sem_resize(llm_sem *sem, uint32_t n) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  uint64_t cap = llm_sem_load(&sem->cap);
  bool done = !is_closed(sem) &&
              (n >= cap ? grow(sem, &t, n - cap) : shrink(sem, cap - n));
  llm_turn_leave(sem, &t);
  return done;
}

bool llm_sem_take_own(llm_sem *sem) {
  llm_turn t = {0};
  bool taken = false;
  if (llm_sem_try(sem)) return true;
  llm_turn_enter(sem);
  uint64_t word = llm_word_load(sem);
  while (word >= LLM_SEM_PERMIT && !taken)
    taken = llm_word_swap(sem, &word, word - LLM_SEM_PERMIT);
  llm_turn_leave(sem, &t);
  return taken;
}

/* ---- state ------------------------------------------------------------- */

static void end_all(llm_sem *sem, llm_turn *t, llm_wait_state state) {
  for (int i = LLM_PRIORITIES - 1; i >= 0; i--)
    while (!llm_queue_is_empty(&sem->lines[i].queue))
      llm_line_close(sem, t, sem->lines[i].queue.head, state);
  llm_word_settle(sem, 0, 0);
}

bool llm_sem_close(llm_sem *sem) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  bool done = !is_closed(sem);
  llm_word_update(sem, 0, LLM_SEM_CLOSED, 0);
  end_all(sem, &t, LLM_W_CLOSED);
  llm_turn_leave(sem, &t);
  return done;
}

void llm_sem_dismiss(llm_sem *sem) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  end_all(sem, &t, LLM_W_OUT);
  llm_turn_leave(sem, &t);
}

static llm_waiter *find_first(const llm_sem *sem,
                              bool (*suits)(const llm_waiter *, const void *),
                              const void *what) {
  for (int i = LLM_PRIORITIES - 1; i >= 0; i--)
    for (llm_waiter *w = sem->lines[i].queue.head; w != NULL; w = w->next)
      if (suits(w, what)) return w;
  return NULL;
}

void llm_sem_nudge(llm_sem *sem,
                   bool (*suits)(const llm_waiter *waiter, const void *what),
                   const void *what) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  llm_waiter *waiter = find_first(sem, suits, what);
  if (waiter != NULL) llm_line_end(sem, &t, waiter, LLM_W_AGAIN);
  llm_word_settle(sem, 0, 0);
  llm_turn_leave(sem, &t);
}

void llm_sem_pause(llm_sem *sem) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  llm_word_update(sem, 0, LLM_SEM_PAUSED, 0);
  llm_turn_leave(sem, &t);
}

/* While PAUSED is set nobody else touches the word, so what is free now is
** still free at the update. */
void llm_sem_resume(llm_sem *sem) {
  llm_turn t = {0};
  llm_turn_enter(sem);
  uint64_t word = llm_word_load(sem);
  if (word & LLM_SEM_PAUSED) {
    uint64_t avail = word / LLM_SEM_PERMIT,
             left = llm_line_grant(sem, &t, avail);
    llm_word_settle(sem, LLM_SEM_PAUSED, (int64_t)left - (int64_t)avail);
  }
  llm_turn_leave(sem, &t);
}

int64_t llm_sem_oldest_since(llm_sem *sem) {
  int64_t oldest = LLM_FOREVER;
  llm_turn t = {0};
  llm_turn_enter(sem);
  for (int i = 0; i < LLM_PRIORITIES; i++) {
    const llm_waiter *head = sem->lines[i].queue.head;
    if (head != NULL && head->since_ns < oldest) oldest = head->since_ns;
  }
  llm_turn_leave(sem, &t);
  return oldest;
}
