/*
** fields.h - tables of Lua's as C fills and reads them, and times: seconds there,
** nanoseconds here. What is set goes into the table on the top of the stack.
*/
#ifndef LLMPOOL_FIELDS_H
#define LLMPOOL_FIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/llmpool.h"

static inline double to_seconds(int64_t ns) { return (double)ns / 1e9; }

/* Seconds, 0 or more. */
static inline int64_t to_ns(double seconds) {
  return seconds >= 9.2e9 ? LLM_FOREVER : (int64_t)(seconds * 1e9);
}

static inline void set_integer(lua_State *L, const char *name, uint64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

static inline void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

/* LLM_FOREVER: no field. */
static inline void set_seconds(lua_State *L, const char *name, int64_t ns) {
  if (ns != LLM_FOREVER) set_number(L, name, to_seconds(ns));
}

/* NULL: no field. */
static inline void set_string(lua_State *L, const char *name,
                              const char *value) {
  if (value == NULL) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static inline void set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

/* The number that a field has, or `otherwise`. */
static inline double number_field(lua_State *L, int index, const char *name,
                                  double otherwise) {
  bool is_there = lua_getfield(L, index, name) != LUA_TNIL;
  double value = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return is_there ? value : otherwise;
}

/* The same of seconds, in nanoseconds. */
static inline int64_t duration_field(lua_State *L, int index, const char *name,
                                     int64_t otherwise) {
  double value = number_field(L, index, name, -1);
  return value >= 0 ? to_ns(value) : otherwise;
}

/* Pushes a table whose keys ("k") or values ("v") are weak. */
static inline void push_weak_table(lua_State *L, const char *mode) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  set_string(L, "__mode", mode);
  lua_setmetatable(L, -2);
}

#endif
