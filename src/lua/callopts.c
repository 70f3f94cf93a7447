/*
** callopts.c - the options of one call: timeout, priority, prefer, exclude,
** tokens.
**
** It checks and converts; every mistake is an argument error that names the
** option and, for an unknown one, the nearest that exists. Ids are copied into
** a userdata that takes the options' stack index: a script may change its table
** while the call waits.
*/
#include "binding.h"

#include <math.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

#define MOST_TOKENS 1e15 /* and so no sum of them overflows */

/* The argument's number as the user sees it: get_client's options are the
** third after self, acquire's the second, though both lie at one index. */
static int argument_number(lua_State *L, int index) {
  return lua_isnil(L, index - 1) ? index - 1 : index;
}

int64_t check_seconds(lua_State *L, int argument, int index, const char *name) {
  double s = lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TNUMBER || isnan(s) || s < 0)
    wrong_option(L, argument, index, name, "a number of seconds, 0 or more");
  return to_ns(s);
}

/* Pushes the names as one text: a, b and c. */
static void push_names(lua_State *L, const char *const *known) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (int i = 0; known[i]; i++) {
    if (i > 0) luaL_addstring(&buffer, known[i + 1] ? ", " : " and ");
    luaL_addstring(&buffer, known[i]);
  }
  luaL_pushresult(&buffer);
}

void push_unknown_option(lua_State *L, const char *name,
                         const char *const *known) {
  push_helper(L, HELPER_NEAREST);
  lua_pushstring(L, name);
  lua_newtable(L);
  for (int i = 0; known[i]; i++) {
    lua_pushstring(L, known[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_call(L, 2, 1);
  name = push_shown(L, name);
  lua_insert(L, -2); // stack: shown near
  if (lua_isstring(L, -1)) {
    lua_pushfstring(L, "unknown option '%s'; did you mean '%s'?", name,
                    lua_tostring(L, -1));
  } else {
    push_names(L, known);
    lua_pushfstring(L, "unknown option '%s'; there %s %s", name,
                    known[1] ? "are" : "is", lua_tostring(L, -1));
  }
}

static void unknown_option(lua_State *L, int argument, const char *name) {
  static const char *const known[] = {"timeout", "priority", "prefer",
                                      "exclude", "tokens",   NULL};
  push_unknown_option(L, name, known);
  misused(L, argument, lua_tostring(L, -1));
}

static void set_timeout(int64_t timeout_ns, llm_clock *clock, llm_ask *ask) {
  ask->now = timeout_ns == 0;
  ask->deadline_ns = timeout_ns == LLM_FOREVER || timeout_ns == 0
                         ? LLM_FOREVER
                         : llm_time_after(llm_clock_now(clock), timeout_ns);
}

static uint8_t check_priority(lua_State *L, int argument) {
  int ok;
  lua_Integer level = lua_tointegerx(L, -1, &ok);
  if (!ok || level < 0 || level >= LLM_PRIORITIES)
    wrong_option(L, argument, -1, "priority", "0, 1, 2 or 3");
  return (uint8_t)level;
}

static uint64_t check_tokens(lua_State *L, int argument) {
  double n = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || isnan(n) || n < 0 || n >= MOST_TOKENS)
    wrong_option(L, argument, -1, "tokens", "the request's tokens, 0 or more");
  return (uint64_t)ceil(n);
}

/* ---- lists of ids ------------------------------------------------------ */

/* The value on the top is an id, where one may stand for a list, or a list of
** ids. */
static void check_ids(lua_State *L, int argument, const char *name,
                      bool one_is_enough) {
  if (one_is_enough && lua_type(L, -1) == LUA_TSTRING) return;
  if (lua_type(L, -1) != LUA_TTABLE)
    wrong_option(L, argument, -1, name,
                 one_is_enough ? "a client's id or a list of them"
                               : "a list of clients' ids");
  if (lua_rawlen(L, -1) > UINT16_MAX)
    misused(L, argument,
            lua_pushfstring(L, "%s has more than 65535 ids", name));
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
    if (lua_rawgeti(L, -1, i) != LUA_TSTRING) {
      name = lua_pushfstring(L, "%s[%I]", name, i);
      wrong_option(L, argument, -2, name, "a client's id");
    }
    lua_pop(L, 1);
  }
}

static size_t size_of_ids(lua_State *L, int index, uint16_t *count) {
  size_t bytes = 0;
  *count = 0;
  if (lua_isnil(L, index)) return 0;
  bool is_one = lua_type(L, index) == LUA_TSTRING;
  lua_Integer n = is_one ? 1 : (lua_Integer)lua_rawlen(L, index);
  for (lua_Integer i = 1; i <= n; i++) {
    if (is_one)
      lua_pushvalue(L, index);
    else
      lua_rawgeti(L, index, i);
    bytes += lua_rawlen(L, -1) + 1;
    lua_pop(L, 1);
  }
  *count = (uint16_t)n;
  return bytes;
}

/* Copies the ids at `index` to `text`, points `ids` at them; returns the end.*/
static char *copy_ids(lua_State *L, int index, const char **ids, uint32_t count,
                      char *text) {
  for (uint32_t i = 0; i < count; i++) {
    size_t length;
    if (lua_type(L, index) == LUA_TSTRING)
      lua_pushvalue(L, index);
    else
      lua_rawgeti(L, index, (lua_Integer)i + 1);
    const char *id = lua_tolstring(L, -1, &length);
    memcpy(text, id, length + 1);
    ids[i] = text;
    text += length + 1;
    lua_pop(L, 1);
  }
  return text;
}

/* The options at `index` give way to a copy of their ids. */
static void keep_ids(lua_State *L, int index, llm_ask *ask) {
  lua_getfield(L, index, "prefer");
  lua_getfield(L, index, "exclude");
  int prefer = lua_gettop(L) - 1, exclude = prefer + 1;
  size_t bytes = size_of_ids(L, prefer, &ask->n_prefer);
  bytes += size_of_ids(L, exclude, &ask->n_exclude);
  uint32_t count = (uint32_t)ask->n_prefer + ask->n_exclude;
  const char **ids = lua_newuserdatauv(L, count * sizeof *ids + bytes, 0);
  char *text = (char *)(ids + count);
  text = copy_ids(L, prefer, ids, ask->n_prefer, text);
  copy_ids(L, exclude, ids + ask->n_prefer, ask->n_exclude, text);
  ask->prefer = ids;
  ask->exclude = ids + ask->n_prefer;
  lua_replace(L, index);
  lua_pop(L, 2);
}

/* ---- all of them ------------------------------------------------------- */

/* stack: ... key value; true: there are ids to be kept */
static bool check_option(lua_State *L, int argument, const char *name,
                         llm_clock *clock, llm_ask *ask) {
  if (strcmp(name, "timeout") == 0) {
    set_timeout(check_seconds(L, argument, -1, "timeout"), clock, ask);
  } else if (strcmp(name, "priority") == 0) {
    ask->priority = check_priority(L, argument);
  } else if (strcmp(name, "tokens") == 0) {
    ask->tokens = check_tokens(L, argument);
  } else if (strcmp(name, "prefer") == 0) {
    check_ids(L, argument, name, true);
    return true;
  } else if (strcmp(name, "exclude") == 0) {
    check_ids(L, argument, name, false);
    return true;
  } else {
    unknown_option(L, argument, name);
  }
  return false;
}

void check_ask(lua_State *L, int index, int64_t timeout_ns, llm_clock *clock,
               llm_ask *ask) {
  *ask = (llm_ask){.deadline_ns = LLM_FOREVER};
  if (timeout_ns != LLM_FOREVER) set_timeout(timeout_ns, clock, ask);
  if (lua_isnil(L, index)) return;
  int argument = argument_number(L, index);
  bool has_ids = false;
  if (!lua_istable(L, index))
    misused(L, argument,
            lua_pushfstring(L, "a table of options expected, got %s",
                            luaL_typename(L, index)));
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      misused(L, argument, "options are named: {timeout = seconds, ...}");
    const char *name = lua_tostring(L, -2);
    has_ids = check_option(L, argument, name, clock, ask) || has_ids;
    lua_pop(L, 1);
  }
  if (has_ids) keep_ids(L, index, ask);
}
