/*
** failure.c - why there is no client, as an error object.
**
** One idea: the sentence names the model, the numbers of that moment and what
** to do about it; the object carries the same as fields for a handler.
*/
#include "binding.h"

#include <stdio.h>

#include "../runtime/errors.h"
#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

#define INSTANT_NS 100000 /* less than this was no wait */

static void set_details(lua_State *L, const llm_failure *f) {
  set_string(L, "model", f->model);
  set_seconds(L, "waited", f->waited_ns);
  set_seconds(L, "retry_at", f->retry_at_ns);
  lua_createtable(L, 0, 5);
  set_integer(L, "waiting", f->waiting);
  set_integer(L, "lent", f->lent);
  set_integer(L, "idle", f->idle);
  set_integer(L, "resting", f->resting);
  set_integer(L, "clients", f->clients);
  lua_setfield(L, -2, "stats");
}

static const char *format_seconds(char text[32], int64_t ns) {
  snprintf(text, 32, "%.3g", to_seconds(ns < 0 ? 0 : ns));
  return text;
}

/* Its time is over: why, and what helps. */
static void push_late(lua_State *L, const llm_failure *f, const char *model) {
  const char *name = llm_err_name(f->err);
  char text[32];
  if (f->paused)
    push_error(L, name,
               "\"%s\" is paused and lends nothing (%d waiting); pool:resume "
               "ends that",
               model, (int)f->waiting);
  else if (f->clients == 0)
    push_error(L, name,
               "\"%s\" has no clients (%d waiting); pool:add_client adds one",
               model, (int)f->waiting);
  else if (f->waited_ns < INSTANT_NS)
    push_error(L, name,
               "no client of \"%s\" is free now (%d waiting, %d lent, %d "
               "resting); give a timeout to wait",
               model, (int)f->waiting, (int)f->lent, (int)f->resting);
  else
    push_error(L, name,
               "no client of \"%s\" within %s s (%d waiting, %d lent, %d "
               "idle, %d resting); raise timeout or add clients",
               model, format_seconds(text, f->waited_ns), (int)f->waiting,
               (int)f->lent, (int)f->idle, (int)f->resting);
}

static void push_sentence(lua_State *L, const llm_failure *f, int64_t now) {
  int kind = f->err;
  const char *model = push_shown(L, f->model);
  char text[32];
  const char *name = llm_err_name(f->err);
  if (kind == LLM_TIMEOUT)
    push_late(L, f, model);
  else if (kind == LLM_QUEUE_FULL)
    push_error(L, name,
               "the line for \"%s\" is full (%d waiting, %d of %d lent); "
               "try later or raise max_waiting",
               model, (int)f->waiting, (int)f->lent, (int)f->clients);
  else if (kind == LLM_RESTING)
    push_error(L, name,
               "every client of \"%s\" rests; the earliest is back in %s s",
               model, format_seconds(text, f->retry_at_ns - now));
  else if (kind == LLM_OUT_OF_SERVICE)
    push_error(L, name,
               "no client of \"%s\" is in service: %s; replace them "
               "(pool:replace_client)",
               model, f->text);
  else if (kind == LLM_EXCLUDED)
    push_error(L, name, "every client of \"%s\" is excluded by the call",
               model);
  else if (kind == LLM_CREATE_FAILED)
    push_error(L, name, "no client of \"%s\" could be made: %s", model,
               f->text);
  else if (kind == LLM_CLOSED)
    push_error(L, name,
               "\"%s\" is closed: its pool was closed or the model "
               "unregistered",
               model);
  else
    push_error(L, name, "no client of \"%s\": %s", model, llm_err_text(f->err));
  lua_remove(L, -2); /* the name */
}

void push_failure(lua_State *L, const Guard *guard, int cause) {
  llm_failure failure;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  llm_lease_failure(&guard->lease, &failure);
  push_sentence(L, &failure, world_now(guard->task->world));
  set_details(L, &failure);
  if (cause != 0)
    lua_pushvalue(L, cause);
  else if (failure.err == LLM_CREATE_FAILED && failure.text[0] != '\0')
    lua_pushstring(L, failure.text);
  else
    return;
  lua_setfield(L, -2, "cause");
}

void push_deadlock(lua_State *L, llm_model *model, const llm_stats *stats) {
  const char *name = push_shown(L, llm_model_name(model));
  if (stats->paused)
    push_error(L, "deadlock",
               "\"%s\" is paused (%d waiting) and no task, timer, I/O or "
               "thread is left that could resume it",
               name, (int)stats->waiting);
  else if (stats->clients == 0)
    push_error(L, "deadlock",
               "\"%s\" has no clients (%d waiting) and no task, timer, I/O or "
               "thread is left that could add one",
               name, (int)stats->waiting);
  else
    push_error(L, "deadlock",
               "no task, timer, I/O or thread is left that could return a "
               "client of \"%s\" (%d lent, %d waiting); is one asked for "
               "while one is held?",
               name, (int)stats->lent, (int)stats->waiting);
  lua_remove(L, -2); /* the name */
  set_string(L, "model", llm_model_name(model));
}
