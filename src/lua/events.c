/*
** events.c - what happens in a pool, as Lua hears of it: read, or called back.
**
** One idea: the core fills a ring; a ring is read by the script, or - with a
** callback - by a short task of the listener's own worker, that is started
** when the ring turns from empty to not empty and ends when it is empty again.
** So a callback runs where no lock is held and no lease is in between, may
** wait, hears events in their order, and its error is a task's. Who makes an
** event never waits for its listeners: a full ring drops and counts.
*/
#include "binding.h"

#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"
#include "../runtime/site.h"
#include "../runtime/task.h"

enum { EV_POOL = 1, EV_CALLBACK, EV_VALUES = EV_CALLBACK };

struct Events {
  llm_listener *listener; /* NULL: closed */
  World *world;           /* of the pool: where the callback runs */
  Worker *worker;
  Events *next, **link; /* those of this state with a callback */
  const char *site;     /* where it was asked for */
  Message message;      /* the ring is not empty any more */
  _Atomic bool posted;  /* the message is under way */
  bool calls;           /* there is a callback */
  bool bell;            /* the message has come: start a task */
  bool delivering;      /* the task is there */
};

static void push_event(lua_State *L, const llm_event *e) {
  lua_createtable(L, 0, 8);
  set_integer(L, "seq", e->seq);
  set_seconds(L, "time", e->time_ns);
  set_string(L, "kind", llm_event_name(e->kind));
  set_string(L, "model", e->model);
  set_string(L, "client", e->client);
  uint64_t ask = e->ask & ((UINT64_C(1) << LLM_TAG_SHIFT) - 1);
  if (ask) set_integer(L, "ask", ask);
  if (e->kind == LLM_EV_LENT) set_seconds(L, "waited", e->span_ns);
  if (e->kind == LLM_EV_RETURNED) set_seconds(L, "held", e->span_ns);
  if (e->kind == LLM_EV_RESTING || e->kind == LLM_EV_DISABLED ||
      e->kind == LLM_EV_OPENED)
    set_seconds(L, "span", e->span_ns);
  if (e->kind == LLM_EV_CREATED || e->kind == LLM_EV_REPLACED)
    set_string(L, "reason", llm_reason_name(e->reason));
}

/* ---- the bell ---------------------------------------------------------- */

static void on_message(Worker *worker, Message *message) {
  Events *events =
      (Events *)(void *)((char *)message - offsetof(Events, message));
  atomic_store(&events->posted, false);
  events->bell = true;
  worker->has_bells = true;
}

/* Any thread, no lock is held: the first event in an empty ring. */
static void notify(void *user) {
  Events *events = user;
  if (!atomic_exchange(&events->posted, true))
    worker_post(events->worker, &events->message);
}

/* ---- delivery: a task -------------------------------------------------- */

static int k_delivered(lua_State *L, int status, lua_KContext ctx);

/* stack: events handler. Calls back for the next event, until there is none. */
static int deliver_next(lua_State *L, Events *events) {
  llm_event event;
  for (;;) {
    if (!events->listener ||
        llm_listener_read(events->listener, &event, 1) == 0) {
      events->delivering = false;
      return 0;
    }
    lua_getiuservalue(L, 1, EV_CALLBACK);
    push_event(L, &event);
    int status = lua_pcallk(L, 1, 0, 2, (lua_KContext)events, k_delivered);
    if (status != LUA_OK) return k_delivered(L, status, (lua_KContext)events);
  }
}

/* A callback's error ends this task, not the delivery of what follows. */
static int k_delivered(lua_State *L, int status, lua_KContext ctx) {
  Events *events = (Events *)ctx;
  if (status == LUA_OK || status == LUA_YIELD) return deliver_next(L, events);
  events->delivering = false;
  events->bell = events->worker->has_bells = true;
  rethrow_mark(L);
  return lua_error(L);
}

static int deliver(lua_State *L) {
  lua_pushcfunction(L, keep_traceback);
  return deliver_next(L, lua_touserdata(L, 1));
}

/* Whether the pool's world runs, or will run on when a simulation is over. */
static bool comes_back(const Worker *worker, const World *world) {
  const World *w = worker->world;
  while (w && w != world) w = w->outer;
  return w != NULL;
}

/* stack: worker events-or-nil (its finalizer is due) */
static void start_delivery(lua_State *L, Events *events) {
  if (lua_isnil(L, -1)) return;
  lua_pushcfunction(L, deliver);
  lua_insert(L, -2);
  Task *task = task_spawn(L, events->worker, &events->world->root, 1);
  task->site = events->site;
  events->bell = false;
  events->delivering = true;
}

/* stack: worker (light) */
static int start_deliveries(lua_State *L) {
  Worker *worker = lua_touserdata(L, 1);
  const Binding *b = worker->pools;
  for (Events *e = b->events; e; e = e->next) {
    if (!e->bell || e->delivering) continue;
    if (e->world != worker->world) {
      if (comes_back(worker, e->world)) worker->has_bells = true;
      continue;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, b);
    lua_rawgetp(L, -1, e);
    start_delivery(L, e);
    lua_settop(L, 1);
  }
  return 0;
}

/* Without memory the bells ring again at the next turn. */
static void ring(lua_State *L, Worker *worker) {
  worker->has_bells = false;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, start_deliveries);
  lua_pushlightuserdata(L, worker);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_pop(L, 1);
  worker->has_bells = true;
}

/* ---- methods ----------------------------------------------------------- */

static int events_close(lua_State *L) {
  Events *events = luaL_checkudata(L, 1, EVENTS_TYPE);
  if (events->listener) llm_listener_close(events->listener);
  events->listener = NULL;
  while (atomic_load(&events->posted)) worker_receive_wait(events->worker);
  if (!events->link) return 0;
  *events->link = events->next;
  if (events->next) events->next->link = events->link;
  events->link = NULL;
  if (lua_getiuservalue(L, 1, EV_POOL) == LUA_TUSERDATA) {
    lua_getiuservalue(L, -1, 1);
    lua_pushnil(L);
    lua_rawsetp(L, -2, events); /* its pool holds it no more */
  }
  return 0;
}

static Events *check_events(lua_State *L) {
  Events *events = luaL_checkudata(L, 1, EVENTS_TYPE);
  if (!events->listener) luaL_error(L, "these events were closed");
  return events;
}

/* (events) -> the list of what has happened since; how many were dropped */
static int m_read(lua_State *L) {
  Events *events = check_events(L);
  llm_event batch[64];
  size_t n;
  lua_Integer count = 0;
  if (events->calls)
    return luaL_error(L, "these events go to a callback: they are not read");
  lua_newtable(L);
  while ((n = llm_listener_read(events->listener, batch, 64)) > 0)
    for (size_t i = 0; i < n; i++) {
      push_event(L, &batch[i]);
      lua_rawseti(L, -2, ++count);
    }
  lua_pushinteger(L, (lua_Integer)llm_listener_dropped(events->listener));
  return 2;
}

static int m_dropped(lua_State *L) {
  Events *events = check_events(L);
  lua_pushinteger(L, (lua_Integer)llm_listener_dropped(events->listener));
  return 1;
}

static int mm_tostring(lua_State *L) {
  const Events *events = luaL_checkudata(L, 1, EVENTS_TYPE);
  lua_pushfstring(L, "events (%s)",
                  !events->listener ? "closed"
                  : events->calls   ? "called back"
                                    : "open");
  return 1;
}

/* ---- making ------------------------------------------------------------ */

/* stack: ... key value */
static void unknown_option(lua_State *L) {
  static const char *const known[] = {"callback", "capacity", NULL};
  push_unknown_option(L, luaL_tolstring(L, -2, NULL), known);
  luaL_argerror(L, 2, lua_tostring(L, -1));
}

/* stack: pool options; pushes the callback or nil, returns the capacity. */
static lua_Integer check_options(lua_State *L) {
  if (!lua_istable(L, 2)) {
    lua_Integer capacity = luaL_optinteger(L, 2, 4096);
    lua_pushnil(L);
    return capacity;
  }
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    const char *name =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(name, "capacity") != 0 && strcmp(name, "callback") != 0)
      unknown_option(L);
    lua_pop(L, 1);
  }
  int is_integer = 1;
  lua_Integer capacity = 4096;
  if (lua_getfield(L, 2, "capacity") != LUA_TNIL)
    capacity = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer) capacity = 0;
  lua_pop(L, 1);
  int kind = lua_getfield(L, 2, "callback");
  if (kind != LUA_TNIL && kind != LUA_TFUNCTION)
    wrong_option(L, 2, -1, "callback", "a function");
  return capacity;
}

/* stack: pool options callback events. A pool keeps those that call back; in
** the list it is found by those who deliver. */
static void keep(lua_State *L, Binding *b, Events *events) {
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, 4, EV_CALLBACK);
  lua_rawgetp(L, LUA_REGISTRYINDEX, b); /* weak: for deliveries */
  lua_pushvalue(L, 4);
  lua_rawsetp(L, -2, events);
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 4);
  lua_rawsetp(L, -2, events);
  lua_settop(L, 4);
  events->calls = true;
  events->next = b->events;
  events->link = &b->events;
  if (events->next) events->next->link = &events->next;
  b->events = events;
}

/* (pool, capacity), (pool, {capacity=, callback=}) -> events, from now on */
static int m_events(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  Binding *b = pool->binding;
  lua_settop(L, 2);
  lua_Integer capacity = check_options(L);
  luaL_argcheck(L, capacity > 0 && capacity <= 1 << 24, 2,
                "a number of events from 1 to 16777216 expected");
  Events *events = lua_newuserdatauv(L, sizeof *events, EV_VALUES);
  memset(events, 0, sizeof *events);
  events->world = pool->world;
  events->worker = b->worker;
  events->message.deliver = on_message;
  luaL_setmetatable(L, EVENTS_TYPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 4, EV_POOL); /* the pool stays as long as its events */
  bool calls = !lua_isnil(L, 3);
  events->site = calls ? site_of(L, b->worker, 1) : NULL;
  if (calls) keep(L, b, events);
  events->listener = llm_pool_listen(pool->pool, (size_t)capacity,
                                     calls ? notify : NULL, events);
  if (events->listener == NULL) return luaL_error(L, "not enough memory");
  return 1;
}

void events_open(lua_State *L, Binding *b) {
  static const luaL_Reg pool_methods[] = {{"events", m_events}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"read", m_read},
                                     {"dropped", m_dropped},
                                     {"close", events_close},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__close", events_close},
                                         {"__gc", events_close},
                                         {"__tostring", mm_tostring},
                                         {NULL, NULL}};
  b->worker->pools_ring = ring;
  push_weak_table(L, "v");
  lua_rawsetp(L, LUA_REGISTRYINDEX, b); /* address -> events */
  lua_getfield(L, -1, "pool_methods");
  set_functions(L, b, pool_methods);
  lua_pop(L, 1);
  new_type(L, b, EVENTS_TYPE, methods, metamethods);
  lua_pop(L, 2);
}
