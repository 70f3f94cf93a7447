/*
** bytes.h - bytes that grow at the end and are taken from the front.
*/
#ifndef LLMPOOL_BYTES_H
#define LLMPOOL_BYTES_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct Bytes {
  char *at;
  size_t length, room;
  size_t taken; /* of length, from the front */
} Bytes;

static inline size_t bytes_left(const Bytes *b) { return b->length - b->taken; }

static inline bool bytes_reserve(Bytes *b, size_t more) {
  if (b->room - b->length >= more) return true;
  size_t room = b->room ? b->room : 512;
  while (room - b->length < more) room *= 2;
  char *at = realloc(b->at, room);
  if (at == NULL) return false;
  b->at = at;
  b->room = room;
  return true;
}

static inline bool bytes_add(Bytes *b, const void *from, size_t length) {
  if (length == 0) return true;
  if (!bytes_reserve(b, length)) return false;
  memcpy(b->at + b->length, from, length);
  b->length += length;
  return true;
}

/* Takes from the front; an empty one begins anew. */
static inline void bytes_take(Bytes *b, size_t length) {
  b->taken += length;
  if (b->taken == b->length) b->taken = b->length = 0;
}

/* Empties it, for the next request; memory beyond that much is given back. */
static inline void bytes_clear(Bytes *b) {
  enum { KEPT_BYTES = 16 * 1024 };
  b->length = b->taken = 0;
  if (b->room <= KEPT_BYTES) return;
  free(b->at);
  b->at = NULL;
  b->room = 0;
}

#endif
