/*
** key.h - a registered client: its places (slots), its limits, its books.
**
** A client with n slots is n places that share one key. What takes a client
** out of use for a while is the key's: a rest, a breaker, being disabled, an
** empty bucket; `away` says which of them hold now. Then its places in nobody's
** hands stand among the resting, and the others come there when they are back
** (rest.c). A key lives as long as its model, with its books, also retired.
** All of it is guarded by the model's lock where nothing else is said.
*/
#ifndef LLM_KEY_H
#define LLM_KEY_H

#include "breaker.h"
#include "bucket.h"
#include "histogram.h"
#include "names.h"
#include "recent.h"

/* Why it is away. */
#define LLM_AWAY_REST 1u   /* until rest_until_ns */
#define LLM_AWAY_OUT 2u    /* disabled until out_until_ns */
#define LLM_AWAY_OPEN 4u   /* its breaker is open until open_until_ns */
#define LLM_AWAY_PROBE 8u  /* half-open: all but the one place `probe` */
#define LLM_AWAY_SHORT 16u /* its buckets cannot bear short_tokens yet */

typedef struct llm_key {
  /* what every lease touches */
  _Atomic uint64_t acquired, returned; /* written under the lock */
  struct llm_place *slots;             /* chained by `sibling`; only grows */
  const llm_name *id;                  /* constant */
  struct llm_model *model;             /* constant */
  uint8_t away;                        /* LLM_AWAY_* */
  bool is_limited;                     /* it has a bucket */
  bool is_told;                        /* that it rests, as an event */
  uint32_t in_service;                 /* places that are not retired */
  uint32_t resting;                    /* places among the resting */
  llm_histogram hold;

  llm_limits limits;
  llm_bucket requests, tokens;
  llm_switch breaker;
  struct llm_place *probe; /* half-open: the place that may be lent */
  int64_t rest_until_ns, out_until_ns;
  int64_t backoff_ns;    /* of the last rest that nobody gave an end */
  uint64_t short_tokens; /* what it is short of */
  struct llm_key *next;  /* in order of registration */
  struct llm_key *chain; /* in its bucket of the index */

  _Atomic uint64_t checked, check_failed, created, replaced, leaked;
  uint64_t outcomes, errors;
  int64_t latency_ns, first_ns;                    /* of late; 0: unknown */
  int64_t latency_at_ns, first_at_ns, error_at_ns; /* when they were so */
  double error_rate;
  llm_recent latencies, firsts;
  char last_error[LLM_TEXT];
  char reason[LLM_TEXT]; /* why it was disabled */
} llm_key;

/* ---- key.c ------------------------------------------------------------- */

/* Id, limits, and what several slots need of the factory. */
bool llm_client_is_valid(const llm_factory *factory,
                         const llm_client_spec *client);
/* With its places, vacant or with their instances, in no list. Takes spec and
** instance if it succeeds; NULL: no memory. */
llm_key *llm_key_new(struct llm_model *model, const llm_client_spec *client);
/* Also its places, with all that is in them. */
void llm_key_free(llm_key *key);
/* By id, also a retired one; NULL: none. Under the lock. */
llm_key *llm_key_find(struct llm_model *model, const char *id);
/* Enters it into the index and the list of all. Under the lock. */
void llm_key_enter(struct llm_model *model, llm_key *key);
/* The limits of `from`, which gets the old ones: buckets are full, the breaker
** is closed. Under the lock. */
void llm_key_swap_limits(llm_key *key, llm_key *from);
void llm_key_set_error(llm_key *key, const char *text);

/* ---- rest.c ------------------------------------------------------------ */

/* When its last reason to be away is over; 0: it is not away. A probe's end
** nobody knows: it counts as none. */
int64_t llm_key_back_ns(const llm_key *key);
/* For those who look (peek.c): its breaker, and why its places rest. */
llm_breaker_state llm_key_breaker(const llm_key *key);
llm_place_state llm_key_rest_state(const llm_key *key);
/* Whether, or from when on, its buckets can bear a request of so many tokens. */
bool llm_key_bears(const llm_key *key, uint64_t tokens, int64_t now_ns);
int64_t llm_key_bears_from(const llm_key *key, uint64_t tokens);
/* What is over by now is over: it may be half-open then. */
void llm_key_refresh(llm_key *key, int64_t now_ns);
/* Whether a place of it may not be lent now. */
bool llm_key_keeps(const llm_key *key, const struct llm_place *place,
                   int64_t now_ns);
/* The two that somebody asks for; as put_away. */
void llm_key_rest(llm_key *key, int64_t until_ns, int64_t now_ns);
void llm_key_disable(llm_key *key, int64_t until_ns, const char *reason,
                     int64_t now_ns);
/* Its places go to rest, the lent ones when they are back. Under the lock; the
** caller ends with llm_key_leave. */
void llm_key_put_away(llm_key *key, int64_t now_ns);
/* After a refresh: its places are back, as far as they may. As above. */
void llm_key_bring_back(llm_key *key, int64_t now_ns);
/* Leaves the lock, settles the permits, tells when the rest ends. */
void llm_key_leave(llm_key *key);

#endif
