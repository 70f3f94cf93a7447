/*
** site.c - where in the user's code something was asked for.
**
** One idea: programs ask from few places, so each "file:line" is made once and
** kept for good; a small cache in front of that makes asking cheap enough to
** do for every acquire. The cache compares names and lines, not addresses, so
** that a collected chunk can never lend its name to another. It compares the
** chunk's own name: what Lua has just written of it is dear to read.
*/
#include "site.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#define ENTRIES 64
#define PART 64 /* more than what a short name is made from */

typedef struct Site {
  const char *site; /* NULL: a place of our own modules, or an empty entry */
  int line;         /* 0: empty */
  char kind;        /* of the chunk's name: its first character */
  size_t length;
  char part[PART];
} Site;

static const char cache_key = 'c'; /* registry: Site[ENTRIES] */
static const char sites_key = 'P'; /* registry: "file:line" -> itself */

static Site *make_cache(lua_State *L, Worker *worker) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &sites_key);
  Site *sites = lua_newuserdatauv(L, ENTRIES * sizeof *sites, 0);
  memset(sites, 0, ENTRIES * sizeof *sites);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
  return worker->sites = sites;
}

/* Long strings are not interned: the one that the table has is the one. */
static const char *make_site(lua_State *L, const lua_Debug *ar) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &sites_key);
  lua_pushfstring(L, "%s:%d", ar->short_src, ar->currentline);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TNIL) { // stack: sites new nil
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -1);
    lua_rawset(L, -4); /* holds the string for good */
    lua_pushvalue(L, -1);
  }
  const char *site = lua_tostring(L, -1);
  lua_pop(L, 3);
  return site;
}

/* What lua_Debug's short_src depends on, beside the name's length: the end of
** a file's name, the beginning of any other. */
static const char *part_of(const lua_Debug *ar, size_t *size) {
  *size = ar->srclen < PART ? ar->srclen : PART;
  return *ar->source == '@' ? ar->source + ar->srclen - *size : ar->source;
}

static bool is_same(const char *a, const char *b, size_t size) {
  uint64_t x, y;
  for (; size >= sizeof x; size -= sizeof x, a += sizeof x, b += sizeof y) {
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    if (x != y) return false;
  }
  for (; size > 0; size--)
    if (*a++ != *b++) return false;
  return true;
}

static const char *fill(lua_State *L, Site *entry, const lua_Debug *ar) {
  bool is_own = strncmp(ar->short_src, "llmpool/", 8) == 0;
  const char *site = is_own ? NULL : make_site(L, ar);
  size_t size;
  const char *part = part_of(ar, &size);
  memcpy(entry->part, part, size);
  entry->kind = *ar->source;
  entry->length = ar->srclen;
  entry->line = ar->currentline;
  return entry->site = site;
}

/* NULL: a line of our own modules */
static const char *look_up(lua_State *L, Worker *worker, const lua_Debug *ar) {
  uint32_t hash =
      (uint32_t)((uintptr_t)ar->source >> 4) + 31u * (uint32_t)ar->currentline;
  Site *sites = worker->sites ? worker->sites : make_cache(L, worker);
  Site *entry = &sites[hash % ENTRIES];
  size_t size;
  const char *part = part_of(ar, &size);
  if (entry->line == ar->currentline && entry->length == ar->srclen &&
      entry->kind == *ar->source && is_same(entry->part, part, size))
    return entry->site;
  return fill(L, entry, ar);
}

const char *site_of(lua_State *L, Worker *worker, int level) {
  lua_Debug ar;
  for (; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    const char *site = ar.currentline > 0 ? look_up(L, worker, &ar) : NULL;
    if (site) return site;
  }
  return NULL;
}
