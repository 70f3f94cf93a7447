/*
** sse.c - a parser of event streams, one line at a time.
**
** One idea: a line that lies in one piece is read where it lies; only a line
** that was cut goes through a buffer. Lines end in \n, \r or \r\n - the \n of
** a cut \r\n is skipped when it comes.
*/
#include "sse.h"

#include <stdlib.h>
#include <string.h>

enum { MARK_PAST = 4, STRAY_BYTES = 64 * 1024 };
static const char mark[] = "\xef\xbb\xbf"; /* the byte order mark */

void sse_init(Sse *sse, size_t max_bytes) {
  memset(sse, 0, sizeof *sse);
  sse->max_bytes = max_bytes;
  sse->retry = -1;
}

void sse_free(Sse *sse) {
  free(sse->line.at);
  free(sse->data.at);
  free(sse->event.at);
  free(sse->id.at);
  free(sse->stray.at);
  sse_init(sse, sse->max_bytes);
}

/* ---- texts ------------------------------------------------------------- */

static bool add(SseText *text, const char *bytes, size_t length) {
  if (length == 0) return true;
  if (text->room - text->length < length) {
    size_t room = text->room ? text->room * 2 : 256;
    while (room - text->length < length) room *= 2;
    char *at = realloc(text->at, room);
    if (at == NULL) return false;
    text->at = at;
    text->room = room;
  }
  memcpy(text->at + text->length, bytes, length);
  text->length += length;
  return true;
}

static bool set(SseText *text, const char *bytes, size_t length) {
  text->length = 0;
  return add(text, bytes, length);
}

/* ---- fields ------------------------------------------------------------ */

static bool fits(const Sse *sse, size_t length) {
  return sse->line.length + sse->data.length + length <= sse->max_bytes;
}

static SseStatus add_data(Sse *sse, const char *value, size_t length) {
  if (!fits(sse, length + 1)) return SSE_TOO_LARGE;
  if (sse->has_data && !add(&sse->data, "\n", 1)) return SSE_NO_MEMORY;
  sse->has_data = true;
  if (!add(&sse->data, value, length)) return SSE_NO_MEMORY;
  return SSE_MORE;
}

/* Digits only; what is beyond 2^53 is not believed. */
static void set_retry(Sse *sse, const char *value, size_t length) {
  int64_t number = 0;
  if (length == 0 || length > 15) return;
  for (size_t i = 0; i < length; i++) {
    if (value[i] < '0' || value[i] > '9') return;
    number = number * 10 + (value[i] - '0');
  }
  sse->retry = number;
}

static bool is(const char *name, size_t length, const char *word) {
  return strlen(word) == length && memcmp(name, word, length) == 0;
}

static SseStatus take_field(Sse *sse, const char *name, size_t name_length,
                            const char *value, size_t length) {
  if (is(name, name_length, "data")) return add_data(sse, value, length);
  if (is(name, name_length, "event"))
    return set(&sse->event, value, length) ? SSE_MORE : SSE_NO_MEMORY;
  if (is(name, name_length, "id")) {
    if (length > 0 && memchr(value, '\0', length)) return SSE_MORE;
    sse->has_id = true;
    return set(&sse->id, value, length) ? SSE_MORE : SSE_NO_MEMORY;
  }
  if (is(name, name_length, "retry")) set_retry(sse, value, length);
  return SSE_MORE;
}

/* A line of no field: it begins JSON, or goes on with it. What is longer than
** any error is not kept. */
static SseStatus keep_stray(Sse *sse, const char *line, size_t length) {
  SseText *stray = &sse->stray;
  if (stray->length == 0 && line[0] != '{' && line[0] != '[') return SSE_MORE;
  if (stray->length + length >= STRAY_BYTES) return SSE_MORE;
  return add(stray, line, length) && add(stray, "\n", 1) ? SSE_MORE
                                                         : SSE_NO_MEMORY;
}

static bool is_field(const char *name, size_t length) {
  return is(name, length, "data") || is(name, length, "event") ||
         is(name, length, "id") || is(name, length, "retry");
}

/* One line without its end. */
static SseStatus take_line(Sse *sse, const char *line, size_t length) {
  if (length == 0) {
    if (sse->has_data) return SSE_EVENT;
    sse->event.length = 0;
    return SSE_MORE;
  }
  const char *colon = memchr(line, ':', length);
  if (colon == line) return SSE_MORE; /* a comment */
  if (!is_field(line, colon ? (size_t)(colon - line) : length))
    return keep_stray(sse, line, length);
  if (colon == NULL) return take_field(sse, line, length, "", 0);
  const char *value = colon + 1, *end = line + length;
  if (value < end && *value == ' ') value++;
  return take_field(sse, line, (size_t)(colon - line), value,
                    (size_t)(end - value));
}

/* ---- bytes ------------------------------------------------------------- */

/* The event that was handed out is over. */
static void begin(Sse *sse) {
  sse->given = sse->has_data = false;
  sse->data.length = sse->event.length = 0;
  sse->retry = -1;
}

/* Skips the mark at the very beginning; if the bytes only began like it, they
** are put at the line's. Returns how many bytes were read. */
static size_t skip_mark(Sse *sse, const char *bytes, size_t length,
                        SseStatus *status) {
  size_t i = 0;
  while (i < length && sse->mark < 3 && bytes[i] == mark[sse->mark]) {
    sse->mark++;
    i++;
  }
  if (i < length || sse->mark == 3) {
    if (sse->mark < 3 && !add(&sse->line, mark, sse->mark))
      *status = SSE_NO_MEMORY;
    sse->mark = MARK_PAST;
  }
  return i;
}

/* The first end of a line; `*lf` is the first \n from some point on. */
static const char *line_end(const char *at, const char *end, const char **lf) {
  if (*lf == NULL || *lf < at) {
    *lf = memchr(at, '\n', (size_t)(end - at));
    if (*lf == NULL) *lf = end;
  }
  const char *cr = memchr(at, '\r', (size_t)(*lf - at));
  if (cr) return cr;
  return *lf < end ? *lf : NULL;
}

/* The line at..stop is complete, perhaps with a part that came before. */
static SseStatus end_line(Sse *sse, const char *at, const char *stop) {
  size_t length = (size_t)(stop - at);
  if (sse->line.length == 0) return take_line(sse, at, length);
  if (!fits(sse, length)) return SSE_TOO_LARGE;
  if (!add(&sse->line, at, length)) return SSE_NO_MEMORY;
  length = sse->line.length;
  sse->line.length = 0;
  return take_line(sse, sse->line.at, length);
}

static SseStatus keep_rest(Sse *sse, const char *at, const char *end) {
  size_t length = (size_t)(end - at);
  if (length == 0) return SSE_MORE;
  if (!fits(sse, length)) return SSE_TOO_LARGE;
  return add(&sse->line, at, length) ? SSE_MORE : SSE_NO_MEMORY;
}

SseStatus sse_feed(Sse *sse, const char *bytes, size_t length, size_t *used) {
  const char *at = bytes, *end = bytes + length, *lf = NULL;
  SseStatus status = SSE_MORE;
  if (sse->given) begin(sse);
  if (sse->mark < 3) at += skip_mark(sse, at, length, &status);
  while (status == SSE_MORE && at < end) {
    if (sse->after_cr && *at == '\n') at++;
    sse->after_cr = false;
    const char *stop = at < end ? line_end(at, end, &lf) : NULL;
    if (stop == NULL) {
      status = keep_rest(sse, at, end);
      at = end;
      break;
    }
    status = end_line(sse, at, stop);
    sse->after_cr = *stop == '\r';
    at = stop + 1;
  }
  sse->given = status == SSE_EVENT;
  *used = (size_t)(at - bytes);
  return status;
}

const SseText *sse_end(Sse *sse) {
  if (sse->ended) return NULL;
  sse->ended = true;
  if (sse->given) begin(sse);
  size_t length = sse->line.length;
  sse->line.length = 0;
  if (length > 0) take_line(sse, sse->line.at, length);
  if (sse->has_data) return &sse->data;
  return sse->stray.length ? &sse->stray : NULL;
}
