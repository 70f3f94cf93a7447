/*
** llmpool_peek.h - the part of llmpool.h for who decides where a request goes.
** Do not include it alone: llmpool.h does.
**
** These are the client's own books, kept for every lease whoever asked for it:
** two routers over one pool see the same, and what went past them.
*/
#ifndef LLMPOOL_PEEK_H
#define LLMPOOL_PEEK_H

/* What a router looks at before it decides; see llm_model_peek. */
typedef struct llm_peek {
  const char *id;               /* lives as long as the pool */
  int64_t rest_until_ns;        /* LLM_FOREVER: it does not rest, or no end */
  int64_t latency_ns, first_ns; /* of late, peaks at once; 0: unknown */
  int64_t latency_at_ns;        /* since when the first of the two is so */
  double error_rate;            /* of late; 0 to 1 */
  double rpm_left, tpm_left;    /* in its buckets; no limit: infinite */
  uint64_t outcomes;            /* reported */
  uint32_t slots, free, lent, resting; /* free: idle or vacant */
  llm_place_state state; /* of its last slot that is not free; at rest: why */
} llm_peek;

typedef struct llm_model_peeked {
  uint32_t clients, lent, waiting, resting, limit, capacity;
  uint32_t open;     /* clients that have a free slot */
  uint64_t versions; /* it changes when a client comes, goes or is renewed */
  int64_t now_ns;    /* on the model's clock */
  bool is_paused;
} llm_model_peeked;

/* The numbers of this moment, and up to `max` clients that are not retired, in
** order of registration; returns how many there are. Cheap: one short lock. */
uint32_t llm_model_peek(llm_model *model, llm_model_peeked *total,
                        llm_peek *out, uint32_t max);
/* A latency as far as it is still to be believed: half of it a minute after
** the last answer. Else a client that was slow once would never be asked again,
** where others suffice. */
double llm_faded_ns(int64_t latency_ns, int64_t at_ns, int64_t now_ns);

/* What 95 % of a client's last 64 answers took at most, and their first tokens;
** 0: unknown. In the same order. */
typedef struct llm_peek_p95 {
  const char *id;
  int64_t latency_ns, first_ns;
} llm_peek_p95;
uint32_t llm_model_peek_p95(llm_model *model, llm_peek_p95 *out, uint32_t max);

/* The uids of up to `max` models of the process that are not freed yet, the
** largest first; returns how many there are. */
size_t llm_models_alive(uint64_t *uids, size_t max);

#endif
