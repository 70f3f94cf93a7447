/*
** recent.h - the last 64 times of something, and what 19 of 20 of them were
** within.
**
** One idea: a percentile of late needs the last values, not a histogram of
** all; and whoever adds one only marks it as unknown, if it may have changed.
** Whoever looks works it out. Guarded by its owner's lock.
*/
#ifndef LLM_RECENT_H
#define LLM_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#define LLM_RECENT 64

/* Zeroed is empty. */
typedef struct llm_recent {
  int64_t ns[LLM_RECENT];
  int64_t p95_ns;
  uint32_t count; /* that were added; 64 or more: it is full */
  bool is_known;  /* p95_ns is that of these */
} llm_recent;

void llm_recent_add(llm_recent *recent, int64_t ns);
/* By the nearest rank; 0: nothing was added. */
int64_t llm_recent_p95(llm_recent *recent);

#endif
