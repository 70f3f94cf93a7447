/*
** test_tape.c - recordings on their way to a file: whole lines from many
** threads, leases by what they were asked with, and files that end.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>

#include "rig.h"
#include "tape.h"

#define HEAD "head\n"
#define THREADS 4
#define LINES 5000
#define LENGTH 400 /* so that all are more than wait at a time */

static char path[] = "/tmp/test_tape_XXXXXX";
static Tape *tape;
static Record *record;

static int setup(void **state) {
  int fd = mkstemp(path);
  if (fd < 0) return -1;
  close(fd);
  return rig_setup(state);
}

static int teardown(void **state) {
  unlink(path);
  memcpy(path + strlen(path) - 6, "XXXXXX", 6);
  return rig_teardown(state);
}

static void open_tape(bool records) {
  record = records ? record_new(0) : NULL;
  tape = tape_open(path, HEAD, NULL, record);
  assert_non_null(tape);
}

static TapeEnd close_tape(int64_t now_ns) {
  TapeEnd end = tape_close(tape, now_ns), again = tape_close(tape, now_ns);
  assert_int_equal(end.failure, again.failure);
  assert_int_equal(end.lost, again.lost);
  tape_free(tape);
  record_free(record);
  return end;
}

/* Every line but the first is one of those that were put; returns how many. */
static uint64_t count_lines(void) {
  static char line[LENGTH + 2];
  FILE *file = fopen(path, "r");
  uint64_t n = 0;
  assert_non_null(file);
  assert_non_null(fgets(line, sizeof line, file));
  assert_string_equal(line, HEAD);
  for (; fgets(line, sizeof line, file); n++) {
    assert_int_equal(strlen(line), LENGTH);
    assert_int_equal(line[LENGTH - 1], '\n');
    for (int i = 1; i < LENGTH - 1; i++) assert_int_equal(line[i], line[0]);
  }
  fclose(file);
  return n;
}

/* What is written, behind the head. */
static const char *written(void) {
  static char text[4096];
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t n = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[n] = '\0';
  assert_int_equal(strncmp(text, HEAD, strlen(HEAD)), 0);
  return text + strlen(HEAD);
}

/* ---- lines ------------------------------------------------------------- */

static void *put_lines(void *letter) {
  char line[LENGTH];
  memset(line, *(char *)letter, LENGTH);
  line[LENGTH - 1] = '\n';
  for (int i = 0; i < LINES; i++) tape_put(tape, line, LENGTH);
  return NULL;
}

static void run_threads(void *(*fn)(void *)) {
  static char letters[THREADS] = "abcd";
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, fn, &letters[i]), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void test_lines_of_many_threads_are_whole(void **state) {
  (void)state;
  open_tape(false);
  run_threads(put_lines);
  TapeEnd end = close_tape(0);
  assert_int_equal(end.failure, 0);
  assert_int_equal(count_lines() + end.lost, THREADS * LINES);
}

static void test_what_comes_late_is_lost(void **state) {
  (void)state;
  open_tape(false);
  tape_put(tape, "a\n", 2);
  assert_int_equal(tape_close(tape, 0).lost, 0);
  tape_put(tape, "b\n", 2);
  close_tape(0);
  assert_string_equal(written(), "a\n");
}

static void test_a_full_disk_ends_it(void **state) {
  (void)state;
  char line[LENGTH];
  memset(line, 'a', LENGTH);
  line[LENGTH - 1] = '\n';
  tape = tape_open("/dev/full", HEAD, NULL, NULL);
  record = NULL;
  assert_non_null(tape);
  for (int i = 0; i < THREADS * LINES; i++) tape_put(tape, line, LENGTH);
  assert_int_equal(close_tape(0).failure, ENOSPC);
}

static void test_a_place_that_cannot_be_opened(void **state) {
  (void)state;
  record = record_new(0);
  assert_null(tape_open("/none/x", HEAD, NULL, record));
  assert_int_equal(errno, ENOENT);
  record_free(record);
}

/* ---- leases ------------------------------------------------------------ */

static void lend(uint8_t tag, llm_lease *lease) {
  llm_ask ask = {.tag = tag};
  assert_int_equal(llm_acquire(lease, rig.model, &ask), LLM_OK);
}

static void test_leases_by_their_tags(void **state) {
  (void)state;
  llm_lease a = {0}, b = {0}, c = {0}, d = {0};
  rig_register("m\"\n", 4);
  open_tape(true);
  assert_true(record_watch(record, rig.pool));
  lend(TAPE_LEASE, &a);
  lend(TAPE_PUT, &b);
  lend(TAPE_CUT, &c);
  lend(TAPE_LEASE, &d);
  rig_pass(1500 * MS);
  tape_failed(tape, &d, "server (nobody)");
  tape_failed(tape, &b, "server");
  llm_lease_return(&a, LLM_KEEP);
  llm_lease_return(&b, LLM_KEEP);
  llm_lease_return(&d, LLM_KEEP);
  assert_int_equal(close_tape(RIG_START + 2 * SECOND).lost, 0);
  llm_lease_return(&c, LLM_KEEP);
  const char *format =
      "{\"at\":100.000000000,\"model\":\"m\\u0022\\u000a\",%s,\"seconds\":%s,"
      "\"attempts\":[{\"model\":\"m\\u0022\\u000a\",\"client\":\"c%d\",%s,"
      "\"seconds\":%s,\"after\":0.000000000}]}\n";
  const struct {
    const char *how, *seconds;
    int client;
  } lines[] = {
      {"\"ok\":true", "1.500000000", 1},
      {"\"ok\":false,\"kind\":\"server\"", "1.500000000", 4},
      {"\"ok\":false,\"kind\":\"cancelled\"", "2.000000000", 3},
  };
  char expected[2048];
  size_t n = 0;
  for (int i = 0; i < 3; i++)
    n += (size_t)snprintf(expected + n, sizeof expected - n, format,
                          lines[i].how, lines[i].seconds, lines[i].client,
                          lines[i].how, lines[i].seconds);
  assert_string_equal(written(), expected);
}

static void *lend_often(void *unused) {
  (void)unused;
  for (int i = 0; i < LINES; i++) {
    llm_lease lease = {0};
    assert_int_equal(llm_acquire(&lease, rig.model, NULL), LLM_OK);
    llm_lease_return(&lease, LLM_KEEP);
  }
  return NULL;
}

/* Lines of another form than those that are put: only counted. */
static uint64_t count_leases(void) {
  FILE *file = fopen(path, "r");
  uint64_t n = 0;
  int c;
  while ((c = fgetc(file)) != EOF) n += c == '\n';
  fclose(file);
  return n - 1;
}

static void test_leases_of_many_threads(void **state) {
  (void)state;
  rig_register("m", 2);
  open_tape(true);
  assert_true(record_watch(record, rig.pool));
  run_threads(lend_often);
  TapeEnd end = close_tape(RIG_START);
  assert_int_equal(end.failure, 0);
  assert_true(count_leases() <= THREADS * LINES);
  assert_true(count_leases() + end.lost >= THREADS * LINES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
      TEST(test_lines_of_many_threads_are_whole),
      TEST(test_what_comes_late_is_lost),
      TEST(test_a_full_disk_ends_it),
      TEST(test_a_place_that_cannot_be_opened),
      TEST(test_leases_by_their_tags),
      TEST(test_leases_of_many_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
