/*
** ending_memory.h - memory that ends at the Nth allocation, for tests that try
** every N.
**
** One idea: two countdowns, each while it is armed: one for Lua's allocator,
** one for the malloc of our own C (the linker's --wrap). Ended, memory stays so
** until it is disarmed: a second try fails too. To be included by the one file
** of a program that is linked with --wrap.
*/
#ifndef ENDING_MEMORY_H
#define ENDING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct Memory { /* threads have part in it */
  _Atomic bool armed;
  _Atomic long left; /* allocations until it ends */
} Memory;

static Memory lua_memory, c_memory;

static bool is_out(Memory *memory) {
  return memory->armed && memory->left-- <= 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);

void *__wrap_malloc(size_t size) {
  return is_out(&c_memory) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
  return is_out(&c_memory) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t size) {
  return is_out(&c_memory) ? NULL : __real_realloc(block, size);
}

/* Lua's allocator. */
static void *allocate(void *ud, void *block, size_t old, size_t size) {
  (void)ud;
  (void)old;
  if (size == 0) {
    free(block);
    return NULL;
  }
  /* an emergency collection has been tried when it asks a second time */
  return is_out(&lua_memory) ? NULL : __real_realloc(block, size);
}

#endif
