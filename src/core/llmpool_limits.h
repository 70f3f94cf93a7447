/*
** llmpool_limits.h - the part of llmpool.h that says what a client bears, and
** what became of a request. Do not include it alone: llmpool.h does.
*/
#ifndef LLMPOOL_LIMITS_H
#define LLMPOOL_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define LLM_BREAKER_MOST 1000 /* failures that it may be told to count */

/*
** When failures take a client out of use. `failures` 0: never. It opens when so
** many failures lie within `window_ns`, of which the reports between them are
** no more than half successes; after `open_ns` it is half-open: one probe at a
** time is lent; a success closes it, a failure opens it for twice as long, up
** to `max_open_ns`. `floor` says who never opens, so that somebody is left to
** find out that the provider is back.
*/
typedef enum llm_floor {
  LLM_FLOOR_SEVERAL, /* the last that is left of several clients */
  LLM_FLOOR_ALWAYS,  /* and a model's only client */
  LLM_FLOOR_NONE     /* nobody */
} llm_floor;

typedef struct llm_breaker {
  uint32_t failures;
  int64_t window_ns, open_ns, max_open_ns;
  llm_floor floor;
} llm_breaker;

/* 5 failures in 60 s; open for 30 s, at most 300 s. */
void llm_breaker_init(llm_breaker *breaker);

/*
** What a client bears. Zeroed: one lease at a time, nothing else.
**
** A client with n slots is n places that share its id, limits, breaker and
** statistics; what is done to it (rest, disable, retire, replace) is done to
** all of them, to lent ones when they are back.
** rpm and tpm are token buckets, full at first, of one minute's worth unless
** the burst says otherwise. A lend takes one request and the ask's tokens from
** them; a client that cannot bear what the first in line asks for rests until
** it can. A cost larger than the bucket is borne by a full one, which then owes
** the rest. With tokens 0 the bucket must not be empty.
*/
typedef struct llm_limits {
  uint32_t slots;              /* 0: one */
  double rpm, tpm;             /* a minute; 0: no limit */
  double rpm_burst, tpm_burst; /* 0: one minute's worth */
  llm_breaker breaker;
} llm_limits;

typedef enum llm_breaker_state {
  LLM_B_CLOSED,
  LLM_B_OPEN,
  LLM_B_HALF_OPEN
} llm_breaker_state;
const char *llm_breaker_state_name(llm_breaker_state state);

/* What has become of the request that a lease was for. */
typedef struct llm_outcome {
  enum {
    LLM_OUTCOME_NONE,    /* says nothing about the client */
    LLM_OUTCOME_SUCCESS, /* it answers, be it with a refusal */
    LLM_OUTCOME_FAILURE  /* its breaker counts it */
  } kind;
  bool is_error;   /* for the client's error rate */
  bool was_sent;   /* false: what was reserved goes back */
  bool has_tokens; /* `tokens` says what it really took */
  uint64_t tokens;
  int64_t latency_ns;    /* 0: unknown */
  int64_t first_ns;      /* until the first token; 0: unknown */
  int64_t rest_until_ns; /* 0: no rest */
  bool backs_off; /* rests for 1 s, twice as long each time, up to a minute,
                  ** until a success */
  int64_t disable_until_ns; /* 0: stays in service; LLM_FOREVER */
  const char *reason;       /* of a rest or a disable; NULL: none */
} llm_outcome;

#endif
