/*
** breaker.c - counting failures in a window.
*/
#include "breaker.h"

#include <stdlib.h>

#include "clock.h"

bool llm_breaker_is_valid(const llm_breaker *o) {
  if (o->failures == 0) return true;
  return o->failures <= LLM_BREAKER_MOST && o->window_ns > 0 &&
         o->open_ns > 0 && o->max_open_ns >= o->open_ns;
}

bool llm_switch_init(llm_switch *s, const llm_breaker *options) {
  *s = (llm_switch){.options = *options, .open_ns = options->open_ns};
  if (options->failures == 0) return true;
  s->failures = calloc(options->failures, sizeof *s->failures);
  return s->failures != NULL;
}

void llm_switch_free(llm_switch *s) {
  free(s->failures);
  s->failures = NULL;
}

bool llm_switch_trips(llm_switch *s, int64_t now_ns) {
  uint32_t size = s->options.failures;
  if (size == 0) return false;
  s->failures[s->next] = (llm_failing){now_ns, s->successes};
  s->next = (s->next + 1) % size;
  if (s->count < size) s->count++;
  if (s->count < size) return false;
  const llm_failing *first = &s->failures[s->next]; /* the oldest of them */
  return first->at_ns > now_ns - s->options.window_ns &&
         s->successes - first->successes <= size;
}

int64_t llm_switch_open(llm_switch *s, int64_t now_ns) {
  const llm_breaker *o = &s->options;
  s->open_until_ns = llm_time_after(now_ns, s->open_ns);
  s->open_ns =
      s->open_ns > o->max_open_ns / 2 ? o->max_open_ns : s->open_ns * 2;
  s->count = s->next = 0;
  return s->open_until_ns;
}

void llm_switch_reset(llm_switch *s) {
  s->count = s->next = 0;
  s->open_ns = s->options.open_ns;
  s->open_until_ns = 0;
}
