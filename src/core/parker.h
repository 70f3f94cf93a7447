/*
** parker.h - where a thread sleeps: one parker to a thread, with one token.
**
** A wake leaves the token, also before the sleep begins; a wait consumes it.
** As a waiter is woken exactly once (admission.h, I7), whoever consumes
** exactly one token for each wake due never leaves one behind. A poke is not a
** wake: it only ends a sleep early, so that the thread looks at what is due.
**
** A parker is never freed: at the end of its thread it goes to a free list for
** the next one, since the last half of a wake may run when the woken thread
** has ended already. It comes back there without token and poke.
*/
#ifndef LLM_PARKER_H
#define LLM_PARKER_H

#include "llmpool.h"

typedef struct llm_parker llm_parker;

typedef enum llm_parked {
  LLM_PARK_WOKEN, /* the token was there and is consumed */
  LLM_PARK_POKED, /* somebody poked; no token was consumed */
  LLM_PARK_DUE    /* the time has come; no token was consumed */
} llm_parked;

/* This thread's own parker; NULL: no memory (the first time only). */
llm_parker *llm_parker_self(void);

/* Any thread, no lock held, never blocks; the parker's thread may have ended
** by the time it returns. What was written before is seen by the woken. */
void llm_parker_wake(llm_parker *parker);
void llm_parker_poke(llm_parker *parker);

/*
** Sleeps until the token comes, a poke, or `until_ns` on `clock`; the token
** goes before the time, and the time before a poke. Signals do not end it.
** Own parker only.
** On a manual clock the thread sleeps in real time and looks at the clock
** every millisecond, since setting a clock wakes nobody: late by at most that
** much of real time, never lost. Without an end it just sleeps.
*/
llm_parked llm_parker_wait(llm_parker *parker, const llm_clock *clock,
                           int64_t until_ns);

/* Sleeps until the token comes, whatever else does. Own parker only. */
void llm_parker_take(llm_parker *parker);

#endif
