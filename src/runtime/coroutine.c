/*
** coroutine.c - the standard coroutine functions, aware of parked tasks.
**
** One idea: a resumed coroutine that parks yields the scheduler's sentinel;
** resume and wrap pass it on outwards and, continued, resume the inner one
** again, so that generators and the like may call anything that waits. They
** also record who runs, which tells whether a wait is possible and what a
** signal has to interrupt. Apart from that they are lcorolib.c of Lua 5.4,
** message by message. The table is patched in place, before user code.
*/
#include "task.h"

#include <lauxlib.h>
#include <lualib.h>

#include "scheduler.h"

static Worker *upvalue_worker(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "coroutine");
  return co;
}

enum { PARKED = -2, FAILED = -1 };

/* What the coroutine at index 1 left after a resume: the number of results,
** pushed; FAILED and the message; PARKED, nothing pushed. */
static int take_results(lua_State *L, lua_State *co, int status, int nresults) {
  if (status == LUA_YIELD && coroutine_is_parked(co)) return PARKED;
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return FAILED;
  }
  if (!lua_checkstack(L, nresults + 1)) {
    lua_pop(co, nresults);
    lua_pushliteral(L, "too many results to resume");
    return FAILED;
  }
  lua_xmove(co, L, nresults);
  return nresults;
}

/* Resumes it with the `nargs` values on top of the stack. */
static int resume(lua_State *L, Worker *worker, lua_State *co, int nargs) {
  int nresults = 0;
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return FAILED;
  }
  if (coroutine_is_parked(co)) {
    lua_pushliteral(L, "cannot resume non-suspended coroutine");
    return FAILED;
  }
  lua_xmove(L, co, nargs);
  int status = coroutine_resume(worker, co, L, nargs, &nresults, false);
  return take_results(L, co, status, nresults);
}

/* Resumes a parked one again, from the scheduler. */
static int unpark(lua_State *L, Worker *worker, lua_State *co) {
  int nresults = 0;
  int status = coroutine_resume(worker, co, L, 0, &nresults, false);
  return take_results(L, co, status, nresults);
}

/* ---- resume ------------------------------------------------------------ */

static int k_resume(lua_State *L, int status, lua_KContext ctx);

static int finish_resume(lua_State *L, int results) {
  if (results == PARKED) {
    push_sentinel(L);
    return lua_yieldk(L, 1, 0, k_resume);
  }
  if (results == FAILED) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  lua_pushboolean(L, 1);
  lua_insert(L, -(results + 1));
  return results + 1;
}

static int k_resume(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return finish_resume(L, unpark(L, upvalue_worker(L), lua_tothread(L, 1)));
}

static int f_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  return finish_resume(L, resume(L, upvalue_worker(L), co, lua_gettop(L) - 1));
}

/* ---- wrap -------------------------------------------------------------- */

static int k_wrapped(lua_State *L, int status, lua_KContext ctx);

static int raise_from(lua_State *L, lua_State *co) {
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    status = lua_resetthread(co); /* closes its variables */
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int finish_wrapped(lua_State *L, lua_State *co, int results) {
  if (results == PARKED) {
    push_sentinel(L);
    return lua_yieldk(L, 1, 0, k_wrapped);
  }
  if (results == FAILED) return raise_from(L, co);
  return results;
}

static int k_wrapped(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  lua_State *co = lua_tothread(L, 1);
  return finish_wrapped(L, co, unpark(L, upvalue_worker(L), co));
}

/* The coroutine goes to index 1, where a hard kill looks for it. */
static int wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  int nargs = lua_gettop(L);
  luaL_checkstack(L, 1, NULL);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  return finish_wrapped(L, co, resume(L, upvalue_worker(L), co, nargs));
}

static int f_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, -2);
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

/* ---- status, close, yield ---------------------------------------------- */

/* The originals are the second upvalue; they look at arguments only. */
static int call_original(lua_State *L) {
  return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

static int f_status(lua_State *L) {
  lua_State *co = check_coroutine(L);
  if (co == L || !coroutine_is_parked(co)) return call_original(L);
  lua_pushliteral(L, "normal");
  return 1;
}

static int f_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  if (co != L && coroutine_is_parked(co))
    return luaL_error(L, "cannot close a normal coroutine");
  return call_original(L);
}

/* A task has nobody to yield values to. */
static int f_yield(lua_State *L) {
  const Activation *a = upvalue_worker(L)->activation;
  if (a && a->base && a->co == L)
    return luaL_error(L, "attempt to yield from outside a coroutine");
  return lua_yield(L, lua_gettop(L));
}

void coroutine_open(lua_State *L, Worker *worker) {
  static const luaL_Reg patched[] = {{"resume", f_resume}, {"wrap", f_wrap},
                                     {"status", f_status}, {"close", f_close},
                                     {"yield", f_yield},   {NULL, NULL}};
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_COLIBNAME) == LUA_TTABLE) {
    for (const luaL_Reg *f = patched; f->name; f++) {
      lua_pushlightuserdata(L, worker);
      lua_getfield(L, -2, f->name);
      lua_pushcclosure(L, f->func, 2);
      lua_setfield(L, -2, f->name);
    }
  }
  lua_pop(L, 2);
}
