/*
** tape.h - a recording on its way to a file: lines that are put there, and a
** line for each lease of the pools that a record watches.
**
** One idea: a thread of its own writes, twice a second and when there is much.
** So what is recorded is in the file soon, whatever Lua does meanwhile; it is
** held in memory of one size, but for the leases that are out; and a disk that
** is full, or a pipe that nobody reads, is the recording's end and nobody
** else's. Whoever has something to record waits for the writer a moment at the
** most; then it is lost, and counted. Lines are written whole.
**
** A lease whose ask has a tag is somebody else's to put: TAPE_PUT. With
** TAPE_CUT it is written here where the recording ends before it. It knows no
** Lua and no routers.
*/
#ifndef LLMPOOL_TAPE_H
#define LLMPOOL_TAPE_H

#include "record.h"

enum { TAPE_LEASE, TAPE_PUT, TAPE_CUT }; /* tags of asks */

typedef struct Tape Tape;

typedef struct TapeEnd {
  int failure;   /* an errno: not all could be written; 0: well */
  uint64_t lost; /* lines and events for which there was no room */
} TapeEnd;

/* Begins the file anew, with a first line. `record` may be NULL, or watches nothing yet; it must
** outlive the tape. A failure is told to standard error at once if there is a
** `program` to tell it. NULL: errno says why. */
Tape *tape_open(const char *path, const char *header, const char *program,
                Record *record);
/* A line, with its end; any thread. */
void tape_put(Tape *tape, const char *line, size_t length);
/* The request that the lease is for has failed; any thread. */
void tape_failed(Tape *tape, const llm_lease *lease, const char *kind);
/* Writes what there is and ends; the record is stopped. What is put later is
** lost. A second time it only says the same. */
TapeEnd tape_close(Tape *tape, int64_t now_ns);
void tape_free(Tape *tape); /* closed */

#endif
