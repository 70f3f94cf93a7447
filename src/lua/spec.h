/*
** spec.h - what a client is made from, as the core keeps it: a value for every
** state, or one of a state's own.
*/
#ifndef LLMPOOL_LUA_SPEC_H
#define LLMPOOL_LUA_SPEC_H

#include <lua.h>
#include <stdatomic.h>

#include "../core/llmpool.h"
#include "../runtime/value.h"

typedef struct LuaSpec {
  Value *packed; /* NULL: bound */
  lua_State *L;  /* main thread of the owner, with ref */
  int ref;
  _Atomic uint32_t refs;
} LuaSpec;

/* The value at `index` for every state, `noun` being what it is; raises. */
Value *pack_value(lua_State *L, int index, const char *noun);
/* A spec from the normalised item {spec = table} or {bound = value} at index. */
LuaSpec *make_spec(lua_State *L, int index);
void push_spec(lua_State *L, const LuaSpec *spec);
void free_spec(void *user, void *spec); /* both of the core's factory */
void ref_spec(void *user, void *spec);
/* What the core is told of the item at `item`, which holds the id. The spec is
** the caller's. */
void read_client(lua_State *L, int item, llm_client_spec *client);
/* A userdata: what the core has not taken is freed with it. */
typedef struct Clients {
  size_t count, taken;
  llm_client_spec list[];
} Clients;
/* Pushes the clients of the list of items at `items`. */
Clients *read_clients(lua_State *L, int items);

#endif
