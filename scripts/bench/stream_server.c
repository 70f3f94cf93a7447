/*
** stream_server.c - a provider for the benchmarks: answers every request with
** a stream of tokens, each when it is due.
**
**   stream_server FIRST_MS EVERY_MS TOKENS
**
** Listens on a port of 127.0.0.1 that it prints, and ends with its standard
** input. The first token comes FIRST_MS after the request, the others EVERY_MS
** apart; then usage, [DONE], and the connection is kept. One thread, epoll, and
** a list in order of due times, since all waits are of two lengths.
*/
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define HEAD                                               \
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" \
  "Transfer-Encoding: chunked\r\n\r\n"
#define TOKEN                                                             \
  "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":" \
  "[{\"index\":0,\"delta\":{\"content\":\"word \"},"                      \
  "\"finish_reason\":null}]}\n\n"
#define LAST                                                              \
  "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":" \
  "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"              \
  "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,"               \
  "\"total_tokens\":2}}\n\ndata: [DONE]\n\n"

#define MOST 4096 /* connections */

typedef struct connection {
  int fd, sent;      /* tokens of this answer */
  int matched;       /* of the empty line that ends a request's head */
  long body, length; /* bytes of the body to come */
  int64_t due;       /* of the next token; 0: none */
  char head[2048];
  int head_length;
} connection;

static connection connections[MOST];
static int64_t first_ns, every_ns;
static int tokens, poller;

static void say(connection *c, const char *text) {
  char chunk[1024];
  int n = snprintf(chunk, sizeof chunk, "%zx\r\n%s\r\n", strlen(text), text);
  if (send(c->fd, chunk, (size_t)n, MSG_NOSIGNAL) < 0) c->due = 0;
}

static void answer(connection *c) {
  c->sent = 0;
  c->head_length = 0;
  c->due = bench_now() + first_ns;
  if (send(c->fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) < 0) c->due = 0;
}

/* A request is a head with a Content-Length, and its body. */
static void take(connection *c, const char *data, long n) {
  if (c->length == 0) {
    long room = (long)sizeof c->head - 1 - c->head_length;
    long taken = n < room ? n : room;
    memcpy(c->head + c->head_length, data, (size_t)taken);
    c->head_length += (int)taken;
    c->head[c->head_length] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    const char *length = strcasestr(c->head, "\r\nContent-Length:");
    if (end == NULL || length == NULL) return;
    c->length = atol(length + 17);
    c->body = c->head_length - (end + 4 - c->head);
  } else {
    c->body += n;
  }
  if (c->body < c->length) return;
  c->length = 0;
  answer(c);
}

static void leave(connection *c) {
  close(c->fd);
  memset(c, 0, sizeof *c);
  c->fd = -1;
}

static void hear(connection *c) {
  char data[4096];
  ssize_t n = recv(c->fd, data, sizeof data, 0);
  if (n > 0)
    take(c, data, n);
  else
    leave(c);
}

static void welcome(int listener) {
  int on = 1, fd = accept(listener, NULL, NULL);
  if (fd < 0) return;
  if (fd >= MOST) {
    close(fd);
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  memset(&connections[fd], 0, sizeof connections[fd]);
  connections[fd].fd = fd;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/* Sends what is due; returns how long there is nothing more, in ms. */
static int tick(void) {
  int64_t now = bench_now(), next = now + 100000000;
  for (int i = 0; i < MOST; i++) {
    connection *c = &connections[i];
    if (c->due != 0 && c->due <= now) {
      if (c->sent++ < tokens) {
        say(c, TOKEN);
        if (c->due != 0) c->due += every_ns;
      } else {
        say(c, LAST);
        if (c->due != 0) send(c->fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
        c->due = 0;
      }
    }
    if (c->due != 0 && c->due < next) next = c->due;
  }
  return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

static int listen_on_loopback(void) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bench_require(bind(fd, (struct sockaddr *)&address, size) == 0 &&
                    listen(fd, 1024) == 0 &&
                    getsockname(fd, (struct sockaddr *)&address, &size) == 0,
                "listen");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv) {
  bench_require(argc == 4, "stream_server FIRST_MS EVERY_MS TOKENS");
  struct epoll_event events[256];
  first_ns = atoll(argv[1]) * 1000000;
  every_ns = atoll(argv[2]) * 1000000;
  tokens = atoi(argv[3]);
  poller = epoll_create1(0);
  int listener = listen_on_loopback();
  watch(listener);
  watch(STDIN_FILENO);
  for (;;) {
    int n = epoll_wait(poller, events, 256, tick());
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == STDIN_FILENO) return 0;
      if (fd == listener)
        welcome(fd);
      else if (connections[fd].fd == fd)
        hear(&connections[fd]);
    }
  }
}
