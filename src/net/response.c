/*
** response.c - an answer as Lua has it: status, headers, body, timings.
**
** One idea: the transfer goes back to the Multi as soon as all has come; what
** is read later lies in the response itself. Headers stay the bytes they were
** until somebody looks at them. Reading a stream is reader.c's.
*/
#include <string.h>

#include "http.h"

typedef enum Field {
  FIELD_STATUS = 1,
  FIELD_HEADERS,
  FIELD_BODY,
  FIELD_TIMINGS,
  FIELD_VERSION
} Field;

/* ---- making and leaving ------------------------------------------------ */

Response *push_response(lua_State *L, Box *box) {
  Response *r = lua_newuserdatauv(L, sizeof *r, VALUE_COUNT);
  memset(r, 0, sizeof *r);
  r->api = box->api;
  r->worker = box->worker;
  r->timings = (Timings){-1, -1, -1, -1};
  luaL_setmetatable(L, RESPONSE_TYPE);
  return r;
}

void response_guard(lua_State *L, Response *r, int index, struct Task *task) {
  r->reader = task;
  r->transfer->waiter = task;
  lua_toclose(L, index);
  r->guard = GUARD_WAITING;
  r->guarded = L;
}

void response_leave(Response *r, bool cancelled) {
  if (r->transfer == NULL) return;
  r->closed = true;
  if (cancelled && r->drain)
    transfer_drain(r->transfer);
  else
    transfer_end(r->transfer);
}

static void end_events(Response *r) {
  if (r->sse) {
    sse_free(r->sse);
    free(r->sse);
    r->sse = NULL;
  }
}

/* The slot of a function of ours: unless that ended well, nobody reads on. */
static void close_guard(Response *r) {
  Guard guard = r->guard;
  r->guard = GUARD_NONE;
  r->reader = NULL;
  if (r->transfer) r->transfer->waiter = NULL;
  if (guard != GUARD_DONE) response_leave(r, false);
}

/* That slot, or the user's own variable: then a task that reads it elsewhere
** is told that it is closed. */
static int mm_close(lua_State *L) {
  Response *r = lua_touserdata(L, 1);
  if (r->guard != GUARD_NONE && r->guarded == L) {
    close_guard(r);
    return 0;
  }
  response_leave(r, false);
  if (r->reader)
    r->api->ready(r->reader);
  else
    end_events(r);
  return 0;
}

static int mm_gc(lua_State *L) {
  Response *r = lua_touserdata(L, 1);
  response_leave(r, false);
  end_events(r);
  return 0;
}

/* ---- what has come ----------------------------------------------------- */

static double span(const Response *r, int64_t until) {
  return until ? (double)(until - r->started) / 1e9 : -1;
}

static void take_timings(Response *r, const Transfer *t) {
  long opened = 0;
  r->started = t->started;
  curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &opened);
  r->timings.queued = span(r, t->opened && opened ? t->opened : t->connected);
  r->timings.connected = span(r, t->connected);
  r->timings.first = span(r, t->first);
}

static short version_of(CURL *easy) {
  long version = 0;
  curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
  switch (version) {
  case CURL_HTTP_VERSION_1_0: return 10;
  case CURL_HTTP_VERSION_2_0: return 20;
  case CURL_HTTP_VERSION_3: return 30;
  default: return 11;
  }
}

void response_take_head(lua_State *L, Response *r, int index) {
  const Transfer *t = r->transfer;
  r->status = (int)t->status;
  r->version = version_of(t->easy);
  take_timings(r, t);
  lua_pushlstring(L, t->head.at, t->head.length);
  lua_setiuservalue(L, index, VALUE_HEADERS);
  lua_pushnil(L); /* the request's body has been sent */
  lua_setiuservalue(L, index, VALUE_BODY);
}

static void push_headers(lua_State *L, int index);

/* A refusal of which a part is missing is one all the same: its headers say
** until when. stack: ... error */
static void add_headers(lua_State *L, const Response *r, int index) {
  if (r->stream || r->transfer->status < 300) return;
  push_headers(L, index);
  lua_setfield(L, -2, "headers");
}

void response_finish(lua_State *L, Response *r, int index) {
  Transfer *t = r->transfer;
  r->timings.total = span(r, t->last);
  if (t->result == CURLE_OK && t->fault == FAULT_NONE) {
    if (!r->stream) {
      lua_pushlstring(L, t->body.at, t->body.length);
      lua_setiuservalue(L, index, VALUE_BODY);
    }
    transfer_end(t);
    return;
  }
  if (t->result == CURLE_URL_MALFORMAT) { /* curl knows when it takes it up */
    transfer_end(t);
    luaL_argerror(L, 1, "url has no proper host or port");
  }
  push_transfer_failure(L, t);
  add_headers(L, r, index);
  r->failed = true;
  transfer_end(t);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, VALUE_ERROR);
  lua_error(L);
}

/* ---- headers ----------------------------------------------------------- */

/* stack: ... table; adds one header, joined to one of the same name */
static void add_header(lua_State *L, const char *line, const char *end) {
  luaL_Buffer name;
  const char *colon = memchr(line, ':', (size_t)(end - line));
  if (colon == NULL) return;
  size_t length = (size_t)(colon - line);
  char *lower = luaL_buffinitsize(L, &name, length);
  for (size_t i = 0; i < length; i++)
    lower[i] =
        line[i] >= 'A' && line[i] <= 'Z' ? (char)(line[i] + 32) : line[i];
  luaL_pushresultsize(&name, length); /* stack: ... table name */
  const char *value = colon + 1;
  while (value < end && (*value == ' ' || *value == '\t')) value++;
  while (end > value && (end[-1] == ' ' || end[-1] == '\t')) end--;
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TSTRING) {
    lua_pushliteral(L, ", ");
    lua_pushlstring(L, value, (size_t)(end - value));
    lua_concat(L, 3);
  } else {
    lua_pop(L, 1);
    lua_pushlstring(L, value, (size_t)(end - value));
  }
  lua_rawset(L, -3);
}

/* Pushes the table of headers; makes it from the bytes the first time. */
static void push_headers(lua_State *L, int index) {
  int type = lua_getiuservalue(L, index, VALUE_HEADERS);
  if (type != LUA_TSTRING) return;
  size_t length;
  const char *at = lua_tolstring(L, -1, &length), *end = at + length;
  lua_createtable(L, 0, 12);
  while (at < end) {
    const char *next = memchr(at, '\n', (size_t)(end - at));
    const char *stop = next ? next : end;
    if (stop > at && stop[-1] == '\r') stop--;
    if (strncmp(at, "HTTP/", 5) != 0) add_header(L, at, stop);
    at = next ? next + 1 : end;
  }
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, VALUE_HEADERS);
}

/* ---- fields ------------------------------------------------------------ */

static void set_timing(lua_State *L, const char *name, double value) {
  if (value < 0) return;
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

static void push_timings(lua_State *L, const Response *r) {
  lua_createtable(L, 0, 4);
  set_timing(L, "queued", r->timings.queued);
  set_timing(L, "connected", r->timings.connected);
  set_timing(L, "first", r->timings.first);
  set_timing(L, "total", r->timings.total);
}

static void push_version(lua_State *L, const Response *r) {
  if (r->version % 10)
    lua_pushfstring(L, "%d.%d", r->version / 10, r->version % 10);
  else
    lua_pushfstring(L, r->version == 10 ? "1.0" : "%d", r->version / 10);
}

/* As luaL_checkudata; but the type's name need not be looked up. */
static Response *check_response(lua_State *L) {
  if (lua_getmetatable(L, 1) &&
      lua_topointer(L, -1) == lua_topointer(L, lua_upvalueindex(UP_META)))
    return lua_touserdata(L, 1);
  return luaL_checkudata(L, 1, RESPONSE_TYPE);
}

/* response.status and so on; what it does not have is nil */
static int mm_index(lua_State *L) {
  const Response *r = check_response(L);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(UP_FIELDS)) != LUA_TNUMBER) return 1;
  switch ((Field)lua_tointeger(L, -1)) {
  case FIELD_STATUS: lua_pushinteger(L, r->status); break;
  case FIELD_HEADERS: push_headers(L, 1); break;
  case FIELD_BODY:
    if (r->stream)
      lua_pushnil(L);
    else
      lua_getiuservalue(L, 1, VALUE_BODY);
    break;
  case FIELD_TIMINGS: push_timings(L, r); break;
  case FIELD_VERSION: push_version(L, r); break;
  }
  return 1;
}

static int mm_tostring(lua_State *L) {
  const Response *r = luaL_checkudata(L, 1, RESPONSE_TYPE);
  const char *state = r->transfer ? "open"
                      : r->failed ? "failed"
                      : r->closed ? "closed"
                                  : "complete";
  lua_pushfstring(L, "http response (%d, %s)", r->status, state);
  return 1;
}

/* Another task that is reading it is woken, to be told that it is closed. */
int m_close(lua_State *L) {
  Response *r = luaL_checkudata(L, 1, RESPONSE_TYPE);
  bool open = r->transfer != NULL;
  response_leave(r, false);
  if (r->reader == NULL)
    end_events(r);
  else if (open)
    r->api->ready(r->reader);
  return 0;
}

void push_fields(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"read", m_read}, {"events", m_events}, {"close", m_close}, {NULL, NULL}};
  static const char *const fields[] = {"status", "headers", "body", "timings",
                                       "version"};
  luaL_newlib(L, methods);
  for (int i = 0; i < (int)(sizeof fields / sizeof *fields); i++) {
    lua_pushinteger(L, i + FIELD_STATUS);
    lua_setfield(L, -2, fields[i]);
  }
}

/* stack: ... box options fields, which stay */
void set_response_metatable(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__index", mm_index},
                                         {"__tostring", mm_tostring},
                                         {"__close", mm_close},
                                         {"__gc", mm_gc},
                                         {NULL, NULL}};
  luaL_newmetatable(L, RESPONSE_TYPE);
  for (int i = UP_COUNT; i > 0; i--) lua_pushvalue(L, -1 - UP_COUNT);
  lua_pushvalue(L, -1 - UP_COUNT);
  luaL_setfuncs(L, metamethods, UP_META);
  lua_pop(L, 1);
}
