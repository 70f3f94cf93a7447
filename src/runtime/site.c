/*
** site.c - where in the user's code something was asked for.
**
** One idea: programs ask from few places, so each "file:line" is made once and
** kept for good; a small cache in front of that makes asking cheap enough to
** do for every acquire. The cache compares names and lines, not addresses, so
** that a collected chunk can never lend its name to another.
*/
#include "site.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#define ENTRIES 64

typedef struct Site {
  const char *site;
  int line;
  char source[LUA_IDSIZE];
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

static const char *look_up(lua_State *L, Worker *worker, const lua_Debug *ar) {
  uint32_t hash =
      (uint32_t)((uintptr_t)ar->source >> 4) + 31u * (uint32_t)ar->currentline;
  Site *sites = worker->sites ? worker->sites : make_cache(L, worker);
  Site *entry = &sites[hash % ENTRIES];
  if (entry->site && entry->line == ar->currentline &&
      strcmp(entry->source, ar->short_src) == 0)
    return entry->site;
  const char *site = make_site(L, ar);
  entry->site = site;
  entry->line = ar->currentline;
  memcpy(entry->source, ar->short_src, sizeof entry->source);
  return site;
}

const char *site_of(lua_State *L, Worker *worker, int level) {
  lua_Debug ar;
  for (; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline > 0 && strncmp(ar.short_src, "llmpool/", 8) != 0)
      return look_up(L, worker, &ar);
  }
  return NULL;
}
