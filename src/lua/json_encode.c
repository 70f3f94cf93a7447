/*
** json_encode.c - Lua values become JSON text, directly.
**
** One idea: equal values give equal bytes. An object's keys are written in
** their order as bytes, whatever order its table has, so that a request is the
** same text in every run: a provider's prompt cache and a test both want that.
** What JSON cannot say is refused, with the path to it; no metamethod runs. The
** marks of other libraries are read: dkjson's __jsontype, the NULL of cjson.
*/
#include "json.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#define WRITER_TYPE "llmpool.json.writer"
#define KEEP_BYTES (1 << 20) /* a larger buffer is not kept for the next */

typedef struct Key {
  const char *text; /* of a string that its table holds */
  size_t length;
  int place; /* of its value on the stack; 0: it is still in the table */
} Key;

enum { HELD = 16 }; /* values of an object that wait on the stack */

/* A userdata, so that an error leaks nothing; kept from call to call. */
typedef struct Writer {
  char *text;
  size_t length, room;
  Key *keys; /* of all objects that are open, innermost last */
  size_t key_count, key_room;
} Writer;

/* A table under way, and the part of it that is being written. */
typedef struct Frame {
  const struct Frame *up;
  const void *table;
  Key key;           /* text NULL: an item of an array */
  lua_Integer index; /* its number */
} Frame;

typedef struct Encoder {
  lua_State *L;
  Writer *out;
  const Json *json;
  bool pretty;
  int depth;
} Encoder;

static void l_value(Encoder *e, int index, const Frame *up);

/* ---- refusals ---------------------------------------------------------- */

static bool is_plain_name(const Key *key) {
  for (size_t i = 0; i < key->length; i++) {
    char c = key->text[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return key->length > 0 && key->length < 100;
}

/* The path to what `frame` is writing: messages[2].content */
static void add_path(luaL_Buffer *b, const Frame *frame) {
  char text[40];
  if (frame->up) add_path(b, frame->up);
  if (frame->key.text == NULL) {
    snprintf(text, sizeof text, "[%lld]", (long long)frame->index);
    luaL_addstring(b, text);
  } else if (is_plain_name(&frame->key)) {
    if (frame->up) luaL_addchar(b, '.');
    luaL_addlstring(b, frame->key.text, frame->key.length);
  } else {
    size_t length = frame->key.length < 100 ? frame->key.length : 100;
    luaL_addstring(b, "[\"");
    luaL_addlstring(b, frame->key.text, length);
    luaL_addstring(b, "\"]");
  }
}

/* Raises: "cannot encode a function (at tools[1].handler)" */
static int l_refuse(Encoder *e, const Frame *frame, const char *what) {
  lua_State *L = e->L;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (frame == NULL) return luaL_argerror(L, 1, what);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, what);
  luaL_addstring(&b, " (at ");
  add_path(&b, frame);
  luaL_addchar(&b, ')');
  luaL_pushresult(&b);
  return luaL_argerror(L, 1, lua_tostring(L, -1));
}

/* ---- the writer -------------------------------------------------------- */

static int mm_gc(lua_State *L) {
  Writer *w = lua_touserdata(L, 1);
  free(w->text);
  free(w->keys);
  w->text = NULL;
  w->keys = NULL;
  return 0;
}

/* Takes the writer that is kept, or a new one; it stays on the stack. A
** finalizer that encodes meanwhile makes its own. */
static Writer *take_writer(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(JSON_WRITER));
  Writer *w = lua_touserdata(L, -1);
  lua_pushnil(L);
  lua_replace(L, lua_upvalueindex(JSON_WRITER));
  if (w) {
    w->length = w->key_count = 0;
    return w;
  }
  lua_pop(L, 1);
  w = lua_newuserdatauv(L, sizeof *w, 0);
  memset(w, 0, sizeof *w);
  if (luaL_newmetatable(L, WRITER_TYPE)) {
    lua_pushcfunction(L, mm_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return w;
}

static void keep_writer(lua_State *L, Writer *w, int index) {
  if (w->room > KEEP_BYTES) {
    free(w->text);
    w->text = NULL;
    w->room = 0;
  }
  lua_pushvalue(L, index);
  lua_replace(L, lua_upvalueindex(JSON_WRITER));
}

static void *l_grow(Encoder *e, void *block, size_t *room, size_t needed,
                    size_t unit) {
  size_t larger = *room ? *room * 2 : 1024;
  while (larger < needed) larger *= 2;
  void *grown = realloc(block, larger * unit);
  if (grown == NULL) luaL_error(e->L, "not enough memory");
  *room = larger;
  return grown;
}

/* Room for `length` more bytes, and where they go. */
static char *l_reserve(Encoder *e, size_t length) {
  Writer *w = e->out;
  if (w->room - w->length < length)
    w->text = l_grow(e, w->text, &w->room, w->length + length, 1);
  return w->text + w->length;
}

static void l_put(Encoder *e, const char *text, size_t length) {
  memcpy(l_reserve(e, length), text, length);
  e->out->length += length;
}

static void l_put_char(Encoder *e, char c) {
  *l_reserve(e, 1) = c;
  e->out->length++;
}

static void l_new_line(Encoder *e) {
  if (!e->pretty) return;
  size_t length = 1 + 2 * (size_t)e->depth;
  char *at = l_reserve(e, length);
  memset(at, ' ', length);
  *at = '\n';
  e->out->length += length;
}

/* ---- scalars ----------------------------------------------------------- */

static void l_integer(Encoder *e, lua_Integer value) {
  char digits[24], *at = digits + sizeof digits;
  lua_Unsigned rest = (lua_Unsigned)value;
  if (value < 0) rest = 0 - rest;
  do *--at = (char)('0' + rest % 10);
  while ((rest /= 10) != 0);
  if (value < 0) *--at = '-';
  l_put(e, at, (size_t)(digits + sizeof digits - at));
}

/* The fewest digits that give the same number again; a float stays one. */
static void l_float(Encoder *e, const Frame *up, lua_Number value) {
  char text[40];
  if (isnan(value) || isinf(value))
    l_refuse(e, up,
             isnan(value) ? "cannot encode nan, JSON has no such number"
                          : "cannot encode inf, JSON has no such number");
  int length = 0;
  int least = value > -DBL_MIN && value < DBL_MIN ? 1 : 15; /* subnormal? */
  for (int digits = least; digits <= 17; digits++) {
    length = snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  char *comma = strchr(text, ','); /* some locales have it for a point */
  if (comma) *comma = '.';
  l_put(e, text, (size_t)length);
  if (strpbrk(text, ".e") == NULL) l_put(e, ".0", 2);
}

static void l_escape(Encoder *e, unsigned char c) {
  static const char plain[] = "\"\\\b\f\n\r\t", written[] = "\"\\bfnrt";
  char text[8];
  const char *found = c ? strchr(plain, c) : NULL;
  if (found) {
    text[0] = '\\';
    text[1] = written[found - plain];
    l_put(e, text, 2);
  } else {
    int length = snprintf(text, sizeof text, "\\u%04x", c);
    l_put(e, text, (size_t)length);
  }
}

static void l_string(Encoder *e, const Frame *up, const char *text,
                     size_t length) {
  const char *c = text, *from = c, *end = c + length;
  l_reserve(e, length + 2);
  l_put_char(e, '"');
  for (;;) {
    for (int plain = 8; plain == 8 && end - c >= 8; c += plain)
      plain = json_plain_count(c);
    if (c >= end) break;
    unsigned char byte = (unsigned char)*c;
    if (byte >= 0x80) {
      int n = json_sequence_length(c, end);
      if (n == 0) l_refuse(e, up, "cannot encode a string that is no UTF-8");
      c += n;
    } else if (byte >= 0x20 && byte != '"' && byte != '\\') {
      c++;
    } else {
      l_put(e, from, (size_t)(c - from));
      l_escape(e, byte);
      from = ++c;
    }
  }
  l_put(e, from, (size_t)(end - from));
  l_put_char(e, '"');
}

/* ---- arrays ------------------------------------------------------------ */

/* Raises unless the table's keys are 1 to n and nothing else. */
static void l_check_keys(Encoder *e, int table, lua_Integer n,
                         const Frame *up) {
  lua_State *L = e->L;
  lua_Integer count = 0;
  bool beyond = false;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING)
      l_refuse(e, up,
               lua_pushfstring(L,
                               "cannot encode a table with both items and "
                               "the key '%s': JSON has arrays and objects",
                               lua_tostring(L, -1)));
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1)
      l_refuse(e, up,
               lua_pushfstring(L,
                               "cannot encode the key %s: an array's are 1, 2, "
                               "3, an object's are strings",
                               luaL_tolstring(L, -1, NULL)));
    if (lua_tointeger(L, -1) > n) beyond = true;
    count++;
  }
  if (count == n && !beyond) return;
  lua_Integer hole = 1;
  while (lua_rawgeti(L, table, hole) != LUA_TNIL) {
    lua_pop(L, 1);
    hole++;
  }
  l_refuse(e, up,
           lua_pushfstring(L,
                           "cannot encode an array without its item %I; put "
                           "json.null there",
                           (LUAI_UACINT)hole));
}

static void l_array(Encoder *e, int table, lua_Integer n, Frame *frame) {
  lua_State *L = e->L;
  l_put_char(e, '[');
  e->depth++;
  for (lua_Integer i = 1; i <= n; i++) {
    if (i > 1) l_put_char(e, ',');
    l_new_line(e);
    frame->index = i;
    lua_rawgeti(L, table, i);
    l_value(e, lua_gettop(L), frame);
    lua_pop(L, 1);
  }
  e->depth--;
  if (n > 0) l_new_line(e);
  l_put_char(e, ']');
}

/* ---- objects ----------------------------------------------------------- */

static int compare_keys(const void *a, const void *b) {
  const Key *x = a, *y = b;
  size_t length = x->length < y->length ? x->length : y->length;
  int order = memcmp(x->text, y->text, length);
  if (order != 0) return order;
  return x->length < y->length ? -1 : x->length > y->length;
}

/* Most objects have few keys: for them nothing is faster. */
static void sort_keys(Key *keys, size_t count) {
  if (count > 16) {
    qsort(keys, count, sizeof *keys, compare_keys);
    return;
  }
  for (size_t i = 1; i < count; i++) {
    Key key = keys[i];
    size_t at = i;
    for (; at > 0 && compare_keys(&keys[at - 1], &key) > 0; at--)
      keys[at] = keys[at - 1];
    keys[at] = key;
  }
}

/* The key on the top is no string. */
static int l_refuse_key(Encoder *e, const Frame *up) {
  lua_State *L = e->L;
  const char *type = luaL_typename(L, -1);
  const char *key = luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L,
                  "cannot encode an object with the key %s, a %s: keys are "
                  "strings",
                  key, type);
  return l_refuse(e, up, lua_tostring(L, -1));
}

/* Appends the table's keys, sorted; returns how many. Pushes the values of as
** many as may be held: finding them again would cost as much as the rest. */
static size_t l_collect(Encoder *e, int table, const Frame *up) {
  lua_State *L = e->L;
  Writer *w = e->out;
  size_t base = w->key_count;
  luaL_checkstack(L, HELD + LUA_MINSTACK, "nested too deep");
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      lua_pop(L, 1);
      l_refuse_key(e, up);
    }
    if (w->key_count == w->key_room)
      w->keys = l_grow(e, w->keys, &w->key_room, 0, sizeof *w->keys);
    Key *key = &w->keys[w->key_count++];
    key->text = lua_tolstring(L, -2, &key->length);
    key->place = w->key_count - base <= HELD ? lua_gettop(L) - 1 : 0;
    if (key->place)
      lua_insert(L, -2);
    else
      lua_pop(L, 1);
  }
  sort_keys(w->keys + base, w->key_count - base);
  return w->key_count - base;
}

static void l_member(Encoder *e, int table, const Frame *frame) {
  lua_State *L = e->L;
  const Key *key = &frame->key;
  l_string(e, frame, key->text, key->length);
  l_put(e, ": ", e->pretty ? 2 : 1);
  if (key->place) {
    l_value(e, key->place, frame);
    return;
  }
  lua_pushlstring(L, key->text, key->length);
  lua_rawget(L, table);
  l_value(e, lua_gettop(L), frame);
  lua_pop(L, 1);
}

static void l_object(Encoder *e, int table, Frame *frame) {
  lua_State *L = e->L;
  Writer *w = e->out;
  size_t base = w->key_count;
  int top = lua_gettop(L);
  size_t count = l_collect(e, table, frame->up);
  l_put_char(e, '{');
  e->depth++;
  for (size_t i = 0; i < count; i++) {
    frame->key = w->keys[base + i];
    if (i > 0) l_put_char(e, ',');
    l_new_line(e);
    l_member(e, table, frame);
  }
  e->depth--;
  if (count > 0) l_new_line(e);
  l_put_char(e, '}');
  w->key_count = base;
  lua_settop(L, top);
}

/* ---- values ------------------------------------------------------------ */

/* What the metatable on the top, one of somebody else's, says that its table
** is, as dkjson has it; NULL: nothing. What would write itself is refused: it
** is dkjson's null, and an empty table to who does not look. */
static const void *l_foreign_mark(Encoder *e, const Frame *up) {
  lua_State *L = e->L;
  const void *mark = NULL;
  lua_pushliteral(L, "__tojson");
  if (lua_rawget(L, -2) != LUA_TNIL)
    l_refuse(e, up,
             "cannot encode a table with a __tojson of its own; "
             "json.null is null");
  lua_pushliteral(L, "__jsontype");
  if (lua_rawget(L, -3) == LUA_TSTRING) {
    const char *name = lua_tostring(L, -1);
    if (strcmp(name, "array") == 0) mark = e->json->array_meta;
    if (strcmp(name, "object") == 0) mark = e->json->object_meta;
  }
  lua_pop(L, 2);
  return mark;
}

static const void *l_mark_of(Encoder *e, int table, const Frame *up) {
  lua_State *L = e->L;
  if (!lua_getmetatable(L, table)) return NULL;
  const void *mark = lua_topointer(L, -1);
  if (mark != e->json->array_meta && mark != e->json->object_meta)
    mark = l_foreign_mark(e, up);
  lua_pop(L, 1);
  return mark;
}

/* An unmarked table is what its keys say; an empty one is an object. */
static bool looks_like_array(lua_State *L, int table) {
  if (lua_rawlen(L, table) > 0) return true;
  lua_pushnil(L);
  if (!lua_next(L, table)) return false;
  bool array = lua_type(L, -2) != LUA_TSTRING;
  lua_pop(L, 2);
  return array;
}

static void l_table(Encoder *e, int table, const Frame *up) {
  lua_State *L = e->L;
  Frame frame = {up, lua_topointer(L, table), {NULL, 0, 0}, 0};
  for (const Frame *f = up; f; f = f->up)
    if (f->table == frame.table)
      l_refuse(e, up, "cannot encode a table that contains itself");
  if (e->depth >= JSON_MAX_DEPTH)
    l_refuse(e, NULL, "nested deeper than 5000 tables");
  luaL_checkstack(L, LUA_MINSTACK, "nested too deep");
  const void *mark = l_mark_of(e, table, up);
  if (mark == e->json->array_meta ||
      (mark != e->json->object_meta && looks_like_array(L, table))) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, table);
    l_check_keys(e, table, n, up);
    l_array(e, table, n, &frame);
  } else {
    l_object(e, table, &frame);
  }
}

static void l_value(Encoder *e, int index, const Frame *up) {
  lua_State *L = e->L;
  size_t length;
  const char *text;
  switch (lua_type(L, index)) {
  case LUA_TSTRING:
    text = lua_tolstring(L, index, &length);
    l_string(e, up, text, length);
    return;
  case LUA_TNUMBER:
    if (lua_isinteger(L, index))
      l_integer(e, lua_tointeger(L, index));
    else
      l_float(e, up, lua_tonumber(L, index));
    return;
  case LUA_TBOOLEAN:
    text = lua_toboolean(L, index) ? "true" : "false";
    l_put(e, text, strlen(text));
    return;
  case LUA_TTABLE: l_table(e, index, up); return;
  case LUA_TNIL: l_refuse(e, up, "cannot encode nil; use json.null"); return;
  default: break;
  }
  const void *null = lua_touserdata(L, index);
  if ((null && null == e->json->null) ||
      (null == NULL && lua_islightuserdata(L, index)))
    l_put(e, "null", 4);
  else
    l_refuse(e, up,
             lua_pushfstring(L, "cannot encode a %s", luaL_typename(L, index)));
}

void json_encode(lua_State *L, int index, bool pretty) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  Encoder e = {L, take_writer(L),
               lua_touserdata(L, lua_upvalueindex(JSON_STATE)), pretty, 0};
  int writer = lua_gettop(L);
  l_value(&e, index, NULL);
  lua_pushlstring(L, e.out->text, e.out->length);
  keep_writer(L, e.out, writer);
}
