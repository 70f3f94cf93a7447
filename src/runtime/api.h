/*
** api.h - how a C module of its own joins the runtime: a table of functions.
**
** A module such as llmpool.http is loaded on first use, into the program or
** into a plain lua5.4, and links neither liblua nor anything of ours: what it
** needs of the runtime it calls through this table, which lies in the registry.
** A table only ever grows at its end; a change of what is there is a new
** version, which older modules refuse.
**
** A wait of a module's has the shape of all waits (scheduler.h): check_wait,
** then something that will call `ready`, then `return park(...)` with a
** continuation that looks whether what it waits for is there, and parks again
** if not. All of it belongs to the worker's own thread, but for `post`.
*/
#ifndef LLMPOOL_API_H
#define LLMPOOL_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#define LLMPOOL_API_VERSION 1
#define LLMPOOL_API_KEY "llmpool.api" /* registry: a light userdata */

struct Worker; /* one a Lua state */
struct Task;

/* Memory of the module's, zeroed before its first use. */
typedef struct llmpool_timer {
  int64_t due_ns;
  uint64_t order;
  void (*fire)(struct llmpool_timer *); /* outside Lua: may make tasks ready */
  uint32_t place;                       /* 0: not started */
} llmpool_timer;

typedef struct llmpool_message {
  struct llmpool_message *next;
  void (*deliver)(struct Worker *, struct llmpool_message *);
} llmpool_message;

typedef struct llmpool_api {
  uint32_t version; /* LLMPOOL_API_VERSION */
  uint32_t size;    /* of the whole table */
  const char *release;
  struct Worker *(*worker)(lua_State *L); /* of this state; never raises */

  /* Raises where nobody may wait, and a pending cancellation. Returns the task
  ** that would wait. `real` as well: raises inside llmpool.simulate, naming
  ** `what` was to be done there. */
  struct Task *(*check_wait)(lua_State *L, struct Worker *worker);
  struct Task *(*check_real_wait)(lua_State *L, struct Worker *worker,
                                  const char *what);
  void (*check_cancel)(lua_State *L, struct Task *task);
  bool (*is_cancelled)(const struct Task *task);
  int (*park)(lua_State *L, struct Worker *worker, lua_KContext ctx,
              lua_KFunction k);
  void (*ready)(struct Task *task);

  /* The uv_loop_t, made when first asked for; NULL: libuv refused. It turns
  ** while a task or the main chunk waits. Handles that are referenced say that
  ** a wait may end: unreference what only lies in store. Close them in the
  ** __gc of a userdata that is made after the worker: so before it ends. */
  void *(*uv_loop)(struct Worker *worker);
  int64_t (*now_ns)(const struct Worker *worker); /* the monotonic clock */
  /* False: no memory. Started again it is moved. Never fires late by itself:
  ** the loop sleeps no longer than until then. */
  bool (*timer_start)(struct Worker *worker, llmpool_timer *timer,
                      int64_t due_ns);
  void (*timer_stop)(struct Worker *worker, llmpool_timer *timer);
  /* From any thread: delivered by the worker's own. */
  void (*post)(struct Worker *worker, llmpool_message *message);

  /* Pushes an error object {kind, message}: [-0, +1, m] */
  void (*push_error)(lua_State *L, const char *kind, const char *format, ...);
} llmpool_api;

/* The table, loading llmpool if need be. Raises if there is none that fits.
** `module` names who asks. */
static inline const llmpool_api *llmpool_api_get(lua_State *L,
                                                 const char *module) {
  if (lua_getfield(L, LUA_REGISTRYINDEX, LLMPOOL_API_KEY) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "llmpool");
    lua_call(L, 1, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, LLMPOOL_API_KEY);
  }
  const llmpool_api *api = (const llmpool_api *)lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (api == NULL || api->version != LLMPOOL_API_VERSION ||
      api->size < sizeof *api)
    luaL_error(L,
               "%s and llmpool are of different versions; install both from "
               "one build",
               module);
  return api;
}

/* api.c: puts the table into the registry. */
void api_open(lua_State *L);

#endif
