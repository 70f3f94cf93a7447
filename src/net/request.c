/*
** request.c - a table of options becomes a request on a transfer.
**
** One idea: everything is looked at once, in one pass over the table, and the
** transfer is touched only when all of it is right. What curl keeps between
** requests on one handle is set anew every time or not at all.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

enum {
  MAX_BYTES = 64 << 20, /* of a body, unless the caller says otherwise */
  MAX_METHOD = 15,
  MAX_REDIRECTS = 10,
  EXPECT_BYTES = 1 << 20 /* of a body: from there on curl would ask first */
};

#define AGENT "llmpool/" LLMPOOL_VERSION
#define ENCODINGS "gzip, deflate"

typedef enum Option {
  OPTION_URL = 1,
  OPTION_METHOD,
  OPTION_HEADERS,
  OPTION_BODY,
  OPTION_TIMEOUT,
  OPTION_MAX_BYTES,
  OPTION_PROXY,
  OPTION_CA_FILE,
  OPTION_HTTP2,
  OPTION_STREAM,
  OPTION_FOLLOW,
  OPTION_ON_CANCEL
} Option;

static const char *const names[] = {
    "url",     "method", "headers", "body",   "timeout",   "max_bytes", "proxy",
    "ca_file", "http2",  "stream",  "follow", "on_cancel", NULL};

typedef struct Request {
  const char *url, *method, *proxy, *ca_file;
  const char *body;
  size_t body_length;
  Limits limits;
  bool http2, stream, follow, drain, max_given;
} Request;

static int bad(lua_State *L, const char *message) {
  return luaL_argerror(L, 1, message);
}

/* ---- names of options -------------------------------------------------- */

void push_option_numbers(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; names[i]; i++) {
    lua_pushinteger(L, i + 1);
    lua_setfield(L, -2, names[i]);
  }
}

/* Pushes "; did you mean 'x'?" or nothing, for the name at `index`. */
static const char *push_suggestion(lua_State *L, int index,
                                   const char *const *known) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "llmpool.nearest") != LUA_TFUNCTION) return "";
  lua_pushvalue(L, index);
  lua_newtable(L);
  for (int i = 0; known[i]; i++) {
    lua_pushstring(L, known[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_call(L, 2, 1);
  if (lua_isnil(L, -1)) return "";
  return lua_pushfstring(L, "; did you mean '%s'?", lua_tostring(L, -1));
}

static int unknown(lua_State *L, int index, const char *what,
                   const char *const *known) {
  index = lua_absindex(L, index);
  const char *name = luaL_tolstring(L, index, NULL);
  const char *near = push_suggestion(L, index, known);
  return bad(L, lua_pushfstring(L, "unknown %s '%s'%s", what, name, near));
}

/* ---- values ------------------------------------------------------------ */

/* Never shows a string: it may be a secret. */
static int wrong(lua_State *L, const char *name, const char *wanted) {
  bool is_number = lua_type(L, -1) == LUA_TNUMBER;
  const char *got =
      is_number ? luaL_tolstring(L, -1, NULL) : luaL_typename(L, -1);
  return bad(L, lua_pushfstring(L, "%s must be %s, got %s", name, wanted, got));
}

static const char *need_string(lua_State *L, const char *name) {
  if (lua_type(L, -1) != LUA_TSTRING) wrong(L, name, "a string");
  return lua_tostring(L, -1);
}

static bool need_boolean(lua_State *L, const char *name) {
  if (!lua_isboolean(L, -1)) wrong(L, name, "true or false");
  return lua_toboolean(L, -1);
}

static int64_t need_seconds(lua_State *L, const char *name) {
  lua_Number value = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || !(value > 0))
    wrong(L, name, "a number of seconds greater than 0");
  return value >= 9e9 ? INT64_MAX : (int64_t)(value * 1e9);
}

static void check_timeouts(lua_State *L, Limits *limits) {
  static const char *const known[] = {"connect", "first", "idle", "total",
                                      NULL};
  static const char *const said[] = {"timeout.connect", "timeout.first",
                                     "timeout.idle", "timeout.total"};
  int64_t *const spans[] = {&limits->connect, &limits->first, &limits->idle,
                            &limits->total};
  if (lua_type(L, -1) == LUA_TNUMBER) {
    limits->total = need_seconds(L, "timeout");
    return;
  }
  if (!lua_istable(L, -1))
    wrong(L, "timeout",
          "seconds, or a table {connect=, first=, idle=, total=}");
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    int i = 0;
    if (lua_type(L, -2) == LUA_TSTRING)
      while (known[i] && strcmp(known[i], lua_tostring(L, -2)) != 0) i++;
    else
      i = 4;
    if (known[i] == NULL) unknown(L, -2, "timeout", known);
    *spans[i] = need_seconds(L, said[i]);
    lua_pop(L, 1);
  }
}

/* A name or method: RFC 9110's token. */
static bool is_token(const char *text, size_t length) {
  static const char marks[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < length; i++) {
    char c = text[i];
    bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 (c >= '0' && c <= '9');
    if (!alnum && (c == '\0' || strchr(marks, c) == NULL)) return false;
  }
  return length > 0;
}

static bool is_printable(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f) return false;
  return length > 0;
}

static const char *check_url(lua_State *L) {
  const char *url = need_string(L, "url");
  size_t length = lua_rawlen(L, -1);
  if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
    bad(L, "url must begin with http:// or https://");
  if (!is_printable(url, length))
    bad(L, "url has a space or control character in it; escape it with %");
  return url;
}

/* Whether curl will find a host in it; nothing of it is shown, it may have a
** password. No memory is told later, by curl. */
static bool has_host(const char *proxy) {
  CURLU *parts = curl_url();
  CURLUcode code = CURLUE_OUT_OF_MEMORY;
  if (parts)
    code = curl_url_set(parts, CURLUPART_URL, proxy,
                        CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME);
  curl_url_cleanup(parts);
  return code == CURLUE_OK || code == CURLUE_OUT_OF_MEMORY;
}

/* host:port, or with one of the schemes that curl knows; "" is none. */
static const char *check_proxy(lua_State *L) {
  static const char *const schemes[] = {"http",    "https",  "socks4",
                                        "socks4a", "socks5", "socks5h"};
  const char *proxy = need_string(L, "proxy");
  const char *end = strstr(proxy, "://");
  size_t length = end ? (size_t)(end - proxy) : 0;
  bool known = end == NULL;
  for (size_t i = 0; !known && i < sizeof schemes / sizeof *schemes; i++)
    known = strlen(schemes[i]) == length &&
            curl_strnequal(proxy, schemes[i], length);
  if (!known) bad(L, "proxy must be http://, https:// or socks5://");
  if (*proxy && !has_host(proxy))
    bad(L, "proxy has no proper host or port; in its user and password escape "
           "what is special with %");
  return proxy;
}

static const char *check_method(lua_State *L) {
  const char *method = need_string(L, "method");
  size_t length = lua_rawlen(L, -1);
  if (length > MAX_METHOD || !is_token(method, length))
    bad(L, "method must be a word such as GET or POST");
  return method;
}

static size_t check_max_bytes(lua_State *L) {
  if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) == HUGE_VAL)
    return SIZE_MAX;
  int is_integer;
  lua_Integer value = lua_tointegerx(L, -1, &is_integer);
  if (lua_type(L, -1) != LUA_TNUMBER || !is_integer || value < 0)
    wrong(L, "max_bytes", "a whole number, 0 or more, or math.huge");
  return (size_t)value;
}

static bool check_on_cancel(lua_State *L) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (strcmp(text, "drain") == 0) return true;
  if (strcmp(text, "close") != 0)
    wrong(L, "on_cancel", "\"close\" or \"drain\"");
  return false;
}

/* The option `number`, whose value is on the top; strings stay alive in the
** options' table for as long as this is called. */
static void check_option(lua_State *L, Request *q, Option number) {
  switch (number) {
  case OPTION_URL: q->url = check_url(L); break;
  case OPTION_METHOD: q->method = check_method(L); break;
  case OPTION_HEADERS:
    if (!lua_istable(L, -1) && luaL_testudata(L, -1, HEADERS_TYPE) == NULL)
      bad(L, "headers must be a table {name = value}, or http.headers of one");
    break;
  case OPTION_BODY:
    need_string(L, "body");
    q->body = lua_tolstring(L, -1, &q->body_length);
    break;
  case OPTION_TIMEOUT: check_timeouts(L, &q->limits); break;
  case OPTION_MAX_BYTES:
    q->limits.max_bytes = check_max_bytes(L);
    q->max_given = true;
    break;
  case OPTION_PROXY: q->proxy = check_proxy(L); break;
  case OPTION_CA_FILE: q->ca_file = need_string(L, "ca_file"); break;
  case OPTION_HTTP2: q->http2 = need_boolean(L, "http2"); break;
  case OPTION_STREAM: q->stream = need_boolean(L, "stream"); break;
  case OPTION_FOLLOW: q->follow = need_boolean(L, "follow"); break;
  case OPTION_ON_CANCEL: q->drain = check_on_cancel(L); break;
  }
}

static void check_options(lua_State *L, int index, Request *q) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, lua_upvalueindex(UP_OPTIONS));
    Option number = (Option)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (number == 0) unknown(L, -2, "option", names);
    check_option(L, q, number);
    lua_pop(L, 1);
  }
  if (q->url == NULL) bad(L, "a request needs a url");
  if (q->method == NULL) q->method = q->body ? "POST" : "GET";
  if (q->stream && !q->max_given) q->limits.max_bytes = SIZE_MAX;
}

/* ---- headers ----------------------------------------------------------- */

static bool is_field_value(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (text[i] == '\r' || text[i] == '\n' || text[i] == '\0') return false;
  return true;
}

static bool same_name(const char *name, const char *lower) {
  for (; *name && *lower; name++, lower++) {
    char c = *name >= 'A' && *name <= 'Z' ? (char)(*name + 32) : *name;
    if (c != *lower) return false;
  }
  return *name == *lower;
}

static int without_memory(lua_State *L) {
  const Box *box = lua_touserdata(L, lua_upvalueindex(UP_MULTI));
  return no_memory(L, box->api, "http.request");
}

static void add_line(lua_State *L, Lines *lines, const char *name,
                     const char *value, size_t length) {
  if (!lines_add(lines, name, strlen(name), value, length)) without_memory(L);
}

/* One header: its name at -2, its value at -1. The value is not shown when it
** is wrong: it may be a key. */
static void check_header(lua_State *L, Lines *lines) {
  if (lua_type(L, -2) != LUA_TSTRING)
    bad(L, "headers must be a table {name = value}");
  const char *name = lua_tostring(L, -2);
  if (!is_token(name, lua_rawlen(L, -2)))
    bad(L, lua_pushfstring(L, "'%s' is no name of a header", name));
  int type = lua_type(L, -1);
  if (type != LUA_TSTRING && type != LUA_TNUMBER)
    bad(L, lua_pushfstring(L, "header '%s' must be a string, got %s", name,
                           luaL_typename(L, -1)));
  size_t length;
  lua_pushvalue(L, -1);
  const char *value = lua_tolstring(L, -1, &length);
  if (!is_field_value(value, length))
    bad(L, lua_pushfstring(L, "header '%s' has a line break in it", name));
  add_line(L, lines, name, value, length);
  lua_pop(L, 1);
}

/* What was given, of the headers that have a default. */
typedef struct Given {
  bool type, agent, encoding;
} Given;

typedef struct Headers {
  Lines lines;
  Given given;
} Headers;

/* The headers of the table on the top. */
static void check_table(lua_State *L, Lines *lines, Given *given) {
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    check_header(L, lines);
    const char *name = lua_tostring(L, -2);
    given->type |= same_name(name, "content-type");
    given->agent |= same_name(name, "user-agent");
    given->encoding |= same_name(name, "accept-encoding");
    lua_pop(L, 1);
  }
}

static void check_given(lua_State *L, int index, Lines *lines, Given *given) {
  lua_pushliteral(L, "headers");
  int type = lua_rawget(L, index);
  if (type == LUA_TTABLE) {
    check_table(L, lines, given);
  } else if (type == LUA_TUSERDATA) { /* check_option has seen it */
    const Headers *headers = lua_touserdata(L, -1);
    if (!lines_copy(lines, &headers->lines)) without_memory(L);
    *given = headers->given;
  }
  lua_pop(L, 1);
}

/* The defaults are lines too: curl prints its own, letter by letter, twice.
** What it would add to a body is not wanted. */
static void check_headers(lua_State *L, int index, Lines *lines,
                          const Request *q) {
  Given given = {false, false, false};
  lines_clear(lines);
  check_given(L, index, lines, &given);
  if (!given.agent) add_line(L, lines, "User-Agent", AGENT, strlen(AGENT));
  if (!given.encoding)
    add_line(L, lines, "Accept-Encoding", ENCODINGS, strlen(ENCODINGS));
  if (q->body_length >= EXPECT_BYTES) add_line(L, lines, "Expect", NULL, 0);
  if (q->body && !given.type) add_line(L, lines, "Content-Type", NULL, 0);
}

/* ---- headers for many requests ----------------------------------------- */

static int mm_headers_gc(lua_State *L) {
  Headers *headers = lua_touserdata(L, 1);
  lines_free(&headers->lines);
  headers->lines = (Lines){NULL, 0, 0, {NULL, 0, 0, 0}};
  return 0;
}

/* Neither names nor values: they may hold a key. */
static int mm_headers_tostring(lua_State *L) {
  const Headers *headers = luaL_checkudata(L, 1, HEADERS_TYPE);
  lua_pushfstring(L, "http headers (%d)", (int)headers->lines.count);
  return 1;
}

void open_headers(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", mm_headers_gc},
                                         {"__tostring", mm_headers_tostring},
                                         {NULL, NULL}};
  luaL_newmetatable(L, HEADERS_TYPE);
  luaL_setfuncs(L, metamethods, 0);
  lua_pop(L, 1);
}

int f_headers(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  Headers *headers = lua_newuserdatauv(L, sizeof *headers, 0);
  memset(headers, 0, sizeof *headers);
  luaL_setmetatable(L, HEADERS_TYPE);
  lua_pushvalue(L, 1);
  check_table(L, &headers->lines, &headers->given);
  lua_pop(L, 1);
  return 1;
}

/* ---- onto the transfer ------------------------------------------------- */

/* Of what curl copies it may have no memory for; a request without it would be
** another one. */
static bool set_text(CURL *easy, CURLoption option, const char *text) {
  return curl_easy_setopt(easy, option, text) == CURLE_OK;
}

static bool set_method(Transfer *t, const Request *q) {
  CURL *easy = t->easy;
  const char *method = q->method, *other = NULL;
  bool put = strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
  bool post = strcmp(method, "POST") == 0;
  if (strcmp(method, "HEAD") == 0 && q->body == NULL) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (q->body || post || put) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, q->body ? q->body : "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)q->body_length);
    if (!post) other = method;
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    if (strcmp(method, "GET") != 0) other = method;
  }
  return set_text(easy, CURLOPT_CUSTOMREQUEST, other);
}

static void set_url(lua_State *L, Transfer *t, const char *url) {
  CURLUcode code = transfer_aim(t, url);
  if (code == CURLUE_OUT_OF_MEMORY) without_memory(L);
  if (code != CURLUE_OK) bad(L, "url has no proper host or port");
}

static bool set_request(Transfer *t, const Request *q) {
  CURL *easy = t->easy;
  const char *proxy = q->proxy || !t->multi->no_proxy ? q->proxy : "";
  bool secure = strncmp(q->url, "https", 5) == 0;
  if (!set_method(t, q) || !set_text(easy, CURLOPT_PROXY, proxy) ||
      (q->ca_file && !transfer_trust(t, q->ca_file)))
    return false;
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lines_list(&t->lines));
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                   (long)(secure && q->http2 ? CURL_HTTP_VERSION_2TLS
                                             : CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, secure && q->http2 ? 1L : 0L);
  t->limits = q->limits;
  t->stream = q->stream;
  t->hops = q->follow ? MAX_REDIRECTS : 0;
  t->special = t->special || q->follow; /* what a hop sets may stay */
  strcpy(t->method, q->method);
  return true;
}

void check_request(lua_State *L, int index, Box *box, Response *r,
                   int response_index) {
  Request q = {.http2 = true,
               .limits = {INT64_C(10000000000), INT64_C(600000000000),
                          INT64_C(300000000000), INT64_MAX, MAX_BYTES}};
  check_options(L, index, &q);
  if (q.body) { /* curl reads it in place */
    lua_pushstring(L, "body");
    lua_rawget(L, index);
    lua_setiuservalue(L, response_index, VALUE_BODY);
  }
  if (transfer_take(box->multi, &r->transfer) == NULL) without_memory(L);
  set_url(L, r->transfer, q.url);
  check_headers(L, index, &r->transfer->lines, &q);
  if (!set_request(r->transfer, &q)) without_memory(L);
  r->stream = q.stream;
  r->drain = q.drain;
}
