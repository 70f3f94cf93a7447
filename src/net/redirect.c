/*
** redirect.c - an answer that says where else to ask.
**
** One idea: each hop is a request of its own, made anew from the one before,
** so that what must not go along can be taken out: headers that hold a secret
** stay with the server they were meant for, which curl does for none but its
** own. As browsers do, a POST that was moved becomes a GET, but for 307 and
** 308.
*/
#include <string.h>

#include "transfer.h"

static bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 ||
         status == 308;
}

const char *redirect_target(const Transfer *t) {
  char *url = NULL;
  if (!is_redirect(t->status)) return NULL;
  curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &url);
  if (url == NULL) return NULL;
  return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0
             ? url
             : NULL;
}

/* ---- where it goes ----------------------------------------------------- */

static bool same_part(CURLU *a, CURLU *b, CURLUPart part) {
  char *x = NULL, *y = NULL;
  bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              strcmp(x, y) == 0;
  curl_free(x);
  curl_free(y);
  return same;
}

/* Whether scheme, host and port are the same; in doubt not. */
static bool same_origin(const char *from, const char *to) {
  CURLU *a = curl_url(), *b = curl_url();
  bool same = a && b && curl_url_set(a, CURLUPART_URL, from, 0) == CURLUE_OK &&
              curl_url_set(b, CURLUPART_URL, to, 0) == CURLUE_OK &&
              same_part(a, b, CURLUPART_SCHEME) &&
              same_part(a, b, CURLUPART_HOST) &&
              same_part(a, b, CURLUPART_PORT);
  curl_url_cleanup(a);
  curl_url_cleanup(b);
  return same;
}

/* ---- what goes along --------------------------------------------------- */

static bool is_named(const char *line, const char *const *names) {
  size_t length = strcspn(line, ":;");
  for (; *names; names++)
    if (strlen(*names) == length && curl_strnequal(line, *names, length))
      return true;
  return false;
}

/* Takes the lines of these names out of the list. */
static void drop_lines(Lines *l, const char *const *names) {
  size_t kept = 0;
  for (size_t i = 0; i < l->count; i++)
    if (!is_named(l->nodes[i].data, names))
      l->nodes[kept++].data = l->nodes[i].data;
  l->count = kept;
  for (size_t i = 0; i < kept; i++)
    l->nodes[i].next = i + 1 < kept ? &l->nodes[i + 1] : NULL;
}

static void become_get(Transfer *t) {
  static const char *const names[] = {"content-type", "content-length",
                                      "content-encoding", "expect", NULL};
  if (strcmp(t->method, "HEAD") == 0 || strcmp(t->method, "GET") == 0) return;
  strcpy(t->method, "GET");
  curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
  curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, NULL);
  drop_lines(&t->lines, names);
}

static void stay_secret(Transfer *t) {
  static const char *const names[] = {"authorization",
                                      "cookie",
                                      "proxy-authorization",
                                      "x-api-key",
                                      "x-goog-api-key",
                                      "api-key",
                                      "host",
                                      NULL};
  drop_lines(&t->lines, names);
}

bool transfer_redirect(Transfer *t, const char *target) {
  char *url = strdup(target); /* curl forgets its own */
  if (url == NULL) return false;
  if (!same_origin(t->url, url)) stay_secret(t);
  bool moved = t->status == 301 || t->status == 302;
  if (t->status == 303 || (moved && strcmp(t->method, "POST") == 0))
    become_get(t);
  curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER,
                   t->lines.count ? t->lines.nodes : NULL);
  bool set = transfer_aim(t, url) == CURLUE_OK;
  free(url);
  return set && transfer_again(t);
}
