/*
** tape_lines.c - leases as lines of a trace (see tape_lines.h).
*/
#include "tape_lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tape.h"

/* ---- text -------------------------------------------------------------- */

bool text_add(Text *text, const char *bytes, size_t length) {
  if (text->size - text->length < length) {
    size_t size = text->size ? text->size : 4096;
    while (size - text->length < length) size *= 2;
    char *larger = realloc(text->bytes, size);
    if (larger == NULL) return false;
    text->bytes = larger;
    text->size = size;
  }
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  return true;
}

static bool add(Text *text, const char *string) {
  return text_add(text, string, strlen(string));
}

/* A string of JSON's. */
static bool add_quoted(Text *text, const char *string) {
  bool done = add(text, "\"");
  while (*string) {
    size_t plain = 0;
    unsigned char c;
    while ((c = (unsigned char)string[plain]) >= 0x20 && c != '"' && c != '\\')
      plain++;
    done = done && text_add(text, string, plain);
    string += plain;
    if (*string == '\0') break;
    char escaped[8];
    snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned char)*string++);
    done = done && add(text, escaped);
  }
  return done && add(text, "\"");
}

static bool add_string(Text *text, const char *before, const char *string) {
  if (string == NULL) return true;
  return add(text, before) && add_quoted(text, string);
}

/* Seconds, exactly. */
static bool add_span(Text *text, const char *before, int64_t ns) {
  char number[48];
  if (ns < 0) ns = 0;
  snprintf(number, sizeof number, "%s%" PRId64 ".%09" PRId64, before,
           ns / 1000000000, ns % 1000000000);
  return add(text, number);
}

/* ---- lines ------------------------------------------------------------- */

static bool add_end(Text *text, const char *kind) {
  if (kind == NULL) return add(text, ",\"ok\":true");
  return add_string(text, ",\"ok\":false,\"kind\":", kind);
}

static bool add_attempt(Text *text, const TapeLease *lease, int64_t now,
                        const char *kind) {
  if (lease->client == NULL) return true;
  return add_string(text, "{\"model\":", lease->model) &&
         add_string(text, ",\"client\":", lease->client) &&
         add_end(text, kind) &&
         add_span(text, ",\"seconds\":", now - lease->lent_ns) &&
         add_span(text, ",\"after\":", lease->lent_ns - lease->asked_ns) &&
         add(text, "}");
}

/* It has ended now; by a kind of failure, or well. */
static void put(TapeLines *lines, const TapeLease *lease, int64_t now,
                const char *kind) {
  Text *text = &lines->text;
  size_t before = text->length;
  if (add_span(text, "{\"at\":", lease->asked_ns) &&
      add_string(text, ",\"model\":", lease->model) && add_end(text, kind) &&
      add_span(text, ",\"seconds\":", now - lease->asked_ns) &&
      add(text, ",\"attempts\":[") && add_attempt(text, lease, now, kind) &&
      add(text, "]}\n"))
    return;
  text->length = before;
  lines->lost++;
}

/* ---- leases that are out, or wait -------------------------------------- */

static size_t home_of(const TapeLines *lines, uint64_t ask) {
  return (size_t)((ask * 0x9e3779b97f4a7c15u) >> 32) & (lines->size - 1);
}

static size_t place_of(const TapeLines *lines, uint64_t ask) {
  size_t i = home_of(lines, ask);
  while (lines->leases[i].ask != 0 && lines->leases[i].ask != ask)
    i = (i + 1) & (lines->size - 1);
  return i;
}

static bool grow(TapeLines *lines) {
  TapeLines larger = *lines;
  larger.size = lines->size ? lines->size * 2 : 256;
  larger.leases = calloc(larger.size, sizeof *larger.leases);
  if (larger.leases == NULL) return false;
  for (size_t i = 0; i < lines->size; i++) {
    const TapeLease *lease = &lines->leases[i];
    if (lease->ask) larger.leases[place_of(&larger, lease->ask)] = *lease;
  }
  free(lines->leases);
  *lines = larger;
  return true;
}

/* NULL: there is none. */
static TapeLease *find(const TapeLines *lines, uint64_t ask) {
  if (lines->count == 0 || ask == 0) return NULL;
  TapeLease *lease = &lines->leases[place_of(lines, ask)];
  return lease->ask ? lease : NULL;
}

/* Also one that is new; NULL: no memory, or no ask. */
static TapeLease *know(TapeLines *lines, uint64_t ask) {
  if (ask == 0) return NULL;
  if (lines->count * 2 >= lines->size && !grow(lines)) {
    lines->lost++;
    return NULL;
  }
  TapeLease *lease = &lines->leases[place_of(lines, ask)];
  if (lease->ask != 0) return lease;
  lines->count++;
  *lease =
      (TapeLease){.ask = ask, .asked_ns = LLM_FOREVER, .lent_ns = LLM_FOREVER};
  return lease;
}

/* Whoever was pushed on by the one that leaves moves up. */
static void forget(TapeLines *lines, TapeLease *lease) {
  const size_t mask = lines->size - 1;
  size_t gap = (size_t)(lease - lines->leases);
  lines->count--;
  for (size_t i = (gap + 1) & mask; lines->leases[i].ask; i = (i + 1) & mask) {
    size_t home = home_of(lines, lines->leases[i].ask);
    if (((i - home) & mask) < ((i - gap) & mask)) continue;
    lines->leases[gap] = lines->leases[i];
    gap = i;
  }
  lines->leases[gap].ask = 0;
}

/* ---- events ------------------------------------------------------------ */

static unsigned tag_of(const RecordTold *e) {
  return (unsigned)(e->ask >> LLM_TAG_SHIFT);
}

static void on_queued(TapeLines *lines, const RecordTold *e) {
  TapeLease *lease = know(lines, e->ask);
  if (lease == NULL || lease->asked_ns != LLM_FOREVER) return;
  lease->asked_ns = e->time_ns;
  lease->model = e->model;
}

static void on_lent(TapeLines *lines, const RecordTold *e) {
  TapeLease *lease = know(lines, e->ask);
  if (lease == NULL) return;
  if (lease->asked_ns == LLM_FOREVER) lease->asked_ns = e->time_ns - e->span_ns;
  lease->lent_ns = e->time_ns;
  lease->model = e->model;
  lease->client = e->client;
}

/* One whose beginning was not seen is not told of. */
static void on_returned(TapeLines *lines, const RecordTold *e) {
  TapeLease *lease = find(lines, e->ask);
  if (lease == NULL) return;
  if (lease->client && tag_of(e) == TAPE_LEASE)
    put(lines, lease, e->time_ns, lease->kind[0] ? lease->kind : NULL);
  forget(lines, lease);
}

static void on_refused(TapeLines *lines, const RecordTold *e,
                       const char *kind) {
  TapeLease *lease = find(lines, e->ask);
  TapeLease whole = {.asked_ns = e->time_ns, .model = e->model};
  if (lease && lease->asked_ns != LLM_FOREVER) whole.asked_ns = lease->asked_ns;
  if (tag_of(e) == TAPE_LEASE) put(lines, &whole, e->time_ns, kind);
  if (lease) forget(lines, lease);
}

void tape_lines_failed(TapeLines *lines, uint64_t ask, const char *kind) {
  TapeLease *lease = know(lines, ask);
  if (lease) snprintf(lease->kind, sizeof lease->kind, "%s", kind);
}

void tape_lines_take(TapeLines *lines, const RecordTold *e) {
  if (tag_of(e) == TAPE_PUT) return;
  switch (e->kind) {
  case LLM_EV_QUEUED: on_queued(lines, e); break;
  case LLM_EV_LENT: on_lent(lines, e); break;
  case LLM_EV_RETURNED: on_returned(lines, e); break;
  case LLM_EV_TIMEOUT: on_refused(lines, e, "timeout"); break;
  case LLM_EV_CANCELLED: on_refused(lines, e, "cancelled"); break;
  case LLM_EV_REFUSED: on_refused(lines, e, "refused"); break;
  case LLM_EV_QUEUE_FULL: on_refused(lines, e, "queue_full"); break;
  default: break;
  }
}

void tape_lines_end(TapeLines *lines, int64_t now_ns) {
  for (size_t i = 0; i < lines->size; i++) {
    const TapeLease *lease = &lines->leases[i];
    if (lease->ask && lease->client) put(lines, lease, now_ns, "cancelled");
  }
}

void tape_lines_free(TapeLines *lines) {
  free(lines->leases);
  free(lines->text.bytes);
}
