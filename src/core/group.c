/*
** group.c - one ask for several models.
**
** Each is tried in the order given; if none has a permit, the ask stands in
** all their lines with one node each, and the first grant ends it. When the
** winner cannot create, those after it are tried now or never, and then the
** ask fails: where to go next is the caller's policy. A winner whose client
** was retired or put to rest in the meantime keeps its place in that line
** alone; but if what it asks for is too much for the winner's clients, it tries
** the others, and goes back to where it stood in all lines.
*/
#include "lease.h"

/* ---- trying ------------------------------------------------------------ */

/* Where it stands in the list for the first time. */
static uint32_t first_of(const llm_lease *lease, const llm_model *model) {
  uint32_t i = 0;
  while (lease->models[i] != model) i++;
  return i;
}

/* The first with a free permit, from i on; one that was named before i has had
** its turn. */
static bool try_from(llm_lease *lease, uint32_t from) {
  for (uint32_t i = from; i < lease->n_models; i++) {
    llm_model *model = lease->models[i];
    if (first_of(lease, model) < from || !llm_sem_try(&model->sem)) continue;
    lease->model = model;
    return true;
  }
  return false;
}

bool llm_group_onward(llm_lease *lease) {
  return try_from(lease, first_of(lease, lease->model) + 1);
}

llm_step llm_group_fall_back(llm_lease *lease) {
  if (!llm_group_onward(lease)) return llm_lease_fail(lease, LLM_CREATE_FAILED);
  return llm_checkout(lease);
}

/* Why it need not wait for any of them; LLM_OK: it may. */
static llm_err hopeless(llm_lease *lease) {
  static const llm_err ranks[] = {LLM_RESTING, LLM_OUT_OF_SERVICE, LLM_EXCLUDED,
                                  LLM_CLOSED};
  uint32_t counts[LLM_ERR_COUNT] = {0};
  int64_t back_ns, earliest_ns = LLM_FOREVER;
  for (uint32_t i = 0; i < lease->n_models; i++) {
    counts[llm_lease_hopeless(lease, lease->models[i], &back_ns)]++;
    if (back_ns < earliest_ns) earliest_ns = back_ns;
  }
  if (counts[LLM_OK] > 0)
    return lease->flags & LLM_IS_NOW ? LLM_TIMEOUT : LLM_OK;
  if (counts[LLM_RESTING] > 0) lease->retry_at_ns = earliest_ns;
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
    if (counts[ranks[i]] > 0) return ranks[i];
  return LLM_TIMEOUT;
}

/* ---- in several lines -------------------------------------------------- */

/* Those that stood in line before keep the time, and with it their place. */
static void init_nodes(llm_lease *lease, struct llm_group *group) {
  llm_waiter *w = &lease->waiter;
  bool is_back = w->since_ns != 0;
  llm_group_init(group);
  if (!is_back) w->since_ns = llm_clock_now(lease->model->clock) | 1;
  for (uint32_t i = 0; i < lease->n_models; i++) {
    int64_t since = is_back ? lease->nodes[i].since_ns : 0;
    llm_waiter_init(&lease->nodes[i], w->wake, w->deadline_ns, w->priority);
    lease->nodes[i].group = group;
    lease->nodes[i].since_ns = since;
  }
}

static llm_begun begin(llm_model *model, llm_waiter *node) {
  return node->since_ns != 0 ? llm_sem_rejoin(&model->sem, node)
                             : llm_sem_begin(&model->sem, node);
}

static bool is_ended(llm_begun begun) {
  return begun == LLM_BEGUN_GRANTED || begun == LLM_BEGUN_LOST;
}

/* Of several refusals, the one that the caller can do most about. */
static llm_err worst(llm_err err, llm_begun begun) {
  if (begun == LLM_BEGUN_FULL) return LLM_QUEUE_FULL;
  if (begun == LLM_BEGUN_LATE && err == LLM_CLOSED) return LLM_TIMEOUT;
  return err;
}

static llm_step won(llm_lease *lease, uint32_t i) {
  llm_group_finish(lease->nodes, lease->n_models);
  lease->model = lease->models[i];
  if (lease->nodes[i].since_ns != 0)
    lease->waiter.since_ns = lease->nodes[i].since_ns;
  return llm_checkout(lease);
}

/* As for a single model, see wait.c. */
static llm_step recheck(llm_lease *lease, struct llm_group *group) {
  llm_err err = hopeless(lease);
  if (err != LLM_OUT_OF_SERVICE ||
      !llm_group_withdraw(group, lease->nodes, lease->n_models, LLM_W_OUT))
    return LLM_WAIT;
  lease->flags &= (uint16_t)~LLM_WAITS;
  return llm_lease_fail(lease, err);
}

static llm_step line_up(llm_lease *lease, struct llm_group *group) {
  llm_err err = LLM_CLOSED;
  llm_begun begun = LLM_BEGUN_QUEUED;
  uint32_t i = 0, n = lease->n_models;
  llm_lease_hold(lease);
  init_nodes(lease, group);
  for (; i < n; i++) {
    begun = begin(lease->models[i], &lease->nodes[i]);
    if (is_ended(begun)) break;
    if (begun == LLM_BEGUN_QUEUED)
      llm_lease_note_queued(lease, lease->models[i]);
    err = worst(err, begun);
  }
  if (begun == LLM_BEGUN_GRANTED) return won(lease, i);
  if (begun != LLM_BEGUN_LOST && !llm_group_seal(group, lease->nodes, n))
    return llm_lease_fail(lease, err);
  llm_lease_park(lease, LLM_ON_LINES);
  return recheck(lease, group);
}

llm_step llm_lease_begin_any(llm_lease *lease, llm_model **models,
                             llm_waiter *nodes, struct llm_group *group,
                             uint32_t n, const llm_ask *ask,
                             void (*wake)(llm_waiter *)) {
  llm_lease_prepare(lease, ask, wake);
  lease->model = models[0];
  lease->models = models;
  lease->nodes = nodes;
  lease->n_models = n;
  nodes[0].group = group;
  for (uint32_t i = 0; i < n; i++) nodes[i].since_ns = 0; /* in no line yet */
  llm_lease_start(lease);
  llm_due_check(models[0]->pool, lease->lent_ticks);
  if (try_from(lease, 0)) return llm_checkout(lease);
  llm_err err = hopeless(lease);
  if (err != LLM_OK) return llm_lease_fail(lease, err);
  return line_up(lease, group);
}

/* Its clients here rest for it now; so will those of the others that cannot
** bear it, or one of them can. At last it stands in all lines, where it stood. */
llm_step llm_group_again(llm_lease *lease) {
  llm_lease_pay(lease);
  llm_sem_drop(&lease->model->sem);
  if (try_from(lease, 0)) return LLM_READY;
  llm_err err = hopeless(lease);
  if (err != LLM_OK) return llm_lease_fail(lease, err);
  return line_up(lease, lease->nodes[0].group);
}

llm_step llm_group_next(llm_lease *lease) {
  llm_waiter *node = atomic_load_explicit(&lease->nodes[0].group->winner,
                                          memory_order_acquire);
  if (node == NULL) return LLM_WAIT;
  lease->flags &= (uint16_t)~LLM_WAITS;
  uint32_t i = (uint32_t)(node - lease->nodes);
  if (llm_waiter_state(node) == LLM_W_GRANTED) return won(lease, i);
  llm_group_finish(lease->nodes, lease->n_models);
  return llm_lease_fail(lease, llm_wait_error(llm_waiter_state(node)));
}
