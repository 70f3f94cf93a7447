/*
** value_path.c - the sentence of a refusal: what cannot be sent, and where.
**
** A place reads as Lua would write it, argument 2.config.list[3]. It is not
** kept while packing: each table knows the table it was met in, and the key is
** searched for there, from the refused value up. The text grows from its end;
** where it would grow too long, the middle is left out.
*/
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "value_format.h"

#define PATH_TEXT 160 /* bytes of a place's keys, with its zero */
#define KEY_TEXT 40   /* bytes of a key, roughly; a longer one is cut */

typedef struct Path {
  char text[PATH_TEXT]; /* used from `start` to its zero */
  size_t start;
  bool cut; /* nothing goes in front any more */
} Path;

static void prepend(Path *path, const char *step) {
  static const char dots[] = "...";
  size_t len = strlen(step);
  path->cut = path->start < len + strlen(dots);
  if (path->cut) step = dots, len = strlen(dots);
  path->start -= len;
  memcpy(path->text + path->start, step, len);
}

/* ---- keys -------------------------------------------------------------- */

static bool is_name(const char *text, size_t len) {
  if (len == 0 || len > KEY_TEXT || isdigit((unsigned char)*text)) return false;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 0x80 || (!isalnum(c) && c != '_')) return false;
  }
  return true;
}

/* Writes one byte as it stands between quotes; returns how many it took. */
static size_t write_quoted(char *to, unsigned char c) {
  if (c == '"' || c == '\\') return (size_t)sprintf(to, "\\%c", c);
  if (c < ' ' || c == 0x7f) return (size_t)sprintf(to, "\\%03d", c);
  *to = (char)c;
  return 1;
}

static bool starts_character(char c) { return (c & 0xc0) != 0x80; } /* UTF-8 */

/* `to` has room for twice KEY_TEXT. */
static void write_string_key(char *to, const char *key, size_t len) {
  if (is_name(key, len)) {
    sprintf(to, ".%s", key);
    return;
  }
  size_t used = (size_t)sprintf(to, "[\"");
  for (size_t i = 0; i < len; i++) {
    if (used > KEY_TEXT && (starts_character(key[i]) || used > KEY_TEXT + 4)) {
      strcpy(to + used, "...\"]");
      return;
    }
    used += write_quoted(to + used, (unsigned char)key[i]);
  }
  strcpy(to + used, "\"]");
}

/* Never converts the key in place: lua_next would lose its way. */
static void prepend_key(lua_State *L, Path *path, int key) {
  char step[2 * KEY_TEXT];
  size_t len;
  if (lua_type(L, key) == LUA_TSTRING) {
    const char *text = lua_tolstring(L, key, &len);
    write_string_key(step, text, len);
  } else if (lua_isinteger(L, key)) {
    snprintf(step, sizeof step, "[" LUA_INTEGER_FMT "]", lua_tointeger(L, key));
  } else if (lua_type(L, key) == LUA_TNUMBER) {
    snprintf(step, sizeof step, "[" LUA_NUMBER_FMT "]", lua_tonumber(L, key));
  } else if (lua_isboolean(L, key)) {
    strcpy(step, lua_toboolean(L, key) ? "[true]" : "[false]");
  } else {
    snprintf(step, sizeof step, "[%s]", luaL_typename(L, key));
  }
  prepend(path, step);
}

/* ---- places ------------------------------------------------------------ */

/* The step from one table that was met to another that was met in it. */
static void prepend_step(lua_State *L, Packer *p, Path *path, ptrdiff_t from,
                         ptrdiff_t to) {
  int top = lua_gettop(L);
  lua_rawgeti(L, p->tables, (lua_Integer)from + 1);
  lua_rawgeti(L, p->tables, (lua_Integer)to + 1);
  bool found = false;
  lua_pushnil(L);
  while (!found && lua_next(L, -3)) { /* stack: from to key value */
    found = lua_rawequal(L, -1, -3);
    lua_pop(L, 1);
  }
  if (found)
    prepend_key(L, path, lua_gettop(L));
  else
    prepend(path, "[table]"); /* it is itself a key */
  lua_settop(L, top);
}

static void find_path(lua_State *L, Packer *p, Path *path, ptrdiff_t *place) {
  *path = (Path){.start = PATH_TEXT - 1};
  if (p->place >= 0 && !p->at_key) prepend_key(L, path, p->key);
  for (*place = p->place; *place >= 0;) {
    ptrdiff_t parent = p->nodes[*place].parent;
    if (parent >= 0 && !path->cut) prepend_step(L, p, path, parent, *place);
    *place = parent;
  }
}

_Noreturn void value_l_refuse(lua_State *L, Packer *p, const char *what,
                              const char *remedy) {
  Path path;
  ptrdiff_t root;
  char number[16] = "";
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  find_path(L, p, &path, &root);
  if (p->rules->number > 0)
    snprintf(number, sizeof number, " %d", p->rules->number + (int)(-1 - root));
  snprintf(p->why->text, sizeof p->why->text, "cannot send %s%s (%s%s%s)%s%s",
           what, p->at_key ? " as a key" : "", p->rules->noun, number,
           path.text + path.start, remedy ? ": " : "", remedy ? remedy : "");
  lua_pushnil(L);
  for (;;) lua_error(L);
}
