/*
** spec.c - what a client is made from: its table, as the core keeps it.
**
** One idea: a spec is packed, so that every state can make its own instance of
** it, or bound to this state; which of them is decided here, once, and whoever
** has a spec need not care. It registers nothing.
*/
#include "spec.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/fields.h"
#include "binding.h"

void free_spec(void *user, void *spec_pointer) {
  LuaSpec *spec = spec_pointer;
  (void)user;
  if (spec == NULL || atomic_fetch_sub(&spec->refs, 1) > 1) return;
  value_unref(spec->packed);
  if (spec->L) luaL_unref(spec->L, LUA_REGISTRYINDEX, spec->ref);
  free(spec);
}

void ref_spec(void *user, void *spec_pointer) {
  LuaSpec *spec = spec_pointer;
  (void)user;
  atomic_fetch_add(&spec->refs, 1);
}

Value *pack_value(lua_State *L, int index, const char *noun) {
  ValueRules rules = {noun, 0, send_pool};
  ValueWhy why;
  Value *value = value_pack(L, index, 1, &rules, &why);
  if (value == NULL) luaL_error(L, "%s", why.text);
  return value;
}

/* stack: the item at `index`: {bound = true} keeps it in this state. */
LuaSpec *make_spec(lua_State *L, int index) {
  index = lua_absindex(L, index);
  lua_getfield(L, index, "bound");
  bool bound = lua_toboolean(L, -1);
  lua_pop(L, 1);
  Value *packed = bound ? NULL : pack_value(L, index, "client");
  int ref = LUA_NOREF;
  if (bound) {
    lua_pushvalue(L, index);
    ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  LuaSpec *spec = calloc(1, sizeof *spec);
  if (spec == NULL) {
    value_unref(packed);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    luaL_error(L, "not enough memory");
    return NULL;
  }
  *spec = (LuaSpec){packed, bound ? worker_of(L)->L : NULL, ref, 1};
  return spec;
}

void push_spec(lua_State *L, const LuaSpec *spec) {
  if (spec->packed)
    value_unpack(L, spec->packed);
  else
    lua_rawgeti(L, LUA_REGISTRYINDEX, spec->ref);
}

/* ---- a client's table ---------------------------------------------------- */

static void read_breaker(lua_State *L, int index, llm_breaker *breaker) {
  breaker->failures = (uint32_t)number_field(L, index, "failures", 0);
  breaker->window_ns = duration_field(L, index, "window", LLM_FOREVER);
  breaker->open_ns = duration_field(L, index, "open", LLM_FOREVER);
  breaker->max_open_ns = duration_field(L, index, "max_open", LLM_FOREVER);
  if (lua_getfield(L, index, "floor") == LUA_TBOOLEAN)
    breaker->floor = lua_toboolean(L, -1) ? LLM_FLOOR_ALWAYS : LLM_FLOOR_NONE;
  lua_pop(L, 1);
}

/* stack: ... limits, popped */
static void read_limits(lua_State *L, llm_limits *limits) {
  int index = lua_gettop(L);
  limits->slots = (uint32_t)number_field(L, index, "slots", 0);
  limits->rpm = number_field(L, index, "rpm", 0);
  limits->tpm = number_field(L, index, "tpm", 0);
  limits->rpm_burst = number_field(L, index, "rpm_burst", 0);
  limits->tpm_burst = number_field(L, index, "tpm_burst", 0);
  if (lua_getfield(L, index, "breaker") == LUA_TTABLE)
    read_breaker(L, index + 1, &limits->breaker);
  lua_pop(L, 2);
}

/* The spec comes last: nothing may raise while only we own it. */
void read_client(lua_State *L, int item, llm_client_spec *client) {
  *client = (llm_client_spec){.id = NULL};
  if (lua_getfield(L, item, "limits") == LUA_TTABLE)
    read_limits(L, &client->limits);
  else
    lua_pop(L, 1);
  lua_getfield(L, item, "live");
  bool live = lua_toboolean(L, -1);
  lua_getfield(L, item, "id");
  client->id = lua_tostring(L, -1); /* the item holds it */
  lua_pop(L, 2);
  client->spec = make_spec(L, item);
  client->instance = live ? client->spec : NULL;
}

static int clients_gc(lua_State *L) {
  Clients *clients = lua_touserdata(L, 1);
  for (; clients->taken < clients->count; clients->taken++)
    free_spec(NULL, clients->list[clients->taken].spec);
  return 0;
}

Clients *read_clients(lua_State *L, int items) {
  size_t n = lua_rawlen(L, items);
  Clients *clients =
      lua_newuserdatauv(L, sizeof *clients + n * sizeof clients->list[0], 0);
  memset(clients, 0, sizeof *clients);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, clients_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, items, (lua_Integer)i + 1);
    read_client(L, lua_gettop(L), &clients->list[i]);
    clients->count = i + 1;
    lua_pop(L, 1);
  }
  return clients;
}
