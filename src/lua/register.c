/*
** register.c - models and clients, registered, added, replaced, retired.
**
** One idea: the Lua half has checked and normalised everything; here options
** become the core's, and what other states need of them is packed, once. What
** becomes of a client's table is spec.c's.
*/
#include "binding.h"
#include "spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

#define SPEC_TYPE "llmpool.spec"

/* ---- what a model carries ---------------------------------------------- */

static void free_info(void *user) {
  ModelInfo *info = user;
  value_unref(info->packed);
  free(info);
}

/* ---- options ----------------------------------------------------------- */

static uint64_t count_field(lua_State *L, int index, const char *name,
                            uint64_t otherwise, uint64_t limit) {
  lua_getfield(L, index, name);
  double n = lua_tonumber(L, -1);
  bool given = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (!given) return otherwise;
  return n >= (double)limit ? limit : (uint64_t)n;
}

static bool has_field(lua_State *L, int index, const char *name) {
  bool has = lua_getfield(L, index, name) != LUA_TNIL;
  lua_pop(L, 1);
  return has;
}

static void read_options(lua_State *L, int index, llm_options *o) {
  llm_options_init(o);
  o->max_waiting = (uint32_t)count_field(L, index, "max_waiting",
                                         o->max_waiting, UINT32_MAX);
  o->max_creates = (uint32_t)count_field(L, index, "max_creates",
                                         o->max_creates, UINT32_MAX);
  o->min_idle =
      (uint32_t)count_field(L, index, "min_idle", o->min_idle, UINT32_MAX);
  o->max_uses = count_field(L, index, "max_uses", o->max_uses, UINT64_MAX);
  o->check_after_ns =
      duration_field(L, index, "check_after", o->check_after_ns);
  o->check_timeout_ns =
      duration_field(L, index, "check_timeout", o->check_timeout_ns);
  o->check_interval_ns =
      duration_field(L, index, "check_interval", o->check_interval_ns);
  o->create_timeout_ns =
      duration_field(L, index, "create_timeout", o->create_timeout_ns);
  o->max_lifetime_ns =
      duration_field(L, index, "max_lifetime", o->max_lifetime_ns);
  o->idle_timeout_ns =
      duration_field(L, index, "idle_timeout", o->idle_timeout_ns);
  lua_getfield(L, index, "order");
  const char *order = lua_tostring(L, -1);
  if (order && strcmp(order, "fifo") == 0) o->order = LLM_FIFO;
  lua_pop(L, 1);
}

/* ---- registering ------------------------------------------------------- */

static ModelInfo *new_info(lua_State *L, int index, bool bound) {
  static _Atomic uint64_t uids;
  ModelInfo read = {.uid = atomic_fetch_add(&uids, 1) + 1};
  read.timeout_ns = duration_field(L, index, "timeout", LLM_FOREVER);
  read.on_lend = has_field(L, index, "on_lend");
  read.on_return = has_field(L, index, "on_return");
  keep_info(L, &read, index);
  read.packed = bound ? NULL : pack_value(L, index, "option");
  ModelInfo *info = malloc(sizeof *info);
  if (info == NULL) {
    value_unref(read.packed);
    luaL_error(L, "not enough memory");
    return NULL;
  }
  *info = read;
  return info;
}

static int raise_exists(lua_State *L, const char *name) {
  push_error(L, "exists", "model \"%s\" is registered already",
             push_shown(L, name));
  lua_pushstring(L, name);
  lua_setfield(L, -2, "model");
  return lua_error(L);
}

static int raise_refused(lua_State *L, llm_err err, const char *name) {
  if (err == LLM_EXISTS) return raise_exists(L, name);
  if (err == LLM_CLOSED) {
    push_error(L, "closed", "the pool is closed");
    return lua_error(L);
  }
  return luaL_error(L, "cannot register \"%s\": %s", push_shown(L, name),
                    llm_err_text(err));
}

/* (pool, name, items, options, bound) */
static int f_register(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  const char *name = luaL_checkstring(L, 2);
  bool bound = lua_toboolean(L, 5);
  llm_options options;
  read_options(L, 4, &options);
  bool has_check = has_field(L, 4, "check");
  Clients *clients = read_clients(L, 3);
  ModelInfo *info = new_info(L, 4, bound);
  uint64_t uid = info->uid;
  llm_factory factory = {.user = info,
                         .free_spec = free_spec,
                         .ref_spec = ref_spec,
                         .free_user = free_info,
                         .stepped = true,
                         .has_check = has_check};
  clients->taken = clients->count; /* the core owns them from here on */
  llm_model *model;
  llm_err err =
      llm_pool_register(pool->pool, name, clients->list, clients->count,
                        &options, &factory, &model, NULL);
  if (err != LLM_OK) {
    forget_info(L, uid);
    return raise_refused(L, err, name);
  }
  keep_registered(L, model);
  llm_model_unref(model);
  pool->bound = pool->bound || bound;
  return 0;
}

enum { MOST_NAMED = 20 };

/* Pushes the list of the ids that a model's clients have; true: not all. */
static bool push_ids(lua_State *L, llm_model *model) {
  llm_client_stats *list = lua_newuserdatauv(L, MOST_NAMED * sizeof *list, 0);
  size_t all = llm_model_clients(model, list, MOST_NAMED);
  size_t count = all > MOST_NAMED ? MOST_NAMED : all;
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    if (list[i].state == LLM_P_RETIRED) continue;
    lua_pushstring(L, list[i].id);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  lua_remove(L, -2);
  return all > count;
}

static void push_unknown_client(lua_State *L, llm_model *model,
                                const char *id) {
  const char *name = push_shown(L, llm_model_name(model));
  id = push_shown(L, id);
  bool is_more = push_ids(L, model);
  int ids = lua_gettop(L);
  if (lua_rawlen(L, ids) == 0) {
    push_error(L, "unknown_client", "model \"%s\" has no client \"%s\"", name,
               id);
    return;
  }
  push_error(L, "unknown_client",
             "model \"%s\" has no client \"%s\"; there %s %s%s", name, id,
             lua_rawlen(L, ids) == 1 ? "is" : "are", push_name_list(L, ids),
             is_more ? " and more" : "");
}

static int finish(lua_State *L, llm_err err, llm_model *model) {
  const char *id = lua_tostring(L, 3);
  if (err == LLM_OK) return 0;
  if (err == LLM_UNKNOWN_CLIENT)
    push_unknown_client(L, model, id ? id : "?");
  else if (err == LLM_EXISTS)
    push_error(L, "exists", "model \"%s\" has a client of that id already",
               push_shown(L, llm_model_name(model)));
  else
    push_error(L, llm_err_name(err), "%s", llm_err_text(err));
  return lua_error(L);
}

/* (pool, model, item, replace) */
static int f_add(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  llm_model *model = check_model(L, pool, 2);
  llm_client_spec client = {.id = NULL};
  bool replace = lua_toboolean(L, 4);
  lua_settop(L, 3);
  lua_getfield(L, 3, "bound");
  bool bound = lua_toboolean(L, -1);
  lua_getfield(L, 3, "id"); /* 5 */
  read_client(L, 3, &client);
  pool->bound = pool->bound || bound;
  llm_err err = replace ? llm_model_replace(model, &client)
                        : llm_model_add(model, &client);
  lua_replace(L, 3); /* the id, for the message */
  return finish(L, err, model);
}

/* A reference of a spec, Lua's while something may raise. */
static int spec_gc(lua_State *L) {
  LuaSpec **spec = lua_touserdata(L, 1);
  free_spec(NULL, *spec);
  *spec = NULL;
  return 0;
}

/* (pool, model, id) -> the item that the client is made from, or nil */
static int f_item(lua_State *L) {
  llm_model *model = check_model(L, check_pool(L, 1), 2);
  const char *id = check_name(L, 3);
  LuaSpec **spec = lua_newuserdatauv(L, sizeof *spec, 0);
  *spec = NULL;
  luaL_setmetatable(L, SPEC_TYPE);
  *spec = llm_model_spec(model, id);
  if (*spec == NULL) return 0;
  push_spec(L, *spec);
  free_spec(NULL, *spec);
  *spec = NULL;
  return 1;
}

static int m_retire_client(lua_State *L) {
  llm_model *model = check_model(L, check_pool(L, 1), 2);
  return finish(L, llm_model_retire(model, check_name(L, 3)), model);
}

static int m_cool_down(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  llm_model *model = check_model(L, pool, 2);
  const char *id = check_name(L, 3);
  int64_t span = check_seconds(L, 4, 4, "a rest");
  int64_t until = llm_time_after(world_now(pool->world), span);
  return finish(L, llm_model_cool_down(model, id, until), model);
}

/* (pool, model, id, reason, seconds): out of service until it is replaced, or
** for so long */
static int m_disable_client(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  llm_model *model = check_model(L, pool, 2);
  const char *id = check_name(L, 3);
  const char *reason = luaL_optstring(L, 4, "disabled");
  int64_t until = LLM_FOREVER;
  if (!lua_isnoneornil(L, 5))
    until = llm_time_after(world_now(pool->world),
                           check_seconds(L, 5, 5, "a time"));
  return finish(L, llm_model_disable(model, id, until, reason), model);
}

static int m_unregister_model(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  llm_model *model = check_model(L, pool, 2);
  llm_pool_unregister(pool->pool, llm_model_name(model));
  pool_models_left(L, pool, 1);
  return 0;
}

/* Does something to the model named at 2, or to all. */
static int each_model(lua_State *L, void (*action)(llm_model *)) {
  LuaPool *pool = check_pool(L, 1);
  if (!lua_isnoneornil(L, 2)) {
    action(check_model(L, pool, 2));
    return 0;
  }
  lua_getfield(L, 1, "models");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  int names = lua_gettop(L);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, names); i++) {
    lua_rawgeti(L, names, i);
    llm_model *model = llm_pool_model(pool->pool, lua_tostring(L, -1));
    lua_pop(L, 1);
    if (model == NULL) continue;
    action(model);
    llm_model_unref(model);
  }
  return 0;
}

static int m_pause(lua_State *L) { return each_model(L, llm_model_pause); }
static int m_resume(lua_State *L) { return each_model(L, llm_model_resume); }
static int m_renew(lua_State *L) { return each_model(L, llm_model_renew); }

/* Lends at most n clients of the model at a time; infinite: all there are. */
static int m_limit(lua_State *L) {
  llm_model *model = check_model(L, check_pool(L, 1), 2);
  if (luaL_checknumber(L, 3) == HUGE_VAL)
    return finish(L, llm_model_limit(model, UINT32_MAX), model);
  lua_Integer n = luaL_checkinteger(L, 3);
  luaL_argcheck(L, n >= 0 && n < UINT32_MAX, 3,
                "a count, 0 or more, or math.huge, expected");
  return finish(L, llm_model_limit(model, (uint32_t)n), model);
}

/* (value) -> true, or false and the upvalue that binds it to this state */
static int f_is_sendable(lua_State *L) {
  const char *upvalue = NULL;
  lua_pushboolean(L, value_function_is_sendable(L, 1, &upvalue));
  lua_pushstring(L, upvalue);
  return 2;
}

static int f_is_shared(lua_State *L) {
  lua_pushboolean(L, check_pool(L, 1)->shared);
  return 1;
}

void register_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {
      {"register", f_register},   {"add", f_add},
      {"item", f_item},           {"is_sendable", f_is_sendable},
      {"is_shared", f_is_shared}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"retire_client", m_retire_client},
                                     {"cool_down", m_cool_down},
                                     {"disable_client", m_disable_client},
                                     {"unregister_model", m_unregister_model},
                                     {"pause", m_pause},
                                     {"resume", m_resume},
                                     {"renew", m_renew},
                                     {"limit", m_limit},
                                     {NULL, NULL}};
  static const luaL_Reg spec_metamethods[] = {{"__gc", spec_gc}, {NULL, NULL}};
  new_type(L, b, SPEC_TYPE, NULL, spec_metamethods);
  lua_pop(L, 2);
  set_functions(L, b, functions);
  lua_getfield(L, -1, "pool_methods");
  set_functions(L, b, methods);
  lua_pop(L, 1);
}
