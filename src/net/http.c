/*
** http.c - the module llmpool.http, and its function request.
**
** One idea: a request is a wait like any other. It is checked, set on a
** transfer and started; the task parks until its headers (a stream) or all of
** it has come. The response exists before anything can fail and lies in a
** to-be-closed slot, so that whatever ends the wait ends the transfer too.
*/
#include "http.h"

#include <pthread.h>

#define BOX_TYPE "llmpool.http.box"

static const char module_key = 'h'; /* registry: the module */

static Box *box_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(UP_MULTI));
}

/* ---- the Multi --------------------------------------------------------- */

static int mm_gc(lua_State *L) {
  Box *box = lua_touserdata(L, 1);
  if (box->multi) multi_free(box->multi);
  box->multi = NULL;
  box->closed = true;
  return 0;
}

static void need_multi(lua_State *L, Box *box) {
  if (box->closed) luaL_error(L, "http.request: the program is ending");
  if (box->multi == NULL) box->multi = multi_new(box->api, box->worker);
  if (box->multi == NULL)
    no_memory(L, box->api, "http.request: no event loop (too few files?)");
}

/* ---- request ----------------------------------------------------------- */

enum { OPTIONS = 1, RESPONSE };

/* Whether the answer was a redirect that is followed: then it waits anew. */
static bool follow(lua_State *L, Transfer *t) {
  const char *target = t->hops > 0 ? redirect_target(t) : NULL;
  if (target == NULL) return false;
  if (--t->hops == 0) {
    bytes_take(&t->body, bytes_left(&t->body)); /* nobody is to read that */
    transfer_fail(t, FAULT_REDIRECTS);
    return false;
  }
  if (!transfer_redirect(t, target))
    no_memory(L, t->multi->api, "http.request");
  return true;
}

/* Whether there is something to return or to raise. */
static bool is_answered(lua_State *L, const Response *r) {
  Transfer *t = r->transfer;
  if (t->phase < (r->stream ? PHASE_BODY : PHASE_DONE)) return false;
  return t->result != CURLE_OK || t->fault || !follow(L, t);
}

static int k_request(lua_State *L, int status, lua_KContext ctx) {
  Response *r = lua_touserdata(L, RESPONSE);
  Transfer *t = r->transfer;
  (void)status;
  if (is_answered(L, r)) {
    t->waiter = NULL;
    if (t->status >= 200) response_take_head(L, r, RESPONSE);
    if (t->phase == PHASE_DONE && !(r->stream && bytes_left(&t->body)))
      response_finish(L, r, RESPONSE);
    r->guard = GUARD_DONE;
    return 1;
  }
  if (r->api->is_cancelled(r->reader)) {
    response_leave(r, true);
    r->api->check_cancel(L, r->reader);
  }
  return r->api->park(L, r->worker, ctx, k_request);
}

/* ({url, ...} or url) -> response */
static int f_request(lua_State *L) {
  Box *box = box_of(L);
  lua_settop(L, 1);
  if (lua_type(L, OPTIONS) == LUA_TSTRING) {
    lua_createtable(L, 0, 1);
    lua_insert(L, OPTIONS);
    lua_setfield(L, OPTIONS, "url");
  }
  luaL_checktype(L, OPTIONS, LUA_TTABLE);
  struct Task *task = box->api->check_real_wait(L, box->worker, "http.request");
  need_multi(L, box);
  Response *r = push_response(L, box);
  check_request(L, OPTIONS, box, r, RESPONSE);
  response_guard(L, r, RESPONSE, task);
  if (!transfer_start(r->transfer))
    return no_memory(L, box->api, "http.request");
  return k_request(L, LUA_OK, 0);
}

/* ---- the module -------------------------------------------------------- */

static void curl_init(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static Box *push_box(lua_State *L, const llmpool_api *api) {
  Box *box = lua_newuserdatauv(L, sizeof *box, 0);
  box->api = api;
  box->worker = api->worker(L);
  box->multi = NULL;
  box->closed = false;
  if (luaL_newmetatable(L, BOX_TYPE)) {
    lua_pushcfunction(L, mm_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return box;
}

int luaopen_llmpool_http(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"request", f_request}, {"headers", f_headers}, {NULL, NULL}};
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  const llmpool_api *api = llmpool_api_get(L, "llmpool.http");
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) != LUA_TNIL) return 1;
  pthread_once(&once, curl_init);
  luaL_newlibtable(L, functions);
  push_box(L, api);
  push_option_numbers(L);
  push_fields(L);
  set_response_metatable(L);
  open_headers(L);
  luaL_setfuncs(L, functions, UP_COUNT);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}
