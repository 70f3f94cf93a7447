/*
** errors.c - error objects, and the traceback that belongs to an error.
**
** One idea: an error value goes on unchanged, also where it is caught to give
** a client back and raised again; the traceback of the place that raised it is
** kept beside, for the last error by identity and for tables by weak key, so
** that whoever reports it in the end can show where it came from.
*/
#include "errors.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "fields.h"
#include "runtime.h"

static const char errors_key = 'e';    /* registry: the metatable */
static const char traceback_key = 't'; /* registry: {error, text, weak} */

static const char words_key = 'w'; /* registry: {hint's, report's} */

enum { KEPT_ERROR = 1, KEPT_TEXT, KEPT_WEAK, KEPT_RETHROW, KEPT_HINT };
enum { WORDS_HINT = 1, WORDS_REPORT };

static int mm_tostring(lua_State *L) {
  lua_getfield(L, 1, "message");
  luaL_tolstring(L, -1, NULL);
  return 1;
}

void errors_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__tostring", mm_tostring},
                                         {NULL, NULL}};
  luaL_newlib(L, metamethods);
  lua_pushliteral(L, "llmpool.error");
  lua_setfield(L, -2, "__name");
  lua_pushlightuserdata(L, (void *)&errors_key);
  lua_setfield(L, -2, "__sendable"); /* value.h: goes to other states */
  lua_rawsetp(L, LUA_REGISTRYINDEX, &errors_key);
  lua_createtable(L, KEPT_RETHROW, 0);
  push_weak_table(L, "k");
  lua_rawseti(L, -2, KEPT_WEAK);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
}

void push_error(lua_State *L, const char *kind, const char *format, ...) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_createtable(L, 0, 6);
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  va_list arguments;
  va_start(arguments, format);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_setfield(L, -2, "message");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &errors_key);
  lua_setmetatable(L, -2);
}

const char *error_kind(lua_State *L, int index) {
  const char *kind = NULL;
  index = lua_absindex(L, index);
  if (!lua_getmetatable(L, index)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &errors_key);
  if (lua_rawequal(L, -1, -2)) {
    lua_pushliteral(L, "kind");
    lua_rawget(L, index);
    kind = lua_tostring(L, -1); /* the object holds the string */
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
  return kind;
}

static int as_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

const char *push_error_text(lua_State *L, int index) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  index = lua_absindex(L, index);
  lua_pushcfunction(L, as_text);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushfstring(L, "(error object is a %s value without a text)",
                    luaL_typename(L, index));
  }
  return lua_tostring(L, -1);
}

static bool has_control(const char *text) {
  while (*text && !iscntrl((unsigned char)*text)) text++;
  return *text != '\0';
}

const char *push_shown(lua_State *L, const char *text) {
  luaL_Buffer buffer;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (!has_control(text)) return lua_pushstring(L, text);
  luaL_buffinit(L, &buffer);
  for (; *text; text++) {
    char escaped[5] = {*text};
    if (iscntrl((unsigned char)*text))
      snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned char)*text);
    luaL_addstring(&buffer, escaped);
  }
  luaL_pushresult(&buffer);
  return lua_tostring(L, -1);
}

/* ---- what the Lua half words -------------------------------------------- */

/* Pushes one of the functions and returns true, or pushes nothing. */
static bool push_words(lua_State *L, int which) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &words_key) == LUA_TTABLE &&
      lua_rawgeti(L, -1, which) == LUA_TFUNCTION) {
    lua_remove(L, -2);
    return true;
  }
  lua_settop(L, -2);
  return false;
}

void errors_word_by(lua_State *L, int hint, int report) {
  const int given[] = {lua_absindex(L, hint), lua_absindex(L, report)};
  lua_createtable(L, WORDS_REPORT, 0);
  for (int which = WORDS_HINT; which <= WORDS_REPORT; which++) {
    if (!lua_isnil(L, given[which - 1]))
      lua_pushvalue(L, given[which - 1]);
    else if (!push_words(L, which))
      continue;
    lua_rawseti(L, -2, which);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &words_key);
}

/* Lua's own message of a name that stands for nothing. */
static bool is_of_nil(lua_State *L, int error) {
  if (lua_type(L, error) != LUA_TSTRING) return false;
  const char *message = lua_tostring(L, error);
  return strstr(message, "attempt to call a nil value (") ||
         strstr(message, "attempt to index a nil value (");
}

/* For a message handler: pushes what was probably meant, a string, or nil. The
** function in Lua looks at the frame that raised, above this one. */
static void push_new_hint(lua_State *L, int error) {
  error = lua_absindex(L, error);
  if (!is_of_nil(L, error) || !push_words(L, WORDS_HINT)) {
    lua_pushnil(L);
    return;
  }
  lua_pushvalue(L, error);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING) return;
  lua_pop(L, 1);
  lua_pushnil(L);
}

/* ---- tracebacks -------------------------------------------------------- */

void rethrow_mark(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key);
  lua_pushboolean(L, 1);
  lua_rawseti(L, -2, KEPT_RETHROW);
  lua_pop(L, 1);
}

/* stack: ... kept; whether the error at `error` was marked as raised anew */
static bool is_rethrown(lua_State *L, int error) {
  lua_rawgeti(L, -1, KEPT_RETHROW);
  bool marked = lua_toboolean(L, -1);
  lua_rawgeti(L, -2, KEPT_ERROR);
  bool same = lua_rawequal(L, -1, error);
  lua_pop(L, 2);
  lua_pushnil(L);
  lua_rawseti(L, -2, KEPT_RETHROW);
  return marked && same;
}

/* stack: error kept text; leaves the error and kept. No hint is of this one
** yet. */
static void keep_text(lua_State *L, int error) {
  int kept = error + 1;
  if (lua_istable(L, error)) {
    lua_rawgeti(L, kept, KEPT_WEAK);
    lua_pushvalue(L, error);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
  lua_rawseti(L, kept, KEPT_TEXT);
  lua_pushnil(L);
  lua_rawseti(L, kept, KEPT_HINT);
  lua_pushvalue(L, error);
  lua_rawseti(L, kept, KEPT_ERROR);
}

void keep_foreign_traceback(lua_State *L) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key);
  lua_insert(L, -2); /* stack: error kept text */
  keep_text(L, lua_gettop(L) - 2);
  lua_pop(L, 1);
  rethrow_mark(L);
}

int keep_traceback(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_checkstack(L, LUA_MINSTACK)) return 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key); /* stack: error kept */
  if (is_rethrown(L, 1)) {
    lua_settop(L, 1);
    return 1;
  }
  luaL_traceback(L, L, NULL, 1); /* stack: error kept text */
  keep_text(L, 1);
  push_new_hint(L, 1);
  lua_rawseti(L, 2, KEPT_HINT);
  lua_settop(L, 1);
  return 1;
}

int keep_unless_cancelled(lua_State *L) {
  const char *kind = error_kind(L, 1);
  return kind && strcmp(kind, "cancelled") == 0 ? 1 : keep_traceback(L);
}

void push_kept_traceback(lua_State *L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key) == LUA_TNIL)
    return; /* no memory was left for as much as that */
  lua_rawgeti(L, -1, KEPT_ERROR);
  if (!lua_isnil(L, index) && lua_rawequal(L, -1, index)) {
    lua_rawgeti(L, -2, KEPT_TEXT);
  } else {
    lua_rawgeti(L, -2, KEPT_WEAK);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void push_kept_hint(lua_State *L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key) != LUA_TTABLE) return;
  lua_rawgeti(L, -1, KEPT_ERROR);
  if (!lua_isnil(L, index) && lua_rawequal(L, -1, index))
    lua_rawgeti(L, -2, KEPT_HINT);
  else
    lua_pushnil(L);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void runtime_push_traceback(lua_State *L, int err, const char *message,
                            int level) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  err = lua_absindex(L, err);
  push_kept_traceback(L, err); // stack: traceback
  const bool is_kept = !lua_isnil(L, -1);
  if (is_kept)
    push_kept_hint(L, err);
  else
    push_new_hint(L, err); // stack: traceback hint
  if (message && lua_isstring(L, -1))
    message = lua_pushfstring(L, "%s; %s", message, lua_tostring(L, -1));
  else
    lua_pushnil(L); // stack: traceback hint message
  if (!is_kept)
    luaL_traceback(L, L, message, level);
  else if (message)
    lua_pushfstring(L, "%s\n%s", message, lua_tostring(L, -3));
  else
    lua_pushvalue(L, -3);
  lua_replace(L, -4);
  lua_pop(L, 2);
}

/* stack: ... error; the text of the report by the Lua half, pushed, or NULL */
static const char *push_report(lua_State *L, const char *what, int error,
                               const char *site) {
  if (!push_words(L, WORDS_REPORT)) return NULL;
  lua_pushstring(L, what);
  lua_pushvalue(L, error);
  push_kept_traceback(L, error);
  push_kept_hint(L, error);
  lua_pushstring(L, site);
  return lua_pcall(L, 5, 1, 0) == LUA_OK ? lua_tostring(L, -1) : NULL;
}

/* Without the Lua half, or without memory for it. */
static void report_plainly(lua_State *L, const char *what, int error,
                           const char *site) {
  const char *message = push_error_text(L, error);
  push_kept_traceback(L, error);
  const char *trace = lua_tostring(L, -1);
  lua_writestringerror("llmpool: %s", what);
  lua_writestringerror(": %s\n", message);
  if (trace) lua_writestringerror("%s\n", trace);
  if (site) lua_writestringerror("spawned at %s\n", site);
}

void report_error(lua_State *L, const char *what, int error, const char *site) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  error = lua_absindex(L, error);
  const int top = lua_gettop(L);
  const char *text = push_report(L, what, error, site);
  if (text)
    lua_writestringerror("%s\n", text);
  else
    report_plainly(L, what, error, site);
  lua_settop(L, top);
}

/* stack: ... function; searches one library table on the top */
static const char *find_in(lua_State *L, int function) {
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    bool found =
        lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, function);
    lua_pop(L, 1);
    if (found) {
      const char *name = lua_tostring(L, -1);
      lua_pop(L, 1);
      return name;
    }
  }
  return NULL;
}

/* The same for the library `name`, whose table is on the top; pushes what holds
** the result, or nothing. */
static const char *name_in(lua_State *L, const char *library, int function) {
  const char *name = lua_istable(L, -1) ? find_in(L, function) : NULL;
  if (name == NULL) return NULL;
  if (strcmp(library, LUA_GNAME) == 0) return lua_pushstring(L, name);
  return lua_pushfstring(L, "%s.%s", library, name);
}

/* Lua's own libraries: others may have copies under names of their own. */
static const char *name_in_standard(lua_State *L, int loaded, int function) {
  static const char *const names[] = {
      LUA_GNAME,     LUA_STRLIBNAME, LUA_TABLIBNAME,  LUA_COLIBNAME,
      LUA_IOLIBNAME, LUA_OSLIBNAME,  LUA_MATHLIBNAME, LUA_DBLIBNAME};
  const char *result = NULL;
  for (size_t i = 0; !result && i < sizeof names / sizeof *names; i++) {
    lua_getfield(L, loaded, names[i]);
    result = name_in(L, names[i], function);
  }
  return result;
}

/* The name is held by a string that is pushed where the function was, so that
** it lives until the caller's frame ends. */
const char *push_library_name(lua_State *L, int index) {
  int function = lua_absindex(L, index);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  int loaded = lua_gettop(L);
  const char *result = name_in_standard(L, loaded, function);
  lua_pushnil(L);
  while (result == NULL && lua_next(L, loaded)) {
    if (lua_type(L, -2) == LUA_TSTRING)
      result = name_in(L, lua_tostring(L, -2), function);
    if (result) break;
    lua_pop(L, 1);
  }
  if (result) lua_pushstring(L, result); /* above what may lie there */
  if (result) lua_replace(L, function);
  lua_settop(L, result ? function : function - 1);
  return result;
}
