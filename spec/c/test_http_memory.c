/*
** test_http_memory.c - memory ends in the midst of a request: at the Nth
** allocation, for N from 0 until the request passes. Each time it says so, no
** transfer is left under way, and the next request, right after, succeeds.
** Under AddressSanitizer nothing has leaked at the end.
**
** One idea: one countdown for our own C (the linker's --wrap) and for libcurl
** (curl_global_init_mem); another for Lua's allocator. A thread of this program
** is the server, so that nothing but the client can run out.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "ending_memory.h"
#include "http.h"

int luaopen_llmpool(lua_State *L);

/* ---- memory that ends -------------------------------------------------- */

char *__wrap_strdup(const char *text);

char *__wrap_strdup(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = __wrap_malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

/* ---- the server -------------------------------------------------------- */

enum { LARGE = 60000 };

static char url[64];

static void put(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes += sent;
    length -= (size_t)sent;
  }
}

static void say(int fd, const char *text) { put(fd, text, strlen(text)); }

static void answer_large(int fd) {
  char piece[LARGE / 10];
  memset(piece, 'x', sizeof piece);
  say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 10; i++) {
    char size[16];
    snprintf(size, sizeof size, "%zx\r\n", sizeof piece);
    say(fd, size);
    put(fd, piece, sizeof piece);
    say(fd, "\r\n");
  }
  say(fd, "0\r\n\r\n");
}

/* What the request's line asks for; false: the connection ends here. */
static bool answer(int fd, const char *request) {
  if (strstr(request, "/large "))
    answer_large(fd);
  else if (strstr(request, "/events "))
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n"
            "event: a\ndata: one\ndata: two\n\nid: 1\ndata:\n");
  else if (strstr(request, "/moved "))
    say(fd, "HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: /plain\r\n"
            "\r\n");
  else if (strstr(request, "/cut "))
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
  else if (strstr(request, "/last "))
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
            "plain");
  else
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nplain");
  return !strstr(request, "/last ") && !strstr(request, "/cut ");
}

/* Requests have no body that matters: "." stands at its end. */
static bool is_whole(const char *request) {
  const char *end = strstr(request, "\r\n\r\n");
  if (end == NULL) return false;
  return strncmp(request, "POST", 4) != 0 || end[strlen(end) - 1] == '.';
}

static void *serve_one(void *argument) {
  int fd = (int)(intptr_t)argument;
  char request[4096];
  size_t length = 0;
  for (;;) {
    ssize_t got = recv(fd, request + length, sizeof request - 1 - length, 0);
    if (got <= 0) break;
    length += (size_t)got;
    request[length] = '\0';
    if (!is_whole(request)) continue;
    if (!answer(fd, request)) break;
    length = 0;
  }
  close(fd);
  return NULL;
}

static void *serve(void *argument) {
  int listening = (int)(intptr_t)argument;
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (;;) {
    pthread_t thread;
    int fd = accept(listening, NULL, NULL);
    if (fd < 0) return NULL;
    if (pthread_create(&thread, &detached, serve_one, (void *)(intptr_t)fd))
      close(fd);
  }
}

static int start_server(void **state) {
  struct sockaddr_in at = {.sin_family = AF_INET};
  socklen_t size = sizeof at;
  pthread_t thread;
  int listening = socket(AF_INET, SOCK_STREAM, 0);
  (void)state;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listening, (struct sockaddr *)&at, sizeof at) != 0 ||
      listen(listening, 64) != 0 ||
      getsockname(listening, (struct sockaddr *)&at, &size) != 0)
    return -1;
  snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(at.sin_port));
  return pthread_create(&thread, NULL, serve, (void *)(intptr_t)listening);
}

/* ---- a state ----------------------------------------------------------- */

static const char setup_code[] =
    "http = require 'llmpool.http'\n"
    "function get(path, more)\n"
    "  local request = {url = url .. path, timeout = 1}\n"
    "  for name, value in pairs(more or {}) do request[name] = value end\n"
    "  return http.request(request)\n"
    "end\n"
    "function check(path)\n"
    "  collectgarbage()\n"
    "  collectgarbage()\n"
    "  assert(get(path).body == 'plain')\n"
    "end\n"
    /* Lua 5.4.4 forgets half of its buffers' metatable where memory ends */
    "assert(#('x'):rep(100000))\n";

static lua_State *open_state(void) {
  lua_State *L = lua_newstate(allocate, NULL);
  assert_non_null(L);
  luaL_openlibs(L);
  luaL_requiref(L, "llmpool", luaopen_llmpool, 1);
  luaL_requiref(L, "llmpool.http", luaopen_llmpool_http, 0);
  lua_pushstring(L, url);
  lua_setglobal(L, "url");
  if (luaL_dostring(L, setup_code)) fail_msg("%s", lua_tostring(L, -1));
  lua_settop(L, 0);
  return L;
}

static Box *box_of(lua_State *L) {
  lua_getglobal(L, "http");
  lua_getfield(L, -1, "request");
  assert_non_null(lua_getupvalue(L, -1, UP_MULTI));
  Box *box = lua_touserdata(L, -1);
  lua_pop(L, 3);
  return box;
}

/* How many transfers are under way: the module's Multi knows. What is drained
** nobody waits for. */
static int count_live(lua_State *L) {
  int count = 0;
  const Box *box = box_of(L);
  if (box->multi)
    for (const Transfer *t = box->multi->live; t; t = t->next) count++;
  if (box->multi && count == 0) assert_int_equal(box->multi->awaited, 0);
  return count;
}

typedef struct Case {
  const char *name, *code;
  bool first; /* each attempt is a state's first request */
} Case;

static void run_check(lua_State *L, const char *path, const Case *one, long n) {
  lua_settop(L, 0);
  lua_getglobal(L, "check");
  lua_pushstring(L, path);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    fail_msg("%s, allocation %ld: %s", one->name, n,
             luaL_tolstring(L, -1, NULL));
  for (int i = 0; i < 1000 && count_live(L) != 0; i++)
    assert_int_equal(luaL_dostring(L, "llmpool.sleep(0.001)"), LUA_OK);
  if (count_live(L) != 0)
    fail_msg("%s, allocation %ld: a transfer is left", one->name, n);
}

/* What curl makes of it where it has no memory for a name, a connection, or
** within the headers: of one that is too long it says the same. */
static bool is_stated(const char *kind) {
  return strcmp(kind, "memory") == 0 || strcmp(kind, "resolve") == 0 ||
         strcmp(kind, "reset") == 0 || strcmp(kind, "too_large") == 0;
}

/* Lua's own is a string; ours are objects with a kind. */
static void check_error(lua_State *L, const Memory *memory, const Case *one,
                        long n) {
  const char *kind = "none";
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "kind");
    kind = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  const char *text = luaL_tolstring(L, -1, NULL);
  bool told = strstr(text, "not enough memory") != NULL;
  if (memory == &c_memory ? !is_stated(kind) : !told)
    fail_msg("%s, allocation %ld: kind %s, %s", one->name, n, kind, text);
}

/* ---- the cases --------------------------------------------------------- */

static const Case cases[] = {
    {"the first request", "get '/plain'", true},
    {"a request", "assert(get('/plain').body == 'plain')", false},
    {"a request with all there is",
     "local r = get('/plain', {method = 'POST', body = 'text.',\n"
     "  headers = {a = 'b', c = ('d'):rep(2000)}, max_bytes = 100,\n"
     "  timeout = {connect = 5, first = 5, idle = 5, total = 9},\n"
     "  http2 = false, on_cancel = 'drain'})\n"
     "assert(r.headers['x-a'] == 'b' and r.timings.total)",
     false},
    {"another URL each time", "n = (n or 0) + 1 get('/plain?' .. n)", false},
    {"a large body", "assert(#get('/large').body == 60000)", false},
    {"a stream in pieces",
     "local s <close> = get('/large', {stream = true})\n"
     "local n = 0\n"
     "for piece in function() return s:read() end do\n"
     "  n = n + #piece\n"
     "  llmpool.sleep(0)\n"
     "end\n"
     "assert(n == 60000)",
     false},
    {"a stream at once",
     "local s <close> = get('/large', {stream = true})\n"
     "llmpool.sleep(0.002)\n"
     "assert(#s:read 'a' == 60000)",
     false},
    {"a stream that is left",
     "local s <close> = get('/large', {stream = true})\n"
     "s:read()",
     false},
    {"events",
     "local s <close> = get('/events', {stream = true})\n"
     "for e in s:events() do assert(e.data == 'one\\ntwo') end",
     false},
    {"a redirect",
     "assert(get('/moved', {follow = true, body = '.'}).body == 'plain')",
     false},
    {"a body that is cut off",
     "local ok, e = pcall(get, '/cut')\n"
     "assert(not ok)\n"
     "if type(e) ~= 'table' or e.kind ~= 'truncated' then error(e, 0) end",
     false},
    {"a proxy", "assert(get('/plain', {proxy = url}).body == 'plain')", false},
    {"many at once",
     "local function one() assert(get('/plain').status == 200) end\n"
     "llmpool.gather(one, one, one, one)",
     false},
    {"one that is cancelled and drained",
     "local task = llmpool.spawn(get, '/large', {on_cancel = 'drain'})\n"
     "llmpool.sleep(0)\n"
     "llmpool.sleep(0)\n"
     "task:cancel()\n"
     "local ok, e = task:pjoin()\n"
     "if not ok and type(e) == 'table' and e.kind ~= 'cancelled' then\n"
     "  error(e, 0)\n"
     "end\n"
     "if type(e) == 'string' then error(e, 0) end\n"
     "llmpool.sleep(0.01)",
     false},
};

/* Returns how many allocations had to fail before the code passed. `path`: of
** the requests in between, which leave a connection behind or none. */
static long fail_each(const Case *one, Memory *memory, const char *path) {
  lua_State *L = one->first ? NULL : open_state();
  for (long n = 0;; n++) {
    assert_true(n < 20000);
    if (one->first) L = open_state();
    assert_int_equal(luaL_loadstring(L, one->code), LUA_OK);
    memory->left = n;
    memory->armed = true;
    int status = lua_pcall(L, 0, 0, 0);
    memory->armed = false;
    if (status != LUA_OK) check_error(L, memory, one, n);
    run_check(L, path, one, n);
    if (one->first || status == LUA_OK) lua_close(L);
    if (status == LUA_OK) return n;
  }
}

static void fail_case(void **state) {
  const Case *one = *state;
  fail_each(one, &lua_memory, "/plain");
  assert_true(fail_each(one, &c_memory, "/plain") > 0);
  fail_each(one, &c_memory, "/last");
}

/* ---- timers that there is no memory for --------------------------------- */

static const llmpool_api *real_api;
static const llmpool_timer *refused; /* NULL: all */

static bool refuse_timer(struct Worker *worker, llmpool_timer *timer,
                         int64_t due_ns) {
  if (refused && timer != refused)
    return real_api->timer_start(worker, timer, due_ns);
  return false;
}

static void must_pass(lua_State *L, const char *code) {
  if (luaL_dostring(L, code)) fail_msg("%s", luaL_tolstring(L, -1, NULL));
}

/* Runs `code` with such timers, once `before` has made the Multi. */
static void without_timers(const char *before, bool curls, const char *code) {
  static const Case here = {"timers", "", false};
  lua_State *L = open_state();
  must_pass(L, before);
  Multi *multi = box_of(L)->multi;
  llmpool_api api = *multi->api;
  real_api = multi->api;
  refused = curls ? &multi->timer : NULL;
  api.timer_start = refuse_timer;
  multi->api = &api;
  must_pass(L, code);
  multi->api = real_api;
  run_check(L, "/plain", &here, 0);
  lua_close(L);
}

/* It would have no idle limit from then on: what is set by then, after a first
** limit that found nothing to wait for, is the total's. */
static void stream_without_limit(void **state) {
  (void)state;
  without_timers("s = get('/large', {stream = true, timeout = {idle = 0.05}})\n"
                 "llmpool.sleep(0.2)",
                 false,
                 "local ok, e = pcall(s.read, s, 'a')\n"
                 "assert(not ok and e.kind == 'memory', e)");
}

static void request_without_limit(void **state) {
  (void)state;
  without_timers("get('/plain')", false,
                 "local ok, e = pcall(get, '/plain')\n"
                 "assert(not ok and e.kind == 'memory', e)");
}

/* Another stands in: nothing is to be seen of it. */
static void request_without_curls_timer(void **state) {
  (void)state;
  without_timers("get('/last')", true,
                 "assert(get('/plain').body == 'plain')\n"
                 "assert(#get('/large').body == 60000)");
}

int main(void) {
  enum { COUNT = sizeof cases / sizeof cases[0], OTHERS = 3 };
  struct CMUnitTest tests[COUNT + OTHERS] = {
      [COUNT] = cmocka_unit_test(stream_without_limit),
      [COUNT + 1] = cmocka_unit_test(request_without_limit),
      [COUNT + 2] = cmocka_unit_test(request_without_curls_timer)};
  for (size_t i = 0; i < COUNT; i++)
    tests[i] = (struct CMUnitTest){cases[i].name, fail_case, NULL, NULL,
                                   (void *)&cases[i]};
  curl_global_init_mem(CURL_GLOBAL_DEFAULT, __wrap_malloc, free, __wrap_realloc,
                       __wrap_strdup, __wrap_calloc);
  int failed = cmocka_run_group_tests(tests, start_server, NULL);
  curl_global_cleanup();
  return failed;
}
