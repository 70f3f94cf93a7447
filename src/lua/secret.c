/*
** secret.c - a text that is used but never shown: an API key.
**
** One idea: the text lies outside of Lua in a counted block of its own, and
** what scripts hold is a userdata whose tostring is ***; so whoever prints,
** dumps or traces a client's spec shows nothing. It goes to other states by
** reference, and is wiped when the last of them lets go. It keeps nothing from
** a script that asks for it: reveal is there for whoever makes the request.
*/
#define _DEFAULT_SOURCE /* explicit_bzero */
#include "secret.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#define SECRET_TYPE "llmpool.secret"

typedef struct Secret {
  _Atomic uint32_t refs; /* one a userdata, one a packed value */
  size_t length;
  char text[];
} Secret;

static void unref(void *pointer) {
  Secret *secret = pointer;
  if (secret == NULL || atomic_fetch_sub(&secret->refs, 1) > 1) return;
  explicit_bzero(secret->text, secret->length);
  free(secret);
}

/* A userdata of nothing yet, for a reference. */
static Secret **new_box(lua_State *L) {
  Secret **box = lua_newuserdatauv(L, sizeof(Secret *), 0);
  *box = NULL;
  luaL_setmetatable(L, SECRET_TYPE);
  return box;
}

static void push_again(lua_State *L, void *pointer) {
  Secret *secret = pointer;
  Secret **box = new_box(L);
  atomic_fetch_add(&secret->refs, 1);
  *box = secret;
}

bool send_secret(lua_State *L, int index, ValueRef *ref) {
  Secret **box = luaL_testudata(L, index, SECRET_TYPE);
  if (box == NULL || *box == NULL) return false;
  atomic_fetch_add(&(*box)->refs, 1);
  *ref = (ValueRef){*box, unref, push_again};
  return true;
}

/* (text) -> the secret */
static int f_secret(lua_State *L) {
  size_t length;
  luaL_argexpected(L, lua_type(L, 1) == LUA_TSTRING, 1, "string");
  const char *text = lua_tolstring(L, 1, &length);
  Secret **box = new_box(L);
  Secret *secret = malloc(sizeof *secret + length);
  if (secret == NULL) return luaL_error(L, "not enough memory");
  atomic_init(&secret->refs, 1);
  secret->length = length;
  memcpy(secret->text, text, length);
  *box = secret;
  return 1;
}

static int m_reveal(lua_State *L) {
  Secret **box = luaL_checkudata(L, 1, SECRET_TYPE);
  luaL_argcheck(L, *box, 1, "the secret was wiped");
  lua_pushlstring(L, (*box)->text, (*box)->length);
  return 1;
}

static int mm_tostring(lua_State *L) {
  luaL_checkudata(L, 1, SECRET_TYPE);
  lua_pushliteral(L, "***");
  return 1;
}

static int mm_gc(lua_State *L) {
  Secret **box = luaL_checkudata(L, 1, SECRET_TYPE);
  unref(*box);
  *box = NULL;
  return 0;
}

void secrets_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"secret", f_secret}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"reveal", m_reveal}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__tostring", mm_tostring}, {"__gc", mm_gc}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, SECRET_TYPE, methods, metamethods);
  lua_pop(L, 2);
}
