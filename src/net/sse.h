/*
** sse.h - a parser of event streams (server-sent events), as the WHATWG's HTML
** standard describes them.
**
** It is fed bytes as they come, cut anywhere, and hands out one event at a
** time. It knows no connection and no Lua, copies only what is cut or joined,
** and never holds more than it was allowed. JSON that stands between the events
** it keeps: Gemini tells so of a failure in the middle of a stream.
*/
#ifndef LLMPOOL_SSE_H
#define LLMPOOL_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum SseStatus {
  SSE_MORE,      /* all bytes are used, no event yet */
  SSE_EVENT,     /* an event; the bytes after it are to be fed again */
  SSE_TOO_LARGE, /* a line or an event larger than allowed; feed no more */
  SSE_NO_MEMORY
} SseStatus;

typedef struct SseText {
  char *at;
  size_t length, room;
} SseText;

typedef struct Sse {
  size_t max_bytes; /* of an unfinished line and its event together */
  SseText line;     /* what has come of a line that was cut */
  SseText data;     /* the data lines so far, joined by \n */
  SseText event;    /* the event's name; length 0: none was given */
  SseText id;       /* the last id, of this event or an earlier one */
  SseText stray;    /* lines of JSON that belong to no event */
  int64_t retry;    /* milliseconds; -1: not given since the last event */
  bool has_data, has_id;
  bool after_cr; /* a \n that comes next belongs to the \r before it */
  bool given;    /* the event above was handed out */
  bool ended;    /* what was left at the end was told */
  uint8_t mark;  /* bytes of the byte order mark seen; MARK_PAST: no more */
} Sse;

void sse_init(Sse *sse, size_t max_bytes);
void sse_free(Sse *sse);
/* Reads up to the end of an event, or all. `used` is how many bytes that were.
** The event lies in data, event, id and retry until the next call. An event
** that has no empty line behind it when the bytes end is none. */
SseStatus sse_feed(Sse *sse, const char *bytes, size_t length, size_t *used);
/* No more bytes come. What is left: the data of an event that has no empty line
** behind it (its last line may have been cut), else the stray JSON; or NULL.
** It is told once: after that it is NULL. */
const SseText *sse_end(Sse *sse);

#endif
