/*
** test_lease.c - asking and waiting: order, priority, preference, several
** models at once, giving up, threads that block, and those who sleep.
*/
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "rig.h"

/* ---- one model --------------------------------------------------------- */

static void test_callers_are_served_in_order(void **state) {
  (void)state;
  rig_register("m", 3);
  static asker a[100];
  for (int i = 0; i < 100; i++)
    assert_int_equal(ask(&a[i], LLM_FOREVER), i < 3 ? LLM_READY : LLM_WAIT);
  for (int i = 0; i < 100; i++) {
    if (i >= 3) assert_int_equal(wake_up(&a[i]), LLM_READY);
    for (int j = i + 3; j < 100; j++) assert_int_equal(a[j].wakes, 0);
    rig_pass(MS);
    give_back(&a[i]);
  }
  llm_stats stats = rig_stats(rig.model);
  assert_int_equal(stats.acquired, 100);
  assert_int_equal(stats.max_waiting_seen, 97);
  assert_int_equal(stats.wait.max_ns, 99 * MS); /* looked when it was told */
  assert_int_equal(stats.hold.max_ns, 3 * MS);
}

static void test_nobody_is_overtaken_by_a_newcomer(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b, c;
  llm_ask now = {.now = true};
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  give_back(&a);
  assert_failed(ask_as(&c, rig.model, &now), &c, TIMEOUT);
  assert_int_equal(wake_up(&b), LLM_READY);
  give_back(&b);
}

static void test_priority(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, low, high;
  llm_ask first = {.priority = 3};
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  assert_int_equal(ask(&low, SECOND), LLM_WAIT);
  assert_int_equal(ask_as(&high, rig.model, &first), LLM_WAIT);
  give_back(&a);
  assert_int_equal(low.wakes, 0);
  assert_int_equal(wake_up(&high), LLM_READY);
  give_back(&high);
  assert_int_equal(wake_up(&low), LLM_READY);
  give_back(&low);
}

static void test_prefer(void **state) {
  (void)state;
  rig_register("m", 3);
  asker a, b, c;
  const char *const ids[] = {"nobody", "c2", "c1"};
  llm_ask how = {.prefer = ids, .n_prefer = 3};
  llm_ask unknown = {.prefer = ids, .n_prefer = 1};
  assert_int_equal(ask_as(&a, rig.model, &how), LLM_READY);
  assert_held(&a, "c2");
  assert_int_equal(ask_as(&b, rig.model, &how), LLM_READY); /* it is lent */
  assert_held(&b, "c1");
  assert_int_equal(ask_as(&c, rig.model, &unknown), LLM_READY);
  assert_held(&c, "c3");
  give_back(&a);
  give_back(&b);
  give_back(&c);
}

static void test_a_try_lends_or_does_nothing(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a = {0}, b = {0}, c = {0};
  assert_true(llm_model_may_lend(rig.model));
  assert_true(llm_lease_try(&a.lease, rig.model));
  assert_held(&a, "c1");
  assert_false(llm_model_may_lend(rig.model));
  assert_false(llm_lease_try(&b.lease, rig.model));
  assert_false(llm_lease_is_held(&b.lease));
  assert_int_equal(ask(&c, LLM_FOREVER), LLM_WAIT);
  give_back(&a); /* c has it, though it does not know yet */
  assert_false(llm_lease_try(&a.lease, rig.model));
  assert_int_equal(wake_up(&c), LLM_READY);
  give_back(&c);
  llm_model_pause(rig.model);
  assert_false(llm_lease_try(&a.lease, rig.model));
  llm_model_resume(rig.model);
  rig_pass(2 * SECOND); /* it is to be checked first */
  assert_true(llm_model_may_lend(rig.model));
  assert_false(llm_lease_try(&a.lease, rig.model));
  assert_int_equal(rig.remote.checks, 0);
  assert_int_equal(ask(&a, LLM_FOREVER), LLM_READY);
  assert_int_equal(rig.remote.checks, 1);
  give_back(&a);
  assert_quiet(rig.model);
  llm_model_renew(rig.model);
  assert_false(llm_lease_try(&a.lease, rig.model)); /* it is out of date */
  llm_pool_close(rig.pool);
  assert_false(llm_lease_try(&a.lease, rig.model));
  assert_int_equal(rig_stats(rig.model).acquired, 3);
}

static void test_a_wait_ends_once(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  assert_int_equal(ask(&a, LLM_FOREVER), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  give_back(&a);
  assert_false(llm_lease_withdraw(&b.lease, LLM_TIMEOUT)); /* granted */
  assert_int_equal(wake_up(&b), LLM_READY); /* worth more than the error */
  give_back(&b);
  assert_int_equal(ask(&a, LLM_FOREVER), LLM_READY);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT);
  rig_pass(2 * SECOND);
  give_back(&a); /* finds b's deadline past */
  assert_failed(wake_up(&b), &b, TIMEOUT);
}

static void test_a_free_permit_is_granted_late_too(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a, b;
  assert_int_equal(ask(&a, -SECOND), LLM_READY);
  assert_failed(ask(&b, -SECOND), &b, TIMEOUT);
  give_back(&a);
}

/* ---- several models ---------------------------------------------------- */

#define N 3

typedef struct choice {
  struct llm_group group;
  asker a;
  llm_waiter nodes[N];
  llm_model *models[N];
} choice;

static choice *chooser;

static void wake_choice(llm_waiter *waiter) {
  (void)waiter;
  chooser->a.wakes++;
}

static void make_models(choice *c, int clients) {
  const char *names[N] = {"m", "n", "o"};
  for (int i = 0; i < N; i++) c->models[i] = rig_register(names[i], clients);
}

static void drop_models(choice *c) {
  for (int i = 0; i < N; i++) {
    assert_quiet(c->models[i]);
    if (i > 0) llm_model_unref(c->models[i]);
  }
}

static llm_step ask_any(choice *c, const llm_ask *how) {
  memset(&c->a, 0, sizeof c->a);
  chooser = c;
  return llm_lease_begin_any(&c->a.lease, c->models, c->nodes, &c->group, N,
                             how, wake_choice);
}

static void hold_all(choice *c, asker *holders) {
  for (int i = 0; i < N; i++)
    assert_int_equal(ask_as(&holders[i], c->models[i], NULL), LLM_READY);
}

static void test_any_takes_the_first_that_is_free(void **state) {
  (void)state;
  choice c;
  asker first;
  make_models(&c, 1);
  assert_int_equal(ask_any(&c, NULL), LLM_READY);
  assert_ptr_equal(c.a.lease.model, c.models[0]);
  give_back(&c.a);
  assert_int_equal(ask_as(&first, c.models[0], NULL), LLM_READY);
  assert_int_equal(ask_any(&c, NULL), LLM_READY);
  assert_ptr_equal(c.a.lease.model, c.models[1]);
  give_back(&c.a);
  give_back(&first);
  drop_models(&c);
}

static void test_any_waits_in_every_line(void **state) {
  (void)state;
  choice c;
  asker holders[N], behind;
  make_models(&c, 1);
  for (int winner = 0; winner < N; winner++) {
    hold_all(&c, holders);
    assert_int_equal(ask_any(&c, NULL), LLM_WAIT);
    assert_int_equal(ask_as(&behind, c.models[(winner + 1) % N], NULL),
                     LLM_WAIT);
    give_back(&holders[winner]);
    give_back(&holders[(winner + 1) % N]);
    assert_int_equal(wake_up(&c.a), LLM_READY);
    assert_ptr_equal(c.a.lease.model, c.models[winner]);
    assert_int_equal(wake_up(&behind), LLM_READY);
    memset(c.nodes, 0xff, sizeof c.nodes); /* the others are out of line */
    give_back(&c.a);
    give_back(&behind);
    give_back(&holders[(winner + 2) % N]);
  }
  drop_models(&c);
}

static void test_any_is_given_up_as_one(void **state) {
  (void)state;
  choice c;
  asker holders[N];
  make_models(&c, 1);
  hold_all(&c, holders);
  assert_int_equal(ask_any(&c, NULL), LLM_WAIT);
  assert_true(llm_lease_withdraw(&c.a.lease, LLM_TIMEOUT));
  assert_failed((llm_step)c.a.lease.step, &c.a, TIMEOUT);
  assert_int_equal(rig_stats(c.models[0]).timeouts, 1);
  assert_int_equal(rig_stats(c.models[1]).timeouts, 0);
  assert_int_equal(ask_any(&c, NULL), LLM_WAIT);
  give_back(&holders[1]);
  assert_false(llm_lease_withdraw(&c.a.lease, LLM_CANCELLED));
  llm_lease_abort(&c.a.lease);
  give_back(&holders[0]);
  give_back(&holders[2]);
  drop_models(&c);
}

static void test_any_outlives_a_model(void **state) {
  (void)state;
  choice c;
  asker holders[N];
  make_models(&c, 1);
  hold_all(&c, holders);
  assert_int_equal(ask_any(&c, NULL), LLM_WAIT);
  llm_pool_unregister(rig.pool, "m");
  llm_pool_unregister(rig.pool, "n");
  assert_int_equal(c.a.wakes, 0);
  give_back(&holders[2]);
  assert_int_equal(wake_up(&c.a), LLM_READY);
  give_back(&c.a);
  give_back(&holders[0]);
  give_back(&holders[1]);
  drop_models(&c);
}

static void test_any_fails_when_all_are_closed(void **state) {
  (void)state;
  choice c;
  asker holders[N];
  make_models(&c, 1);
  hold_all(&c, holders);
  assert_int_equal(ask_any(&c, NULL), LLM_WAIT);
  llm_pool_close(rig.pool);
  assert_failed(wake_up(&c.a), &c.a, CLOSED);
  assert_failed(ask_any(&c, NULL), &c.a, CLOSED);
  for (int i = 0; i < N; i++) give_back(&holders[i]);
  drop_models(&c);
}

static void test_any_when_all_rest(void **state) {
  (void)state;
  choice c;
  llm_failure failure;
  int64_t now = llm_clock_now(rig.clock);
  llm_ask how = {.deadline_ns = now + SECOND};
  make_models(&c, 1);
  for (int i = 0; i < N; i++)
    llm_model_cool_down(c.models[i], "c1", now + (5 - i) * SECOND);
  assert_failed(ask_any(&c, &how), &c.a, RESTING);
  llm_lease_failure(&c.a.lease, &failure);
  assert_int_equal(failure.retry_at_ns, now + 3 * SECOND);
  assert_string_equal(failure.model, "m");
  how.deadline_ns = now + 4 * SECOND;
  assert_int_equal(ask_any(&c, &how), LLM_WAIT);
  rig_pass(3 * SECOND);
  llm_pool_tick(rig.pool);
  assert_int_equal(wake_up(&c.a), LLM_READY);
  assert_ptr_equal(c.a.lease.model, c.models[2]);
  give_back(&c.a);
  drop_models(&c);
}

static void test_any_is_refused_where_all_lines_are_full(void **state) {
  (void)state;
  choice c;
  asker holders[N];
  rig.options.max_waiting = 0;
  make_models(&c, 1);
  hold_all(&c, holders);
  assert_failed(ask_any(&c, NULL), &c.a, QUEUE_FULL);
  assert_failed(ask_any(&c, &(llm_ask){.now = true}), &c.a, TIMEOUT);
  for (int i = 0; i < N; i++) give_back(&holders[i]);
  drop_models(&c);
}

/* The first cannot create: the next is tried, then the ask fails. */
static void test_any_falls_back_from_a_failed_create(void **state) {
  (void)state;
  choice c;
  rig.vacant = true;
  make_models(&c, 1);
  rig.remote.fail_creates = 1;
  assert_int_equal(ask_any(&c, NULL), LLM_READY);
  assert_ptr_equal(c.a.lease.model, c.models[1]);
  give_back(&c.a);
  rig_pass(SECOND);
  rig.remote.fail_creates = 3;
  asker holder;
  assert_int_equal(ask_as(&holder, c.models[1], NULL), LLM_READY);
  assert_failed(ask_any(&c, NULL), &c.a, CREATE_FAILED);
  assert_int_equal(rig.remote.fail_creates, 1); /* m and o were tried */
  give_back(&holder);
  drop_models(&c);
}

/* A grant whose client was retired waits again, in that line alone. */
static void test_any_may_have_to_wait_again(void **state) {
  (void)state;
  choice c;
  asker holders[N], second;
  make_models(&c, 2);
  for (int i = 0; i < N; i++) {
    assert_int_equal(ask_as(&second, c.models[i], NULL), LLM_READY);
    assert_int_equal(llm_model_retire(c.models[i], "c1"), LLM_OK);
    give_back(&second);
  }
  hold_all(&c, holders); /* c2 of each */
  assert_int_equal(rig_add(c.models[1], "new"), LLM_OK);
  assert_int_equal(ask_as(&second, c.models[1], NULL), LLM_READY);
  assert_int_equal(ask_any(&c, NULL), LLM_WAIT);
  give_back(&second);
  assert_int_equal(llm_model_retire(c.models[1], "new"), LLM_OK);
  assert_int_equal(wake_up(&c.a), LLM_WAIT);
  give_back(&holders[0]);
  assert_int_equal(c.a.wakes, 0);
  give_back(&holders[1]);
  assert_int_equal(wake_up(&c.a), LLM_READY);
  assert_ptr_equal(c.a.lease.model, c.models[1]);
  give_back(&c.a);
  give_back(&holders[2]);
  drop_models(&c);
}

/* ---- threads that block ------------------------------------------------- */

typedef struct blocker {
  pthread_t thread;
  llm_model *models[N];
  uint32_t n;
  llm_ask how;
  llm_err err;
  _Atomic bool is_done;
} blocker;

static void *block(void *arg) {
  blocker *b = arg;
  llm_lease lease = {0};
  b->err = b->n == 1 ? llm_acquire(&lease, b->models[0], &b->how)
                     : llm_acquire_any(&lease, b->models, b->n, &b->how);
  if (b->err == LLM_OK && !llm_lease_return(&lease, LLM_KEEP))
    b->err = LLM_INVALID;
  atomic_store(&b->is_done, true);
  return NULL;
}

static void start(blocker *b) {
  assert_int_equal(pthread_create(&b->thread, NULL, block, b), 0);
}

static void nap(void) {
  nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void await_waiting(llm_model *model, uint32_t n) {
  while (rig_stats(model).waiting < n) nap();
}

static void test_a_thread_waits_until_it_is_served(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  blocker b = {.models = {rig.model}, .n = 1};
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  start(&b);
  await_waiting(rig.model, 1);
  assert_false(atomic_load(&b.is_done));
  give_back(&a);
  pthread_join(b.thread, NULL);
  assert_int_equal(b.err, LLM_OK);
}

static void test_a_thread_waits_for_several(void **state) {
  (void)state;
  choice c;
  asker holders[N];
  make_models(&c, 1);
  hold_all(&c, holders);
  blocker b = {.models = {c.models[0], c.models[1], c.models[2]}, .n = N};
  start(&b);
  await_waiting(c.models[2], 1);
  give_back(&holders[1]);
  pthread_join(b.thread, NULL);
  assert_int_equal(b.err, LLM_OK);
  give_back(&holders[0]);
  give_back(&holders[2]);
  drop_models(&c);
}

static void test_a_thread_gives_up_in_time(void **state) {
  (void)state;
  rig_register("m", 1);
  asker a;
  blocker b = {.models = {rig.model}, .n = 1};
  b.how.deadline_ns = RIG_START + SECOND;
  assert_int_equal(ask(&a, SECOND), LLM_READY);
  start(&b);
  await_waiting(rig.model, 1);
  rig_pass(SECOND);
  pthread_join(b.thread, NULL);
  assert_int_equal(b.err, LLM_TIMEOUT);
  give_back(&a);
}

/* Nobody else is there to end the rest: it does so itself, poked when the rest
** came after it had gone to sleep. */
static void test_a_sleeping_thread_ends_rests(void **state) {
  (void)state;
  llm_pool *pool = llm_pool_new(NULL);
  llm_client_spec client = {.id = "c1"};
  llm_model *model;
  llm_lease lease = {0};
  blocker b = {.n = 1};
  llm_pool_register(pool, "m", &client, 1, NULL, NULL, &model, NULL);
  b.models[0] = model;
  assert_int_equal(llm_acquire(&lease, model, NULL), LLM_OK);
  start(&b);
  await_waiting(model, 1);
  llm_model_cool_down(model, "c1", llm_clock_now(llm_clock_real()) + 20 * MS);
  assert_true(llm_lease_return(&lease, LLM_KEEP)); /* to rest, not to b */
  pthread_join(b.thread, NULL);
  assert_int_equal(b.err, LLM_OK);
  assert_true(rig_stats(model).wait.max_ns >= 19 * MS);
  llm_model_unref(model);
  llm_pool_unref(pool);
}

static void test_a_stepped_model_needs_its_host(void **state) {
  (void)state;
  rig.factory.stepped = true;
  rig.vacant = true;
  rig_register("m", 1);
  llm_lease lease = {0};
  assert_int_equal(llm_acquire(&lease, rig.model, NULL), LLM_STEPPED);
  assert_false(llm_lease_is_held(&lease));
  llm_client_spec client = rig_client("c1", true);
  assert_int_equal(llm_model_replace(rig.model, &client), LLM_OK);
  assert_int_equal(llm_acquire(&lease, rig.model, NULL), LLM_OK);
  assert_true(llm_lease_return(&lease, LLM_KEEP));
}

/* ---- sleepers ---------------------------------------------------------- */

typedef struct sleeper {
  llm_sleeper sleeper;
  int pokes;
} sleeper;

static void count_poke(llm_sleeper *s) { ((sleeper *)(void *)s)->pokes++; }

static void test_sleepers_are_poked_when_the_due_time_moves_up(void **state) {
  (void)state;
  sleeper a = {.sleeper.poke = count_poke}, b = {.sleeper.poke = count_poke};
  int64_t now = llm_clock_now(rig.clock);
  rig_register("m", 3);
  llm_pool_sleeper_add(rig.pool, &a.sleeper);
  llm_pool_sleeper_add(rig.pool, &b.sleeper);
  llm_model_cool_down(rig.model, "c1", now + 5 * SECOND);
  assert_int_equal(a.pokes, 1);
  assert_int_equal(b.pokes, 1);
  llm_model_cool_down(rig.model, "c2", now + 9 * SECOND); /* no earlier */
  assert_int_equal(a.pokes, 1);
  llm_pool_sleeper_remove(rig.pool, &a.sleeper);
  llm_model_cool_down(rig.model, "c3", now + 2 * SECOND);
  assert_int_equal(a.pokes, 1);
  assert_int_equal(b.pokes, 2);
  assert_int_equal(llm_pool_due(rig.pool), now + 2 * SECOND);
  rig_pass(2 * SECOND);
  assert_int_equal(llm_pool_tick(rig.pool), now + 5 * SECOND);
  llm_pool_sleeper_remove(rig.pool, &b.sleeper);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_callers_are_served_in_order),
      TEST(test_nobody_is_overtaken_by_a_newcomer),
      TEST(test_priority),
      TEST(test_prefer),
      TEST(test_a_try_lends_or_does_nothing),
      TEST(test_a_wait_ends_once),
      TEST(test_a_free_permit_is_granted_late_too),
      TEST(test_any_takes_the_first_that_is_free),
      TEST(test_any_waits_in_every_line),
      TEST(test_any_is_given_up_as_one),
      TEST(test_any_outlives_a_model),
      TEST(test_any_fails_when_all_are_closed),
      TEST(test_any_when_all_rest),
      TEST(test_any_is_refused_where_all_lines_are_full),
      TEST(test_any_falls_back_from_a_failed_create),
      TEST(test_any_may_have_to_wait_again),
      TEST(test_a_thread_waits_until_it_is_served),
      TEST(test_a_thread_waits_for_several),
      TEST(test_a_thread_gives_up_in_time),
      TEST(test_a_sleeping_thread_ends_rests),
      TEST(test_a_stepped_model_needs_its_host),
      TEST(test_sleepers_are_poked_when_the_due_time_moves_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
