/*
** outcome.c - what a request has come to, told to the pool: by client:generate
** itself, by streams, and by scripts that call something of their own.
**
** One idea: a success is told from here, in a few instructions; a failure is
** translated by Lua (health.lua) into a table, which is read here. What follows
** for the client is the core's business. Telling never raises and never hides
** what the request raised.
*/
#include "binding.h"

#include <math.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

#define MOST_TOKENS 1e15

/* ---- reading an outcome ------------------------------------------------ */

static const char *const known[] = {
    "kind",    "error",      "sent",   "tokens", "latency",       "first",
    "backoff", "rest_until", "reason", "rest",   "disable_until", NULL};

static void check_names(lua_State *L, int index) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const char *name =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    int i = 0;
    while (known[i] && strcmp(known[i], name) != 0) i++;
    if (known[i] == NULL) {
      push_unknown_option(L, name, known);
      luaL_argerror(L, 2, lua_tostring(L, -1));
    }
    lua_pop(L, 1);
  }
}

/* A number, 0 or more, or `missing`; raises. */
static double check_number(lua_State *L, int index, const char *name,
                           double missing) {
  int type = lua_getfield(L, index, name);
  double value = lua_tonumber(L, -1);
  if (type != LUA_TNIL && (type != LUA_TNUMBER || isnan(value) || value < 0))
    wrong_option(L, 2, -1, name, "a number, 0 or more");
  lua_pop(L, 1);
  return type == LUA_TNIL ? missing : value;
}

static bool flag_field(lua_State *L, int index, const char *name,
                       bool missing) {
  bool is_nil = lua_getfield(L, index, name) == LUA_TNIL;
  bool value = is_nil ? missing : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static void read_kind(lua_State *L, int index, llm_outcome *outcome) {
  static const char *const names[] = {"none", "success", "failure", NULL};
  static const int kinds[] = {LLM_OUTCOME_NONE, LLM_OUTCOME_SUCCESS,
                              LLM_OUTCOME_FAILURE};
  lua_getfield(L, index, "kind");
  const char *name = lua_isnil(L, -1) ? "none" : lua_tostring(L, -1);
  for (int i = 0; name && names[i]; i++)
    if (strcmp(names[i], name) == 0) {
      outcome->kind = kinds[i];
      lua_pop(L, 1);
      return;
    }
  wrong_option(L, 2, -1, "kind", "\"success\", \"failure\" or \"none\"");
}

/* The reason stays in the table at `index`, which stays on the stack. */
static void read_outcome(lua_State *L, int index, int64_t now,
                         llm_outcome *outcome) {
  *outcome = (llm_outcome){.was_sent = flag_field(L, index, "sent", true)};
  read_kind(L, index, outcome);
  bool failed = outcome->kind == LLM_OUTCOME_FAILURE;
  outcome->is_error = flag_field(L, index, "error", failed);
  double tokens = check_number(L, index, "tokens", -1);
  outcome->has_tokens = tokens >= 0;
  if (tokens > MOST_TOKENS) tokens = MOST_TOKENS;
  if (outcome->has_tokens) outcome->tokens = (uint64_t)ceil(tokens);
  outcome->latency_ns = to_ns(check_number(L, index, "latency", 0));
  outcome->first_ns = to_ns(check_number(L, index, "first", 0));
  outcome->rest_until_ns = to_ns(check_number(L, index, "rest_until", 0));
  double rest = check_number(L, index, "rest", -1);
  if (rest > 0) outcome->rest_until_ns = llm_time_after(now, to_ns(rest));
  outcome->disable_until_ns = to_ns(check_number(L, index, "disable_until", 0));
  outcome->backs_off = flag_field(L, index, "backoff", false);
  if (lua_getfield(L, index, "reason") != LUA_TNIL &&
      lua_type(L, -1) != LUA_TSTRING)
    wrong_option(L, 2, -1, "reason", "a string");
  outcome->reason = lua_tostring(L, -1);
  lua_pop(L, 1);
}

/* (outcome) -> the same as a value that is read at once, for tell_failure; it
** has no rest from now on, which would not be the same tomorrow */
static int f_outcome(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  llm_outcome *outcome = lua_newuserdatauv(L, sizeof *outcome, 1);
  read_outcome(L, 1, 0, outcome);
  lua_pushvalue(L, 1); /* has the reason */
  lua_setiuservalue(L, -2, 1);
  return 1;
}

/* ---- methods ----------------------------------------------------------- */

/* (client, outcome): what has become of a request that the script made by its
** own means */
static int m_report(lua_State *L) {
  Guard *guard = check_client(L, 1);
  llm_outcome outcome;
  luaL_checktype(L, 2, LUA_TTABLE);
  check_names(L, 2);
  read_outcome(L, 2, world_now(binding_of(L)->worker->world), &outcome);
  if (outcome.is_error) observe_failure(&guard->lease, outcome.reason);
  lua_pushboolean(L, llm_lease_report(&guard->lease, &outcome));
  return 1;
}

/* (client, {tokens = n}) */
static int m_settle(lua_State *L) {
  Guard *guard = check_client(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  double tokens = check_number(L, 2, "tokens", -1);
  luaL_argcheck(L, tokens >= 0 && tokens <= MOST_TOKENS, 2,
                "{tokens = n} expected, what the request really took");
  lua_pushboolean(L, llm_lease_settle(&guard->lease, (uint64_t)ceil(tokens)));
  return 1;
}

/* (client, reason [, seconds]): out of service until it is replaced, or for so
** long */
static int m_disable(lua_State *L) {
  Guard *guard = check_client(L, 1);
  const char *reason = luaL_optstring(L, 2, "disabled");
  int64_t until = LLM_FOREVER;
  if (!lua_isnoneornil(L, 3))
    until = llm_time_after(world_now(binding_of(L)->worker->world),
                           check_seconds(L, 2, 3, "a time"));
  llm_model_disable(guard->lease.model, llm_place_id(guard->lease.place), until,
                    reason);
  return 0;
}

/* ---- generate ---------------------------------------------------------- */

/* stack: 1 client  2 when it began  3 message handler  4... */
enum { CLIENT = 1, BEGAN, MESSAGES };

static double raw_number(lua_State *L, int index, const char *name) {
  lua_pushstring(L, name);
  double value = lua_rawget(L, index) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
  lua_pop(L, 1);
  return value;
}

/* response.timings.first, without asking for what is made only when asked. */
static double first_of(lua_State *L, int index) {
  double first = 0;
  lua_pushliteral(L, "timings");
  if (lua_rawget(L, index) == LUA_TTABLE)
    first = raw_number(L, lua_gettop(L), "first");
  lua_pop(L, 1);
  return first;
}

/* (response) -> usage.total_tokens, whatever it is made by */
static int total_tokens(lua_State *L) {
  if (lua_getfield(L, 1, "usage") == LUA_TTABLE)
    lua_getfield(L, -1, "total_tokens");
  return 1;
}

static void read_tokens(lua_State *L, int index, llm_outcome *outcome) {
  lua_pushcfunction(L, total_tokens);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TNUMBER) {
    double tokens = lua_tonumber(L, -1);
    outcome->has_tokens = tokens >= 0 && tokens <= MOST_TOKENS;
    if (outcome->has_tokens) outcome->tokens = (uint64_t)tokens;
  }
  lua_pop(L, 1);
}

void outcome_success(lua_State *L, Guard *guard, int64_t began, int response) {
  int64_t now = world_now(binding_of(L)->worker->world);
  llm_outcome outcome = {
      .kind = LLM_OUTCOME_SUCCESS, .was_sent = true, .latency_ns = now - began};
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (lua_istable(L, response)) {
    double first = first_of(L, response);
    if (first > 0) outcome.first_ns = to_ns(first);
  }
  if (llm_lease_is_booked(&guard->lease)) read_tokens(L, response, &outcome);
  llm_lease_report(&guard->lease, &outcome);
}

/* (guard, error, seconds): by way of Lua; may raise */
static int tell_failure(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  llm_outcome outcome;
  push_helper(L, HELPER_OUTCOME);
  lua_insert(L, 2);
  lua_call(L, 2, 1); /* stack: guard outcome */
  const llm_outcome *ready = lua_touserdata(L, 2);
  if (ready)
    outcome = *ready;
  else
    read_outcome(L, 2, world_now(worker_of(L)->world), &outcome);
  observe_failure(&guard->lease, outcome.reason ? outcome.reason : "cancelled");
  llm_lease_report(&guard->lease, &outcome);
  return 0;
}

void outcome_failure(lua_State *L, Guard *guard, double seconds) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, tell_failure);
  lua_pushlightuserdata(L, guard);
  lua_pushvalue(L, -3);
  lua_pushnumber(L, seconds);
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) lua_pop(L, 1);
}

/* The lease may have ended meanwhile: then there is nothing to tell. */
static int k_generated(lua_State *L, int status, lua_KContext ctx) {
  bool ok = status == LUA_OK || status == LUA_YIELD;
  Guard *guard = find_client(L, CLIENT);
  (void)ctx;
  int64_t began = (int64_t)lua_tointeger(L, BEGAN);
  if (guard && ok) outcome_success(L, guard, began, MESSAGES + 2);
  if (guard && !ok) {
    int64_t now = world_now(worker_of(L)->world);
    outcome_failure(L, guard, to_seconds(now - began));
  }
  if (ok) return lua_gettop(L) - MESSAGES;
  rethrow_mark(L);
  return lua_error(L);
}

int keep_of_bugs(lua_State *L) {
  return error_kind(L, 1) ? 1 : keep_traceback(L);
}

/* stack: client args... instance method */
int call_generate(lua_State *L) {
  lua_insert(L, 2);
  lua_insert(L, 3); /* stack: client method instance args... */
  lua_pushinteger(L, (lua_Integer)world_now(binding_of(L)->worker->world));
  lua_insert(L, BEGAN);
  lua_pushcfunction(L, keep_of_bugs);
  lua_insert(L, MESSAGES);
  int status = lua_pcallk(L, lua_gettop(L) - MESSAGES - 1, LUA_MULTRET,
                          MESSAGES, 0, k_generated);
  return k_generated(L, status, 0);
}

/* stack: ... type methods */
void outcome_open(lua_State *L, Binding *b) {
  static const luaL_Reg methods[] = {{"report", m_report},
                                     {"settle", m_settle},
                                     {"disable", m_disable},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"outcome", f_outcome}, {NULL, NULL}};
  set_functions(L, b, functions);
  lua_getfield(L, -1, "client_methods");
  set_functions(L, b, methods);
  lua_pop(L, 1);
}
