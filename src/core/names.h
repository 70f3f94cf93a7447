/*
** names.h - the names of a pool, each kept once for as long as the pool.
**
** Events point to names long after a model or a client has gone; keeping one
** copy of each name for the pool's whole life is what makes that safe, and
** costs nothing more when models come and go under the same names. A name is
** never taken out. The pool's lock guards the table.
*/
#ifndef LLM_NAMES_H
#define LLM_NAMES_H

#include <stdint.h>

#define LLM_NAMES_BUCKETS 1024

typedef struct llm_name {
  struct llm_name *next; /* in its bucket */
  uint32_t hash;
  char text[];
} llm_name;

typedef struct llm_names {
  llm_name *buckets[LLM_NAMES_BUCKETS];
} llm_names; /* zeroed is empty */

uint32_t llm_name_hash(const char *text);
/* A copy, not in any table; NULL: no memory. */
llm_name *llm_name_new(const char *text);
/* The table's own name of that text: `fresh`, or, if the text is there
** already, the one that is; then `fresh` is the caller's to free. */
llm_name *llm_names_put(llm_names *names, llm_name *fresh);
void llm_names_free(llm_names *names);

#endif
