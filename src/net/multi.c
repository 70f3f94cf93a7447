/*
** multi.c - libcurl's multi interface on the worker's loop.
**
** One idea: curl changes its mind about a socket several times a request, and
** a kept connection has nothing to say between two; so its sockets lie in an
** epoll descriptor of ours, of which the loop watches only that one. What the
** kernel was told is corrected late: only when it reports what nobody wants.
** In the steady state a request costs no call for watching.
**
** curl is never told that a callback failed: it would refuse all requests from
** then on. For its timer one of the loop's stands in, which needs no memory. A
** socket that cannot be watched, or curl's word that it has no memory, after
** which its tables are not to be trusted, ends what is under way, and the next
** request gets a new one.
*/
#include "multi.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "transfer.h"

enum { EVENTS = 64 }; /* taken at once */

/* Ours in the loop. */
typedef struct Handles {
  uv_poll_t poll;   /* of the epoll descriptor */
  uv_timer_t timer; /* curl's, while there is no memory for the other */
  int open;
} Handles;

/* ---- what is done ------------------------------------------------------ */

static void collect(Multi *m) {
  int left;
  CURLMsg *message;
  if (m->curl == NULL) return;
  while ((message = curl_multi_info_read(m->curl, &left)) != NULL) {
    if (message->msg != CURLMSG_DONE) continue;
    Transfer *transfer = NULL;
    CURLcode result = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    transfer_done(transfer, result);
  }
}

void multi_check(Multi *m) {
  if (!m->broken) return;
  m->broken = false;
  while (m->live) transfer_fail(m->live, FAULT_MEMORY);
  curl_multi_cleanup(m->curl);
  m->curl = NULL;
}

int64_t multi_now(Multi *m) {
  if (!m->in_turn) return m->api->now_ns(m->worker);
  if (m->turn_ns == 0) m->turn_ns = m->api->now_ns(m->worker);
  return m->turn_ns;
}

static void act(Multi *m, curl_socket_t fd, int events) {
  int running;
  if (m->curl == NULL) return;
  m->in_turn = true;
  m->turn_ns = 0;
  if (curl_multi_socket_action(m->curl, fd, events, &running) != CURLM_OK)
    m->broken = true;
  m->in_turn = false;
}

/* ---- curl's timer ------------------------------------------------------ */

static void run_due(Multi *m) {
  act(m, CURL_SOCKET_TIMEOUT, 0);
  collect(m);
  multi_check(m);
}

static void on_due(llmpool_timer *timer) {
  run_due((Multi *)(void *)((char *)timer - offsetof(Multi, timer)));
}

static void on_stand_in(uv_timer_t *timer) { run_due(timer->data); }

/* At once means: when all tasks that are ready have had their turn, and their
** requests start together. */
static int on_timer(CURLM *curl, long timeout_ms, void *data) {
  Multi *m = data;
  (void)curl;
  uv_timer_stop(&m->handles->timer);
  if (timeout_ms < 0) {
    m->api->timer_stop(m->worker, &m->timer);
    return 0;
  }
  int64_t due = m->api->now_ns(m->worker) + (int64_t)timeout_ms * 1000000;
  if (!m->api->timer_start(m->worker, &m->timer, due))
    uv_timer_start(&m->handles->timer, on_stand_in, (uint64_t)timeout_ms, 0);
  return 0;
}

/* ---- sockets ----------------------------------------------------------- */

static Socket *socket_at(Multi *m, curl_socket_t fd) {
  size_t index = (size_t)fd;
  if (index >= m->socket_count) {
    size_t count = m->socket_count ? m->socket_count : 64;
    while (count <= index) count *= 2;
    Socket *sockets = realloc(m->sockets, count * sizeof *sockets);
    if (sockets == NULL) return NULL;
    memset(sockets + m->socket_count, 0,
           (count - m->socket_count) * sizeof *sockets);
    m->sockets = sockets;
    m->socket_count = count;
  }
  return &m->sockets[index];
}

static bool watch_in_epoll(Multi *m, curl_socket_t fd, Socket *s,
                           unsigned events) {
  struct epoll_event event = {.events = events, .data = {.fd = fd}};
  int how = events == 0       ? EPOLL_CTL_DEL
            : s->watched == 0 ? EPOLL_CTL_ADD
                              : EPOLL_CTL_MOD;
  if (s->watched == events) return true;
  if (epoll_ctl(m->epoll, how, fd, &event) != 0 && how != EPOLL_CTL_DEL)
    return false;
  s->watched = events & 0xff;
  return true;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data,
                     void *unused) {
  Multi *m = data;
  Socket *s = socket_at(m, fd);
  (void)easy;
  (void)unused;
  if (s == NULL) {
    if (what != CURL_POLL_REMOVE) m->broken = true;
    return 0;
  }
  s->wanted = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) s->wanted |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) s->wanted |= EPOLLOUT;
  /* one of ours may stay watched for what it is wanted for next */
  unsigned lazily = s->ours && s->wanted == 0 && s->watched ? EPOLLIN : 0;
  if (watch_in_epoll(m, fd, s, s->wanted | lazily)) return 0;
  /* One that was still connecting curl has closed by itself before. */
  if (what == CURL_POLL_REMOVE)
    s->watched = 0;
  else
    m->broken = true;
  return 0;
}

static void forget(Multi *m, Socket *s) {
  m->strays -= s->stray;
  *s = (Socket){0};
}

curl_socket_t multi_open_socket(void *data, curlsocktype purpose,
                                struct curl_sockaddr *address) {
  Multi *m = data;
  (void)purpose;
  curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
                            address->protocol);
  if (fd == CURL_SOCKET_BAD) return fd;
  Socket *s = socket_at(m, fd);
  if (s == NULL) {
    close(fd);
    return CURL_SOCKET_BAD;
  }
  forget(m, s);
  s->ours = 1;
  return fd;
}

void multi_note_port(Multi *m, curl_socket_t fd, int port) {
  if ((size_t)fd < m->socket_count && m->sockets[fd].ours)
    m->sockets[fd].port = (uint16_t)port;
}

/* Two connections to different places may have one port: then either is. */
bool multi_is_stray(const Multi *m, int port) {
  if (m->strays == 0) return false;
  for (size_t fd = 0; fd < m->socket_count; fd++)
    if (m->sockets[fd].stray && m->sockets[fd].port == port) return true;
  return false;
}

/* The kernel forgets a closed descriptor by itself. */
int multi_close_socket(void *data, curl_socket_t fd) {
  Multi *m = data;
  if ((size_t)fd < m->socket_count) forget(m, &m->sockets[fd]);
  return close(fd);
}

static void on_event(Multi *m, const struct epoll_event *event) {
  curl_socket_t fd = event->data.fd;
  Socket *s = &m->sockets[fd];
  int events = 0;
  if (event->events & (EPOLLIN | EPOLLHUP)) events |= CURL_CSELECT_IN;
  if (event->events & EPOLLOUT) events |= CURL_CSELECT_OUT;
  if (event->events & EPOLLERR) events |= CURL_CSELECT_ERR;
  if (s->wanted == 0) { /* nobody's: it is looked at when it is used again */
    if (s->port != 0 && !s->stray) {
      s->stray = 1;
      m->strays++;
    }
    watch_in_epoll(m, fd, s, 0);
  } else {
    act(m, fd, events);
  }
}

static void on_poll(uv_poll_t *poll, int status, int what) {
  Multi *m = poll->data;
  struct epoll_event events[EVENTS];
  (void)status;
  (void)what;
  int count = epoll_wait(m->epoll, events, EVENTS, 0);
  for (int i = 0; i < count; i++) on_event(m, &events[i]);
  collect(m);
  multi_check(m);
}

/* ---- transfers --------------------------------------------------------- */

void multi_await(Multi *m, int change) {
  m->awaited += (unsigned)change;
  if (m->awaited == 0)
    uv_unref((uv_handle_t *)&m->handles->poll);
  else
    uv_ref((uv_handle_t *)&m->handles->poll);
}

static bool open_curl(Multi *m) {
  m->curl = curl_multi_init();
  if (m->curl == NULL) return false;
  curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
  curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
  curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, 1024L);
  return true;
}

bool multi_add(Multi *m, Transfer *transfer) {
  if (m->curl == NULL && !open_curl(m)) return false;
  if (curl_multi_add_handle(m->curl, transfer->easy) != CURLM_OK) return false;
  transfer->next = m->live;
  transfer->link = &m->live;
  if (m->live) m->live->link = &transfer->next;
  m->live = transfer;
  return true;
}

void multi_remove(Multi *m, Transfer *transfer) {
  *transfer->link = transfer->next;
  if (transfer->next) transfer->next->link = transfer->link;
  transfer->next = NULL;
  transfer->link = NULL;
  curl_multi_remove_handle(m->curl, transfer->easy);
}

/* ---- the beginning and the end ----------------------------------------- */

/* The first of these that names a file; curl itself knows none of them. False:
** no memory. */
static bool take_ca_file(Multi *m) {
  static const char *const names[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = getenv(names[i]);
    if (value == NULL || *value == '\0') continue;
    m->ca_file = strdup(value);
    return m->ca_file != NULL;
  }
  return true;
}

/* Told once, curl need not look for them at every request. */
static bool has_no_proxy(void) {
  static const char *const names[] = {"http_proxy", "https_proxy",
                                      "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (getenv(names[i])) return false;
  return true;
}

static bool open_handles(Multi *m, uv_loop_t *loop) {
  Handles *h = malloc(sizeof *h);
  if (h == NULL) return false;
  if (uv_poll_init(loop, &h->poll, m->epoll) != 0) {
    free(h);
    return false;
  }
  uv_timer_init(loop, &h->timer); /* cannot fail */
  m->handles = h;
  h->poll.data = h->timer.data = m;
  h->open = 2;
  uv_unref((uv_handle_t *)&h->poll);
  uv_unref((uv_handle_t *)&h->timer);
  return uv_poll_start(&h->poll, UV_READABLE, on_poll) == 0;
}

static void on_closed_poll(uv_handle_t *handle) {
  Handles *h = (Handles *)(void *)((char *)handle - offsetof(Handles, poll));
  if (--h->open == 0) free(h);
}

static void on_closed_timer(uv_handle_t *handle) {
  Handles *h = (Handles *)(void *)((char *)handle - offsetof(Handles, timer));
  if (--h->open == 0) free(h);
}

static void close_handles(Handles *h) {
  uv_close((uv_handle_t *)&h->poll, on_closed_poll);
  uv_close((uv_handle_t *)&h->timer, on_closed_timer);
}

void multi_free(Multi *m) {
  while (m->live) transfer_end(m->live);
  while (m->spare) {
    Transfer *transfer = m->spare;
    m->spare = transfer->next;
    transfer_free(transfer);
  }
  if (m->curl) curl_multi_cleanup(m->curl);
  m->api->timer_stop(m->worker, &m->timer);
  if (m->handles) close_handles(m->handles);
  if (m->epoll >= 0) close(m->epoll);
  free(m->sockets);
  free(m->ca_file);
  free(m);
}

Multi *multi_new(const llmpool_api *api, struct Worker *worker) {
  uv_loop_t *loop = api->uv_loop(worker);
  Multi *m = calloc(1, sizeof *m);
  if (m == NULL || loop == NULL) {
    free(m);
    return NULL;
  }
  m->api = api;
  m->worker = worker;
  m->timer.fire = on_due;
  m->no_proxy = has_no_proxy();
  m->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (m->epoll < 0 || !take_ca_file(m) || !open_handles(m, loop) ||
      !open_curl(m)) {
    multi_free(m);
    return NULL;
  }
  return m;
}
