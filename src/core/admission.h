/*
** admission.h - who may hold a client: a FIFO semaphore with direct hand-off.
**
** One atomic word says how many permits are free and whether anything unusual
** is going on. Without a flag, taking and giving back are one compare-exchange
** each; with one, everything goes through the lock, so that a permit given
** back while callers wait goes to the first of them and nobody can barge.
** Every decision is an RMW on that word or is made under the lock; there is
** no second counter that is read outside it, no fence and no seq_cst.
**
** A permit weighs 1. Nothing is allocated; waiters are the callers' memory.
** It knows nothing of clients: the permit comes first, then the list of idle
** ones (idle.h); on return the list first, then the permit. A permit is held
** for a whole lease, the lock of either for a few instructions: hence two
** primitives and two files.
*/
#ifndef LLM_ADMISSION_H
#define LLM_ADMISSION_H

#include "llmpool.h"
#include "lock.h"
#include "queue.h"

#define LLM_SEM_CLOSED 1u  /* never cleared; nobody waits */
#define LLM_SEM_WAITERS 2u /* somebody is in line */
#define LLM_SEM_DEBT 4u    /* more is out than there may be */
#define LLM_SEM_PAUSED 8u  /* nobody is granted */
#define LLM_SEM_FLAGS 15u
#define LLM_SEM_PERMIT 16u     /* one permit in the word */
#define LLM_SEM_MAX UINT32_MAX /* the largest capacity */
#define LLM_SEM_PATIENCE 8     /* a level passed over so often goes next */

typedef struct llm_line { /* the waiters of one priority */
  LLM_QUEUE(llm_waiter) queue;
  uint32_t passed; /* grants to higher levels since it was served */
} llm_line;

typedef struct llm_sem {
  char before[64];       /* the word has a cache line of its own */
  _Atomic uint64_t word; /* free permits * 16 | flags */
  char after[56];
  llm_lock lock; /* guards all below; atomic: written under it, read anywhere */
  llm_line lines[LLM_PRIORITIES];
  _Atomic uint32_t waiting;     /* nodes in line */
  _Atomic uint32_t waiting_max; /* the most there ever were */
  _Atomic uint64_t cap;         /* permits that there are */
  _Atomic uint64_t debt;        /* permits out beyond cap */
  int64_t last_since_ns;        /* of who came last; no two have the same */
  uint32_t max_waiting;
  llm_clock *clock;
} llm_sem;

/* How a begin ended. */
typedef enum llm_begun {
  LLM_BEGUN_GRANTED, /* the permit is held; no wake */
  LLM_BEGUN_QUEUED,  /* exactly one wake is due, unless a withdraw wins */
  LLM_BEGUN_CLOSED,  /* refused, no wake */
  LLM_BEGUN_FULL,    /* refused, no wake: max_waiting are in line */
  LLM_BEGUN_LATE,    /* refused, no wake: the deadline has passed */
  LLM_BEGUN_LOST     /* group: another node ended it; its wake is due */
} llm_begun;

/* ---- life -------------------------------------------------------------- */

/* `cap` permits, all free; at most max_waiting in line (UINT32_MAX: any). */
void llm_sem_init(llm_sem *sem, uint32_t cap, uint32_t max_waiting,
                  llm_clock *clock);
/* Nobody waits and nobody is inside any function of it. */
void llm_sem_destroy(llm_sem *sem);

/* ---- permits ----------------------------------------------------------- */

void llm_sem_release_slow(llm_sem *sem);

/* One RMW of the word, from *word to next. False: *word is what it is now, or
** the exchange failed for no reason. */
static inline bool llm_word_swap(llm_sem *sem, uint64_t *word, uint64_t next) {
  llm_chaos();
  if (llm_is_alone()) {
    atomic_store_explicit(&sem->word, next, memory_order_relaxed);
    return true;
  }
  return atomic_compare_exchange_weak_explicit(
      &sem->word, word, next, memory_order_acq_rel, memory_order_acquire);
}

/* A free permit now, or false. Fails while anybody is in line, though a permit
** may be free for a moment, and while closed or paused. */
static inline bool llm_sem_try(llm_sem *sem) {
  llm_chaos();
  uint64_t word = atomic_load_explicit(&sem->word, memory_order_relaxed);
  while ((word & LLM_SEM_FLAGS) == 0 && word != 0)
    if (llm_word_swap(sem, &word, word - LLM_SEM_PERMIT)) return true;
  return false;
}

#ifdef LLM_CHECKS
void llm_sem_check(llm_sem *sem); /* I1 to I6, under the lock */
/* A release that looks like one too many; cap may be changing, so it is only
** a suspicion, and the lock decides. */
#define LLM_SEM_SUSPECT(sem, word)                                 \
  ((word) / LLM_SEM_PERMIT >=                                      \
           atomic_load_explicit(&(sem)->cap, memory_order_relaxed) \
       ? llm_sem_check(sem)                                        \
       : (void)0)
#else
#define LLM_SEM_SUSPECT(sem, word) ((void)0)
#endif

/* Gives a permit back if nothing unusual is going on; else false, and nothing
** is done. No lock, no wake: may be called under another lock, so that what is
** left of a release there can be the last touch of the semaphore's memory. */
static inline bool llm_sem_release_fast(llm_sem *sem) {
  llm_chaos();
  uint64_t word = atomic_load_explicit(&sem->word, memory_order_relaxed);
  while ((word & LLM_SEM_FLAGS) == 0) {
    if (!llm_word_swap(sem, &word, word + LLM_SEM_PERMIT)) continue;
    LLM_SEM_SUSPECT(sem, word);
    return true;
  }
  return false;
}

/* Gives a permit back: pays debt, or to the first live waiter, or it is free.
** Counts after a close too. May be called in a wake. */
static inline void llm_sem_release(llm_sem *sem) {
  if (!llm_sem_release_fast(sem)) llm_sem_release_slow(sem);
}

/* ---- waiting ----------------------------------------------------------- */

/* A fresh node; not one that is in line. LLM_FOREVER: no deadline. */
static inline void llm_waiter_init(llm_waiter *waiter,
                                   void (*wake)(llm_waiter *),
                                   int64_t deadline_ns, uint8_t priority) {
  waiter->prev = waiter->next = NULL;
  waiter->sem = NULL;
  waiter->group = NULL;
  waiter->deadline_ns = deadline_ns;
  waiter->since_ns = 0;
  waiter->wake = wake;
  waiter->priority = priority;
  waiter->came_back = false;
  atomic_store_explicit(&waiter->state, LLM_W_INIT, memory_order_relaxed);
}

static inline llm_wait_state llm_waiter_state(const llm_waiter *waiter) {
  return (llm_wait_state)atomic_load_explicit(&waiter->state,
                                              memory_order_acquire);
}

llm_begun llm_sem_begin_slow(llm_sem *sem, llm_waiter *waiter);

/*
** A permit for `waiter` (llm_waiter_init, or ended before), or a place at the
** end of its line. A free permit is granted even if the deadline has passed;
** a late caller is never queued (LATE goes before FULL). Once QUEUED, the node
** must neither move nor be reused until a withdraw was won or the wake has
** been consumed; then its state says how it ended. The wake may come before
** this function returns.
*/
static inline llm_begun llm_sem_begin(llm_sem *sem, llm_waiter *waiter) {
  if (waiter->group != NULL || !llm_sem_try(sem))
    return llm_sem_begin_slow(sem, waiter);
  waiter->sem = sem;
  atomic_store_explicit(&waiter->state, LLM_W_GRANTED, memory_order_relaxed);
  return LLM_BEGUN_GRANTED;
}

/* The owner's own end of a wait, as LLM_W_TIMEDOUT or LLM_W_CANCELLED. True:
** no wake will come. False: it has ended already and its wake is due: consume
** it and act on the state; GRANTED means that the permit is held. Nodes of a
** group: llm_group_withdraw instead. */
bool llm_sem_withdraw(llm_waiter *waiter, llm_wait_state why);

/*
** For a holder that found nothing to take, since the client that its permit
** stood for is gone (retired, at rest): drops the permit, as llm_sem_drop, and
** puts the waiter, which may have no group here, back to the front of its line,
** behind those that came back before it, in one step. Never FULL. The permit
** is gone whatever is answered; GRANTED means that another was free.
*/
llm_begun llm_sem_requeue(llm_sem *sem, llm_waiter *waiter);

/* The same for one that holds no permit. A node of a group goes where it stood
** before, by its since_ns. */
llm_begun llm_sem_rejoin(llm_sem *sem, llm_waiter *waiter);

/* The end of another's wait, by anyone who knows that the node is alive. True:
** it ended as CANCELLED, and its wake has run. A node of a group ends the
** whole group. False: it was not in line, or has ended otherwise. */
bool llm_sem_cancel(llm_waiter *waiter);

/* ---- several semaphores at once ---------------------------------------- */

/*
** A group is one wait with a node in line at each of several semaphores; all
** its nodes have the same deadline and the same owner.
**
** It ends once: whoever ends it claims group->winner by CAS from NULL, with
** the node that it ends it by, under the lock of that node's semaphore:
**   a granter (GRANTED), one that finds the deadline past (TIMEDOUT), a cancel
**   (CANCELLED), the close that takes the last node out (CLOSED), or the owner
**   itself: a begin that is granted, a withdraw, a seal that finds nothing.
** Anyone but the owner then wakes that node: exactly one wake for a group.
** Whoever comes to a node of a group that has ended sets it to LOST and takes
** it out of line: no wake, and no permit is spent on it.
** A close takes its node out as CLOSED without a wake while another node may
** still win: group->open counts those in line, and the owner while it begins.
**
** The owner's sequence:
**   llm_group_init; set node->group on each node; llm_sem_begin on each, up to
**   the first GRANTED or LOST; llm_group_seal if all were begun without
**   GRANTED; wait for the wake, or llm_group_withdraw. FULL, CLOSED and LATE
**   only leave that node out. Before the nodes' memory is reused:
**   llm_group_finish (withdraw and a false seal have done it).
** The ending is the state of group->winner; a CLOSED on another node says no
** more than that its semaphore dropped out.
*/
void llm_group_init(struct llm_group *group);

/* All are begun. True: one wake is due, soon or late. False: no node is left
** in line and no wake will come. Nodes never begun (INIT) may be among them. */
bool llm_group_seal(struct llm_group *group, llm_waiter *nodes, uint32_t n);

/* As llm_sem_withdraw, for the group; all nodes are out of line after it,
** whichever way it ends. False: one wake is due, of group->winner. */
bool llm_group_withdraw(struct llm_group *group, llm_waiter *nodes, uint32_t n,
                        llm_wait_state why);

/* Takes the losers out of line, after a begin was GRANTED or the wake has been
** consumed. */
void llm_group_finish(llm_waiter *nodes, uint32_t n);

/* ---- capacity ---------------------------------------------------------- */

/* k more permits: they pay debt, go to waiters, or are free. False: closed, or
** more than LLM_SEM_MAX. */
bool llm_sem_grow(llm_sem *sem, uint32_t k);

/* k fewer (no more than there are): free ones at once, the rest as debt that
** the next releases pay. False: closed, or more than there are. */
bool llm_sem_shrink(llm_sem *sem, uint32_t k);

/* Grows or shrinks to n permits. False: closed. */
bool llm_sem_resize(llm_sem *sem, uint32_t n);

/* Capacity that belongs to a client: its permit, if one is free; unlike a try
** also while paused or closed, but never past somebody in line who may be
** served. For the layer that retires or rests an idle client. */
bool llm_sem_take_own(llm_sem *sem);

/* The permit that the caller holds is gone for good, with its client: one
** fewer there are, and none is free for it. Also after a close. */
void llm_sem_drop(llm_sem *sem);

/* ---- state ------------------------------------------------------------- */

/* Ends every wait as CLOSED, higher levels first, in order within one; from
** now on nobody is granted. False: was closed. */
bool llm_sem_close(llm_sem *sem);

/* Ends every wait as LLM_W_OUT, in the order of a close; whoever comes then
** waits again. A node of a group leaves that line; the last one ends it. */
void llm_sem_dismiss(llm_sem *sem);

/* The first in line whom it `suits` stops waiting as LLM_W_AGAIN, without a
** permit; `suits` runs under the lock. Not for nodes of a group. */
void llm_sem_nudge(llm_sem *sem,
                   bool (*suits)(const llm_waiter *waiter, const void *what),
                   const void *what);

/* Callers queue, permits come back, nobody is granted; deadlines go on. */
void llm_sem_pause(llm_sem *sem);
/* Grants what is free, in order. */
void llm_sem_resume(llm_sem *sem);

static inline uint64_t llm_sem_flags(const llm_sem *sem) {
  return atomic_load_explicit(&sem->word, memory_order_acquire) & LLM_SEM_FLAGS;
}
static inline uint32_t llm_sem_avail(const llm_sem *sem) {
  return (uint32_t)(atomic_load_explicit(&sem->word, memory_order_acquire) /
                    LLM_SEM_PERMIT);
}
static inline uint32_t llm_sem_cap(const llm_sem *sem) {
  return (uint32_t)atomic_load_explicit(&sem->cap, memory_order_relaxed);
}
static inline uint64_t llm_sem_debt(const llm_sem *sem) {
  return atomic_load_explicit(&sem->debt, memory_order_relaxed);
}
/* Callers in line; with groups, also those whose group has just ended. */
static inline uint32_t llm_sem_waiting(const llm_sem *sem) {
  return atomic_load_explicit(&sem->waiting, memory_order_relaxed);
}
static inline uint32_t llm_sem_waiting_max(const llm_sem *sem) {
  return atomic_load_explicit(&sem->waiting_max, memory_order_relaxed);
}
/* When the caller at the head of a line, the oldest of the four, was queued;
** LLM_FOREVER: nobody waits. Takes the lock. */
int64_t llm_sem_oldest_since(llm_sem *sem);

#endif
