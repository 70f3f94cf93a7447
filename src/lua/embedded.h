/*
** embedded.h - the files of lua/, which travel inside the program.
**
** The build writes them into one generated C file (embed.cmake); embedded.c
** offers them to require and, as text, to help. No file of llmpool is looked
** for on disk.
*/
#ifndef LLMPOOL_EMBEDDED_H
#define LLMPOOL_EMBEDDED_H

#include <stddef.h>

#include <lua.h>

typedef struct llmpool_embedded_file {
  const char *name;          /* as in require: "llmpool.providers.simulated";
                             ** of other files the path: "llmpool/doc/x.md" */
  const char *chunkname;     /* "@llmpool/providers/simulated.lua" */
  const unsigned char *text; /* the source, as it is in the file */
  size_t length;             /* bytes of it */
} llmpool_embedded_file;

/* Sorted by file name; ends with an entry whose name is NULL. */
extern const llmpool_embedded_file llmpool_embedded[];

/* Pushes the chunk of an embedded module. [-0, +1, e] */
void embedded_load(lua_State *L, const char *module);
/* Puts the modules into package.preload. [-0, +0, m] */
void embedded_preload(lua_State *L);

#endif
