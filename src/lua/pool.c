/*
** pool.c - the pool as Lua sees it: opened, found, closed, sent.
**
** One idea: a pool's userdata is a reference to the core's pool, and a small
** cache of the models that this state has asked for by name, since names are
** interned: looking one up is a comparison of addresses. No policy, no locks.
*/
#include "binding.h"
#include "json.h"
#include "secret.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/loop.h"
#include "../runtime/scheduler.h"
#include "../runtime/task.h"

static const char pools_key = 'P'; /* registry: LuaPool -> its userdata, weak */

/* ---- arguments --------------------------------------------------------- */

static LuaPool *to_pool(lua_State *L, int index) {
  LuaPool *pool = lua_touserdata(L, index);
  if (pool == NULL || !lua_getmetatable(L, index))
    mistyped(L, index, index, "pool");
  if (lua_topointer(L, -1) != binding_of(L)->pool_type)
    mistyped(L, index, index, "pool");
  lua_pop(L, 1);
  return pool;
}

/* Those that are closed are of no use to anybody who has yet to ask. But
** whoever has just looked one up holds it by its bare address until it is lent
** (a guard that waits has references of its own, guard_keep). In between no
** Lua runs but finalizers, and while one runs the collector cannot be asked. */
static void forget_closed(lua_State *L, LuaPool *pool, int index) {
  uint32_t kept = 0;
  if (lua_gc(L, LUA_GCISRUNNING) <= 0 || !lua_checkstack(L, 3)) return;
  lua_getiuservalue(L, index, 1);
  for (uint32_t i = 0; i < pool->known_count; i++) {
    if (llm_model_is_closed(pool->known[i].model)) continue;
    if (kept < i) {
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      lua_rawseti(L, -2, (lua_Integer)kept + 1);
      KnownModel gone = pool->known[kept];
      pool->known[kept] = pool->known[i];
      pool->known[i] = gone;
    }
    kept++;
  }
  while (pool->known_count > kept) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, pool->known_count);
    llm_model_unref(pool->known[--pool->known_count].model);
  }
  lua_pop(L, 1);
  pool->has_news = false;
}

/* Before the caller looks up a model. */
LuaPool *check_pool(lua_State *L, int index) {
  LuaPool *pool = to_pool(L, index);
  if (pool->pool == NULL) misused(L, index, "the pool was let go");
  pool->binding->recent = pool;
  if (pool->has_news) forget_closed(L, pool, index);
  return pool;
}

void check_world(lua_State *L, const LuaPool *pool) {
  World *world = pool->binding->worker->world;
  if (llm_pool_clock(pool->pool) != world->clock)
    luaL_error(L, world->is_virtual
                      ? "this pool runs on the real clock: inside "
                        "llmpool.simulate use pools made inside it"
                      : "this pool runs on the clock of a simulation that is "
                        "over");
}

static void forget_models(LuaPool *pool) {
  for (uint32_t i = 0; i < pool->known_count; i++)
    llm_model_unref(pool->known[i].model);
  free(pool->known);
  pool->known = NULL;
  pool->known_count = pool->known_size = 0;
}

static bool reserve(LuaPool *pool) {
  if (pool->known_count < pool->known_size) return true;
  uint32_t size = pool->known_size ? pool->known_size * 2 : 8;
  KnownModel *known = realloc(pool->known, size * sizeof *known);
  if (known == NULL) return false;
  pool->known = known;
  pool->known_size = size;
  return true;
}

/* Keeps the string at `index` in the pool's user value, so that its address
** stays its own; the reference to `model` is taken over at the end. */
static void remember(lua_State *L, LuaPool *pool, int pool_index, int index,
                     llm_model *model) {
  lua_getiuservalue(L, pool_index, 1);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, pool->known_count + 1);
  lua_pop(L, 1);
  pool->known[pool->known_count++] =
      (KnownModel){lua_topointer(L, index), model};
  pool->has_news = true;
}

/* Where C's string ends, Lua's may go on. */
static bool has_zero(lua_State *L, int index) {
  size_t length;
  const char *text = lua_tolstring(L, index, &length);
  return strlen(text) != length;
}

const char *check_name(lua_State *L, int index) {
  const char *name = luaL_checkstring(L, index);
  luaL_argcheck(L, !has_zero(L, index), index, "a name has no zero bytes");
  return name;
}

llm_model *find_registered(lua_State *L, LuaPool *pool, int index) {
  if (has_zero(L, index)) return NULL;
  return llm_pool_model(pool->pool, lua_tostring(L, index));
}

static llm_model *find_slowly(lua_State *L, LuaPool *pool, int index) {
  if (lua_type(L, index) != LUA_TSTRING)
    mistyped(L, 2, index, "a model's name");
  if (llm_pool_is_closed(pool->pool)) {
    push_error(L, "closed", "the pool is closed");
    lua_error(L);
  }
  /* room first, in Lua and here: the reference is never without an owner */
  if (!reserve(pool)) luaL_error(L, "not enough memory");
  lua_getiuservalue(L, 1, 1);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, pool->known_count + 1);
  lua_pop(L, 1);
  llm_model *model = find_registered(L, pool, index);
  if (model == NULL) {
    push_unknown_model(L, pool, index);
    lua_error(L);
  }
  for (uint32_t i = 0; i < pool->known_count; i++) {
    if (pool->known[i].model != model) continue;
    llm_model_unref(model); /* the name is long, so that not all its copies */
    return model;           /* are one string: one of them is enough */
  }
  remember(L, pool, 1, index, model);
  return model;
}

llm_model *check_model(lua_State *L, LuaPool *pool, int index) {
  index = lua_absindex(L, index);
  const void *key =
      lua_type(L, index) == LUA_TSTRING ? lua_topointer(L, index) : NULL;
  for (uint32_t i = 0; key && i < pool->known_count; i++)
    if (pool->known[i].key == key && !llm_model_is_closed(pool->known[i].model))
      return pool->known[i].model;
  return find_slowly(L, pool, index);
}

/* Pushes the list of the models' names, in order of registration. */
static void push_names(lua_State *L, LuaPool *pool) {
  size_t size = llm_pool_models(pool->pool, NULL, 0);
  llm_model **models = lua_newuserdatauv(L, (size + 1) * sizeof *models, 0);
  size_t count = llm_pool_models(pool->pool, models, size);
  if (count > size) count = size; /* some came in between */
  const char **names = (const char **)(void *)models;
  for (size_t i = 0; i < count; i++) {
    llm_model *model = models[i];
    names[i] = llm_model_name(model); /* lives as long as the pool */
    llm_model_unref(model);
  }
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushstring(L, names[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_remove(L, -2);
}

/* stack: ... names; pushes them as one string: "a", "b" */
const char *push_name_list(lua_State *L, int names) {
  luaL_Buffer buffer;
  lua_Integer n = (lua_Integer)lua_rawlen(L, names);
  names = lua_absindex(L, names);
  luaL_buffinit(L, &buffer);
  for (lua_Integer i = 1; i <= n; i++) {
    luaL_addstring(&buffer, i == 1 ? "\"" : ", \"");
    lua_rawgeti(L, names, i);
    push_shown(L, lua_tostring(L, -1));
    lua_remove(L, -2);
    luaL_addvalue(&buffer);
    luaL_addchar(&buffer, '"');
  }
  luaL_pushresult(&buffer);
  return lua_tostring(L, -1);
}

void push_unknown_model(lua_State *L, LuaPool *pool, int index) {
  const char *name = lua_tostring(L, index);
  const char *shown = push_shown(L, name);
  push_names(L, pool);
  int names = lua_gettop(L);
  if (lua_rawlen(L, names) == 0) {
    push_error(L, "unknown_model", "no model \"%s\": none is registered yet",
               shown);
  } else {
    push_helper(L, HELPER_NEAREST);
    lua_pushstring(L, name);
    lua_pushvalue(L, names);
    lua_call(L, 2, 1);
    const char *near = lua_tostring(L, -1);
    if (near) near = push_shown(L, near);
    push_error(L, "unknown_model", "no model \"%s\"; there %s %s%s%s%s", shown,
               lua_rawlen(L, names) == 1 ? "is" : "are",
               push_name_list(L, names), near ? " (did you mean \"" : "",
               near ? near : "", near ? "\"?)" : "");
  }
  set_string(L, "model", name);
  lua_pushvalue(L, names);
  lua_setfield(L, -2, "models");
}

/* ---- making and ending ------------------------------------------------- */

static void poke(llm_sleeper *sleeper) {
  LuaPool *pool =
      (LuaPool *)(void *)((char *)sleeper - offsetof(LuaPool, sleeper));
  Worker *worker = pool->binding->worker;
  if (worker != worker_here() && worker->loop) loop_kick(worker->loop);
}

/* The userdata is harmless, and Lua's, before the pool is there. */
static LuaPool *new_pool(lua_State *L, Binding *b, World *world) {
  LuaPool *pool = lua_newuserdatauv(L, sizeof *pool, 1);
  memset(pool, 0, sizeof *pool);
  pool->binding = b;
  pool->world = world;
  pool->sleeper.poke = poke;
  luaL_setmetatable(L, POOL_TYPE);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &pools_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, pool);
  lua_pop(L, 1);
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1);
  return pool;
}

static void adopt(LuaPool *pool, llm_pool *core) {
  Binding *b = pool->binding;
  pool->pool = core;
  pool->next = b->pools;
  pool->link = &b->pools;
  if (pool->next) pool->next->link = &pool->next;
  b->pools = pool;
}

static void let_go(LuaPool *pool) {
  if (pool->pool == NULL) return;
  if (pool->binding->recent == pool) pool->binding->recent = NULL;
  forget_models(pool);
  *pool->link = pool->next;
  if (pool->next) pool->next->link = pool->link;
  llm_pool_unref(pool->pool);
  pool->pool = NULL;
}

static int f_new(lua_State *L) {
  Binding *b = binding_of(L);
  luaL_argcheck(L, lua_isnone(L, 1), 1,
                "none is taken; llmpool.open(name) opens one by name");
  World *world = b->worker->world;
  LuaPool *pool = new_pool(L, b, world);
  llm_pool *core = llm_pool_new(world->clock);
  if (core == NULL) return luaL_error(L, "not enough memory");
  adopt(pool, core);
  observe_pool(core);
  return 1;
}

static int f_open(lua_State *L) {
  Binding *b = binding_of(L);
  const char *name = check_name(L, 1);
  luaL_argcheck(L, name[0] != '\0', 1, "the name is empty");
  if (b->worker->world->is_virtual)
    return luaL_error(L, "llmpool.open inside llmpool.simulate: a pool of the "
                         "real clock cannot be used here; llmpool.new makes "
                         "one of the simulation's");
  LuaPool *pool = new_pool(L, b, &b->worker->real);
  llm_pool *core = llm_pool_open(name);
  if (core == NULL) return luaL_error(L, "not enough memory");
  pool->shared = true;
  adopt(pool, core);
  observe_pool(core);
  return 1;
}

static int mm_gc(lua_State *L) {
  LuaPool *pool = lua_touserdata(L, 1);
  let_go(pool);
  kept_sweep(L, pool->binding);
  return 0;
}

void pool_models_left(lua_State *L, LuaPool *pool, int index) {
  forget_closed(L, pool, index);
  kept_sweep(L, pool->binding);
}

static int m_close(lua_State *L) {
  LuaPool *pool = to_pool(L, 1);
  if (pool->pool == NULL) return 0;
  llm_pool_close(pool->pool);
  pool_models_left(L, pool, 1);
  return 0;
}

static int mm_tostring(lua_State *L) {
  LuaPool *pool = to_pool(L, 1);
  if (pool->pool == NULL) {
    lua_pushliteral(L, "pool (let go)");
    return 1;
  }
  const char *name = llm_pool_name(pool->pool);
  const char *state = llm_pool_is_closed(pool->pool) ? "closed" : "open";
  const int n = (int)llm_pool_models(pool->pool, NULL, 0);
  if (name)
    lua_pushfstring(L, "pool (\"%s\", ", push_shown(L, name));
  else
    lua_pushfstring(L, "pool (%p, ", (void *)pool->pool);
  lua_pushfstring(L, "%d %s, %s)", n, n == 1 ? "model" : "models", state);
  lua_concat(L, 2);
  return 1;
}

/* Two userdata of one pool, as after llmpool.open twice. */
static int mm_eq(lua_State *L) {
  const LuaPool *a = luaL_testudata(L, 1, POOL_TYPE);
  const LuaPool *b = luaL_testudata(L, 2, POOL_TYPE);
  lua_pushboolean(L, a && b && a->pool == b->pool);
  return 1;
}

static int m_models(lua_State *L) {
  push_names(L, check_pool(L, 1));
  return 1;
}

/* ---- to other states --------------------------------------------------- */

static void unref_core(void *core) { llm_pool_unref(core); }

static void push_core(lua_State *L, void *core) {
  Worker *worker = worker_of(L);
  LuaPool *pool = new_pool(L, worker->pools, &worker->real);
  pool->shared = true;
  adopt(pool, llm_pool_ref(core));
}

bool send_pool(lua_State *L, int index, ValueRef *ref, ValueRefusal *refusal) {
  LuaPool *pool = luaL_testudata(L, index, POOL_TYPE);
  if (json_send_null(L, index, ref)) return true;
  if (send_secret(L, index, ref)) return true;
  if (luaL_testudata(L, index, CLIENT_TYPE)) {
    refusal->what = "a client";
    refusal->remedy = "acquire one in the thread";
    return false;
  }
  if (luaL_testudata(L, index, TASK_TYPE)) {
    refusal->what = "a task";
    refusal->remedy = "join it and send what it returns";
    return false;
  }
  if (pool == NULL) return false;
  if (pool->pool == NULL || llm_clock_is_manual(llm_pool_clock(pool->pool))) {
    refusal->what = "a pool of a simulation";
    refusal->remedy = "simulate in the thread";
    return false;
  }
  if (pool->bound) {
    refusal->what = "a pool that holds plain tables or functions with upvalues";
    refusal->remedy = "make its clients by llmpool.client{module=...} and its "
                      "functions without upvalues";
    return false;
  }
  *ref = (ValueRef){llm_pool_ref(pool->pool), unref_core, push_core};
  return true;
}

/* ---- what the worker asks ---------------------------------------------- */

static int64_t pools_due(Worker *worker, bool serving) {
  const Binding *b = worker->pools;
  int64_t due = LLM_FOREVER;
  for (const LuaPool *p = b->pools; p; p = p->next) {
    if (p->world != worker->world) continue;
    int64_t own =
        serving ? llm_pool_serving_due(p->pool) : llm_pool_due(p->pool);
    if (!serving && !p->is_kept_up && llm_pool_has_upkeep(p->pool)) own = 0;
    if (own < due) due = own;
  }
  return due;
}

/* (pool as light userdata): a task that does what needs Lua */
static int start_upkeep(lua_State *L) {
  const LuaPool *pool = lua_touserdata(L, 1);
  Worker *worker = pool->binding->worker;
  push_helper(L, HELPER_UPKEEP);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &pools_key);
  lua_rawgetp(L, -1, pool);
  lua_remove(L, -2);
  task_spawn(L, worker, &worker->world->root, 1);
  return 0;
}

/* It is short, and of the root scope: what runs at the end of a script is
** waited for, but nobody waits for the time when it would run. */
static void keep_up(Worker *worker, LuaPool *pool) {
  lua_State *L = worker->L;
  if (pool->is_kept_up || !llm_pool_take_upkeep(pool->pool)) return;
  if (worker->closing) return;
  if (llm_pool_is_closed(pool->pool) || !lua_checkstack(L, 4)) return;
  pool->is_kept_up = true;
  lua_pushcfunction(L, start_upkeep);
  lua_pushlightuserdata(L, pool);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_pop(L, 1);
  pool->is_kept_up = false;
}

static int f_upkeep_done(lua_State *L) {
  check_pool(L, 1)->is_kept_up = false;
  return 0;
}

static void pools_tick(Worker *worker) {
  const Binding *b = worker->pools;
  int64_t now = world_now(worker->world);
  for (LuaPool *p = b->pools; p; p = p->next)
    if (p->world == worker->world) {
      if (llm_pool_due(p->pool) <= now) llm_pool_tick(p->pool);
      keep_up(worker, p);
    }
}

static void pools_sleep(Worker *worker, bool asleep) {
  Binding *b = worker->pools;
  for (LuaPool *p = b->pools; p; p = p->next) {
    if (p->world != worker->world) continue;
    if (asleep)
      llm_pool_sleeper_add(p->pool, &p->sleeper);
    else
      llm_pool_sleeper_remove(p->pool, &p->sleeper);
  }
}

void pools_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"new", f_new},
                                       {"open", f_open},
                                       {"upkeep_done", f_upkeep_done},
                                       {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"models", m_models}, {"close", m_close}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", mm_gc},
                                         {"__close", m_close},
                                         {"__tostring", mm_tostring},
                                         {"__eq", mm_eq},
                                         {NULL, NULL}};
  push_weak_table(L, "v");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &pools_key);
  b->worker->pools = b;
  b->worker->pools_due = pools_due;
  b->worker->pools_tick = pools_tick;
  b->worker->pools_sleep = pools_sleep;
  b->worker->pools_reclaim = guard_reclaim;
  set_functions(L, b, functions);
  new_type(L, b, POOL_TYPE, methods, metamethods);
  b->pool_type = lua_topointer(L, -2);
  leases_open(L, b, lua_absindex(L, -3)); /* stack: functions type methods */
  lua_setfield(L, -3, "pool_methods");
  lua_pop(L, 1);
}
