/*
** recording.c - recordings on their way to a file, as Lua sees them.
**
** One idea: whoever has a line puts it; the rest is the tape's
** (src/runtime/tape.h). The process has one tape at the most, of --record, that
** all its states know: their routers put their requests there, and tell by a
** tag which asks of the pools are theirs. What a line says is Lua's.
*/
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "../runtime/scheduler.h"
#include "../runtime/tape.h"
#include "binding.h"

#define TAPE_TYPE "llmpool tape"

/* The process's. It is never freed: a thread may be about to put a line. */
static _Atomic(Tape *) shared;
static _Atomic bool is_recorded;

typedef struct Recording { /* a userdata; its user value is the record */
  Tape *tape;
} Recording;

static Tape *check_tape(lua_State *L) {
  Recording *recording = luaL_checkudata(L, 1, TAPE_TYPE);
  luaL_argcheck(L, recording->tape, 1, "this tape was closed");
  return recording->tape;
}

/* (path, first line, program or nil, record or nil) -> tape; or nil and why */
static int f_tape(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  const char *header = luaL_checkstring(L, 2);
  const char *program = luaL_optstring(L, 3, NULL);
  Record *record = lua_isnoneornil(L, 4) ? NULL : check_record_at(L, 4);
  lua_settop(L, 4);
  Recording *recording = lua_newuserdatauv(L, sizeof *recording, 1);
  recording->tape = NULL;
  luaL_setmetatable(L, TAPE_TYPE);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, 1);
  recording->tape = tape_open(path, header, program, record);
  if (recording->tape) return 1;
  luaL_pushfail(L);
  lua_pushfstring(L, "%s: %s", path, strerror(errno));
  return 2;
}

static int m_put(lua_State *L) {
  size_t length;
  const char *line = luaL_checklstring(L, 2, &length);
  tape_put(check_tape(L), line, length);
  return 0;
}

static void stop_sharing(const Tape *tape) {
  if (tape == atomic_load(&shared)) atomic_store(&is_recorded, false);
}

static TapeEnd close_at(lua_State *L, Tape *tape) {
  stop_sharing(tape);
  return tape_close(tape, world_now(binding_of(L)->worker->world));
}

/* (tape) -> how many lines and events were lost; or nil and why it could not
** be written */
static int m_close(lua_State *L) {
  TapeEnd end = close_at(L, check_tape(L));
  if (end.failure == 0) {
    lua_pushinteger(L, (lua_Integer)end.lost);
    return 1;
  }
  luaL_pushfail(L);
  lua_pushstring(L, strerror(end.failure));
  return 2;
}

static int mm_gc(lua_State *L) {
  Recording *recording = luaL_checkudata(L, 1, TAPE_TYPE);
  Tape *tape = recording->tape;
  recording->tape = NULL;
  if (tape == NULL) return 0;
  close_at(L, tape);
  if (tape != atomic_load(&shared)) tape_free(tape);
  return 0;
}

/* ---- the process's ------------------------------------------------------ */

/* (tape): all that happens in this process goes there, until it is closed */
static int f_share_tape(lua_State *L) {
  atomic_store(&shared, check_tape(L));
  atomic_store(&is_recorded, true);
  return 0;
}

static int f_is_recorded(lua_State *L) {
  lua_pushboolean(L, atomic_load(&is_recorded));
  return 1;
}

/* (line): on the process's tape */
static int f_put_recorded(lua_State *L) {
  size_t length;
  const char *line = luaL_checklstring(L, 1, &length);
  Tape *tape = atomic_load(&shared);
  if (tape) tape_put(tape, line, length);
  return 0;
}

void observe_failure(const llm_lease *lease, const char *reason) {
  if (!atomic_load_explicit(&is_recorded, memory_order_relaxed)) return;
  tape_failed(atomic_load(&shared), lease, reason ? reason : "error");
}

/* A program's own state cuts off its requests itself when it ends; a thread's
** may end with the process. */
uint8_t tag_of_routers(const Worker *worker) {
  return worker->drop_in ? TAPE_PUT : TAPE_CUT;
}

void recording_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"tape", f_tape},
                                       {"share_tape", f_share_tape},
                                       {"is_recorded", f_is_recorded},
                                       {"put_recorded", f_put_recorded},
                                       {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"put", m_put}, {"close", m_close}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__gc", mm_gc}, {"__close", mm_gc}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, TAPE_TYPE, methods, metamethods);
  lua_pop(L, 2);
}
