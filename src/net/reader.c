/*
** reader.c - reading a streamed answer: pieces of bytes, or events.
**
** One idea: both take from what the transfer holds and wait only if that is
** empty; what has come before an error is read first. Events are parsed where
** the bytes lie.
*/
#include <string.h>

#include "http.h"

#define EVENT_BYTES (1 << 20) /* of one event, unless the caller says */

enum { RESPONSE = 1, ALL };

/* ---- waiting ----------------------------------------------------------- */

/* Raises unless the response is a stream that this task may read. Returns the
** task, which was found able to wait. */
static struct Task *check_reader(lua_State *L, const Response *r) {
  struct Task *task =
      r->api->check_real_wait(L, r->worker, "reading an http response");
  if (!r->stream)
    luaL_error(L, "this response is no stream: its body is response.body "
                  "(ask with stream = true to read it in pieces)");
  if (r->reader) luaL_error(L, "another task is reading this response already");
  return task;
}

/* It is over: nil at its end, else what ended it. */
static int at_end(lua_State *L, const Response *r) {
  if (r->failed) {
    lua_getiuservalue(L, RESPONSE, VALUE_ERROR);
    return lua_error(L);
  }
  if (r->closed) {
    r->api->push_error(L, "closed", "%s", "the response was closed");
    return lua_error(L);
  }
  lua_pushnil(L);
  return 1;
}

static void done(Response *r) {
  r->reader = NULL;
  if (r->transfer) r->transfer->waiter = NULL;
  if (r->guard == GUARD_WAITING) r->guard = GUARD_DONE;
}

/* Nothing is left of what came: parks for more. The first time it takes its
** slot, since a killed task continues nowhere. */
static int wait(lua_State *L, Response *r, struct Task *task, lua_KContext ctx,
                lua_KFunction k) {
  if (r->reader == NULL) {
    response_guard(L, r, RESPONSE, task);
  } else if (r->api->is_cancelled(r->reader)) {
    task = r->reader;
    response_leave(r, true);
    r->api->check_cancel(L, task);
  }
  return r->api->park(L, r->worker, ctx, k);
}

/* Whether the transfer has nothing more to give; then the response has none. */
static bool is_over(lua_State *L, Response *r) {
  if (r->transfer && r->transfer->phase == PHASE_DONE &&
      bytes_left(&r->transfer->body) == 0)
    response_finish(L, r, RESPONSE);
  return r->transfer == NULL;
}

/* ---- bytes ------------------------------------------------------------- */

static int read_piece(lua_State *L, struct Task *task);
static int read_all(lua_State *L, struct Task *task);

static int k_piece(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return read_piece(L, NULL);
}

static int k_all(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return read_all(L, NULL);
}

static int read_piece(lua_State *L, struct Task *task) {
  Response *r = lua_touserdata(L, RESPONSE);
  if (is_over(L, r)) {
    done(r);
    return at_end(L, r);
  }
  Bytes *body = &r->transfer->body;
  size_t length = bytes_left(body);
  if (length == 0) return wait(L, r, task, 0, k_piece);
  lua_pushlstring(L, body->at + body->taken, length);
  transfer_take_body(r->transfer, length);
  done(r);
  return 1;
}

/* The pieces lie in the table at ALL. */
static int read_all(lua_State *L, struct Task *task) {
  Response *r = lua_touserdata(L, RESPONSE);
  while (!is_over(L, r)) {
    Bytes *body = &r->transfer->body;
    size_t length = bytes_left(body);
    if (length == 0) return wait(L, r, task, 0, k_all);
    lua_pushlstring(L, body->at + body->taken, length);
    lua_rawseti(L, ALL, (lua_Integer)lua_rawlen(L, ALL) + 1);
    transfer_take_body(r->transfer, length);
  }
  done(r);
  if (r->failed || r->closed) return at_end(L, r);
  luaL_Buffer text;
  lua_Integer count = (lua_Integer)lua_rawlen(L, ALL);
  luaL_buffinit(L, &text);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, ALL, i);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  return 1;
}

/* ([what]) -> what has come, at least a byte; nil at the end. "a": all. */
int m_read(lua_State *L) {
  static const char *const formats[] = {"a", NULL};
  Response *r = luaL_checkudata(L, 1, RESPONSE_TYPE);
  bool all =
      !lua_isnoneornil(L, 2) && luaL_checkoption(L, 2, NULL, formats) == 0;
  struct Task *task = check_reader(L, r);
  lua_settop(L, RESPONSE);
  if (!all) return read_piece(L, task);
  lua_newtable(L);
  return read_all(L, task);
}

/* ---- events ------------------------------------------------------------ */

static void set_text(lua_State *L, const char *name, const SseText *text) {
  lua_pushlstring(L, text->length ? text->at : "", text->length);
  lua_setfield(L, -2, name);
}

static void push_event(lua_State *L, const Sse *sse) {
  lua_createtable(L, 0, 2);
  set_text(L, "data", &sse->data);
  if (sse->event.length) set_text(L, "event", &sse->event);
  if (sse->has_id) set_text(L, "id", &sse->id);
  if (sse->retry >= 0) {
    lua_pushinteger(L, sse->retry);
    lua_setfield(L, -2, "retry");
  }
}

/* No more of this stream: it does not fit what a reader can hold. */
static int fail_events(lua_State *L, Response *r, SseStatus status) {
  size_t limit = r->sse->max_bytes;
  done(r);
  response_leave(r, false);
  if (status == SSE_NO_MEMORY) return no_memory(L, r->api, "an event");
  r->api->push_error(L, "too_large",
                     "an event of the stream is larger than %d bytes; allow "
                     "more by response:events(bytes)",
                     (int)limit);
  r->failed = true;
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, RESPONSE, VALUE_ERROR);
  return lua_error(L);
}

static int next_event(lua_State *L, struct Task *task);

static int k_event(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return next_event(L, NULL);
}

/* The stream is over. An event without its empty line is none; what it said
** comes beside the nil, for those who can tell whether it is whole. */
static int at_last_event(lua_State *L, Response *r) {
  const SseText *rest = NULL;
  if (!r->failed && !r->closed && r->sse) rest = sse_end(r->sse);
  if (rest == NULL) return at_end(L, r);
  lua_pushnil(L);
  lua_pushlstring(L, rest->length ? rest->at : "", rest->length);
  return 2;
}

static int next_event(lua_State *L, struct Task *task) {
  Response *r = lua_touserdata(L, RESPONSE);
  while (!is_over(L, r)) {
    Bytes *body = &r->transfer->body;
    size_t length = bytes_left(body), used;
    if (length == 0) return wait(L, r, task, 0, k_event);
    SseStatus status = sse_feed(r->sse, body->at + body->taken, length, &used);
    transfer_take_body(r->transfer, used);
    if (status == SSE_EVENT) {
      push_event(L, r->sse);
      done(r);
      return 1;
    }
    if (status != SSE_MORE) return fail_events(L, r, status);
  }
  done(r);
  return at_last_event(L, r);
}

/* upvalue 1: the response */
static int iterate(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  Response *r = lua_touserdata(L, RESPONSE);
  struct Task *task = check_reader(L, r);
  if (r->sse == NULL) return at_end(L, r); /* closed */
  return next_event(L, task);
}

/* ([max_bytes]) -> an iterator of events */
int m_events(lua_State *L) {
  Response *r = luaL_checkudata(L, 1, RESPONSE_TYPE);
  lua_Integer max_bytes = luaL_optinteger(L, 2, EVENT_BYTES);
  luaL_argcheck(L, max_bytes > 0 && max_bytes <= INT32_MAX, 2,
                "out of range: 1 to 2147483647 bytes");
  if (!r->stream)
    return luaL_error(L, "this response is no stream: ask with stream = true");
  if (r->sse == NULL) {
    r->sse = malloc(sizeof *r->sse);
    if (r->sse == NULL) return no_memory(L, r->api, "response:events");
    sse_init(r->sse, (size_t)max_bytes);
  }
  r->sse->max_bytes = (size_t)max_bytes;
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, iterate, 1);
  return 1;
}
