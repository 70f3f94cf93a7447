/*
** lines.h - the header lines of a request, in the form that curl takes them.
*/
#ifndef LLMPOOL_LINES_H
#define LLMPOOL_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include <curl/curl.h>

#include "bytes.h"

/* curl reads them in place. */
typedef struct Lines {
  struct curl_slist *nodes;
  size_t count, room;
  Bytes text;
} Lines;

/* Adds a line "name: value". False: no memory. */
bool lines_add(Lines *lines, const char *name, size_t name_length,
               const char *value, size_t length);
/* Makes `to` the same lines, before lines_list. False: no memory. */
bool lines_copy(Lines *to, const Lines *from);
/* The list for curl, when all are added. */
struct curl_slist *lines_list(Lines *lines);
void lines_clear(Lines *lines);
void lines_free(Lines *lines);

#endif
