/*
** client.c - what a script sees of a lease.
**
** One idea: a client is a name - a guard and a serial number - for a lease that
** the guard owns, fresh for every lease. Used after that lease has ended it
** raises, also if the same API client is lent to the same caller again. The
** instance that does the work is this state's own, made from the client's spec
** when it is first needed and dropped when the place is renewed.
*/
#include "binding.h"
#include "spec.h"

#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"

static Client *new_name(lua_State *L, int user_values) {
  Client *client = lua_newuserdatauv(L, sizeof *client, user_values);
  *client = (Client){NULL, 0, 0};
  return client;
}

Client *new_client(lua_State *L, int user_values) {
  Client *client = new_name(L, user_values);
  lua_pushvalue(L, CLIENT_META);
  lua_setmetatable(L, -2);
  return client;
}

Client *new_client_anywhere(lua_State *L, int user_values) {
  Client *client = new_name(L, user_values);
  luaL_setmetatable(L, CLIENT_TYPE);
  return client;
}

void name_guard(Binding *b, Guard *guard, const char *site) {
  guard->named.serial = ++b->serial;
  guard->named.site = site;
  guard->is_named = true;
}

void name_lease(Binding *b, Client *client, Guard *guard, const char *site) {
  name_guard(b, guard, site);
  client->guard = guard;
  client->model = llm_model_uid(guard->lease.model);
  client->serial = guard->named.serial;
}

static Client *to_client(lua_State *L, int index) {
  Client *client = lua_touserdata(L, index);
  if (client == NULL || !lua_getmetatable(L, index))
    mistyped(L, index, index, "client");
  if (lua_topointer(L, -1) != binding_of(L)->client_type)
    mistyped(L, index, index, "client");
  lua_pop(L, 1);
  return client;
}

static Guard *find_guard(const Client *client) {
  Guard *guard = client->guard;
  return guard && guard->is_named && guard->named.serial == client->serial
             ? guard
             : NULL;
}

Guard *find_client(lua_State *L, int index) {
  return find_guard(to_client(L, index));
}

Guard *check_client(lua_State *L, int index) {
  Guard *guard = find_guard(to_client(L, index));
  if (guard == NULL)
    misled(L, "this client was returned: its lease has ended (it lasts as "
              "long as the callback, or until it is released or closed)");
  return guard;
}

/* ---- instances --------------------------------------------------------- */

bool push_kept_instance(lua_State *L, llm_place *place) {
  lua_getiuservalue(L, AT_HAND, INSTANCES);
  int type = lua_rawgeti(L, -1, (lua_Integer)llm_place_version(place));
  lua_remove(L, -2);
  if (type != LUA_TNIL) return true;
  lua_pop(L, 1);
  return false;
}

static void push_instance(lua_State *L, llm_place *place) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (push_kept_instance(L, place)) return;
  push_helper(L, HELPER_INSTANCE);
  push_spec(L, llm_place_spec(place));
  lua_pushstring(L, llm_place_id(place));
  lua_pushstring(L, llm_model_name(llm_place_model(place)));
  lua_call(L, 3, 1);
  set_instance(L, place, -1);
}

/* During a creation: what create has made so far (for on_create). */
static int f_set_instance(lua_State *L) {
  Guard *guard = check_client(L, 1);
  set_instance(L, guard->lease.place, 2);
  return 0;
}

/* (client) -> the item that it is made from */
static int f_spec(lua_State *L) {
  push_spec(L, llm_place_spec(check_client(L, 1)->lease.place));
  return 1;
}

/* (client) -> this state's instance of it */
static int f_instance(lua_State *L) {
  push_instance(L, check_client(L, 1)->lease.place);
  return 1;
}

/* (client) -> its model's name, its id */
static int f_lease_names(lua_State *L) {
  Guard *guard = check_client(L, 1);
  lua_pushstring(L, llm_model_name(guard->lease.model));
  lua_pushstring(L, llm_place_id(guard->lease.place));
  return 2;
}

/* ---- methods ----------------------------------------------------------- */

static int k_results(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return lua_gettop(L);
}

/* stack: client args... instance method; calls it, without the client */
static int call_method(lua_State *L) {
  lua_insert(L, 1);
  lua_replace(L, 2); /* stack: method instance args... */
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, k_results);
  return lua_gettop(L);
}

/* A function field of an instance, called on a client. */
static int forward(lua_State *L) {
  Guard *guard = check_client(L, 1);
  push_instance(L, guard->lease.place);
  lua_pushvalue(L, lua_upvalueindex(3));
  return call_method(L);
}

static int m_generate(lua_State *L) {
  Guard *guard = check_client(L, 1);
  push_instance(L, guard->lease.place);
  if (lua_getfield(L, -1, "generate") == LUA_TNIL)
    return luaL_error(L, "client \"%s\" has no generate method",
                      push_shown(L, llm_place_id(guard->lease.place)));
  return call_generate(L);
}

static int m_cool_down(lua_State *L) {
  Guard *guard = check_client(L, 1);
  int64_t span = check_seconds(L, 2, 2, "a rest");
  llm_model *model = guard->lease.model;
  int64_t now = world_now(binding_of(L)->worker->world);
  llm_model_cool_down(model, llm_place_id(guard->lease.place),
                      llm_time_after(now, span));
  return 0;
}

static int m_retire(lua_State *L) {
  Guard *guard = check_client(L, 1);
  llm_model_retire(guard->lease.model, llm_place_id(guard->lease.place));
  return 0;
}

/* The client of an acquire owns its guard, through a holder, which it lets go
** of; that of a callback does not. */
static void end_lease(lua_State *L, Binding *b, Guard *guard) {
  if (guard->making || guard->hooked)
    luaL_error(L, "a client cannot be released by a check, create or hook of "
                  "its model: it is not lent to them");
  Holder *holder = guard->is_owned ? NULL : guard->holder;
  guard_release(L, b, guard, LLM_KEEP);
  if (holder == NULL || !holder->detached) return;
  put_holder(b, holder);
  guard_free(b, guard);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
}

/* Counts a second release to the model, if it is still there. */
static void count_double(lua_State *L, const Client *client) {
  for (LuaPool *p = binding_of(L)->pools; p; p = p->next)
    if (p->pool) llm_pool_double_return(p->pool, client->model);
}

static int m_release(lua_State *L) {
  Client *client = to_client(L, 1);
  Guard *guard = find_guard(client);
  if (guard == NULL) {
    count_double(L, client);
    return luaL_error(L, "this client was released already");
  }
  end_lease(L, binding_of(L), guard);
  return 0;
}

/* ---- metamethods ------------------------------------------------------- */

/* The end of most blocks: as short as may be. */
static int mm_close(lua_State *L) {
  Binding *b = binding_of(L);
  const Client *client = lua_touserdata(L, 1);
  if (client == NULL || !lua_getmetatable(L, 1) ||
      lua_topointer(L, -1) != b->client_type)
    luaL_typeerror(L, 1, "client");
  Guard *guard = find_guard(client);
  if (guard) end_lease(L, b, guard);
  return 0;
}

static int mm_tostring(lua_State *L) {
  const Guard *guard = find_guard(to_client(L, 1));
  if (guard)
    lua_pushfstring(L, "client (%s/%s, lent)",
                    push_shown(L, llm_model_name(guard->lease.model)),
                    push_shown(L, llm_place_id(guard->lease.place)));
  else
    lua_pushliteral(L, "client (returned)");
  return 1;
}

/* A field of the instance's: functions are called on the instance. */
static int index_instance(lua_State *L, Guard *guard) {
  push_instance(L, guard->lease.place);
  lua_pushvalue(L, 2);
  lua_gettable(L, -2);
  if (lua_type(L, -1) != LUA_TFUNCTION) return 1;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, AT_HAND);
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, forward, 3);
  return 1;
}

/* upvalue 3: the methods */
static int mm_index(lua_State *L) {
  Client *client = to_client(L, 1);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(3)) != LUA_TNIL &&
      (find_guard(client) || strcmp(key, "release") == 0))
    return 1;
  Guard *guard = check_client(L, 1);
  if (strcmp(key, "id") == 0)
    lua_pushstring(L, llm_place_id(guard->lease.place));
  else if (strcmp(key, "model") == 0)
    lua_pushstring(L, llm_model_name(guard->lease.model));
  else
    return index_instance(L, guard);
  return 1;
}

void clients_open(lua_State *L, Binding *b) {
  static const luaL_Reg methods[] = {{"generate", m_generate},
                                     {"cool_down", m_cool_down},
                                     {"retire", m_retire},
                                     {"release", m_release},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__close", mm_close}, {"__tostring", mm_tostring}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"set_instance", f_set_instance},
                                       {"spec", f_spec},
                                       {"lease_names", f_lease_names},
                                       {"instance", f_instance},
                                       {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, CLIENT_TYPE, methods, metamethods); /* stack: type methods */
  push_upvalues(L, b);
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, mm_index, 3);
  lua_setfield(L, -3, "__index");
  b->client_type = lua_topointer(L, -2);
  lua_pushvalue(L, -1);
  lua_setfield(L, -4, "client_methods"); /* to which init.lua adds its own */
  push_upvalues(L, b);
  push_instances(L);
  lua_setiuservalue(L, -2, INSTANCES);
  lua_pop(L, 4);
}
