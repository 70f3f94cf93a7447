/*
** idle.c - the parts of the collection that no lease runs through.
*/
#include "idle.h"

void llm_idle_init(llm_idle *idle) {
  llm_lock_init(&idle->lock);
  idle->newest = idle->oldest = NULL;
  idle->count = 0;
}

void llm_idle_destroy(llm_idle *idle) {
  LLM_CHECK(idle->count == 0, "the idle list is destroyed with clients in it");
  llm_lock_destroy(&idle->lock);
}

llm_link *llm_idle_take_all_locked(llm_idle *idle) {
  llm_link *all = idle->oldest;
  for (llm_link *link = all; link != NULL; link = link->next) {
    link->linked = false;
    link->next = link->prev; /* older first: the chain runs the other way */
  }
  idle->newest = idle->oldest = NULL;
  idle->count = 0;
  return all;
}

void llm_idle_restore_locked(llm_idle *idle, llm_link *link) {
  llm_link *newer = idle->oldest;
  while (newer != NULL && newer->stamp < link->stamp) newer = newer->prev;
  if (newer == NULL) {
    llm_idle_push_locked(idle, link, link->stamp);
    return;
  }
  LLM_CHECK(!link->linked, "a client is put back twice");
  link->linked = true;
  link->prev = newer;
  link->next = newer->next;
  if (newer->next != NULL)
    newer->next->prev = link;
  else
    idle->oldest = link;
  newer->next = link;
  idle->count++;
}

#ifdef LLM_CHECKS
/* A long list is not walked: a return must stay cheap in debug builds too. */
void llm_idle_check_locked(const llm_idle *idle) {
  uint32_t count = 0;
  const llm_link *newer = NULL;
  if (idle->count > 64) return;
  for (const llm_link *link = idle->newest; link != NULL; link = link->next) {
    LLM_CHECK(link->linked && link->prev == newer, "the idle list's links");
    newer = link;
    count++;
  }
  LLM_CHECK(newer == idle->oldest, "the idle list's end");
  LLM_CHECK(count == idle->count, "the idle list's count");
}
#endif
