/*
** test_idle.c - the list of idle clients and the short lock around it.
*/
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "callers.h"
#include "idle.h"

typedef struct item { /* as a place embeds its link */
  int number;
  llm_link link;
} item;

static llm_idle idle;
static item items[6];

static int setup(void **state) {
  (void)state;
  llm_idle_init(&idle);
  for (int i = 0; i < 6; i++) items[i] = (item){.number = i};
  return 0;
}

static int number_of(llm_link *link) {
  return link == NULL ? -1 : llm_link_owner(link, item, link)->number;
}

static void push(int i, uint64_t stamp) {
  llm_idle_lock(&idle);
  llm_idle_push_locked(&idle, &items[i].link, stamp);
  llm_idle_unlock(&idle);
}

static void push_all(void) {
  for (int i = 0; i < 6; i++) push(i, (uint64_t)(100 + i));
}

/* Pops by `pop` under the lock; -1: nothing. */
static int take(llm_link *(*pop)(llm_idle *)) {
  llm_idle_lock(&idle);
  int number = number_of(pop(&idle));
  llm_idle_unlock(&idle);
  return number;
}

static void remove_one(int i) {
  llm_idle_lock(&idle);
  llm_idle_remove_locked(&idle, &items[i].link);
  llm_idle_unlock(&idle);
}

static void put_back(int i) {
  llm_idle_lock(&idle);
  llm_idle_restore_locked(&idle, &items[i].link);
  llm_idle_unlock(&idle);
}

/* First, in between, last, alone, and beside one of the same age. */
static void test_goes_back_where_it_was(void **state) {
  (void)state;
  push_all();
  for (int i = 0; i < 6; i++) {
    remove_one(i);
    put_back(i);
  }
  for (int i = 5; i >= 0; i--)
    assert_int_equal(take(llm_idle_pop_newest_locked), i);
  push(0, 100);
  remove_one(0);
  put_back(0);
  push(1, 100);
  push(2, 101);
  remove_one(1);
  put_back(1);
  assert_int_equal(take(llm_idle_pop_newest_locked), 2);
  remove_one(0);
  assert_int_equal(take(llm_idle_pop_oldest_locked), 1);
  assert_int_equal(take(llm_idle_pop_oldest_locked), -1);
}

static void test_37_newest_first(void **state) {
  (void)state;
  push_all();
  for (int i = 5; i >= 0; i--)
    assert_int_equal(take(llm_idle_pop_newest_locked), i);
  assert_int_equal(take(llm_idle_pop_newest_locked), -1);
  llm_idle_destroy(&idle);
}

static void test_37_oldest_first(void **state) {
  (void)state;
  push_all();
  for (int i = 0; i < 6; i++)
    assert_int_equal(take(llm_idle_pop_oldest_locked), i);
  assert_int_equal(take(llm_idle_pop_oldest_locked), -1);
  llm_idle_destroy(&idle);
}

static void test_34_only_the_expired_leave(void **state) {
  (void)state;
  llm_link *link;
  push_all();
  llm_idle_lock(&idle);
  assert_null(llm_idle_pop_expired_locked(&idle, 99));
  assert_int_equal(idle.count, 6);
  for (int i = 0; (link = llm_idle_pop_expired_locked(&idle, 102)); i++)
    assert_int_equal(number_of(link), i);
  assert_int_equal(idle.count, 3);
  assert_int_equal(number_of(idle.oldest), 3);
  (void)llm_idle_take_all_locked(&idle);
  assert_null(llm_idle_pop_expired_locked(&idle, UINT64_MAX));
  llm_idle_unlock(&idle);
}

static void test_a_given_one_leaves(void **state) {
  (void)state;
  push_all();
  remove_one(5); /* the newest */
  remove_one(0); /* the oldest */
  remove_one(2);
  assert_false(items[2].link.linked);
  assert_true(items[3].link.linked);
  push(2, 200);
  assert_int_equal(take(llm_idle_pop_newest_locked), 2);
  assert_int_equal(take(llm_idle_pop_newest_locked), 4);
  assert_int_equal(take(llm_idle_pop_oldest_locked), 1);
  remove_one(3); /* the only one */
  assert_int_equal(take(llm_idle_pop_newest_locked), -1);
  assert_int_equal(idle.count, 0);
}

static void test_all_leave_oldest_first(void **state) {
  (void)state;
  push_all();
  llm_idle_lock(&idle);
  llm_link *all = llm_idle_take_all_locked(&idle);
  llm_idle_unlock(&idle);
  for (int i = 0; i < 6; i++, all = all->next) {
    assert_int_equal(number_of(all), i);
    assert_false(all->linked);
  }
  assert_null(all);
  assert_int_equal(take(llm_idle_pop_newest_locked), -1);
  push(4, 300);
  assert_int_equal(take(llm_idle_pop_oldest_locked), 4);
}

static void push_again(void *arg) {
  (void)arg;
  push(0, 1);
}

static void remove_again(void *arg) {
  (void)arg;
  remove_one(1);
}

static void test_wrong_moves_are_noticed(void **state) {
  (void)state;
  push(0, 1);
  assert_true(aborts(push_again, NULL));
  assert_true(aborts(remove_again, NULL));
}

/* ---- the lock ---------------------------------------------------------- */

#define THREADS 6
#define ROUNDS 50000

static int shared_count; /* plain: ThreadSanitizer watches too */

static void *move_around(void *arg) {
  (void)arg;
  for (int i = 0; i < ROUNDS; i++) {
    llm_idle_lock(&idle);
    llm_link *link = llm_idle_pop_oldest_locked(&idle);
    shared_count++;
    if (i % 128 == 0) sched_yield(); /* so that several wait at once */
    if (link != NULL) llm_idle_push_locked(&idle, link, 0);
    llm_idle_unlock(&idle);
  }
  return NULL;
}

static void test_one_at_a_time(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  push_all();
  shared_count = 0;
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, move_around, NULL), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(shared_count, THREADS * ROUNDS);
  assert_int_equal(idle.count, 6);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_goes_back_where_it_was),  TEST(test_37_newest_first),
      TEST(test_37_oldest_first),         TEST(test_34_only_the_expired_leave),
      TEST(test_a_given_one_leaves),      TEST(test_all_leave_oldest_first),
      TEST(test_wrong_moves_are_noticed), TEST(test_one_at_a_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
