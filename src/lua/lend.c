/*
** lend.c - a client is there: it is called back with, handed over, or asked at
** once; and it is back before anybody sees what came of it.
**
** One idea: between a client that is held and a protected call, or an owner,
** stands nothing that may raise; what may, runs protected and gives the client
** back. How the client came is lease.c's.
*/
#include "lend.h"

#include "../runtime/errors.h"
#include "../runtime/site.h"

/* Nothing of the guard is under way, or a holder has it; an open slot on a dead
** coroutine must not know it any more. */
void let_go(lua_State *L, Guard *guard) {
  if (!guard->is_owned) guard->holder->guard = NULL;
  guard_free(binding_of(L), guard);
}

/* Only a holder whose slot is closed may be reused: on a coroutine that died of
** an error the slot would stay open. */
void end_lending(lua_State *L, Guard *guard) {
  Binding *b = binding_of(L);
  Holder *holder = guard->is_owned ? NULL : guard->holder;
  if (llm_lease_is_held(&guard->lease)) guard_release(L, b, guard, LLM_KEEP);
  let_go(L, guard);
  if (holder) {
    lua_closeslot(L, HOLDER);
    put_holder(b, holder);
  }
}

/* The callback has returned or raised: the client is back before anybody sees
** what. */
static int k_called(lua_State *L, int status, lua_KContext ctx) {
  end_lending(L, (Guard *)ctx);
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - HANDLER;
  rethrow_mark(L);
  return lua_error(L);
}

/* Raises the error on top; the client is back. */
static int fail_lent(lua_State *L, Guard *guard, llm_return how) {
  guard_release(L, binding_of(L), guard, how);
  let_go(L, guard);
  return lua_error(L);
}

static void run_on_lend(lua_State *L, Guard *guard) {
  const ModelInfo *info = llm_model_user(guard->lease.model);
  if (info->on_lend && !run_hook(L, binding_of(L), guard, HELPER_ON_LEND))
    fail_lent(L, guard, LLM_POISON);
}

/* stack: worker or nothing; a client, and where it was asked for */
static int make_client(lua_State *L) {
  Worker *worker = lua_touserdata(L, 1);
  const char *site = worker ? site_of(L, worker, 2) : NULL;
  new_client_anywhere(L, 0);
  lua_pushlightuserdata(L, (void *)site);
  return 2;
}

/* Calls make with the worker or NULL and names what it leaves, a client; where
** it raises the lease ends. */
static void make_named(lua_State *L, Guard *guard, lua_CFunction made_by,
                       Worker *worker) {
  lua_pushcfunction(L, made_by);
  lua_pushlightuserdata(L, worker);
  if (lua_pcall(L, 1, 2, 0) != LUA_OK) fail_lent(L, guard, LLM_KEEP);
  const char *site = lua_touserdata(L, -1);
  lua_pop(L, 1);
  name_lease(binding_of(L), lua_touserdata(L, -1), guard, site);
}

/* Pushes a client for the guard's lease. */
static void push_client(lua_State *L, Guard *guard) {
  Binding *b = binding_of(L);
  if (b->trace_leaks || !b->has_spare) {
    make_named(L, guard, make_client, b->trace_leaks ? b->worker : NULL);
    return;
  }
  lua_getiuservalue(L, AT_HAND, SPARE_CLIENT);
  b->has_spare = false;
  name_lease(b, lua_touserdata(L, -1), guard, NULL);
}

static int call_back(lua_State *L, Guard *guard) {
  lua_pushcfunction(L, keep_traceback);
  lua_pushvalue(L, CALLBACK);
  push_client(L, guard); /* stack: ... handler callback client */
  int status = lua_pcallk(L, 1, LUA_MULTRET, HANDLER, context(guard), k_called);
  return k_called(L, status, context(guard));
}

/* The same, with a holder of its own, for where there is none. */
static int make_owner(lua_State *L) {
  Worker *worker = lua_touserdata(L, 1);
  const char *site = site_of(L, worker, 2);
  new_client_anywhere(L, 1);
  new_holder(L);
  lua_setiuservalue(L, -2, 1);
  lua_pushlightuserdata(L, (void *)site);
  return 2;
}

/* Pushes a client that the holder in its slot goes to. Where this raises, the
** slot's closing ends the lease. */
static void push_held_client(lua_State *L, Guard *guard) {
  Binding *b = binding_of(L);
  const char *site = site_of(L, b->worker, 1);
  Client *client = new_client(L, 1);
  lua_pushvalue(L, HOLDER);
  lua_setiuservalue(L, -2, 1);
  name_lease(b, client, guard, site);
}

static int hand_over(lua_State *L, Guard *guard) {
  if (guard->is_owned) {
    make_named(L, guard, make_owner, binding_of(L)->worker);
    guard_disown(guard);
    lua_getiuservalue(L, -1, 1);
    hold_guard(lua_touserdata(L, -1), guard);
    lua_pop(L, 1);
  } else {
    push_held_client(L, guard);
  }
  guard->holder->detached = true;
  guard->task = NULL;
  return 1;
}

int lend(lua_State *L, Guard *guard) {
  lua_settop(L, HOLDER);
  run_on_lend(L, guard);
  if (is_attempt(L)) return attempt_serve(L, guard);
  return lua_isnil(L, CALLBACK) ? hand_over(L, guard) : call_back(L, guard);
}
