/*
** value_pack.c - packing values of a state into a Value.
**
** Breadth first: the values are written, every table met is put in a queue,
** then the tables of the queue are written one after the other. So nothing
** recurses, and the place that a refusal names is the shortest one. The walk
** runs in a protected call; the memory it fills belongs to value_pack's frame
** outside of it, so that nothing is lost when Lua raises.
*/
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "value.h"
#include "value_format.h"

#define FIRST_CAPACITY 256

/* ---- the block --------------------------------------------------------- */

/* Lengthens the block by `len` bytes. NULL: no memory. */
static char *extend(Packer *p, size_t len) {
  size_t used = p->value->size;
  if (len > p->capacity - used) {
    size_t capacity = p->capacity * 2;
    if (capacity - used < len) capacity = used + len;
    if (capacity < used) return NULL;
    Value *larger = realloc(p->value, capacity);
    if (larger == NULL) return NULL;
    p->value = larger;
    p->capacity = capacity;
  }
  p->value->size += len;
  return (char *)p->value + used;
}

static _Noreturn void l_no_memory(lua_State *L, Packer *p) {
  p->why->out_of_memory = true;
  lua_pushnil(L);
  for (;;) lua_error(L);
}

static void l_write(lua_State *L, Packer *p, const void *bytes, size_t len) {
  char *at = extend(p, len);
  if (at == NULL) l_no_memory(L, p);
  memcpy(at, bytes, len);
}

static void l_write_tag(lua_State *L, Packer *p, Tag tag) {
  char byte = (char)tag;
  l_write(L, p, &byte, 1);
}

static void l_write_length(lua_State *L, Packer *p, size_t length) {
  unsigned char bytes[sizeof length * CHAR_BIT / 7 + 1];
  size_t n = 0;
  for (; length >= 0x80; length >>= 7)
    bytes[n++] = (unsigned char)(0x80 | (length & 0x7f));
  bytes[n++] = (unsigned char)length;
  l_write(L, p, bytes, n);
}

/* ---- objects: what keeps its identity ---------------------------------- */

/* Gives the object at `index` the next number. */
static size_t l_number_object(lua_State *L, Packer *p, int index) {
  lua_pushvalue(L, index);
  lua_pushinteger(L, (lua_Integer)++p->value->objects);
  lua_rawset(L, p->seen);
  return p->value->objects;
}

/* The object's number, 0 if it is new. */
static size_t l_find_object(lua_State *L, Packer *p, int index) {
  lua_pushvalue(L, index);
  lua_rawget(L, p->seen);
  size_t number = (size_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return number;
}

static void l_add_node(lua_State *L, Packer *p, Node node) {
  if (p->node_count == p->node_room) {
    size_t room = p->node_room ? p->node_room * 2 : 8;
    Node *larger = realloc(p->nodes, room * sizeof *larger);
    if (larger == NULL) l_no_memory(L, p);
    p->nodes = larger;
    p->node_room = room;
  }
  p->nodes[p->node_count++] = node;
}

/* The address in the metatable's `__sendable`, if the registry agrees. */
static void *l_metatable_key(lua_State *L, int index) {
  lua_getmetatable(L, index);
  lua_pushliteral(L, "__sendable");
  lua_rawget(L, -2);
  void *key = lua_islightuserdata(L, -1) ? lua_touserdata(L, -1) : NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, key);
  bool known = lua_rawequal(L, -1, -3); /* stack: metatable field found */
  lua_pop(L, 3);
  return known ? key : NULL;
}

/* Writes the table as an empty one and puts it in the queue. */
static void l_write_table(lua_State *L, Packer *p, int index, void *metatable) {
  static const TableHints none = {0, 0};
  Node node = {.parent = p->place};
  l_write_tag(L, p, metatable ? TAG_OBJECT : TAG_TABLE);
  node.hints = p->value->size;
  l_write(L, p, &none, sizeof none);
  if (metatable) l_write(L, p, &metatable, sizeof metatable);
  node.object = l_number_object(L, p, index);
  l_add_node(L, p, node);
  lua_pushvalue(L, index);
  lua_rawseti(L, p->tables, (lua_Integer)p->node_count);
}

static int write_dump(lua_State *L, const void *bytes, size_t len, void *data) {
  (void)L;
  char *at = extend(data, len);
  if (at == NULL) return 1;
  memcpy(at, bytes, len);
  return 0;
}

static void l_write_function(lua_State *L, Packer *p, int index) {
  size_t length = 0;
  l_write_tag(L, p, TAG_FUNCTION);
  size_t start = p->value->size;
  l_write(L, p, &length, sizeof length);
  lua_pushvalue(L, index);
  if (lua_dump(L, write_dump, p, 0) != 0) l_no_memory(L, p);
  lua_pop(L, 1);
  length = p->value->size - start - sizeof length;
  memcpy((char *)p->value + start, &length, sizeof length);
  l_number_object(L, p, index);
}

static void l_write_library(lua_State *L, Packer *p, int index) {
  lua_CFunction function = lua_tocfunction(L, index);
  l_write_tag(L, p, TAG_LIBRARY);
  l_write(L, p, &function, sizeof function);
}

/* ---- what is not plain ------------------------------------------------- */

/* The record is in the block, and linked, before the hook is asked: once it
** has taken a reference nothing can fail. */
static bool l_write_ref(lua_State *L, Packer *p, int index,
                        ValueRefusal *refusal) {
  RefRecord record = {.previous = p->value->last_ref};
  if (p->rules->hook == NULL) return false;
  l_write_tag(L, p, TAG_REF);
  size_t start = p->value->size;
  l_write(L, p, &record, sizeof record);
  p->value->last_ref = start;
  int top = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (!p->rules->hook(L, index, &record.ref, refusal)) return false;
  memcpy((char *)p->value + start, &record, sizeof record);
  lua_settop(L, top);
  l_number_object(L, p, index);
  return true;
}

/* Asks the hook, else refuses: in the hook's words, or in these. */
static void l_write_special(lua_State *L, Packer *p, int index,
                            const char *what, const char *remedy) {
  ValueRefusal refusal = {NULL, NULL};
  if (l_write_ref(L, p, index, &refusal)) return;
  if (refusal.what) what = refusal.what, remedy = NULL;
  if (refusal.remedy) remedy = refusal.remedy;
  value_l_refuse(L, p, what, remedy);
}

static void l_write_any_table(lua_State *L, Packer *p, int index) {
  void *key = NULL;
  bool plain = !lua_getmetatable(L, index);
  if (!plain) {
    lua_pop(L, 1);
    key = l_metatable_key(L, index);
  }
  if (plain || key)
    l_write_table(L, p, index, key);
  else
    l_write_special(L, p, index, "a table with a metatable", NULL);
}

static void l_write_any_function(lua_State *L, Packer *p, int index) {
  const char *upvalue;
  if (value_function_is_sendable(L, index, &upvalue)) {
    if (lua_iscfunction(L, index))
      l_write_library(L, p, index);
    else
      l_write_function(L, p, index);
  } else if (upvalue == NULL) {
    l_write_special(L, p, index, "a C function", "call it from a Lua function");
  } else {
    char what[100];
    snprintf(what, sizeof what, "a function with the upvalue '%.60s'", upvalue);
    l_write_special(L, p, index, what,
                    "pass it as an argument or put it in a module");
  }
}

/* "a FILE*": named as luaL_typeerror names it. */
static void l_write_userdata(lua_State *L, Packer *p, int index) {
  char what[100] = "a userdata";
  int top = lua_gettop(L);
  if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
    const char *name = lua_tostring(L, -1);
    const char *article = *name && strchr("aeiouAEIOU", *name) ? "an" : "a";
    snprintf(what, sizeof what, "%s %.80s", article, name);
  }
  lua_settop(L, top);
  l_write_special(L, p, index, what, NULL);
}

static void l_write_object(lua_State *L, Packer *p, int index) {
  size_t number = l_find_object(L, p, index);
  if (number > 0) {
    l_write_tag(L, p, TAG_SEEN);
    l_write_length(L, p, number);
    return;
  }
  switch (lua_type(L, index)) {
  case LUA_TTABLE: l_write_any_table(L, p, index); break;
  case LUA_TFUNCTION: l_write_any_function(L, p, index); break;
  case LUA_TUSERDATA: l_write_userdata(L, p, index); break;
  case LUA_TTHREAD: l_write_special(L, p, index, "a coroutine", NULL); break;
  default: l_write_special(L, p, index, "a light userdata", NULL); break;
  }
}

/* ---- the walk ---------------------------------------------------------- */

static void l_write_number(lua_State *L, Packer *p, int index) {
  if (lua_isinteger(L, index)) {
    lua_Integer integer = lua_tointeger(L, index);
    l_write_tag(L, p, TAG_INTEGER);
    l_write(L, p, &integer, sizeof integer);
  } else {
    lua_Number number = lua_tonumber(L, index);
    l_write_tag(L, p, TAG_FLOAT);
    l_write(L, p, &number, sizeof number);
  }
}

static void l_write_string(lua_State *L, Packer *p, int index) {
  size_t length;
  const char *bytes = lua_tolstring(L, index, &length);
  l_write_tag(L, p, TAG_STRING);
  l_write_length(L, p, length);
  l_write(L, p, bytes, length);
}

static void l_write_value(lua_State *L, Packer *p, int index) {
  switch (lua_type(L, index)) {
  case LUA_TNIL: l_write_tag(L, p, TAG_NIL); break;
  case LUA_TBOOLEAN:
    l_write_tag(L, p, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
    break;
  case LUA_TNUMBER: l_write_number(L, p, index); break;
  case LUA_TSTRING: l_write_string(L, p, index); break;
  default: l_write_object(L, p, index); break;
  }
}

/* stack: ... table key value; returns whether the key was left out */
static bool l_write_pair(lua_State *L, Packer *p, lua_Integer item) {
  bool is_item = lua_isinteger(L, p->key) && lua_tointeger(L, p->key) == item;
  if (is_item) {
    l_write_tag(L, p, TAG_ITEM);
  } else {
    p->at_key = true;
    l_write_value(L, p, p->key);
    p->at_key = false;
  }
  l_write_value(L, p, p->key + 1);
  return is_item;
}

static void l_write_contents(lua_State *L, Packer *p, size_t node) {
  TableHints hints = {0, 0};
  lua_Integer items = 0;
  l_write_length(L, p, p->nodes[node].object);
  lua_rawgeti(L, p->tables, (lua_Integer)node + 1);
  int table = lua_gettop(L);
  p->place = (ptrdiff_t)node;
  p->key = table + 1;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (l_write_pair(L, p, items + 1))
      items++;
    else if (hints.others < INT_MAX)
      hints.others++;
    lua_pop(L, 1);
  }
  l_write_tag(L, p, TAG_END);
  lua_pop(L, 1);
  hints.items = items < INT_MAX ? (int)items : INT_MAX;
  memcpy((char *)p->value + p->nodes[node].hints, &hints, sizeof hints);
}

/* stack: packer value... */
static int pack_values(lua_State *L) {
  Packer *p = lua_touserdata(L, 1);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_newtable(L);
  p->seen = lua_gettop(L);
  lua_newtable(L);
  p->tables = lua_gettop(L);
  for (int i = 0; i < p->value->count; i++) {
    p->place = -1 - i;
    l_write_value(L, p, 2 + i);
  }
  for (size_t node = 0; node < p->node_count; node++)
    l_write_contents(L, p, node);
  return 0;
}

/* ---- packing ----------------------------------------------------------- */

/* Says why the walk failed, unless it has done so itself: the error that is
** then on the top of the stack is the hook's. */
static void explain(lua_State *L, int status, ValueWhy *why) {
  if (status == LUA_ERRMEM) why->out_of_memory = true;
  if (why->out_of_memory)
    snprintf(why->text, sizeof why->text, "not enough memory");
  else if (lua_type(L, -1) == LUA_TSTRING)
    snprintf(why->text, sizeof why->text, "%s", lua_tostring(L, -1));
  else if (why->text[0] == '\0')
    snprintf(why->text, sizeof why->text,
             "cannot send a value (a %s was raised)", luaL_typename(L, -1));
}

static int call_protected(lua_State *L, Packer *p, int first, int n) {
  if (!lua_checkstack(L, n + 2)) return LUA_ERRMEM;
  lua_pushcfunction(L, pack_values);
  lua_pushlightuserdata(L, p);
  for (int i = 0; i < n; i++) lua_pushvalue(L, first + i);
  return lua_pcall(L, n + 1, 0, 0);
}

static Value *new_block(int n) {
  Value *value = malloc(FIRST_CAPACITY);
  if (value == NULL) return NULL;
  *value = (Value){.size = sizeof *value, .count = n};
  atomic_init(&value->refs, 1);
  return value;
}

/* Gives back what the block has too much; it is as good if that fails. */
static Value *trim(Value *value) {
  Value *smaller = realloc(value, value->size);
  return smaller ? smaller : value;
}

Value *value_pack(lua_State *L, int first, int n, const ValueRules *rules,
                  ValueWhy *why) {
  static const ValueRules usual = {.noun = "argument", .number = 1};
  Packer p = {.value = new_block(n),
              .capacity = FIRST_CAPACITY,
              .rules = rules ? rules : &usual,
              .why = why};
  *why = (ValueWhy){.out_of_memory = p.value == NULL};
  int top = lua_gettop(L);
  int status = LUA_ERRMEM;
  if (p.value) status = call_protected(L, &p, lua_absindex(L, first), n);
  free(p.nodes);
  if (status == LUA_OK) return trim(p.value);
  explain(L, status, why);
  lua_settop(L, top);
  if (p.value) value_free(p.value);
  return NULL;
}
