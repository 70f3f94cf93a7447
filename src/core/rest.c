/*
** rest.c - a client that may not be lent for a while, for whatever reason.
**
** The reasons add up: it is away until the last of them is over. A place in
** nobody's hands stands among the resting then and no permit stands for it; one
** that is lent is marked, and comes there when it is back. Half-open, one place
** - the probe - is as if it did not rest, and the others wait for its end.
*/
#include <stdio.h>

#include "place.h"

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- until when -------------------------------------------------------- */

int64_t llm_key_bears_from(const llm_key *key, uint64_t tokens) {
  return later(llm_bucket_ready_ns(&key->requests, 1),
               llm_bucket_ready_ns(&key->tokens, tokens > 0 ? tokens : 1));
}

static int64_t short_until(const llm_key *key) {
  return llm_key_bears_from(key, key->short_tokens);
}

int64_t llm_key_back_ns(const llm_key *key) {
  int64_t back = 0;
  if (key->away & LLM_AWAY_REST) back = later(back, key->rest_until_ns);
  if (key->away & LLM_AWAY_OUT) back = later(back, key->out_until_ns);
  if (key->away & LLM_AWAY_OPEN) back = later(back, key->breaker.open_until_ns);
  if (key->away & LLM_AWAY_SHORT) back = later(back, short_until(key));
  return back;
}

bool llm_key_bears(const llm_key *key, uint64_t tokens, int64_t now_ns) {
  return !key->is_limited || llm_key_bears_from(key, tokens) <= now_ns;
}

void llm_key_refresh(llm_key *key, int64_t now_ns) {
  unsigned over = 0;
  if (key->rest_until_ns <= now_ns) over |= LLM_AWAY_REST;
  if (key->out_until_ns <= now_ns) over |= LLM_AWAY_OUT;
  if (key->breaker.open_until_ns <= now_ns) over |= LLM_AWAY_OPEN;
  if (key->away & LLM_AWAY_SHORT && short_until(key) <= now_ns)
    over |= LLM_AWAY_SHORT;
  over &= key->away;
  key->away &= (uint8_t)~over;
  if (over & LLM_AWAY_OUT)
    llm_note(key->model, LLM_EV_ENABLED, key->slots, 0, 0);
  if (over & LLM_AWAY_OPEN) {
    key->away |= LLM_AWAY_PROBE;
    key->probe = NULL;
    llm_note(key->model, LLM_EV_HALF_OPEN, key->slots, 0, 0);
  }
}

bool llm_key_keeps(const llm_key *key, const llm_place *place, int64_t now_ns) {
  bool is_behind =
      key->away & LLM_AWAY_PROBE && key->probe != NULL && key->probe != place;
  return is_behind || llm_key_back_ns(key) > now_ns;
}

/* ---- to rest and back -------------------------------------------------- */

static void put_away(llm_place *place, int64_t now_ns) {
  switch (place->state) {
  case LLM_P_IDLE:
  case LLM_P_VACANT:
    llm_place_unlink(place);
    llm_place_link_resting(place, now_ns);
    break;
  case LLM_P_RESTING: llm_place_mark_stale(place); break;
  case LLM_P_LENT:
  case LLM_P_BUSY: llm_place_mark(place, LLM_MARK_REST); break;
  default: break;
  }
}

void llm_key_put_away(llm_key *key, int64_t now_ns) {
  for (llm_place *p = key->slots; p != NULL; p = p->sibling)
    if (llm_key_keeps(key, p, now_ns)) put_away(p, now_ns);
}

void llm_key_rest(llm_key *key, int64_t until_ns, int64_t now_ns) {
  if (until_ns <= now_ns) return;
  key->rest_until_ns = later(until_ns, key->rest_until_ns);
  key->away |= LLM_AWAY_REST;
  llm_key_put_away(key, now_ns);
}

void llm_key_disable(llm_key *key, int64_t until_ns, const char *reason,
                     int64_t now_ns) {
  if (until_ns <= now_ns || until_ns <= key->out_until_ns) return;
  key->out_until_ns = until_ns;
  key->away |= LLM_AWAY_OUT;
  snprintf(key->reason, LLM_TEXT, "%s", reason != NULL ? reason : "disabled");
  llm_note(key->model, LLM_EV_DISABLED, key->slots, 0,
           until_ns == LLM_FOREVER ? LLM_FOREVER : until_ns - now_ns);
  llm_key_put_away(key, now_ns);
}

static void release(llm_place *place) {
  llm_key *key = place->key;
  llm_place_unlink(place);
  if (key->away & LLM_AWAY_PROBE) key->probe = place;
  if (key->is_told && key->resting == 0) {
    key->is_told = false;
    llm_note(key->model, LLM_EV_RESTED, place, 0, 0);
  }
  if (place->instance != NULL && !(place->marks & LLM_MARK_CHECK))
    llm_place_link_idle(place, place->link.stamp); /* idle for all that time */
  else
    llm_place_link_ready(place);
}

void llm_key_bring_back(llm_key *key, int64_t now_ns) {
  for (llm_place *p = key->slots; p != NULL; p = p->sibling) {
    if (llm_key_keeps(key, p, now_ns)) continue;
    if (p->state == LLM_P_RESTING)
      release(p);
    else if (p->marks & LLM_MARK_REST && !(key->away & LLM_AWAY_PROBE))
      llm_place_unmark(p, LLM_MARK_REST);
  }
}

void llm_key_leave(llm_key *key) {
  llm_model *model = key->model;
  uint32_t grow = llm_model_recount(model);
  int64_t until = llm_key_back_ns(key);
  llm_model_leave(model);
  llm_due_after_rest(model, until);
  llm_model_apply(model, grow);
}
