/*
** names.c - a table of strings, chained, that only grows.
*/
#include "names.h"

#include <stdlib.h>
#include <string.h>

uint32_t llm_name_hash(const char *text) { /* FNV-1a */
  uint32_t hash = 2166136261u;
  for (const unsigned char *c = (const unsigned char *)text; *c != 0; c++)
    hash = (hash ^ *c) * 16777619u;
  return hash;
}

llm_name *llm_name_new(const char *text) {
  size_t size = strlen(text) + 1;
  llm_name *name = malloc(sizeof *name + size);
  if (name == NULL) return NULL;
  name->next = NULL;
  name->hash = llm_name_hash(text);
  memcpy(name->text, text, size);
  return name;
}

llm_name *llm_names_put(llm_names *names, llm_name *fresh) {
  llm_name **bucket = &names->buckets[fresh->hash % LLM_NAMES_BUCKETS];
  for (llm_name *name = *bucket; name != NULL; name = name->next)
    if (name->hash == fresh->hash && strcmp(name->text, fresh->text) == 0)
      return name;
  fresh->next = *bucket;
  return *bucket = fresh;
}

void llm_names_free(llm_names *names) {
  for (size_t i = 0; i < LLM_NAMES_BUCKETS; i++) {
    while (names->buckets[i] != NULL) {
      llm_name *name = names->buckets[i];
      names->buckets[i] = name->next;
      free(name);
    }
  }
}
