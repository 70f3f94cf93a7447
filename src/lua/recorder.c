/*
** recorder.c - a record of pools, and meters, as Lua sees them.
**
** One idea: the numbers are gathered in C (src/runtime/record.c, meter.c) and
** handed out as plain tables when a report is written; nothing is made for a
** request but a call. What a report says, and what is drawn, is Lua's.
*/
#include "../runtime/fields.h"
#include "../runtime/record.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/scheduler.h"
#include "binding.h"

#define RECORD_TYPE "llmpool record"
#define METER_TYPE "llmpool meter"
#define MOST_EVENTS (1 << 26)

/* ---- meters ------------------------------------------------------------ */

static Meter *check_meter(lua_State *L, int index) {
  return luaL_checkudata(L, index, METER_TYPE);
}

/* () -> an empty meter */
static int f_meter(lua_State *L) {
  Meter *meter = lua_newuserdatauv(L, sizeof *meter, 0);
  memset(meter, 0, sizeof *meter);
  luaL_setmetatable(L, METER_TYPE);
  return 1;
}

static int m_add(lua_State *L) {
  meter_add(check_meter(L, 1), luaL_checknumber(L, 2));
  return 0;
}

static int m_merge(lua_State *L) {
  meter_merge(check_meter(L, 1), check_meter(L, 2));
  return 0;
}

static int m_quantile(lua_State *L) {
  double q = luaL_checknumber(L, 2);
  luaL_argcheck(L, q >= 0 && q <= 1, 2, "a number from 0 to 1 expected");
  lua_pushnumber(L, meter_quantile(check_meter(L, 1), q));
  return 1;
}

static void push_summary(lua_State *L, const Meter *meter) {
  lua_createtable(L, 0, 8);
  set_integer(L, "count", meter->count);
  set_number(L, "mean", meter_mean(meter));
  set_number(L, "sd", meter_deviation(meter));
  set_number(L, "min", meter->min);
  set_number(L, "p50", meter_quantile(meter, 0.50));
  set_number(L, "p95", meter_quantile(meter, 0.95));
  set_number(L, "p99", meter_quantile(meter, 0.99));
  set_number(L, "max", meter->max);
}

static int m_summary(lua_State *L) {
  push_summary(L, check_meter(L, 1));
  return 1;
}

/* ---- what the whole process is observed by --- */

static _Atomic(Record *) observer;

void observe_pool(llm_pool *pool) {
  Record *record = atomic_load(&observer);
  if (record) record_watch(record, pool); /* no memory: it is not seen */
}

/* ---- records ----------------------------------------------------------- */

Record *check_record_at(lua_State *L, int index) {
  Record **record = luaL_checkudata(L, index, RECORD_TYPE);
  luaL_argcheck(L, *record, index, "this record was closed");
  return *record;
}

static Record *check_record(lua_State *L) { return check_record_at(L, 1); }

static int record_gc(lua_State *L) {
  Record **record = luaL_checkudata(L, 1, RECORD_TYPE);
  Record *self = *record;
  if (self) atomic_compare_exchange_strong(&observer, &self, NULL);
  record_free(*record);
  *record = NULL;
  return 0;
}

/* (how many events to keep one by one) -> a record */
static int f_record(lua_State *L) {
  lua_Integer limit = luaL_optinteger(L, 1, 0);
  luaL_argcheck(L, limit >= 0 && limit <= MOST_EVENTS, 1,
                "a number of events from 0 to 67108864 expected");
  Record **record = lua_newuserdatauv(L, sizeof(Record *), 0);
  *record = NULL;
  luaL_setmetatable(L, RECORD_TYPE);
  *record = record_new((size_t)limit);
  if (*record == NULL) return luaL_error(L, "not enough memory");
  return 1;
}

static int m_watch(lua_State *L) {
  Record *record = check_record(L);
  if (!record_watch(record, check_pool(L, 2)->pool))
    return luaL_error(L, "not enough memory");
  return 0;
}

/* (record): watches every pool that is made from now on; (): no more */
static int f_observe(lua_State *L) {
  atomic_store(&observer, lua_isnoneornil(L, 1) ? NULL : check_record(L));
  return 0;
}

static int m_drain(lua_State *L) {
  record_drain(check_record(L));
  return 0;
}

/* (record, now): drains, listens no more, closes what lasts until now */
static int m_stop(lua_State *L) {
  Record *record = check_record(L);
  double now = luaL_optnumber(L, 2, 0);
  record_stop(record);
  record_close(record, (int64_t)(now * 1e9));
  return 0;
}

/* `how` a request has ended is a small integer, for the hash: 0 is well. By the
** scenario's own loop only: the arguments are what they should be. */
static void add_request(lua_State *L, double seconds, uint64_t how) {
  Record **record = lua_touserdata(L, 1);
  meter_add(lua_touserdata(L, 2), seconds);
  record_mix(*record, (uint64_t)(int64_t)(seconds * 1e9));
  record_mix(*record, how);
}

/* (record, meter, started): a request was answered now */
static int m_served(lua_State *L) {
  double now = to_seconds(world_now(binding_of(L)->worker->world));
  add_request(L, now - lua_tonumber(L, 3), 0);
  return 0;
}

/* (record, meter, seconds, how): a request has failed */
static int m_lost(lua_State *L) {
  add_request(L, lua_tonumber(L, 3), (uint64_t)lua_tointeger(L, 4));
  return 0;
}

static int m_hash(lua_State *L) {
  static const char digits[] = "0123456789abcdef";
  char text[16];
  uint64_t hash = check_record(L)->hash;
  for (int i = 15; i >= 0; i--, hash >>= 4) text[i] = digits[hash & 15];
  lua_pushlstring(L, text, sizeof text);
  return 1;
}

static void push_counts(lua_State *L, const Record *r) {
  lua_createtable(L, 0, LLM_EV_COUNT);
  for (int i = 0; i < LLM_EV_COUNT; i++)
    set_integer(L, llm_event_name((llm_event_kind)i), r->counts[i]);
}

static void push_area(lua_State *L, const double *area, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushnumber(L, area[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

static int buckets_used(const Record *r) {
  int64_t n = (r->last_ns - r->start_ns) / r->width_ns + 1;
  return n > RECORD_BUCKETS ? RECORD_BUCKETS : (int)n;
}

static void push_model(lua_State *L, const Record *r, const RecordModel *m) {
  int n = buckets_used(r);
  lua_createtable(L, 0, 6);
  set_string(L, "name", m->name);
  push_summary(L, m->wait);
  lua_setfield(L, -2, "wait");
  set_integer(L, "deepest", m->deepest);
  set_number(L, "depth_area", m->depth_sum);
  push_area(L, m->depth_area, n);
  lua_setfield(L, -2, "depth");
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, m->depth_max[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "depth_max");
}

static void push_client_record(lua_State *L, const Record *r,
                               const RecordClient *c) {
  int n = buckets_used(r);
  lua_createtable(L, 0, 7);
  set_string(L, "id", c->name);
  set_string(L, "model", r->models[c->model - 1]->name);
  set_integer(L, "lends", c->lends);
  set_number(L, "busy", c->busy);
  set_number(L, "rest", c->rest);
  set_number(L, "broken", c->broken);
  push_area(L, c->busy_in, n);
  lua_setfield(L, -2, "busy_in");
  push_area(L, c->rest_in, n);
  lua_setfield(L, -2, "rest_in");
  push_area(L, c->broken_in, n);
  lua_setfield(L, -2, "broken_in");
}

/* (record) -> all that it knows, as a table */
static int m_read(lua_State *L) {
  Record *r = check_record(L);
  record_drain(r);
  lua_createtable(L, 0, 10);
  set_integer(L, "total", r->total);
  set_integer(L, "dropped", r->dropped);
  set_integer(L, "kept", r->log_count);
  set_integer(L, "deepest", r->deepest);
  set_seconds(L, "width", r->width_ns);
  set_number(L, "start", 0); /* all times are told from the start on */
  set_seconds(L, "origin", r->start_ns); /* on the pools' clock */
  set_seconds(L, "last", r->last_ns - r->start_ns);
  push_counts(L, r);
  lua_setfield(L, -2, "counts");
  push_summary(L, &r->wait);
  lua_setfield(L, -2, "wait");
  lua_createtable(L, (int)r->model_count, 0);
  for (uint32_t i = 0; i < r->model_count; i++) {
    push_model(L, r, r->models[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "models");
  lua_createtable(L, (int)r->client_count, 0);
  for (uint32_t i = 0; i < r->client_count; i++) {
    push_client_record(L, r, r->clients[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "clients");
  set_boolean(L, "incomplete", r->out_of_memory);
  return 1;
}

/* (record, i) -> time, kind, model's and client's number (or nil), ask, span */
static int m_event(lua_State *L) {
  Record *r = check_record(L);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 1 || (size_t)i > r->log_count) return 0;
  const RecordEvent *e = &r->log[i - 1];
  lua_pushnumber(L, to_seconds(e->time_ns - r->start_ns));
  lua_pushstring(L, llm_event_name((llm_event_kind)e->kind));
  if (e->model)
    lua_pushinteger(L, e->model);
  else
    lua_pushnil(L);
  if (e->client)
    lua_pushinteger(L, e->client);
  else
    lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)(e->ask << 2 >> 2)); /* without its tag */
  lua_pushnumber(L,
                 e->span_ns == LLM_FOREVER ? HUGE_VAL : to_seconds(e->span_ns));
  return 6;
}

void recorder_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"meter", f_meter},
                                       {"record", f_record},
                                       {"observe", f_observe},
                                       {NULL, NULL}};
  static const luaL_Reg meter_methods[] = {{"add", m_add},
                                           {"merge", m_merge},
                                           {"quantile", m_quantile},
                                           {"summary", m_summary},
                                           {NULL, NULL}};
  static const luaL_Reg record_methods[] = {
      {"watch", m_watch}, {"drain", m_drain},   {"stop", m_stop},
      {"hash", m_hash},   {"served", m_served}, {"lost", m_lost},
      {"read", m_read},   {"event", m_event},   {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{NULL, NULL}};
  static const luaL_Reg record_metamethods[] = {
      {"__gc", record_gc}, {"__close", record_gc}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, METER_TYPE, meter_methods, metamethods);
  new_type(L, b, RECORD_TYPE, record_methods, record_metamethods);
  lua_pop(L, 4);
}
