/*
** tape_lines.h - leases as lines of a trace, from the events of their pools.
**
** One idea: what is known of a lease is kept from its first event to its last
** and written then. One thread's; it writes no file.
*/
#ifndef LLMPOOL_TAPE_LINES_H
#define LLMPOOL_TAPE_LINES_H

#include "record.h"

typedef struct Text { /* grows; zeroed is empty */
  char *bytes;
  size_t length, size;
} Text;

/* False: no memory, and it is as it was. */
bool text_add(Text *text, const char *bytes, size_t length);

#define TAPE_KIND 24 /* bytes of a kind of failure that are kept */

typedef struct TapeLease {
  uint64_t ask;               /* 0: an empty place of the table */
  int64_t asked_ns, lent_ns;  /* LLM_FOREVER: not yet */
  const char *model, *client; /* or NULL */
  char kind[TAPE_KIND];       /* how its request has failed; "": it has not */
} TapeLease;

typedef struct TapeLines {
  Text text;
  TapeLease *leases; /* by ask: an open table, a power of two in size */
  size_t count, size;
  uint64_t lost; /* for want of memory */
} TapeLines;

/* The request of a lease has failed. */
void tape_lines_failed(TapeLines *lines, uint64_t ask, const char *kind);
void tape_lines_take(TapeLines *lines, const RecordTold *event);
/* Those that are out, or wait, are cut off. */
void tape_lines_end(TapeLines *lines, int64_t now_ns);
void tape_lines_free(TapeLines *lines);

#endif
