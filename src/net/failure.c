/*
** failure.c - why a transfer failed, as an error object.
**
** One idea: what we ended ourselves is told by its fault, with the limit; what
** curl reports is brought into a few kinds, by what a caller can do about it.
** A URL is shown without its user and its query: they may hold a key.
*/
#include "failure.h"

#include <stdio.h>
#include <string.h>

typedef struct Report {
  const char *kind;
  char text[CURL_ERROR_SIZE + 100];
} Report;

static double seconds(int64_t ns) { return (double)ns / 1e9; }

/* ---- what we ended ----------------------------------------------------- */

static void report_fault(const Transfer *t, Report *r) {
  size_t room = sizeof r->text;
  const Limits *l = &t->limits;
  switch (t->fault) {
  case FAULT_CONNECT:
    r->kind = "timeout_connect";
    snprintf(r->text, room, "no connection within %g s", seconds(l->connect));
    break;
  case FAULT_FIRST:
    r->kind = "timeout_first";
    snprintf(r->text, room, "no answer within %g s", seconds(l->first));
    break;
  case FAULT_IDLE:
    r->kind = "timeout_idle";
    snprintf(r->text, room, "nothing came for %g s, after %zu bytes",
             seconds(l->idle), t->received);
    break;
  case FAULT_TOTAL:
    r->kind = "timeout_total";
    snprintf(r->text, room, "not done within %g s, after %zu bytes",
             seconds(l->total), t->received);
    break;
  case FAULT_BODY:
    r->kind = "too_large";
    snprintf(r->text, room, "the body is larger than max_bytes, %zu",
             l->max_bytes);
    break;
  case FAULT_HEADERS:
    r->kind = "too_large";
    snprintf(r->text, room, "the headers are larger than 65536 bytes");
    break;
  case FAULT_CUT:
    r->kind = "reset";
    snprintf(r->text, room, "the connection ended within the headers");
    break;
  case FAULT_REDIRECTS:
    r->kind = "malformed";
    snprintf(r->text, room, "more than 10 redirects");
    break;
  default:
    r->kind = "memory";
    snprintf(r->text, room, "not enough memory");
    break;
  }
}

/* ---- what curl reports ------------------------------------------------- */

/* The proxy's own status, where it refused to make a tunnel; else 0. */
static long proxy_status(const Transfer *t) {
  long status = 0;
  if (t->connected == 0)
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &status);
  return status >= 300 ? status : 0;
}

static const char *connect_kind(const Transfer *t) {
  if (proxy_status(t)) return "proxy";
  switch (t->result) {
  case CURLE_PROXY: return "proxy";
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY: return "resolve";
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_ENGINE_NOTFOUND:
  case CURLE_SSL_ENGINE_SETFAILED:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_USE_SSL_FAILED: return "tls";
  default: return NULL;
  }
}

static bool says(const Transfer *t, const char *words) {
  return strstr(t->error, words) != NULL;
}

/* Of a header that is longer than it takes, curl says that it has no memory. */
static bool is_long_header(const Transfer *t) {
  return t->connected != 0 && t->status < 200;
}

/* The connection ended, or what came on it makes no sense. */
static const char *exchange_kind(const Transfer *t) {
  switch (t->result) {
  case CURLE_PARTIAL_FILE: return "truncated";
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_UNSUPPORTED_PROTOCOL: /* an answer as of HTTP/0.9 */
  case CURLE_BAD_CONTENT_ENCODING: /* a body that cannot be unpacked */
  case CURLE_WRITE_ERROR: return "malformed";
  case CURLE_OUT_OF_MEMORY: return is_long_header(t) ? "too_large" : "memory";
  case CURLE_RECV_ERROR:
    if (says(t, "chunked") || says(t, "Malformed encoding")) return "malformed";
    /* TLS that ends without a goodbye: of the body something is missing */
    if (t->phase == PHASE_DONE && t->status >= 200 && says(t, "unexpected eof"))
      return "truncated";
    return "reset";
  default: return "reset";
  }
}

static const char *what_happened(const Transfer *t, const char *kind) {
  if (strcmp(kind, "resolve") == 0) return "cannot resolve the name";
  if (strcmp(kind, "tls") == 0) return "no trusted connection";
  if (strcmp(kind, "proxy") == 0)
    return proxy_status(t) == 407 ? "the proxy wants another user and password"
                                  : "the proxy refused";
  if (strcmp(kind, "truncated") == 0) return "the body was cut off";
  if (strcmp(kind, "malformed") == 0) return "the answer is malformed";
  if (strcmp(kind, "memory") == 0) return "not enough memory";
  if (strcmp(kind, "too_large") == 0) return "a header is too long";
  if (t->connected == 0) return "cannot connect";
  if (t->status < 200) return "the connection ended before the answer";
  return "the connection ended";
}

/* curl's own words; but a proxy's URL that it cannot read, an environment
** variable's, it shows with the password in it. */
static const char *detail(const Transfer *t) {
  if (says(t, "proxy syntax")) return "the proxy's URL has no proper host";
  return t->error[0] ? t->error : curl_easy_strerror(t->result);
}

static void report_result(const Transfer *t, Report *r) {
  r->kind = connect_kind(t);
  if (r->kind == NULL) r->kind = exchange_kind(t);
  snprintf(r->text, sizeof r->text, "%s (%s)", what_happened(t, r->kind),
           detail(t));
}

/* ---- the object -------------------------------------------------------- */

/* Pushes scheme, server and path of a URL. */
static void push_plain_url(lua_State *L, const char *url) {
  const char *host = strstr(url, "://");
  host = host ? host + 3 : url;
  size_t authority = strcspn(host, "/?#");
  const char *rest = host + authority;
  for (const char *c = host; c < rest; c++)
    if (*c == '@') {
      authority -= (size_t)(c + 1 - host);
      host = c + 1;
    }
  const char *scheme = url;
  lua_pushlstring(L, scheme,
                  strstr(url, "://") ? (size_t)(strstr(url, "://") + 3 - url)
                                     : 0);
  lua_pushlstring(L, host, authority + strcspn(rest, "?#"));
  lua_concat(L, 2);
}

static const char *phase_name(const Transfer *t) {
  if (t->connected == 0) return "connect";
  return t->status < 200 ? "answer" : "body";
}

void push_transfer_failure(lua_State *L, const Transfer *t) {
  Report report;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (t->fault)
    report_fault(t, &report);
  else
    report_result(t, &report);
  push_plain_url(L, t->url ? t->url : "");
  t->multi->api->push_error(L, report.kind, "%s %s: %s", t->method,
                            lua_tostring(L, -1), report.text);
  lua_insert(L, -2); /* stack: object url */
  lua_setfield(L, -2, "url");
  lua_pushstring(L, phase_name(t));
  lua_setfield(L, -2, "phase");
  if (t->status >= 200) {
    lua_pushinteger(L, t->status);
    lua_setfield(L, -2, "status");
  }
  if (proxy_status(t)) {
    lua_pushinteger(L, proxy_status(t));
    lua_setfield(L, -2, "proxy_status");
  }
}

int no_memory(lua_State *L, const llmpool_api *api, const char *what) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  api->push_error(L, "memory", "%s: not enough memory", what);
  return lua_error(L);
}
