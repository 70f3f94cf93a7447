/*
** lend.h - the stack of a call that asks for a client, and its two ends.
**
** It is the same for get_client and acquire, from the question on:
**   1 pool  2 model(s)  3 callback, nil, or an attempt's request  4 options
**   5 holder, to be closed, or nil  6 message handler or client  7... what was
**   called
** The holder is for a coroutine that somebody may drop or close. A task's own
** coroutine comes back or ends; there the task owns the guard, and what may
** fail while a client is held runs inside a protected call.
*/
#ifndef LLMPOOL_LEND_H
#define LLMPOOL_LEND_H

#include <stdbool.h>

#include "binding.h"

enum { POOL = 1, MODEL, CALLBACK, OPTIONS, HOLDER, HANDLER, RESULTS };

/* A request, in the callback's place (attempt.c). */
static inline bool is_attempt(lua_State *L) {
  int type = lua_type(L, CALLBACK);
  return type == LUA_TSTRING || type == LUA_TTABLE;
}

static inline lua_KContext context(Guard *guard) { return (lua_KContext)guard; }

/* The client of the guard's lease goes to whom it was asked for. */
int lend(lua_State *L, Guard *guard);
/* What was called with the client is over: gives it back, and the guard. */
void end_lending(lua_State *L, Guard *guard);
/* Nothing of the guard is under way, or a holder has it. */
void let_go(lua_State *L, Guard *guard);

#endif
