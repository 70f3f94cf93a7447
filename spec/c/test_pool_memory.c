/*
** test_pool_memory.c - the pool where memory ends: at the Nth allocation, for
** N from 0 until the call passes. Each time the call says so, what was handed
** over is freed, nothing is until_end behind, and the pool works as before.
**
** The files of the core that allocate are compiled here, over a malloc that
** counts; the linker then takes them from no library.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

/* allocations until memory ends; below 0: it does not */
static long until_end = -1;
static long blocks; /* of the core's that are live */

static bool has_ended(void) {
  if (until_end == 0) return true;
  if (until_end > 0) until_end--;
  return false;
}

static void *count(void *block) {
  blocks += block != NULL;
  return block;
}

static void *few_malloc(size_t size) {
  return has_ended() ? NULL : count(malloc(size));
}

static void *few_calloc(size_t n, size_t size) {
  return has_ended() ? NULL : count(calloc(n, size));
}

static void few_free(void *block) {
  blocks -= block != NULL;
  free(block);
}

#define malloc(size) few_malloc(size)
#define calloc(n, size) few_calloc(n, size)
#define free(block) few_free(block)
#include "events.c"
#include "model.c"
#include "names.c"
#include "place.c"
#include "pool.c"
#define find find_named
#include "registry.c"
#undef find
#include "register.c"
#include "service.c"

#include "acquire.c" /* last: its `wake` is a parameter elsewhere */
#undef malloc
#undef calloc
#undef free

/* Runs `what` with memory for 0, 1, 2... allocations; it says whether it
** passed. Returns how many it needs. */
static int starve(bool (*what)(void)) {
  for (int n = 0; n < 1000; n++) {
    long before = blocks;
    until_end = n;
    bool has_passed = what();
    until_end = -1;
    if (has_passed) return n;
    assert_int_equal(blocks, before);
  }
  fail_msg("it never passes");
  return 0;
}

/* ---- pools ------------------------------------------------------------- */

static bool make_pool(void) {
  llm_pool *made = llm_pool_new(NULL);
  if (made == NULL) return false;
  llm_pool_unref(made);
  return true;
}

static bool open_pool(void) {
  llm_pool *made = llm_pool_open("some name");
  if (made == NULL) return false;
  llm_pool_unref(made);
  return true;
}

static void test_pools(void **state) {
  (void)state;
  assert_int_equal(starve(make_pool), 1);
  assert_int_equal(starve(open_pool), 2);
}

/* ---- registering ------------------------------------------------------- */

/* A name stays with the pool once it is there: a fresh pool for each try. */
static bool register_three(void) {
  long was_left = until_end;
  llm_client_spec clients[3] = {rig_client("a", true), rig_client("b", false),
                                rig_client("c", true)};
  llm_model *model;
  until_end = -1;
  llm_pool *pool = llm_pool_new(rig.clock);
  until_end = was_left;
  int users = rig.remote.users, specs = rig.remote.specs;
  llm_err err = llm_pool_register(pool, "m", clients, 3, NULL, &rig.factory,
                                  &model, NULL);
  if (err == LLM_OK) {
    llm_model_unref(model);
  } else {
    assert_int_equal(err, LLM_NOMEM);
    assert_int_equal(rig.remote.users, users + 1);
    assert_int_equal(rig.remote.specs, specs + 3);
    assert_int_equal(rig.remote.live, 0);
    assert_null(llm_pool_model(pool, "m"));
  }
  llm_pool_unref(pool);
  return err == LLM_OK;
}

static void test_register(void **state) {
  (void)state;
  assert_int_equal(starve(register_three), 3 + 1 + 3 * 2);
  assert_int_equal(rig.remote.live, 0);
}

/* ---- adding ------------------------------------------------------------ */

static int added;

static bool add_one(void) {
  char id[16];
  snprintf(id, sizeof id, "n%d", added);
  int clients = (int)rig_stats(rig.model).clients;
  llm_err err = rig_add(rig.model, id);
  added += err == LLM_OK;
  assert_true(err == LLM_OK || err == LLM_NOMEM);
  assert_int_equal(rig_stats(rig.model).clients, clients + (err == LLM_OK));
  assert_int_equal(rig.remote.live, 1 + added);
  return err == LLM_OK;
}

static bool
interns(void) { /* a name may be until_end behind: it is the pool's */
  long before = blocks;
  until_end = 1;
  bool has_passed = add_one();
  until_end = -1;
  assert_false(has_passed);
  return blocks == before + 1;
}

static void test_add(void **state) {
  (void)state;
  rig_register("m", 1);
  added = 0;
  for (int i = 0; i < 40; i++) { /* the index grows twice */
    assert_true(interns());
    starve(add_one);
    assert_ledger(rig.model);
  }
  assert_int_equal(rig_stats(rig.model).clients, 41);
}

/* ---- listening and waiting --------------------------------------------- */

static bool start_listening(void) {
  llm_listener *l = llm_pool_listen(rig.pool, 10, NULL, NULL);
  if (l == NULL) return false;
  llm_listener_close(l);
  return true;
}

static void test_listen(void **state) {
  (void)state;
  assert_int_equal(starve(start_listening), 1);
}

static bool acquire_of_many(void) {
  llm_model *models[NODES + 1];
  llm_lease lease;
  for (int i = 0; i <= NODES; i++) models[i] = rig.model;
  llm_err err = llm_acquire_any(&lease, models, NODES + 1, NULL);
  if (err == LLM_OK) return llm_lease_return(&lease, LLM_KEEP);
  assert_int_equal(err, LLM_NOMEM);
  assert_int_equal(lease.step, LLM_FAILED);
  return false;
}

static void test_acquire_any(void **state) {
  (void)state;
  rig_register("m", 1);
  assert_int_equal(starve(acquire_of_many), 1);
}

/* ---- what must never allocate ------------------------------------------ */

static void test_lending_needs_no_memory(void **state) {
  (void)state;
  rig_register("m", 2);
  asker a, b, c;
  until_end = 0;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_READY);
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  assert_int_equal(
      llm_model_cool_down(rig.model, "c1", llm_clock_now(rig.clock) + MS),
      LLM_OK);
  give_back(&a);
  assert_true(llm_lease_withdraw(&c.lease, LLM_TIMEOUT));
  assert_int_equal(ask(&c, SECOND), LLM_WAIT);
  rig_pass(MS);
  llm_pool_tick(rig.pool);
  assert_int_equal(wake_up(&c), LLM_READY);
  llm_lease_return(&c.lease, LLM_POISON);
  give_back(&b);
  assert_int_equal(llm_model_retire(rig.model, "c2"), LLM_OK);
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  give_back(&a);
  until_end = -1;
}

static int teardown(void **state) {
  until_end = -1;
  if (rig_teardown(state) != 0) return 1;
  if (blocks != 0) printf("%ld blocks of the core are until_end\n", blocks);
  return blocks != 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_pools),       TEST(test_register),
      TEST(test_add),         TEST(test_listen),
      TEST(test_acquire_any), TEST(test_lending_needs_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
