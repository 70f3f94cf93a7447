/*
** rig.c - the pool under test and its factory.
*/
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

rig_state rig;

#define ALIVE 0x11223344 /* in every instance, until it is destroyed */

/* ---- the factory ------------------------------------------------------- */

void *rig_instance(void) {
  int *instance = malloc(sizeof *instance);
  assert_non_null(instance);
  *instance = ALIVE;
  rig.remote.live++;
  if (rig.remote.live > rig.remote.most_live)
    rig.remote.most_live = rig.remote.live;
  return instance;
}

static void go_through(remote *r, int64_t takes) {
  r->nested++;
  if (r->nested > r->most_nested) r->most_nested = r->nested;
  if (r->during != NULL) r->during(r->arg);
  if (takes > 0) rig_pass(takes);
  r->nested--;
}

static int create(void *user, llm_place *place, llm_reason reason,
                  int64_t deadline_ns, void **instance, char text[LLM_TEXT]) {
  remote *r = user;
  assert_non_null(place);
  r->creates++;
  r->reason = reason;
  r->deadline_ns = deadline_ns;
  go_through(r, r->create_takes);
  if (r->fail_creates > 0) {
    r->fail_creates--;
    snprintf(text, LLM_TEXT, "no route to host (%d)", r->creates);
    return 1;
  }
  if (!r->makes_null) *instance = rig_instance();
  return 0;
}

static int check(void *user, llm_place *place, int64_t deadline_ns) {
  remote *r = user;
  assert_int_equal(*(int *)llm_place_instance(place), ALIVE);
  r->checks++;
  r->deadline_ns = deadline_ns;
  go_through(r, r->check_takes);
  if (r->fail_checks == 0) return 0;
  r->fail_checks--;
  return 1;
}

static void destroy(void *user, llm_place *place, void *instance) {
  remote *r = user;
  (void)place;
  assert_int_equal(*(int *)instance, ALIVE);
  *(int *)instance = 0;
  free(instance);
  r->destroys++;
  r->live--;
}

static void free_spec(void *user, void *spec) {
  ((remote *)user)->specs++;
  free(spec);
}

static void free_user(void *user) { ((remote *)user)->users++; }

/* ---- the rig ----------------------------------------------------------- */

int rig_setup(void **state) {
  (void)state;
  memset(&rig, 0, sizeof rig);
  rig.clock = llm_clock_manual_new(RIG_START);
  rig.pool = llm_pool_new(rig.clock);
  llm_options_init(&rig.options);
  rig.factory = (llm_factory){.user = &rig.remote,
                              .create = create,
                              .check = check,
                              .destroy = destroy,
                              .free_spec = free_spec,
                              .free_user = free_user};
  return rig.clock == NULL || rig.pool == NULL;
}

int rig_teardown(void **state) {
  (void)state;
  if (rig.model != NULL) {
    assert_quiet(rig.model);
    llm_model_unref(rig.model);
  }
  if (rig.pool != NULL) llm_pool_unref(rig.pool);
  assert_int_equal(rig.remote.live, 0);
  assert_int_equal(rig.remote.specs, rig.specs_made);
  llm_clock_manual_free(rig.clock);
  return 0;
}

llm_client_spec rig_client(const char *id, bool has_instance) {
  void *spec = malloc(1);
  assert_non_null(spec);
  rig.specs_made++;
  return (llm_client_spec){
      .id = id, .spec = spec, .instance = has_instance ? rig_instance() : NULL};
}

llm_model *rig_register(const char *name, int n) {
  llm_client_spec clients[100];
  char ids[100][16];
  size_t bad;
  llm_model *model;
  assert_true(n <= 100);
  for (int i = 0; i < n; i++) {
    snprintf(ids[i], sizeof ids[i], "c%d", i + 1);
    clients[i] = rig_client(ids[i], !rig.vacant);
  }
  assert_int_equal(llm_pool_register(rig.pool, name, clients, (size_t)n,
                                     &rig.options, &rig.factory, &model, &bad),
                   LLM_OK);
  if (rig.model == NULL) rig.model = model;
  return model;
}

llm_err rig_add(llm_model *model, const char *id) {
  llm_client_spec client = rig_client(id, !rig.vacant);
  return llm_model_add(model, &client);
}

void rig_pass(int64_t ns) {
  llm_clock_manual_set(rig.clock, llm_clock_now(rig.clock) + ns);
}

llm_stats rig_stats(llm_model *model) {
  llm_stats stats;
  llm_model_stats(model, &stats);
  return stats;
}

llm_client_stats rig_stats_of(llm_model *model, const char *id) {
  llm_client_stats clients[100];
  size_t n = llm_model_clients(model, clients, 100);
  for (size_t i = 0; i < n; i++)
    if (strcmp(clients[i].id, id) == 0) return clients[i];
  fail_msg("there is no client %s", id);
  return clients[0];
}

/* ---- callers ----------------------------------------------------------- */

void asker_wake(llm_waiter *waiter) { ((asker *)(void *)waiter)->wakes++; }

llm_step ask_as(asker *a, llm_model *model, const llm_ask *how) {
  memset(a, 0, sizeof *a);
  return llm_lease_begin(&a->lease, model, how, asker_wake);
}

llm_step ask(asker *a, int64_t timeout_ns) {
  llm_ask how = {.deadline_ns =
                     llm_time_after(llm_clock_now(rig.clock), timeout_ns)};
  return ask_as(a, rig.model, &how);
}

llm_step wake_up(asker *a) {
  assert_int_equal(a->wakes, 1);
  a->wakes = 0;
  return llm_lease_next(&a->lease);
}

void give_back(asker *a) {
  assert_true(llm_lease_is_held(&a->lease));
  assert_true(llm_lease_return(&a->lease, LLM_KEEP));
}

const char *held_id(const asker *a) {
  assert_int_equal(a->lease.step, LLM_READY);
  assert_non_null(a->lease.place);
  return llm_place_id(a->lease.place);
}

/* ---- the ledger -------------------------------------------------------- */

void assert_ledger(llm_model *model) {
  llm_stats stats = rig_stats(model);
  llm_client_stats clients[100];
  size_t n = llm_model_clients(model, clients, 100);
  uint64_t acquired = 0, returned = 0;
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(clients[i].acquired,
                     clients[i].returned + clients[i].lent);
    acquired += clients[i].acquired;
    returned += clients[i].returned;
  }
  assert_int_equal(stats.acquired, acquired);
  assert_int_equal(stats.returned, returned);
  assert_int_equal(stats.acquired, stats.returned + stats.lent);
  assert_int_equal(stats.wait.count, stats.acquired);
  assert_int_equal(stats.hold.count, stats.returned);
  if (stats.closed_now) return;
  uint32_t there = model->in_service - model->away;
  assert_int_equal(model->capacity,
                   there < model->limit ? there : model->limit);
  assert_int_equal(llm_sem_cap(&model->sem), model->capacity + model->owed);
}

void assert_quiet(llm_model *model) {
  llm_stats stats = rig_stats(model);
  assert_ledger(model);
  assert_int_equal(stats.lent, 0);
  assert_int_equal(stats.waiting, 0);
  assert_int_equal(llm_sem_avail(&model->creates), model->options.max_creates);
  if (stats.closed_now) return;
  assert_int_equal(model->owed, 0);
  assert_int_equal(model->aside_count, 0);
  assert_int_equal(model->away, stats.resting);
  assert_int_equal(stats.clients, stats.idle + stats.vacant + stats.resting);
  assert_int_equal(llm_sem_avail(&model->sem), model->capacity);
}
