/*
** lines.c - the header lines of a request: text, and curl's list over it.
**
** One idea: all lines are one text that grows, and a node says where its line
** begins; only when all are there is the list made, in place. So a request
** costs no memory once its transfer has been used.
*/
#include "lines.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool lines_add(Lines *l, const char *name, size_t name_length,
               const char *value, size_t length) {
  if (l->count == l->room) {
    size_t room = l->room ? l->room * 2 : 8;
    struct curl_slist *nodes = realloc(l->nodes, room * sizeof *nodes);
    if (nodes == NULL) return false;
    l->nodes = nodes;
    l->room = room;
  }
  /* where it lies, since the text may still move */
  l->nodes[l->count].data = (char *)(uintptr_t)l->text.length;
  if (!bytes_add(&l->text, name, name_length)) return false;
  /* curl's way to say that a header has no value */
  bool added = length > 0 ? bytes_add(&l->text, ": ", 2) &&
                                bytes_add(&l->text, value, length)
                          : bytes_add(&l->text, value ? ";" : ":", 1);
  if (!added || !bytes_add(&l->text, "", 1)) return false;
  l->count++;
  return true;
}

bool lines_copy(Lines *to, const Lines *from) {
  size_t size = from->count * sizeof *from->nodes;
  lines_clear(to);
  if (from->count == 0) return true;
  if (to->room < from->count) {
    struct curl_slist *nodes = realloc(to->nodes, size);
    if (nodes == NULL) return false;
    to->nodes = nodes;
    to->room = from->count;
  }
  if (!bytes_add(&to->text, from->text.at, from->text.length)) return false;
  memcpy(to->nodes, from->nodes, size);
  to->count = from->count;
  return true;
}

struct curl_slist *lines_list(Lines *l) {
  for (size_t i = 0; i < l->count; i++) {
    l->nodes[i].data = l->text.at + (uintptr_t)l->nodes[i].data;
    l->nodes[i].next = i + 1 < l->count ? &l->nodes[i + 1] : NULL;
  }
  return l->count ? l->nodes : NULL;
}

void lines_clear(Lines *l) {
  l->count = 0;
  bytes_clear(&l->text);
}

void lines_free(Lines *l) {
  free(l->nodes);
  free(l->text.at);
}
