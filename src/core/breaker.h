/*
** breaker.h - when failures take a client out of use for a while.
**
** Closed it counts: it trips on a failure if so many lie within the window and
** at least half of what happened since the first of them failed. Open nobody is
** lent the client; after a while it is half-open, and one probe at a time
** decides: a success closes it, a failure opens it for twice as long.
** It only counts and decides; what becomes of the places is rest.c's business.
** It has no lock: that of the model guards it.
*/
#ifndef LLM_BREAKER_H
#define LLM_BREAKER_H

#include "llmpool.h"

typedef struct llm_failing { /* one failure, for the window */
  int64_t at_ns;
  uint64_t successes; /* that there had been by then */
} llm_failing;

typedef struct llm_switch {
  llm_breaker options;   /* failures 0: there is none */
  llm_failing *failures; /* a ring of options.failures */
  uint32_t next;         /* in the ring */
  uint32_t count;        /* in the ring */
  uint64_t successes;
  int64_t open_ns;       /* how long it opens the next time */
  int64_t open_until_ns; /* while it is open */
} llm_switch;

/* False: no memory. */
bool llm_switch_init(llm_switch *s, const llm_breaker *options);
void llm_switch_free(llm_switch *s);
bool llm_breaker_is_valid(const llm_breaker *options);
/* Closed, a failure: whether it should open. */
bool llm_switch_trips(llm_switch *s, int64_t now_ns);
/* It opens from now on; returns until when. */
int64_t llm_switch_open(llm_switch *s, int64_t now_ns);
/* All is forgotten: it is closed as on the first day. */
void llm_switch_reset(llm_switch *s);

#endif
