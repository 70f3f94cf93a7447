/*
** recent.c - the 95th percentile of the last 64: at most the fourth from the
** top, so that one pass over them finds it.
*/
#include "recent.h"

#define FROM_TOP 4 /* that may matter of 64 */

/* One that leaves and one that comes on the same side of it change nothing. */
static bool is_same_side(const llm_recent *recent, int64_t was, int64_t is) {
  return (was < recent->p95_ns && is < recent->p95_ns) ||
         (was > recent->p95_ns && is > recent->p95_ns);
}

void llm_recent_add(llm_recent *recent, int64_t ns) {
  int64_t *slot = &recent->ns[recent->count % LLM_RECENT];
  bool is_full = recent->count >= LLM_RECENT;
  if (!is_full || !is_same_side(recent, *slot, ns)) recent->is_known = false;
  *slot = ns;
  /* once full it stays full */
  if (++recent->count == 0) recent->count = LLM_RECENT;
}

/* The k-th from the top, k from 1 to FROM_TOP. */
static int64_t from_top(const int64_t *ns, uint32_t n, uint32_t k) {
  int64_t top[FROM_TOP] = {0};
  for (uint32_t i = 0; i < n; i++) {
    uint32_t at = k - 1;
    if (ns[i] <= top[at]) continue;
    for (; at > 0 && ns[i] > top[at - 1]; at--) top[at] = top[at - 1];
    top[at] = ns[i];
  }
  return top[k - 1];
}

int64_t llm_recent_p95(llm_recent *recent) {
  if (recent->is_known || recent->count == 0) return recent->p95_ns;
  uint32_t n = recent->count < LLM_RECENT ? recent->count : LLM_RECENT;
  uint32_t rank = (n * 95 + 99) / 100;
  recent->p95_ns = from_top(recent->ns, n, n - rank + 1);
  recent->is_known = true;
  return recent->p95_ns;
}
