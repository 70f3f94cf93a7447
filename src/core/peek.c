/*
** peek.c - a model and its clients as a router looks at them: the few numbers
** of this moment, copied under one short lock, for a decision that is made a
** microsecond later. No histograms, no texts.
*/
#include "lease.h"

static void peek_place(const llm_place *place, llm_peek *out) {
  *out = (llm_peek){.id = place->id->text,
                    .version = llm_place_version(place),
                    .state = (llm_place_state)place->state,
                    .rest_until_ns = LLM_FOREVER};
  if (place->state == LLM_P_RESTING) out->rest_until_ns = place->rest_until_ns;
}

uint32_t llm_model_peek(llm_model *model, llm_model_peeked *total,
                        llm_peek *out, uint32_t max) {
  uint32_t n = 0;
  llm_idle_lock(&model->idle);
  *total = (llm_model_peeked){.clients = model->in_service,
                              .lent = (uint32_t)llm_model_lent(model),
                              .resting = model->resting,
                              .limit = model->limit,
                              .capacity = model->capacity};
  for (const llm_place *p = model->first; p != NULL; p = p->following) {
    if (p->state == LLM_P_RETIRED) continue;
    if (n < max) peek_place(p, &out[n]);
    n++;
  }
  llm_idle_unlock(&model->idle);
  total->waiting = llm_sem_waiting(&model->sem);
  total->is_paused = (llm_sem_flags(&model->sem) & LLM_SEM_PAUSED) != 0;
  return n;
}
