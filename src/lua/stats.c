/*
** stats.c - what a pool has done and holds, as plain tables.
**
** It reads the core's numbers, converts nanoseconds to seconds, and counts
** nothing itself.
*/
#include "binding.h"

#include <math.h>
#include <stdlib.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

static void set_summary(lua_State *L, const char *name, const llm_summary *s) {
  lua_createtable(L, 0, 6);
  set_integer(L, "count", s->count);
  set_seconds(L, "p50", s->p50_ns);
  set_seconds(L, "p95", s->p95_ns);
  set_seconds(L, "p99", s->p99_ns);
  set_seconds(L, "max", s->max_ns);
  set_seconds(L, "mean", s->mean_ns);
  lua_setfield(L, -2, name);
}

void push_limit(lua_State *L, uint32_t limit) {
  if (limit == UINT32_MAX)
    lua_pushnumber(L, HUGE_VAL);
  else
    lua_pushinteger(L, limit);
}

static void set_counts(lua_State *L, const llm_stats *s) {
  const struct {
    const char *name;
    uint64_t value;
  } counts[] = {{"acquired", s->acquired},
                {"returned", s->returned},
                {"timeouts", s->timeouts},
                {"cancelled", s->cancelled},
                {"queue_full", s->queue_full},
                {"rested", s->rested},
                {"refused_closed", s->closed},
                {"created", s->created},
                {"create_failed", s->create_failed},
                {"checked", s->checked},
                {"check_failed", s->check_failed},
                {"replaced", s->replaced},
                {"retired", s->retired},
                {"expired", s->expired},
                {"leaked", s->leaked},
                {"double_returns", s->double_returns},
                {"size", s->clients},
                {"clients_in_service", s->keys},
                {"idle", s->idle},
                {"lent", s->lent},
                {"resting", s->resting},
                {"vacant", s->vacant},
                {"waiting", s->waiting},
                {"max_waiting_seen", s->max_waiting_seen}};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    set_integer(L, counts[i].name, counts[i].value);
}

/* What a client's limits leave, into the table on the top. */
static void set_limits(lua_State *L, const llm_client_stats *c) {
  if (c->rpm > 0) set_number(L, "rpm_left", c->rpm_left);
  if (c->tpm > 0) set_number(L, "tpm_left", c->tpm_left);
  if (c->has_breaker)
    set_string(L, "breaker", llm_breaker_state_name(c->breaker));
  set_integer(L, "outcomes", c->outcomes);
  set_integer(L, "errors", c->errors);
  set_number(L, "error_rate", c->error_rate);
  if (c->latency_ns > 0) set_seconds(L, "latency", c->latency_ns);
  if (c->first_ns > 0) set_seconds(L, "first_token", c->first_ns);
}

static void push_client_stats(lua_State *L, const llm_client_stats *c) {
  lua_createtable(L, 0, 14);
  set_string(L, "id", c->id);
  set_string(L, "state", llm_place_state_name(c->state));
  set_integer(L, "acquired", c->acquired);
  set_integer(L, "returned", c->returned);
  set_integer(L, "created", c->created);
  set_integer(L, "checked", c->checked);
  set_integer(L, "check_failed", c->check_failed);
  set_integer(L, "replaced", c->replaced);
  set_integer(L, "leaked", c->leaked);
  set_integer(L, "slots", c->slots);
  set_integer(L, "lent", c->lent);
  if (c->held_ns > 0) set_seconds(L, "held", c->held_ns);
  if (c->rest_until_ns > 0) set_seconds(L, "rest_until", c->rest_until_ns);
  set_limits(L, c);
  if (c->last_error[0] != '\0') set_string(L, "last_error", c->last_error);
  set_summary(L, "hold", &c->hold);
}

static void push_clients(lua_State *L, llm_model *model) {
  size_t size = llm_model_clients(model, NULL, 0);
  llm_client_stats *list = lua_newuserdatauv(L, (size + 1) * sizeof *list, 0);
  size_t count = llm_model_clients(model, list, size);
  if (count > size) count = size;
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    push_client_stats(L, &list[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_remove(L, -2);
}

static void push_model_stats(lua_State *L, llm_model *model) {
  llm_stats stats;
  llm_model_stats(model, &stats);
  lua_createtable(L, 0, 32);
  set_counts(L, &stats);
  if (stats.waiting > 0) set_seconds(L, "max_wait", stats.oldest_wait_ns);
  if (stats.resting > 0)
    set_seconds(L, "earliest_rest", stats.earliest_rest_ns);
  set_summary(L, "wait", &stats.wait);
  set_summary(L, "hold", &stats.hold);
  push_limit(L, stats.limit);
  lua_setfield(L, -2, "limit");
  set_boolean(L, "paused", stats.paused);
  push_clients(L, model);
  lua_setfield(L, -2, "clients");
}

/* A closed pool's numbers can be read to the end. */
static int push_closed_stats(lua_State *L, LuaPool *pool) {
  luaL_checkstring(L, 2);
  llm_model *model = find_registered(L, pool, 2);
  if (model == NULL) {
    push_unknown_model(L, pool, 2);
    return lua_error(L);
  }
  push_model_stats(L, model);
  llm_model_unref(model);
  return 1;
}

/* (pool) -> {models = {name -> stats}}; (pool, model) -> stats */
static int m_stats(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  if (!lua_isnoneornil(L, 2)) {
    if (llm_pool_is_closed(pool->pool)) return push_closed_stats(L, pool);
    push_model_stats(L, check_model(L, pool, 2));
    return 1;
  }
  lua_newtable(L);
  lua_newtable(L);
  lua_getfield(L, 1, "models");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1); /* stack: pool ... result models names */
  int names = lua_gettop(L);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, names); i++) {
    lua_rawgeti(L, names, i);
    llm_model *model = llm_pool_model(pool->pool, lua_tostring(L, -1));
    if (model == NULL) {
      lua_pop(L, 1);
      continue;
    }
    push_model_stats(L, model);
    llm_model_unref(model);
    lua_rawset(L, names - 1);
  }
  lua_pop(L, 1);
  lua_setfield(L, -2, "models");
  return 1;
}

/* ---- drain ------------------------------------------------------------- */

/* stack: 1 pool, 2 timeout, 3 the wait, to be closed */
typedef struct Drain {
  llm_waiter waiter; /* first: wake casts */
  Message wake;
  Worker *worker;
  Task *task;
  llm_pool *pool;
  int64_t deadline_ns;
  bool queued, woken;
} Drain;

static void on_drained(Worker *worker, Message *message) {
  Drain *drain = (Drain *)(void *)((char *)message - offsetof(Drain, wake));
  (void)worker;
  drain->woken = true;
  task_ready(drain->task);
}

static void wake_drain(llm_waiter *waiter) {
  Drain *drain = (Drain *)(void *)waiter;
  worker_post(drain->worker, &drain->wake);
}

static void end_drain(Drain *drain) {
  if (!drain->queued) return;
  drain->queued = false;
  timer_stop(drain->task->world, &drain->task->timer);
  if (!drain->woken && llm_pool_drain_withdraw(drain->pool, &drain->waiter))
    return;
  while (!drain->woken) worker_receive_wait(drain->worker);
}

static int drain_close(lua_State *L) {
  Drain *drain = lua_touserdata(L, 1);
  end_drain(drain);
  if (drain->pool) llm_pool_unref(drain->pool);
  drain->pool = NULL;
  return 0;
}

static int k_drained(lua_State *L, int status, lua_KContext ctx) {
  Drain *drain = lua_touserdata(L, 3);
  Task *task = drain->task;
  (void)status;
  (void)ctx;
  bool late = drain->deadline_ns <= world_now(task->world);
  if (!drain->woken && !late && !task_is_cancelled(task) && !task->doomed)
    return task_park(L, drain->worker, WAIT_LEASE, 0, k_drained);
  bool doomed = task->doomed && !drain->woken;
  task->doomed = false;
  end_drain(drain);
  check_cancel(L, task);
  if (doomed) {
    push_error(L, "deadlock",
               "drain: %d clients are lent and nothing is left "
               "that could return them",
               (int)llm_pool_lent(drain->pool));
    return lua_error(L);
  }
  lua_pushinteger(L, (lua_Integer)llm_pool_lent(drain->pool));
  return 1;
}

/* (pool, timeout) -> how many are still lent: 0, unless the time ran out */
static int m_drain(lua_State *L) {
  LuaPool *pool = check_pool(L, 1);
  int64_t span =
      lua_isnoneornil(L, 2) ? LLM_FOREVER : check_seconds(L, 2, 2, "a timeout");
  check_world(L, pool);
  Task *task = check_wait(L, pool->binding->worker);
  lua_settop(L, 2);
  Drain *drain = lua_newuserdatauv(L, sizeof *drain, 0);
  *drain = (Drain){.wake = {NULL, on_drained},
                   .worker = pool->binding->worker,
                   .task = task,
                   .pool = llm_pool_ref(pool->pool)};
  luaL_setmetatable(L, "llmpool.drain");
  lua_toclose(L, 3);
  drain->deadline_ns = llm_time_after(world_now(task->world), span);
  drain->queued = llm_pool_drain_begin(pool->pool, &drain->waiter, wake_drain);
  if (!drain->queued) drain->woken = true;
  if (drain->queued && drain->deadline_ns != LLM_FOREVER)
    task_set_deadline(task, drain->deadline_ns);
  return k_drained(L, LUA_OK, 0);
}

void stats_open(lua_State *L, Binding *b) {
  static const luaL_Reg methods[] = {
      {"stats", m_stats}, {"drain", m_drain}, {NULL, NULL}};
  static const luaL_Reg drain_metamethods[] = {
      {"__close", drain_close}, {"__gc", drain_close}, {NULL, NULL}};
  lua_getfield(L, -1, "pool_methods");
  set_functions(L, b, methods);
  lua_pop(L, 1);
  new_type(L, b, "llmpool.drain", NULL, drain_metamethods);
  lua_pop(L, 2);
}
