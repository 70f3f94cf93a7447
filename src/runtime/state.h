/*
** state.h - a Lua state with memory of its own.
*/
#ifndef LLMPOOL_STATE_H
#define LLMPOOL_STATE_H

#include <stddef.h>

#include <lua.h>

/* As luaL_newstate: a panic is told, warnings are off until "@on". NULL: no
** memory. state_close ends it and gives its memory back to the system. */
lua_State *state_new(void);
void state_close(lua_State *L);

/* The allocator under it, a lua_Alloc; only one thread at a time. */
typedef struct Memory Memory;
Memory *memory_new(void); /* NULL: no memory */
/* Everything below 1 KB goes at once, freed or not. */
void memory_free(Memory *memory);
void *memory_allocate(void *memory, void *block, size_t old, size_t size);

#endif
