/*
** test_sse.c - the event-stream parser: what the standard says of every line,
** and the same events however the bytes are cut.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sse.h"

#define LIMIT 1000

/* ---- events as text: [event|data|id|retry] ----------------------------- */

typedef struct Log {
  char text[4096];
  size_t length;
  SseStatus status;
} Log;

static void append(Log *log, const SseText *text, bool given) {
  if (!given) {
    log->text[log->length++] = '-';
    return;
  }
  assert_true(log->length + text->length + 2 < sizeof log->text);
  if (text->length) memcpy(log->text + log->length, text->at, text->length);
  log->length += text->length;
}

static void write_event(Log *log, const Sse *sse) {
  log->text[log->length++] = '[';
  append(log, &sse->event, sse->event.length > 0);
  log->text[log->length++] = '|';
  append(log, &sse->data, true);
  log->text[log->length++] = '|';
  append(log, &sse->id, sse->has_id);
  if (sse->retry >= 0)
    log->length += (size_t)sprintf(log->text + log->length, "|%lld",
                                   (long long)sse->retry);
  log->text[log->length++] = ']';
}

/* Each piece lies in memory of its own size, so that reading on is seen. */
static void feed(Sse *sse, Log *log, const char *bytes, size_t length) {
  char *copy = malloc(length ? length : 1);
  memcpy(copy, bytes, length);
  size_t at = 0, used;
  do {
    log->status = sse_feed(sse, copy + at, length - at, &used);
    at += used;
    if (log->status == SSE_EVENT) write_event(log, sse);
  } while (log->status == SSE_EVENT);
  if (log->status == SSE_MORE) assert_int_equal(at, length);
  free(copy);
}

static void run(Log *log, const char *bytes, size_t length, const size_t *cuts,
                size_t count) {
  Sse sse;
  size_t at = 0;
  sse_init(&sse, LIMIT);
  memset(log, 0, sizeof *log);
  for (size_t i = 0; i <= count && log->status == SSE_MORE; i++) {
    size_t end = i < count ? cuts[i] : length;
    feed(&sse, log, bytes + at, end - at);
    at = end;
  }
  log->text[log->length] = '\0';
  sse_free(&sse);
}

/* ---- streams ----------------------------------------------------------- */

typedef struct Stream {
  const char *bytes;
  size_t length; /* 0: to the zero */
  const char *events;
} Stream;

static const Stream streams[] = {
    {"data: a\n\n", 0, "[-|a|-]"},
    {"data: a\r\n\r\n", 0, "[-|a|-]"},
    {"data: a\r\r", 0, "[-|a|-]"},
    {"data: a\r\n\rdata: b\n\r\ndata: c\r\n\n", 0, "[-|a|-][-|b|-][-|c|-]"},
    {"data:a\ndata: b\ndata:  c\n\n", 0, "[-|a\nb\n c|-]"},
    {"data\n\ndata\ndata\n\ndata:", 0, "[-||-][-|\n|-]"},
    {"data:\n\n", 0, "[-||-]"},
    {"event: x\ndata: 1\n\ndata: 2\n\n", 0, "[x|1|-][-|2|-]"},
    {"event: x\n\ndata: 2\n\n", 0, "[-|2|-]"},
    {"event: x\nevent: y\ndata: 2\n\n", 0, "[y|2|-]"},
    {"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", 0, "[-|a|1][-|b|1][-|c|]"},
    {"id: 1\n\ndata: b\n\n", 0, "[-|b|1]"},
    {"id: 1\nid: a\0b\ndata: c\n\n", 24, "[-|c|1]"},
    {"retry: 100\ndata: a\n\ndata: b\n\n", 0, "[-|a|-|100][-|b|-]"},
    {"retry: 1x\nretry:\nretry: -1\ndata: a\n\n", 0, "[-|a|-]"},
    {"retry: 9999999999999999\ndata: a\n\n", 0, "[-|a|-]"},
    {": comment\n:\ndata: a\n: OPENROUTER PROCESSING\n\n", 0, "[-|a|-]"},
    {"\n\n\r\n\r\rdata: a\n\n\n\n", 0, "[-|a|-]"},
    {"unknown: x\nDATA: no\n data: no\ndata : no\ndata: a\n\n", 0, "[-|a|-]"},
    {"data: a:b: c\n\n", 0, "[-|a:b: c|-]"},
    {"\xef\xbb\xbf"
     "data: a\n\n",
     0, "[-|a|-]"},
    {"\xef\xbb\xbf\xef\xbb\xbf"
     "data: a\n\ndata: b\n\n",
     0, "[-|b|-]"},
    {"\xef\xbb"
     "data: a\n\ndata: b\n\n",
     0, "[-|b|-]"},
    {"data: \xf0\x9f\x98\x80\xc3\xa9\n\n", 0, "[-|\xf0\x9f\x98\x80\xc3\xa9|-]"},
    {"data: {\"a\":1}\n\ndata: [DONE]\n\n", 0, "[-|{\"a\":1}|-][-|[DONE]|-]"},
    {"event: message_start\r\ndata: {\"t\": 1}\r\n\r\n"
     "event: ping\r\ndata: {}\r\n\r\n: x\r\n",
     0, "[message_start|{\"t\": 1}|-][ping|{}|-]"},
    {"data: never ended", 0, ""},
    {"data: never ended\n", 0, ""},
    {"", 0, ""},
    {"\xef", 0, ""},
};

static size_t length_of(const Stream *s) {
  return s->length ? s->length : strlen(s->bytes);
}

static void check(const Stream *s, const size_t *cuts, size_t count) {
  Log log;
  run(&log, s->bytes, length_of(s), cuts, count);
  assert_int_equal(log.status, SSE_MORE);
  assert_string_equal(log.text, s->events);
}

#define EACH(s)                                                               \
  (const Stream *s = streams; s < streams + sizeof streams / sizeof *streams; \
   s++)

static void events_are_as_the_standard_says(void **state) {
  (void)state;
  for
    EACH(s) check(s, NULL, 0);
}

static void every_cut_gives_the_same(void **state) {
  (void)state;
  for
    EACH(s)
  for (size_t i = 0; i <= length_of(s); i++) check(s, &i, 1);
}

static void every_two_cuts_give_the_same(void **state) {
  (void)state;
  for
    EACH(s)
  for (size_t i = 0; i <= length_of(s); i++)
    for (size_t k = i; k <= length_of(s); k++) check(s, (size_t[]){i, k}, 2);
}

static void single_bytes_give_the_same(void **state) {
  size_t cuts[256];
  (void)state;
  for (size_t i = 0; i < 256; i++) cuts[i] = i;
  for
    EACH(s) check(s, cuts, length_of(s));
}

/* All of them one after the other, cut anywhere: but for the byte order mark
** and the id, which are a whole stream's. */
static void random_cuts_give_the_same(void **state) {
  static char bytes[1 << 14];
  size_t length = 0;
  unsigned random = 12345;
  Log whole, log;
  (void)state;
  for
    EACH(s) {
      memcpy(bytes + length, s->bytes, length_of(s));
      length += length_of(s);
      bytes[length++] = '\n';
      bytes[length++] = '\n';
    }
  run(&whole, bytes, length, NULL, 0);
  assert_true(whole.length > 200);
  for (int round = 0; round < 2000; round++) {
    size_t cuts[64], count = 0, at = 0;
    while (count < 64) {
      random = random * 1103515245 + 12345;
      at += (random >> 16) % 60;
      if (at > length) break;
      cuts[count++] = at;
    }
    run(&log, bytes, length, cuts, count);
    assert_string_equal(log.text, whole.text);
  }
}

/* ---- bounds ------------------------------------------------------------ */

static SseStatus feed_many(const char *piece, int times, size_t limit) {
  Sse sse;
  size_t used;
  SseStatus status = SSE_MORE;
  sse_init(&sse, limit);
  for (int i = 0; i < times && status == SSE_MORE; i++)
    status = sse_feed(&sse, piece, strlen(piece), &used);
  sse_free(&sse);
  return status;
}

static void memory_is_bounded(void **state) {
  (void)state;
  /* a line that does not end, and an event that does not */
  assert_int_equal(feed_many("xxxxxxxxxx", 100, LIMIT), SSE_MORE);
  assert_int_equal(feed_many("xxxxxxxxxx", 101, LIMIT), SSE_TOO_LARGE);
  assert_int_equal(feed_many("data: 12345678\n", 111, LIMIT), SSE_MORE);
  assert_int_equal(feed_many("data: 12345678\n", 112, LIMIT), SSE_TOO_LARGE);
  /* what is done with counts no more */
  assert_int_equal(feed_many(": xxxxxxxxxxxxxxx\n", 10000, LIMIT), SSE_MORE);
  assert_int_equal(feed_many("data\n", 999, LIMIT), SSE_MORE);
  assert_int_equal(feed_many("{xxxxxxxxxxxxxxx\n", 10000, LIMIT), SSE_MORE);
}

static void a_large_event_in_one_piece_is_bounded_too(void **state) {
  char bytes[LIMIT + 100];
  Log log;
  (void)state;
  memset(bytes, 'x', sizeof bytes);
  memcpy(bytes, "data: ", 6);
  memcpy(bytes + LIMIT + 5, "\n\n", 2);
  run(&log, bytes, LIMIT + 7, NULL, 0);
  assert_int_equal(log.status, SSE_EVENT - 1); /* one less than allowed */
  memcpy(bytes + LIMIT + 5, "xx\n\n", 4);
  run(&log, bytes, LIMIT + 9, NULL, 0);
  assert_int_equal(log.status, SSE_TOO_LARGE);
}

static void what_is_left_is_told_at_the_end(void **state) {
  static const struct {
    const char *bytes, *data;
  } cases[] = {{"data: a\n\ndata: b", "b"},
               {"data: a\n\ndata: b\n", "b"},
               {"data: a\r\ndata: b", "a\nb"},
               {"data: a\n\n", NULL},
               {"data: a\n\nevent: x\n", NULL},
               {"", NULL},
               {"data: a\n\n{\n  \"x\": 1\n}", "{\n  \"x\": 1\n}\n"},
               {"[1]\ndata: a\n\n\n2", "[1]\n2\n"},
               {"x\n{\ndata: b", "b"},
               {"data: a\n\nda", NULL},
               {"data: a\n\ndata", ""}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Sse sse;
    Log log;
    memset(&log, 0, sizeof log);
    sse_init(&sse, LIMIT);
    feed(&sse, &log, cases[i].bytes, strlen(cases[i].bytes));
    const SseText *rest = sse_end(&sse);
    assert_int_equal(rest != NULL, cases[i].data != NULL);
    if (rest) {
      assert_int_equal(rest->length, strlen(cases[i].data));
      assert_memory_equal(rest->at ? rest->at : "", cases[i].data,
                          rest->length);
    }
    assert_null(sse_end(&sse)); /* told once */
    sse_free(&sse);
  }
}

static void a_parser_can_be_used_again(void **state) {
  Sse sse;
  Log log;
  (void)state;
  memset(&log, 0, sizeof log);
  sse_init(&sse, LIMIT);
  feed(&sse, &log, "id: 1\ndata: a\n\nda", 17);
  sse_free(&sse);
  feed(&sse, &log, "data: b\n\n", 9);
  sse_free(&sse);
  assert_string_equal(log.text, "[-|a|1][-|b|-]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(events_are_as_the_standard_says),
      cmocka_unit_test(every_cut_gives_the_same),
      cmocka_unit_test(every_two_cuts_give_the_same),
      cmocka_unit_test(single_bytes_give_the_same),
      cmocka_unit_test(random_cuts_give_the_same),
      cmocka_unit_test(memory_is_bounded),
      cmocka_unit_test(a_large_event_in_one_piece_is_bounded_too),
      cmocka_unit_test(what_is_left_is_told_at_the_end),
      cmocka_unit_test(a_parser_can_be_used_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
