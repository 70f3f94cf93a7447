/*
** embedded.h - the Lua files that travel inside the module and the program.
**
** The build turns every file below lua/ into bytes (scripts/cmake/embed.cmake)
** so that `require "llmpool.router"` needs no path and no file at run time.
** It holds data only; the searcher that serves it belongs to the module.
*/
#ifndef LLMPOOL_EMBEDDED_H
#define LLMPOOL_EMBEDDED_H

#include <stddef.h>

typedef struct llmpool_embedded_file {
  const char *name;          /* as in require: "llmpool.providers.simulated" */
  const char *chunkname;     /* "@llmpool/providers/simulated.lua" */
  const unsigned char *text; /* the source, as it is in the file */
  size_t length;             /* bytes of it */
} llmpool_embedded_file;

/* Sorted by file name; ends with an entry whose name is NULL. */
extern const llmpool_embedded_file llmpool_embedded[];

#endif
