/*
** transfer.c - one HTTP exchange, from the first byte sent to the last read.
**
** One idea: one timer for all its limits. It is set for the nearest of them
** and, when it fires, looks whether the wait it is about still lasts: bytes
** that come cost no timer. A stream holds no more than STREAM_BYTES for its
** reader; then its socket is left alone until the reader has caught up.
*/
#include "transfer.h"

#include <stdlib.h>
#include <string.h>

enum {
  STREAM_BYTES = 16 * 1024, /* more than that waits in the kernel */
  HEAD_BYTES = 64 * 1024,   /* of all headers together */
  SPARES = 256,
  TURNED_AWAY = 200 /* so often it comes again */
};
#define DRAIN_NS INT64_C(30000000000)
#define FOREVER INT64_MAX

static int64_t now(const Transfer *t) { return multi_now(t->multi); }

static int64_t after(int64_t from, int64_t span) {
  return span >= FOREVER - from ? FOREVER : from + span;
}

static void wake(Transfer *t) {
  if (t->waiter) t->multi->api->ready(t->waiter);
}

static void await(Transfer *t, bool awaited) {
  if (t->awaited == awaited) return;
  t->awaited = awaited;
  multi_await(t->multi, awaited ? 1 : -1);
}

/* ---- limits ------------------------------------------------------------ */

/* When the present wait has lasted too long, and what it is then. */
static int64_t phase_due(const Transfer *t, Fault *fault) {
  switch (t->phase) {
  case PHASE_CONNECT:
    *fault = FAULT_CONNECT;
    return after(t->began, t->limits.connect);
  case PHASE_ANSWER:
    *fault = FAULT_FIRST;
    return after(t->connected, t->limits.first);
  case PHASE_BODY:
    *fault = FAULT_IDLE; /* a reader that is behind is not idle */
    return t->paused ? FOREVER : after(t->last, t->limits.idle);
  default: *fault = FAULT_NONE; return FOREVER;
  }
}

static int64_t next_due(const Transfer *t, Fault *fault) {
  int64_t due = phase_due(t, fault);
  int64_t total = after(t->started, t->limits.total);
  if (total > due) return due;
  *fault = FAULT_TOTAL;
  return total;
}

/* The wait has changed. A timer that fires early does no harm, so one that is
** set already is left as it is where it can be. */
static bool set_timer(Transfer *t) {
  Fault fault;
  const llmpool_api *api = t->multi->api;
  int64_t due = next_due(t, &fault);
  if (due == FOREVER) {
    api->timer_stop(t->multi->worker, &t->timer);
    return true;
  }
  if (t->timer.place != 0 && t->timer.due_ns <= due) return true;
  return api->timer_start(t->multi->worker, &t->timer, due);
}

void transfer_fail(Transfer *t, Fault fault) {
  t->fault = fault;
  if (t->phase != PHASE_DONE) transfer_done(t, CURLE_ABORTED_BY_CALLBACK);
}

static void on_timer(llmpool_timer *timer) {
  Transfer *t = (Transfer *)(void *)((char *)timer - offsetof(Transfer, timer));
  Fault fault;
  if (next_due(t, &fault) <= now(t))
    transfer_fail(t, fault);
  else if (!set_timer(t))
    transfer_fail(t, FAULT_MEMORY);
}

/* ---- curl's callbacks -------------------------------------------------- */

/* Ends it from inside a callback: curl reports it done. */
static size_t refuse(Transfer *t, Fault fault) {
  t->fault = fault;
  return 0;
}

static bool is_plain(const Transfer *t) {
  char *url = NULL;
  curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
  return url && strncmp(url, "http://", 7) == 0;
}

/* Of what came over TLS nobody knows yet whether it is an answer. A kept
** connection with an answer on it that nobody asked for (a 408, for one) would
** give that to this request. */
static bool is_stray(const Transfer *t, int port) {
  if (t->opened == 0) return multi_is_stray(t->multi, port);
  if (is_plain(t)) multi_note_port(t->multi, t->socket, port);
  return false;
}

/* A connection stands, new or kept, and the request goes out. */
static int on_connected(void *data, char *to, char *from, int to_port,
                        int from_port) {
  Transfer *t = data;
  (void)to, (void)from, (void)to_port;
  t->stray = is_stray(t, from_port);
  if (t->stray) return CURL_PREREQFUNC_ABORT;
  t->connected = now(t);
  t->phase = PHASE_ANSWER;
  if (set_timer(t)) return CURL_PREREQFUNC_OK;
  t->fault = FAULT_MEMORY;
  return CURL_PREREQFUNC_ABORT;
}

static curl_socket_t on_open(void *data, curlsocktype purpose,
                             struct curl_sockaddr *address) {
  Transfer *t = data;
  if (t->opened == 0) t->opened = now(t);
  t->socket = multi_open_socket(t->multi, purpose, address);
  return t->socket;
}

static bool is_status_line(const char *line, size_t length) {
  return length > 5 && memcmp(line, "HTTP/", 5) == 0;
}

/* The empty line: of the answer itself unless the status is 1xx. */
static bool end_head(Transfer *t) {
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
  if (t->status < 200) return true;
  t->phase = PHASE_BODY;
  t->last = now(t);
  if (t->stream) wake(t);
  return set_timer(t);
}

static size_t on_header(char *line, size_t size, size_t count, void *data) {
  Transfer *t = data;
  size_t length = size * count;
  if (t->phase != PHASE_ANSWER) return length; /* a trailer */
  if (t->first == 0) t->first = now(t);
  if (is_status_line(line, length)) {
    t->hints += t->head.length; /* nothing, unless a 1xx was before it */
    bytes_clear(&t->head);
  }
  if (t->hints + t->head.length + length > HEAD_BYTES)
    return refuse(t, FAULT_HEADERS);
  if (!bytes_add(&t->head, line, length)) return refuse(t, FAULT_MEMORY);
  bool empty = length <= 2 && (line[0] == '\r' || line[0] == '\n');
  if (empty && !end_head(t)) return refuse(t, FAULT_MEMORY);
  return length;
}

/* The whole body's memory at once, if its length is known and believable. */
static void expect_body(Transfer *t) {
  curl_off_t length = 0;
  curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length > 512 && length <= 1 << 20)
    bytes_reserve(&t->body, (size_t)length);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data) {
  Transfer *t = data;
  size_t length = size * count;
  if (t->owner == NULL) { /* draining */
    t->received += length;
    return t->received > t->limits.max_bytes ? 0 : length;
  }
  size_t left = bytes_left(&t->body);
  if (t->stream && left > 0 && left + length > STREAM_BYTES) {
    t->paused = true;
    await(t, false);
    return CURL_WRITEFUNC_PAUSE;
  }
  if (length > t->limits.max_bytes - t->received) return refuse(t, FAULT_BODY);
  if (t->received == 0 && !t->stream) expect_body(t);
  if (!bytes_add(&t->body, bytes, length)) return refuse(t, FAULT_MEMORY);
  t->received += length;
  t->last = now(t);
  if (t->stream) wake(t);
  return length;
}

/* ---- taking and starting ----------------------------------------------- */

/* False: no memory for what curl copies. */
static bool set_options(Transfer *t) {
  CURL *easy = t->easy;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
#if LIBCURL_VERSION_NUM >= 0x075700 /* ending a lookup waits for no thread */
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)INT32_MAX);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, multi_close_socket);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, t->multi);
  return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") ==
             CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "") == /* all */
             CURLE_OK;
}

static bool set_ca_file(Transfer *t, const char *ca_file) {
  return curl_easy_setopt(t->easy, CURLOPT_CAINFO, ca_file) == CURLE_OK &&
         curl_easy_setopt(t->easy, CURLOPT_PROXY_CAINFO, ca_file) == CURLE_OK;
}

/* Reading a URL, and writing it out again letter by letter, is a seventh of
** what a request costs curl; it copies parts that are there. */
CURLUcode transfer_aim(Transfer *t, const char *url) {
  if (t->url && strcmp(t->url, url) == 0) return CURLUE_OK;
  char *copy = strdup(url);
  CURLU *address = curl_url();
  CURLUcode code = copy && address
                       ? curl_url_set(address, CURLUPART_URL, url, 0)
                       : CURLUE_OUT_OF_MEMORY;
  if (code == CURLUE_OK &&
      (curl_easy_setopt(t->easy, CURLOPT_URL, url) != CURLE_OK ||
       curl_easy_setopt(t->easy, CURLOPT_CURLU, address) != CURLE_OK))
    code = CURLUE_OUT_OF_MEMORY;
  if (code != CURLUE_OK) {
    free(copy);
    curl_url_cleanup(address);
    return code;
  }
  free(t->url);
  curl_url_cleanup(t->address);
  t->url = copy;
  t->address = address;
  return CURLUE_OK;
}

bool transfer_trust(Transfer *t, const char *ca_file) {
  t->special = true;
  return set_ca_file(t, ca_file);
}

static Transfer *new_transfer(Multi *m) {
  Transfer *t = calloc(1, sizeof *t);
  if (t == NULL) return NULL;
  t->multi = m;
  t->easy = curl_easy_init();
  t->timer.fire = on_timer;
  if (t->easy && set_options(t) && (!m->ca_file || set_ca_file(t, m->ca_file)))
    return t;
  transfer_free(t);
  return NULL;
}

/* Nothing has come of it yet. */
static void reset(Transfer *t) {
  t->phase = PHASE_CONNECT;
  t->fault = FAULT_NONE;
  t->result = CURLE_OK;
  t->connected = t->first = t->last = t->opened = 0;
  t->received = t->hints = 0;
  t->status = 0;
  t->paused = false;
  t->error[0] = '\0';
}

Transfer *transfer_take(Multi *m, Transfer **owner) {
  Transfer *t = m->spare;
  if (t) {
    m->spare = t->next;
    m->spare_count--;
    t->next = NULL;
  } else {
    t = new_transfer(m);
    if (t == NULL) return NULL;
  }
  reset(t);
  t->waiter = NULL;
  t->owner = owner;
  *owner = t;
  return t;
}

static bool start(Transfer *t, int64_t began) {
  t->began = began;
  if (!set_timer(t) || !multi_add(t->multi, t)) return false;
  await(t, true);
  return true;
}

bool transfer_start(Transfer *t) {
  t->started = now(t);
  t->turned_away = 0;
  return start(t, t->started);
}

bool transfer_again(Transfer *t) {
  if (t->link) multi_remove(t->multi, t);
  reset(t);
  bytes_clear(&t->head);
  bytes_clear(&t->body);
  return start(t, now(t));
}

/* ---- reading ----------------------------------------------------------- */

/* What curl held back it hands on now; of a refusal it tells nobody else. */
static void carry_on(Transfer *t) {
  CURLcode result = curl_easy_pause(t->easy, CURLPAUSE_CONT);
  Multi *m = t->multi;
  if (result != CURLE_OK && t->phase != PHASE_DONE) transfer_done(t, result);
  multi_check(m);
}

static void resume(Transfer *t) {
  t->paused = false;
  t->last = now(t);
  await(t, true);
  if (set_timer(t))
    carry_on(t);
  else
    transfer_fail(t, FAULT_MEMORY);
}

void transfer_take_body(Transfer *t, size_t length) {
  bytes_take(&t->body, length);
  if (t->paused && t->body.length == 0 && t->phase == PHASE_BODY) resume(t);
}

/* ---- the end ----------------------------------------------------------- */

void transfer_free(Transfer *t) {
  curl_easy_cleanup(t->easy);
  curl_url_cleanup(t->address);
  free(t->url);
  free(t->head.at);
  free(t->body.at);
  lines_free(&t->lines);
  free(t);
}

/* Only one whose exchange ended well is used again: of the others curl may
** have kept something. */
static void give_back(Transfer *t) {
  Multi *m = t->multi;
  if (t->owner) *t->owner = NULL;
  t->owner = NULL;
  t->waiter = NULL;
  m->api->timer_stop(m->worker, &t->timer);
  await(t, false);
  if (t->phase != PHASE_DONE || t->result != CURLE_OK || t->fault ||
      t->special || m->spare_count >= SPARES) {
    transfer_free(t);
    return;
  }
  bytes_clear(&t->head);
  bytes_clear(&t->body);
  t->next = m->spare;
  m->spare = t;
  m->spare_count++;
}

void transfer_end(Transfer *t) {
  if (t->link) multi_remove(t->multi, t);
  give_back(t);
}

/* The server took no notice of it: of many requests on one HTTP/2 connection
** those are turned away which came after the last that it would serve there.
** curl takes them elsewhere, but only five times. */
static bool is_turned_away(const Transfer *t, CURLcode result) {
  static const char said[] = "Connection died, tried";
  return result == CURLE_SEND_ERROR && !t->fault && t->first == 0 && t->owner &&
         strncmp(t->error, said, sizeof said - 1) == 0;
}

void transfer_done(Transfer *t, CURLcode result) {
  const llmpool_api *api = t->multi->api;
  bool again = t->stray && t->owner && t->fault == FAULT_NONE;
  t->stray = false;
  if (again && transfer_again(t)) return; /* that connection is closed */
  if (is_turned_away(t, result) && t->turned_away++ < TURNED_AWAY) {
    if (transfer_again(t)) return;
    t->fault = FAULT_MEMORY;
  }
  if (t->link) multi_remove(t->multi, t);
  t->phase = PHASE_DONE;
  t->result = result;
  if (result == CURLE_OK && t->status < 200) t->fault = FAULT_CUT;
  t->last = now(t);
  api->timer_stop(t->multi->worker, &t->timer);
  await(t, false);
  if (t->owner == NULL)
    give_back(t);
  else
    wake(t);
}

void transfer_drain(Transfer *t) {
  if (t->phase == PHASE_DONE) {
    give_back(t);
    return;
  }
  *t->owner = NULL;
  t->owner = NULL;
  t->waiter = NULL;
  await(t, false);
  bytes_clear(&t->body);
  t->limits.total = after(now(t) - t->started, DRAIN_NS);
  t->limits.connect = t->limits.first = t->limits.idle = FOREVER;
  if (t->limits.max_bytes > SIZE_MAX / 2) t->limits.max_bytes = 64 << 20;
  bool paused = t->paused;
  t->paused = false;
  if (!set_timer(t))
    transfer_end(t);
  else if (paused)
    carry_on(t);
}
