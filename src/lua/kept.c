/*
** kept.c - what a state keeps for a model goes when the model has gone.
**
** One idea: a model may be closed and freed by any thread, and none but its
** own may touch a Lua state. So each state notes by uid what it has of a model
** (the instances of its clients, its options), and looks now and then which
** models there still are: when as much has been added again as was left, or
** after a part of what it knows was closed here. What is kept for models that
** are gone is so no more than for those that are not.
*/
#include "binding.h"

#include <stdlib.h>

#include "../core/llmpool_peek.h"
#include "../runtime/scheduler.h"

static const char kept_key = 'K';      /* registry: uid -> what there is */
static const char infos_key = 'N';     /* registry: info's uid -> options */
static const char instances_key = 'I'; /* registry: version -> instance */

enum { OPTIONS = 1 }; /* the info's uid; beside it: place -> version */

#define LEAST 16 /* models that are kept without a look */

/* ---- looking ----------------------------------------------------------- */

typedef struct Alive {
  uint64_t *uids; /* the largest first */
  size_t count;
} Alive;

/* Whatever this state has noted was there before. */
static bool read_alive(Alive *alive) {
  size_t size = llm_models_alive(NULL, 0) + 16, count;
  alive->uids = NULL;
  do {
    free(alive->uids);
    alive->uids = malloc(size * sizeof *alive->uids);
    if (alive->uids == NULL) return false;
    count = llm_models_alive(alive->uids, size);
    alive->count = count < size ? count : size;
    size = count + 16;
  } while (count > alive->count);
  return true;
}

static bool is_alive(const Alive *alive, uint64_t uid) {
  size_t low = 0, high = alive->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (alive->uids[middle] == uid) return true;
    if (alive->uids[middle] > uid)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

/* stack: ... kept infos instances; the value of the uid on top is dropped */
static void drop(lua_State *L, int kept, lua_Integer uid) {
  lua_rawgeti(L, kept, uid);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    bool is_options = lua_isinteger(L, -2);
    lua_pushnil(L);
    lua_rawseti(L, is_options ? kept + 1 : kept + 2, lua_tointeger(L, -2));
  }
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_rawseti(L, kept, uid);
}

static void drop_gone(lua_State *L, Binding *b, const Alive *alive) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &infos_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &instances_key);
  int kept = lua_gettop(L) - 2;
  uint32_t left = 0;
  for (lua_pushnil(L); lua_next(L, kept);) {
    lua_pop(L, 1);
    lua_Integer uid = lua_tointeger(L, -1);
    if (is_alive(alive, (uint64_t)uid))
      left++;
    else
      drop(L, kept, uid);
  }
  lua_pop(L, 3);
  b->kept = left;
  b->kept_most = left < LEAST / 2 ? LEAST : 2 * left;
  b->kept_closed = 0;
}

/* Allocates nothing of Lua's, so that it can run anywhere. */
static void look(lua_State *L, Binding *b) {
  Alive alive;
  if (!lua_checkstack(L, LUA_MINSTACK) || !read_alive(&alive)) return;
  drop_gone(L, b, &alive);
  free(alive.uids);
}

void kept_sweep(lua_State *L, Binding *b) {
  if (b->worker->closing || b->kept == 0) return;
  if (++b->kept_closed * 8 > b->kept) look(L, b);
}

/* ---- keeping ----------------------------------------------------------- */

/* stack: kept fresh; what a finalizer has put there meanwhile stays */
static void enter(lua_State *L, Binding *b, lua_Integer uid) {
  if (lua_rawgeti(L, -2, uid) != LUA_TNIL) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, -3, uid);
  b->kept++;
}

/* Pushes the model's table. */
static void push_kept(lua_State *L, const llm_model *model) {
  Binding *b = worker_of(L)->pools;
  lua_Integer uid = (lua_Integer)llm_model_uid(model);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
  if (lua_rawgeti(L, -1, uid) == LUA_TNIL) {
    lua_pop(L, 1);
    if (b->kept >= b->kept_most) look(L, b);
    lua_createtable(L, 0, 2);
    enter(L, b, uid);
  }
  lua_remove(L, -2);
}

/* The one of an older version goes: versions are unique in the process. */
void set_instance(lua_State *L, llm_place *place, int index) {
  lua_Integer version = (lua_Integer)llm_place_version(place);
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &instances_key);
  push_kept(L, llm_place_model(place));
  lua_rawgetp(L, -1, place); // stack: instances kept old
  lua_pushnil(L);
  lua_rawseti(L, -4, lua_tointeger(L, -2));
  lua_pushinteger(L, version);
  lua_rawsetp(L, -3, place);
  lua_pushvalue(L, index);
  lua_rawseti(L, -4, version);
  lua_pop(L, 3);
}

void push_instances(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &instances_key);
}

static void note_info(lua_State *L, const llm_model *model) {
  const ModelInfo *info = llm_model_user(model);
  push_kept(L, model);
  lua_pushinteger(L, (lua_Integer)info->uid);
  lua_rawseti(L, -2, OPTIONS);
  lua_pop(L, 1);
}

void push_model_info(lua_State *L, llm_model *model) {
  const ModelInfo *info = llm_model_user(model);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &infos_key);
  lua_Integer uid = (lua_Integer)info->uid;
  if (lua_rawgeti(L, -1, uid) == LUA_TNIL && info->packed) {
    lua_pop(L, 1);
    note_info(L, model);
    value_unpack(L, info->packed);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, uid);
  }
  lua_remove(L, -2);
}

/* ---- registration ------------------------------------------------------ */

void keep_info(lua_State *L, const ModelInfo *info, int options) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &infos_key);
  lua_pushvalue(L, options);
  lua_rawseti(L, -2, (lua_Integer)info->uid);
  lua_pop(L, 1);
}

static int note(lua_State *L) {
  note_info(L, lua_touserdata(L, 1));
  return 0;
}

/* The model is there already: without memory for the note its options stay. */
void keep_registered(lua_State *L, llm_model *model) {
  lua_pushcfunction(L, note);
  lua_pushlightuserdata(L, model);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

void forget_info(lua_State *L, uint64_t uid) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &infos_key);
  lua_pushnil(L);
  lua_rawseti(L, -2, (lua_Integer)uid);
  lua_pop(L, 1);
}

void kept_open(lua_State *L, Binding *b) {
  const char *const keys[] = {&kept_key, &infos_key, &instances_key};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, keys[i]);
  }
  b->kept_most = LEAST;
}
