/*
** state.c - a Lua state with memory of its own, for the program and its
** threads.
**
** One idea: a state belongs to one thread, and Lua says of each block how
** large it is; so small blocks need no lock and no header. A free one lies in
** the list of its size, in steps of 8 bytes, and is the next to be given out;
** new ones are cut from slabs. What is larger than 1 KB is malloc's. A waiting
** task is seven small blocks: this saves 88 bytes of each, and half the time.
** Slabs are given back when the state is closed, not before.
**
** A plain lua5.4 that loads the module has its own allocator, and so have the
** builds with sanitizers, which are to see every block.
*/
#include "state.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#define STEP 8
#define LARGEST 1024 /* bytes of a small block */
#define FIRST_SLAB ((size_t)32 * 1024)
#define LAST_SLAB ((size_t)1024 * 1024)

typedef struct Block {
  struct Block *next;
} Block;

typedef struct Slab {
  struct Slab *next;
  uint64_t start[]; /* as aligned as Lua wants it */
} Slab;

struct Memory {
  Block *free[LARGEST / STEP + 1]; /* by steps */
  char *next, *end;                /* of what is not cut yet */
  size_t slab_size;                /* of the next slab */
  Slab *slabs;
  bool warns;      /* warnings are on */
  bool is_warning; /* one is being written, piece by piece */
};

/* ---- small blocks ------------------------------------------------------ */

static size_t steps_of(size_t size) { return (size + STEP - 1) / STEP; }

static void give(Memory *memory, void *block, size_t steps) {
  Block *freed = block;
  freed->next = memory->free[steps];
  memory->free[steps] = freed;
}

/* What is left of the slab is a small block too. */
static bool add_slab(Memory *memory) {
  size_t left = (size_t)(memory->end - memory->next);
  Slab *slab = malloc(sizeof *slab + memory->slab_size);
  if (slab == NULL) return false;
  if (left > 0) give(memory, memory->next, left / STEP);
  slab->next = memory->slabs;
  memory->slabs = slab;
  memory->next = (char *)slab->start;
  memory->end = memory->next + memory->slab_size;
  if (memory->slab_size < LAST_SLAB) memory->slab_size *= 2;
  return true;
}

static void *take(Memory *memory, size_t steps) {
  Block *block = memory->free[steps];
  if (block != NULL) {
    memory->free[steps] = block->next;
    return block;
  }
  if ((size_t)(memory->end - memory->next) < steps * STEP && !add_slab(memory))
    return NULL;
  char *cut = memory->next;
  memory->next += steps * STEP;
  return cut;
}

/* ---- the allocator ----------------------------------------------------- */

static void *allocate(Memory *memory, size_t size) {
  return size <= LARGEST ? take(memory, steps_of(size)) : malloc(size);
}

static void release(Memory *memory, void *block, size_t size) {
  if (size <= LARGEST)
    give(memory, block, steps_of(size));
  else
    free(block);
}

/* Between two sizes of which one at least is small. Shrinking must not fail:
** a block that stays where it is counts as one of the smaller size. */
static void *move(Memory *memory, void *block, size_t old, size_t size) {
  if (old <= LARGEST && steps_of(old) == steps_of(size)) return block;
  void *moved = allocate(memory, size);
  if (moved == NULL) return size < old && old <= LARGEST ? block : NULL;
  memcpy(moved, block, old < size ? old : size);
  release(memory, block, old);
  return moved;
}

void *memory_allocate(void *user, void *block, size_t old, size_t size) {
  Memory *memory = user;
  if (block == NULL) return size == 0 ? NULL : allocate(memory, size);
  if (size == 0) {
    release(memory, block, old);
    return NULL;
  }
  if (old > LARGEST && size > LARGEST) return realloc(block, size);
  return move(memory, block, old, size);
}

Memory *memory_new(void) {
  Memory *memory = calloc(1, sizeof *memory);
  if (memory != NULL) memory->slab_size = FIRST_SLAB;
  return memory;
}

void memory_free(Memory *memory) {
  while (memory->slabs != NULL) {
    Slab *slab = memory->slabs;
    memory->slabs = slab->next;
    free(slab);
  }
  free(memory);
}

/* ---- the state --------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

lua_State *state_new(void) { return luaL_newstate(); }

void state_close(lua_State *L) { lua_close(L); }

#else

/* The rest is what luaL_newstate sets, which it keeps to itself. */
static int panic(lua_State *L) {
  const char *text = lua_tostring(L, -1);
  fprintf(stderr, "PANIC: unprotected error in call to Lua API (%s)\n",
          text ? text : "error object is not a string");
  fflush(stderr);
  return 0; /* Lua aborts */
}

static bool is_control(Memory *memory, const char *text, bool more) {
  if (more || text[0] != '@') return false;
  if (strcmp(text + 1, "off") == 0)
    memory->warns = false;
  else if (strcmp(text + 1, "on") == 0)
    memory->warns = true;
  return true;
}

static void warn(void *user, const char *text, int more) {
  Memory *memory = user;
  if (!memory->is_warning && is_control(memory, text, more != 0)) return;
  if (!memory->warns) return;
  if (!memory->is_warning) fputs("Lua warning: ", stderr);
  fputs(text, stderr);
  memory->is_warning = more != 0;
  if (!more) fputc('\n', stderr);
  fflush(stderr);
}

lua_State *state_new(void) {
  Memory *memory = memory_new();
  lua_State *L = memory ? lua_newstate(memory_allocate, memory) : NULL;
  if (L == NULL) {
    if (memory) memory_free(memory);
    return NULL;
  }
  lua_atpanic(L, panic);
  lua_setwarnf(L, warn, memory);
  return L;
}

void state_close(lua_State *L) {
  void *memory;
  lua_getallocf(L, &memory);
  lua_close(L);
  memory_free(memory);
}

#endif
