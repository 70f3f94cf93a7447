/*
** record_find.h - the models, clients and callers of a record, found by what an
** event says of them.
*/
#ifndef LLMPOOL_RECORD_FIND_H
#define LLMPOOL_RECORD_FIND_H

#include "record.h"

/* Their numbers, from 1 on; 0: the event names none, or no memory. `source` is
** the number of the pool. */
uint32_t record_model_of(Record *record, const char *key, uint32_t source);
uint32_t record_client_of(Record *record, const char *key, uint32_t model);

/* True: the caller stands in the model's line from now on. */
bool record_line_join(Record *record, uint64_t ask, uint32_t source,
                      uint32_t model);
/* The model in whose line the caller stood, or 0; it leaves. */
uint32_t record_line_leave(RecordLine *line, uint64_t ask, uint32_t source);

#endif
